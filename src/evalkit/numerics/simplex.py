"""Least squares over the simplex: at its minimum, and by Frank-Wolfe, step for step as in R synthdid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from evalkit.numerics.arrays import Floats

_PATIENCE = 30  # steps of NNLS per column: it takes about one
_NO_WEIGHT = 1e-14  # weights below it are rounding
_NO_SLOPE = 1e-12  # of the columns' mean square: slopes below it are rounding
_NO_DIRECTION = 1e-10  # of the largest singular value or column: lengths below it are rounding
_OUTSIDE = 1e-9  # weights are found to it


@dataclass(frozen=True)
class Nearest:
    """Weights (k,) at the minimum, and whether no others reach it."""

    weights: Floats
    unique: bool


def nearest_weights(*, differences: Floats, zeta: float) -> Nearest:
    """Minimise |D x|² / n + zeta² |x|² over weights x (k,), none negative, that sum to one.

    D (n, k) holds the difference between each column and the target; `zeta` is in its units. Of several minima, which need
    zeta = 0, the one with the smallest |x| is taken. For any c > 0 the minimum is that of |D u|² + n zeta² |u|² + c² (1'u - 1)²
    over u >= 0, up to the sum of u: with u = s x the best s leaves c² f / (c² + f), which grows with the distance f.
    Source: Lawson and Hanson, Solving Least Squares Problems (1974), ch. 23: NNLS, and LDP, by which the smallest |x| is found.
    """
    n, k = differences.shape
    scale = float(np.abs(differences).max())
    if scale == 0:
        return Nearest(np.full(k, 1 / k), k == 1)
    D, ridge = differences / scale, float(np.sqrt(n)) * zeta / scale
    if ridge > 0:
        D = np.vstack([D, ridge * np.eye(k)])
    D = _triangle(D)
    size = float(np.sqrt(np.einsum("ij,ij->", D, D) / k))
    A = np.vstack([D, np.full(k, size)])
    u = nnls(A, np.append(np.zeros(len(D)), size), maxiter=_PATIENCE * k)[0]
    u[u <= _NO_WEIGHT * u.sum()] = 0.0
    x: Floats = u / u.sum()
    slope = D.T @ (D @ x)
    flat = (x > 0) | (slope - x @ slope <= _NO_SLOPE * size**2)  # columns that some minimum may use
    if ridge > 0 or not _has_others(A[:, x > 0], A[:, flat & (x == 0)]):
        return Nearest(x, True)
    x[flat] = _shorten(A[:, flat], x[flat])
    return Nearest(x, False)


def _triangle(D: Floats) -> Floats:
    """The length of D x for all x, from at most k rows."""
    return D if len(D) <= D.shape[1] else np.asarray(np.linalg.qr(D, mode="r"))


def _has_others(used: Floats, spare: Floats) -> bool:
    """Say whether some mixture of the spare columns is a combination of the used ones, whose weights have room either way."""
    if not spare.shape[1]:
        return False
    basis = np.linalg.qr(used)[0]
    left = spare - basis @ (basis.T @ spare)
    left -= basis @ (basis.T @ left)  # twice, so that what is left of a combination is rounding
    largest = float(np.sqrt(np.einsum("ij,ij->j", spare, spare).max()))
    left[np.abs(left) <= _NO_DIRECTION * largest] = 0.0
    return float(np.linalg.norm(left @ nearest_weights(differences=left, zeta=0.0).weights)) <= _NO_DIRECTION * largest


def _shorten(A: Floats, x: Floats) -> Floats:
    """Among weights y >= 0 with A y = A x find the smallest |y|, by LDP on what A leaves free; x where rounding wins."""
    _, sizes, fixed = np.linalg.svd(A, full_matrices=False)
    fixed = fixed[sizes > _NO_DIRECTION * sizes[0]]
    base = fixed.T @ (fixed @ x)
    y: Floats = base
    if (base < 0).any():
        free = np.linalg.svd(A)[2][len(fixed) :]
        E = np.vstack([free, -base])
        target = np.append(np.zeros(len(free)), 1.0)
        u = nnls(E, target, maxiter=_PATIENCE * len(x))[0]
        r = E @ u - target
        y = base - (r[:-1] / r[-1]) @ free
        y[u > 0] = 0.0
    if not y.min() >= -_OUTSIDE or not np.abs(fixed @ (y - x)).max() <= _OUTSIDE:
        return x
    y = np.maximum(y, 0.0)
    shortest: Floats = y / y.sum() * x.sum()
    return shortest


ROUGH_STEPS, MAX_STEPS = 100, 10_000
_HELD = 2_000  # columns whose products (k, k) are held at once: 32 MB
_TOGETHER = 1 << 22  # numbers in the products of the problems that are solved together: 32 MB
_WORTH_A_THREAD = 500  # problems from which a thread of their own pays
_FEW = 10  # problems up to which one after the other is as fast
_SMALL = 1e-100  # scale below which it is multiplied out


def frank_wolfe_weights(*, differences: Sequence[Floats], zeta: Floats, least_gain: Floats) -> list[Floats]:
    """Minimise |D x|² / n + zeta² |x|² as `nearest_weights` does, but by the steps of R synthdid, in each of P problems.

    D (n, k) of each problem, and `zeta` and `least_gain` (P,), are in the same units. From equal weights on, 100 Frank-Wolfe
    steps with exact line search are taken; weights of at most a quarter of the largest are set to 0; then up to 10,000 steps
    follow, until one lowers the objective by at most least_gain². They can end before the minimum is reached, so the path
    belongs to the definition. Rounding aside, the weights (k,) are those of R synthdid. Problems of one size take their steps
    together, which changes no bit.
    Source: Arkhangelsky, Athey, Hirshberg, Imbens and Wager, American Economic Review 111 (2021), eq. 4 and 6; R synthdid 0.0.9,
    sc.weight.fw and fw.step, where A and b count only as A - b because weights sum to one.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for p, D in enumerate(differences):
        alike.setdefault(D.shape, []).append(p)
    groups: list[list[int]] = []
    for (_, k), members in alike.items():
        workers = max(1, min(os.cpu_count() or 1, len(members) // _WORTH_A_THREAD))
        size = max(1, min(_TOGETHER // k**2, -(-len(members) // workers)))
        groups += [members[at : at + size] for at in range(0, len(members), size)]

    def solve(chosen: list[int]) -> Floats:
        n, k = differences[chosen[0]].shape
        problems = [_Descent.of(_triangle(differences[p]), n * float(zeta[p]) ** 2) for p in chosen]
        least = n * least_gain[chosen] ** 2
        rough = _descend(problems, np.full((len(chosen), k), 1 / k), least, ROUGH_STEPS)
        rough[rough <= rough.max(axis=1, keepdims=True) / 4] = 0.0
        return _descend(problems, rough / rough.sum(axis=1, keepdims=True), least, MAX_STEPS)

    if max(map(len, groups), default=0) < _WORTH_A_THREAD:
        solved = list(map(solve, groups))
    else:  # each problem is one thread's from first to last: how many there are changes no bit
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            solved = list(pool.map(solve, groups))
    found = {p: x for chosen, weights in zip(groups, solved, strict=True) for p, x in zip(chosen, weights, strict=True)}
    return [found[p] for p in range(len(differences))]


@dataclass(frozen=True)
class _Descent:
    """Half the objective's second derivative, D'D + eta: its rows (k, k) where they are held, and its diagonal (k,)."""

    columns: Floats
    eta: float
    rows: Floats | None
    squares: Floats

    @classmethod
    def of(cls, D: Floats, eta: float) -> _Descent:
        """From D (n, k) and the ridge."""
        columns = np.ascontiguousarray(D.T)
        squares: Floats = np.einsum("ij,ij->i", columns, columns) + eta
        rows = None
        if len(columns) <= _HELD:
            rows = columns @ D
            np.fill_diagonal(rows, squares)
        return cls(columns, eta, rows, squares)

    def row(self, i: int) -> Floats:
        """One of its rows (k,)."""
        if self.rows is not None:
            held: Floats = self.rows[i]
            return held
        row: Floats = self.columns @ self.columns[i]
        row[i] = self.squares[i]
        return row

    def gradient(self, x: Floats) -> Floats:
        """Half of the objective's gradient (k,)."""
        gradient: Floats = self.columns @ (x @ self.columns) + self.eta * x
        return gradient


def _descend(problems: list[_Descent], x: Floats, least: Floats, steps: int) -> Floats:
    """Take Frank-Wolfe steps from x (B, k) until the second or a later one gains at most `least` (B,), or none are left."""
    if len(problems) > _FEW and problems[0].rows is not None:
        return _descend_together(problems, x, least, steps)
    each = zip(problems, x, least.tolist(), strict=True)
    return np.array([_descend_alone(problem, start, gain, steps) for problem, start, gain in each])


def _descend_alone(problem: _Descent, x: Floats, least: float, steps: int) -> Floats:
    """Take the steps of one problem from x (k,)."""
    squares = problem.squares.tolist()
    gradient = problem.gradient(x)  # moves with x, so that a step is two passes over k numbers
    value = float(gradient @ x)
    x, scale = x.copy(), 1.0  # x and gradient are held over a scale, as each step shrinks all of them
    for step in range(steps):
        i = int(gradient.argmin())
        lowest, square = scale * float(gradient[i]), squares[i]
        slope = value - lowest
        curvature = slope - lowest + square
        length = min(1.0, max(0.0, slope / curvature)) if curvature > 0 else 0.0
        rest = 1.0 - length
        scale *= rest
        if scale < _SMALL:
            gradient *= scale
            x *= scale
            scale = 1.0
        x[i] += length / scale
        gradient += length / scale * problem.row(i)
        value = rest * (rest * value + 2.0 * length * lowest) + length * length * square
        # The gain in closed form: two values of the objective are too alike to be subtracted.
        if length * (2.0 * slope - length * curvature) <= least and step > 0:
            break
    return scale * x


def _descend_together(problems: list[_Descent], x: Floats, least: Floats, steps: int) -> Floats:
    """Take the steps of B problems from x (B, k), with the same arithmetic; those that have ended leave in time."""
    k = x.shape[1]
    found = np.empty_like(x)
    rows = np.array([problem.rows for problem in problems]).reshape(-1, k)
    gradient = np.array([problem.gradient(one) for problem, one in zip(problems, x, strict=True)])
    value = np.array([one @ start for one, start in zip(gradient, x, strict=True)])
    squares = np.array([problem.squares for problem in problems])
    x, scale, least = x.copy(), np.ones(len(x)), least.copy()
    who, at = np.arange(len(x)), np.arange(len(x)) * k
    pull = np.empty_like(x)
    for step in range(steps):
        place = at + gradient.argmin(axis=1)
        lowest, square = scale * gradient.ravel()[place], squares.ravel()[place]
        slope = value - lowest
        curvature = slope - lowest + square
        length = np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature > 0)
        np.clip(length, 0.0, 1.0, out=length)
        rest = 1.0 - length
        scale *= rest
        if scale.min() < _SMALL:
            small = scale < _SMALL
            gradient[small] *= scale[small, None]
            x[small] *= scale[small, None]
            scale[small] = 1.0
        move = length / scale
        x.ravel()[place] += move
        rows.take(place, axis=0, out=pull, mode="clip")
        pull *= move[:, None]
        gradient += pull
        value = rest * (rest * value + 2.0 * length * lowest) + length * length * square
        ended = length * (2.0 * slope - length * curvature) <= least
        if step > 0 and ended.any():
            found[who[ended]] = scale[ended, None] * x[ended]
            least[ended] = -np.inf  # they go on unheeded until half have ended
            going = least >= 0
            if 2 * going.sum() <= len(going):
                if not going.any():
                    return found
                rows = rows.reshape(-1, k, k)[going].reshape(-1, k)
                x, gradient, squares = x[going], gradient[going], squares[going]
                value, scale, least, who = value[going], scale[going], least[going], who[going]
                at, pull = at[: len(x)], pull[: len(x)]
    going = least >= 0
    found[who[going]] = scale[going, None] * x[going]
    return found
