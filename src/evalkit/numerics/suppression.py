"""Cell suppression: which cells of a table of sums are unsafe, which others must go with them, and what a reader can deduce.

A table with margins is a network (Hundepool et al., Statistical Disclosure Control, Wiley 2012, ch. 4): each equation
(a row or a column, the total last) is a node, each cell an edge between its row and its column. What a reader does not
know are flows along the suppressed edges, so that the bounds of a cell are the cell and a maximal flow, exactly.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from evalkit.numerics.arrays import Flags, Floats, Ints

PUBLISHED, FEW, DOMINANCE, SECONDARY = range(4)
_ROUNDING = 1e-9  # of the grand total: flows below it are rounding
_MARGIN = 1e6  # a margin costs more than all cells of the table


def flag_unsafe(
    *, cell: Ints, unit: Ints, values: Floats, n_cells: int, least: int, largest: float, two_largest: float
) -> Ints:
    """Tell for each cell (n_cells,) whether it is unsafe: 0 for no, FEW or DOMINANCE, the former first.

    `cell` (n,) and `unit` (n,) say to which cell a row belongs, and whose it is; `values` (n, k) are not negative. A
    cell is FEW if it has units, and fewer than `least`; or if a sum of it that is above 0 is of fewer units than that.
    It is under DOMINANCE if the largest unit has more than the share `largest` of any of its k sums, or the two largest
    more than `two_largest`.
    """
    pairs, at = np.unique(np.column_stack([cell, unit]), axis=0, return_inverse=True)
    owner = pairs[:, 0]
    counts = np.bincount(owner, minlength=n_cells)
    few = (counts > 0) & (counts < least)
    dominated = np.zeros(n_cells, bool)
    for column in range(values.shape[1]):
        held = np.bincount(at.ravel(), weights=values[:, column], minlength=len(pairs))
        givers = np.bincount(owner, weights=held > 0, minlength=n_cells)
        few |= (givers > 0) & (givers < least)
        order = np.lexsort((-held, owner))  # the largest of each cell first
        ranked, cells = held[order], owner[order]
        place = np.arange(len(order)) - np.searchsorted(cells, cells)
        total = np.bincount(cells, weights=ranked, minlength=n_cells)
        for many, share in ((1, largest), (2, two_largest)):
            top = np.bincount(cells, weights=np.where(place < many, ranked, 0.0), minlength=n_cells)
            dominated |= top > share * total
    return np.where(few, FEW, np.where(dominated, DOMINANCE, PUBLISHED)).astype(np.int64)


def add_margins(inner: Floats) -> Floats:
    """Put the totals behind the rows (R,), or behind rows and columns (R, C), of a table."""
    for axis in range(inner.ndim):
        inner = np.concatenate([inner, inner.sum(axis=axis, keepdims=True)], axis=axis)
    return inner


@dataclass(frozen=True)
class Known:
    """What a reader knows of every cell of one table with margins beside what is published: `least` <= value <= `most`."""

    values: Floats
    least: Floats
    most: Floats


@dataclass(frozen=True)
class _Network:
    """Edges of the cells, flat: raising a cell moves a flow from `tail` to `head`; `margins` says which cells are totals."""

    tail: list[int]
    head: list[int]
    margins: list[bool]
    n_nodes: int


def _lay_out(shape: tuple[int, ...]) -> _Network:
    """Lay out a table with margins: rows and columns with their totals, or, with one way, one equation and the ground."""
    tail, head, margins = [], [], []
    for index in np.ndindex(shape):
        last = [i == n - 1 for i, n in zip(index, shape, strict=True)]
        nodes = (index[0], shape[0] + index[1]) if len(shape) == 2 else (0, 1)
        if sum(last) % 2:  # a margin counts against its cells; the grand total against the margins
            nodes = (nodes[1], nodes[0])
        tail.append(nodes[0])
        head.append(nodes[1])
        margins.append(any(last))
    return _Network(tail, head, margins, sum(shape) if len(shape) == 2 else 2)


def find_bounds(*, known: Known, suppressed: Flags) -> tuple[Floats, Floats]:
    """Bound every cell of a table with margins, as a reader can who knows the cells that are not suppressed: exactly.

    Shapes are (R + 1,) or (R + 1, C + 1), totals last. A published cell is its own bound; a cell without a bound has
    inf.
    """
    network = _lay_out(known.values.shape)
    audit = _Audit(network, known, np.flatnonzero(suppressed).tolist())
    low, high = known.values.astype(np.float64).ravel().copy(), known.values.astype(np.float64).ravel().copy()
    for cell in np.flatnonzero(suppressed).tolist():
        low[cell] -= audit.can_move(cell, up=False, enough=math.inf)
        high[cell] += audit.can_move(cell, up=True, enough=math.inf)
    return low.reshape(known.values.shape), high.reshape(known.values.shape)


def suppress_more(
    *,
    tables: tuple[Known, ...],
    unsafe: Ints,
    protection: float,
    whole: tuple[bool, ...],
    fixed: Flags,
    alone: Ints | None = None,
) -> Ints:
    """Add SECONDARY to the unsafe cells, until no table of several, which share the pattern, tells too much of any of them.

    `unsafe` is as in `flag_unsafe`, in the shape of the tables. A reader must not be able to bound an unsafe cell from
    below or from above nearer than `protection` times its value; of a table of counts (`whole`) the bounds together
    must leave that width, and one unit at least. A secondary cell must not be known exactly. Cells whose value is 0 are
    not protected. Those that are `fixed` (such as empty ones) are never suppressed; they are zero. `alone` has the unit
    that is the only one of a cell, -1 elsewhere: it knows all such cells of its own, and must not tell a sum of others
    in the same row or column from them.

    Heuristic: unsafe cells in order of size; where a flow falls short, the cells on the cheapest path that lets it grow
    are added, a cell costing its share of the grand totals, a margin more than all cells together. Source: Kelly,
    Golden and Assad, Cell suppression: disclosure protection for sensitive tabular data, Networks 22 (1992); Hundepool
    et al. (2012), section 4.4.
    """
    pattern = unsafe.ravel().copy()
    network = _lay_out(unsafe.shape)
    value = [one.values.ravel() for one in tables]
    grand = [max(float(one[-1]), 1e-300) for one in value]
    cost = sum((v / g for v, g in zip(value, grand, strict=True)), np.zeros(len(pattern))) + 1 / len(pattern)
    cost = np.where(network.margins, _MARGIN * (1 + cost), cost)
    cost[fixed.ravel()] = math.inf
    audits = [_Audit(network, one, np.flatnonzero(pattern).tolist()) for one in tables]
    readers = _who_knows(network, pattern, None if alone is None else alone.ravel())
    queue = deque(sorted(np.flatnonzero(pattern).tolist(), key=lambda cell: (-cost[cell], cell)))
    while queue:
        cell = queue.popleft()
        for at, audit in enumerate(audits):
            rounding = _ROUNDING * grand[at]
            wanted = protection * value[at][cell]
            if value[at][cell] <= rounding:
                continue
            ways: tuple[tuple[bool, ...], ...] = ((True, False),)
            if pattern[cell] == SECONDARY:
                wanted = 2 * rounding
            elif whole[at]:
                wanted = max(wanted, 1.0)
            else:
                ways = ((True,), (False,))
            others = [] if whole[at] else readers.get(cell, [])
            for directions, knows in itertools.product(ways, [frozenset[int](), *others]):
                audit.knows = knows
                while (lacking := audit.lacks(cell, directions, wanted)) > rounding:
                    added = _cheapest(audits, at, cell, directions, lacking, cost, pattern)
                    if not added:
                        break
                    for one in added:
                        pattern[one] = SECONDARY
                        for each in audits:
                            each.add(one)
                    queue.extend(added)
    return pattern.reshape(unsafe.shape)


def _who_knows(network: _Network, pattern: Ints, alone: Ints | None) -> dict[int, list[frozenset[int]]]:
    """List for each unsafe cell the readers who know cells of its row or column, which are theirs alone, by what they know."""
    own: dict[int, set[int]] = {}
    if alone is None:
        return {}
    for cell in np.flatnonzero(alone >= 0).tolist():
        own.setdefault(int(alone[cell]), set()).add(cell)
    found: dict[int, list[frozenset[int]]] = {}
    for cells in own.values():
        nodes = {node for one in cells for node in (network.tail[one], network.head[one])}
        for cell in np.flatnonzero(pattern).tolist():
            if cell not in cells and {network.tail[cell], network.head[cell]} & nodes:
                found.setdefault(cell, []).append(frozenset(cells))
    return found


def _cheapest(
    audits: list[_Audit],
    at: int,
    cell: int,
    directions: tuple[bool, ...],
    lacking: float,
    cost: Floats,
    pattern: Ints,
) -> list[int]:
    """Find the published cells on the cheapest path along which a cell of one table could move further; [] where there is none.

    Cells that can take on all that is lacking, both ways, are asked first; then smaller ones; then those that can go
    this way only.
    """
    for needed, both in ((lacking, True), (lacking / 8, True), (0.0, True), (0.0, False)):
        found = [audits[at].path(cell, up, needed, cost, pattern, both=both) for up in directions]
        paths = [one for one in found if one is not None]
        if paths:
            return min(paths, key=lambda one: float(cost[one].sum()))
    return []


class _Audit:
    """The flows of one table: how far a suppressed cell can move, and along which published cells it could move further."""

    def __init__(self, network: _Network, known: Known, suppressed: list[int]) -> None:
        self.network = network
        value = known.values.ravel().astype(np.float64)
        self.up: list[float] = np.maximum(known.most.ravel() - value, 0.0).tolist()
        self.down: list[float] = np.maximum(value - known.least.ravel(), 0.0).tolist()
        self.rounding = _ROUNDING * max(float(value[-1]), 1e-300)
        self.at: list[list[int]] = [[] for _ in range(network.n_nodes)]
        self.moved: dict[int, float] = {}
        self.knows: frozenset[int] = frozenset()  # cells that this reader knows besides the published ones
        for cell in suppressed:
            self.add(cell)

    def add(self, cell: int) -> None:
        """Take a cell among the suppressed ones."""
        self.at[self.network.tail[cell]].append(cell)
        self.at[self.network.head[cell]].append(cell)

    def lacks(self, cell: int, directions: tuple[bool, ...], wanted: float) -> float:
        """Tell how much the movement in these directions, together, falls short of what is wanted and could be."""
        wanted = min(wanted, sum((self.up if up else self.down)[cell] for up in directions))
        for up in directions:
            wanted -= self.can_move(cell, up=up, enough=wanted)
            if wanted <= self.rounding:
                return 0.0
        return wanted

    def can_move(self, cell: int, *, up: bool, enough: float) -> float:
        """Find how far a suppressed cell can be moved: the flow through the others, stopped where it is `enough`."""
        own = (self.up if up else self.down)[cell]
        limit, flow = min(own, enough), 0.0
        self.moved = {}
        start, end = self._ends(cell, up)
        while flow < limit:
            steps = self._search(start, end, cell)
            if steps is None:
                break
            size = min(limit - flow, *(self._room(one, raised) for one, raised in steps))
            if math.isinf(size):
                return math.inf
            for one, raised in steps:
                self.moved[one] = self.moved.get(one, 0.0) + (size if raised else -size)
            flow += size
        return flow

    def path(self, cell: int, up: bool, needed: float, cost: Floats, pattern: Ints, *, both: bool) -> list[int] | None:
        """Find the published cells on the cheapest path that takes on more than the suppressed ones do (Dijkstra)."""
        own = (self.up if up else self.down)[cell]
        if self.can_move(cell, up=up, enough=math.inf) >= own - self.rounding:
            return None  # the cell itself can go no further
        start, end = self._ends(cell, up)
        network = self.network
        least, came, queue = {start: 0.0}, dict[int, tuple[int, int]](), [(0.0, start)]
        edges: list[list[int]] = [[] for _ in range(network.n_nodes)]
        for one in range(len(pattern)):
            if one != cell and one not in self.knows and (pattern[one] or math.isfinite(cost[one])):
                edges[network.tail[one]].append(one)
                edges[network.head[one]].append(one)
        while queue:
            spent, node = heapq.heappop(queue)
            if node == end:
                break
            if spent > least[node]:
                continue
            for one in edges[node]:
                raised = network.tail[one] == node
                other = network.head[one] if raised else network.tail[one]
                if pattern[one]:
                    room, price = self._room(one, raised), 0.0
                else:
                    ways = (self.up[one], self.down[one])
                    room, price = min(ways) if both else ways[not raised], float(cost[one])
                if room < needed or room <= self.rounding:
                    continue
                if spent + price < least.get(other, math.inf):
                    least[other], came[other] = spent + price, (node, one)
                    heapq.heappush(queue, (spent + price, other))
        if end not in came:
            return None
        found, node = [], end
        while node != start:
            node, one = came[node]
            if not pattern[one]:
                found.append(one)
        return found or None

    def _ends(self, cell: int, up: bool) -> tuple[int, int]:
        """Where the others must take the flow from, and where to, if the cell moves up or down."""
        ends = self.network.head[cell], self.network.tail[cell]
        return ends if up else ends[::-1]

    def _room(self, cell: int, raised: bool) -> float:
        moved = self.moved.get(cell, 0.0)
        return self.up[cell] - moved if raised else self.down[cell] + moved

    def _search(self, start: int, end: int, without: int) -> list[tuple[int, bool]] | None:
        """Find the shortest path with room, as cells and whether each is raised (Edmonds and Karp)."""
        came: dict[int, tuple[int, int, bool]] = {start: (start, -1, False)}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for one in self.at[node]:
                if one == without or one in self.knows:
                    continue
                raised = self.network.tail[one] == node
                other = self.network.head[one] if raised else self.network.tail[one]
                if other in came or self._room(one, raised) <= self.rounding:
                    continue
                came[other] = (node, one, raised)
                if other == end:
                    steps = []
                    while other != start:
                        other, cell, direction = came[other]
                        steps.append((cell, direction))
                    return steps
                queue.append(other)
        return None
