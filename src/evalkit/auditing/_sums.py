"""Sums: totals against what was added up for each, and what rounding can explain of the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evalkit.auditing._published import Published
from evalkit.auditing._remark import Remark, Severity, write
from evalkit.catalogue import Message
from evalkit.columns import Flags, Floats, Ints

_NOISE = 1e-12  # of a total: what floats lose in a sum


@dataclass(frozen=True)
class Sums:
    """Totals and what was added up for each; arrays are (k,).

    `total` is the row of the total, in whose unit the others are. Where parts are `missing`, the sum can only be too large.
    `group` numbers those that ought to add up alike; `is_complete` says that the parts are known to be all there are.
    """

    total: Ints
    sum: Floats
    tolerance: Floats
    number: Ints
    missing: Ints
    group: Ints
    is_complete: Flags
    against: tuple[str, ...] = ()

    def difference(self, data: Published) -> Floats:
        """Return the total less the sum."""
        found: Floats = data.value[self.total] - self.sum
        return found

    def differs(self, data: Published) -> Flags:
        """Say where rounding does not explain the difference."""
        difference = self.difference(data)
        known = (self.missing == 0) | ((difference < 0) & (self.sum >= 0))
        found: Flags = known & (np.abs(difference) > self.tolerance) & (self.number > 1)
        return found


class Says(Protocol):
    """A sentence of the catalogue that waits for its values."""

    def __call__(self, **values: object) -> Message:
        """Make the Message."""
        ...


def add_up(
    data: Published,
    slot: Ints,
    heads: Ints,
    parts: Flags,
    group: Ints,
    is_complete: Flags,
    factor: Floats | None = None,
) -> Sums:
    """Add up the flagged parts of the slot (n,) of each head (k,).

    `factor` (n,) turns values into one unit for each slot, by default that of the series. A value below the unit counts as 0 to
    one unit of the last digit; one that does not apply as 0.
    """
    factor = data.factor if factor is None else factor
    size = int(slot.max(initial=0)) + 1
    known = parts & np.isfinite(data.value)
    lacking = parts & ~np.isfinite(data.value) & (data.frame["mark"] != "none").to_numpy(dtype=bool)

    def total(rows: Flags, weights: Floats) -> Floats:
        found: Floats = np.bincount(slot[rows], weights=weights[rows], minlength=size)[slot[heads]] / factor[heads]
        return found

    def count(rows: Flags) -> Ints:
        found: Ints = np.bincount(slot[rows], minlength=size)[slot[heads]]
        return found

    summed = total(known, data.value * factor)
    rounding = total(known, data.half * factor) + data.half[heads]
    tolerance = rounding + _NOISE * np.abs(summed)
    return Sums(heads, summed, tolerance, count(known), count(lacking), group, is_complete)


def nearest_of(data: Published, ways: list[Sums]) -> Sums:
    """Take for each total the first way of adding up that explains it, else the one that comes nearest."""
    best, *others = ways
    for other in others:
        nearer = np.abs(other.difference(data)) < np.abs(best.difference(data))
        better = best.differs(data) & (other.number > 1) & (~other.differs(data) | nearer)
        best = Sums(
            best.total,
            np.where(better, other.sum, best.sum),
            np.where(better, other.tolerance, best.tolerance),
            np.where(better, other.number, best.number),
            np.where(better, other.missing, best.missing),
            best.group,
            np.where(better, other.is_complete, best.is_complete),
            best.against,
        )
    return best


def judge(data: Published, sums: Sums, kind: str, says: Says, says_none: Says) -> Iterator[Remark]:
    """Remark on the sums that differ; once only where none of a group adds up, which then counts something else.

    A difference is an error where the parts are complete or most of the group adds up, else a warning.
    """
    wrong, difference = sums.differs(data), sums.difference(data)
    checked = np.bincount(sums.group, minlength=1)
    failed = np.bincount(sums.group[wrong], minlength=len(checked))
    seen = set[int]()
    for one in np.flatnonzero(wrong).tolist():
        group, row = int(sums.group[one]), int(sums.total[one])
        none_adds = bool(failed[group] == checked[group] > 1)
        if none_adds and group in seen:
            continue
        seen.add(group)
        is_error = not none_adds and bool(sums.is_complete[one] or failed[group] * 2 < checked[group])
        severity: Severity = "error" if is_error else "warning"
        said = (says_none if none_adds else says)(
            region=data.region(row),
            year=int(data.year[row]),
            indicator=data.indicator(row),
            value=write(data.value[row]),
            unit=data.unit(row),
            number=int(sums.number[one]),
            expected=write(sums.sum[one]),
            difference=write(abs(difference[one]), 6),
            tolerance=write(sums.tolerance[one], 3),
            checked=int(checked[group]),
            parts=sums.against[one] if sums.against else "",
        )
        yield Remark(
            kind,
            severity,
            row,
            said,
            float(sums.sum[one]),
            float(difference[one]),
            float(sums.tolerance[one]),
            against=sums.against[one] if sums.against else f"{int(sums.number[one])} regions",
        )
