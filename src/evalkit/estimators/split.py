"""Split: the same estimator in each subgroup, with the covariance between subgroups."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.designs.design import Design
from evalkit.errors import DataError, DesignError, EvalkitError
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Panel
from evalkit.results.estimation import Estimator
from evalkit.results.fit import Fit, stack_fits
from evalkit.tables.columns import name_rows, numbers, require_column, write_label

_MOST = 50  # subgroups


@dataclass(frozen=True, kw_only=True)
class Split:
    """Estimate the effect separately in each subgroup of column `by`; terms are "ATT [large_farm=1]".

    threshold  two subgroups: below it, and from it on ("area<20", "area>=20").
    quantiles  so many subgroups of about as many units each ("area 1/4" … "area 4/4"). Cut points are those of the whole panel,
               each unit counted once, so that leaving out a county moves nobody; a unit on a cut belongs below it, as in
               pandas.qcut. Refused where units with equal values leave a subgroup empty.

    Without either each value of `by` is a subgroup. A unit belongs where its first row places it, so that a characteristic
    that the treatment changes does not sort units afterwards. Rows of the panel without a value are left out and noted. A
    subgroup that cannot be estimated is named in the notes; the others stand. The gap is `estimate.contrast(a, b)`: its
    covariance counts that subgroups share clusters; see the check GroupGaps.
    """

    by: str
    estimator: Estimator
    threshold: float | None = None
    quantiles: int | None = None

    def __post_init__(self) -> None:
        if self.quantiles is None:
            return
        if self.threshold is not None:
            raise DesignError(
                "both threshold and quantiles are given", where="Split", remedy="give one of them, or neither"
            )
        if not isinstance(self.quantiles, int) or isinstance(self.quantiles, bool) or not 2 <= self.quantiles <= _MOST:
            raise DesignError(
                f"quantiles is {self.quantiles!r}",
                where="Split",
                remedy=f"give a whole number from 2 to {_MOST}, such as 4 for quarters",
            )

    @property
    def on_cells(self) -> bool:
        """As the estimator of the subgroups has it."""
        return self.estimator.on_cells

    def columns(self) -> tuple[str, ...]:
        """Name the column of the subgroups, and what is read in each."""
        return self.by, *self.estimator.columns()

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate in each subgroup."""
        groups, labels = self.groups(panel)
        rows = np.ones(len(panel), dtype=bool) if keep is None else keep
        fits: list[tuple[str, Fit]] = []
        notes: list[Message] = []
        failed: list[str] = []
        unknown = rows & (groups < 0)
        missing = int(unknown.sum())
        if panel.counts is not None:
            missing = round(float(numbers(panel.frame, panel.counts)[unknown].sum()))
        if missing:
            notes.append(message("note.subgroup_missing", rows=missing, column=self.by))
        for code, label in enumerate(labels):
            inside = rows & (groups == code)
            if not inside.any():
                continue
            try:
                fits.append((label, self.estimator.fit(panel, design, inside)))
            except EvalkitError as error:
                failed.append(label)
                notes.append(message("note.subgroup_failed", subgroup=label, why=str(error)))
        if not fits:
            raise DesignError(
                f"no subgroup of '{self.by}' can be estimated", where="Split", remedy="; ".join(map(str, notes))
            )
        fit = stack_fits(fits)
        return replace(fit, notes=(*notes, *fit.notes), failed=(*failed, *fit.failed))

    def groups(self, panel: Panel) -> tuple[Ints, list[str]]:
        """Subgroup code (n,) of each row of the panel, -1 where unknown, and the subgroups' labels."""
        require_column(panel.frame, self.by)
        if self.quantiles is not None:
            return self._quantile_groups(panel, self.quantiles)
        if self.threshold is not None:
            values = numbers(panel.frame, self.by)
            groups = np.where(np.isnan(values), -1, (values >= self.threshold).astype(np.int64))
            labels = [f"{self.by}<{self.threshold:g}", f"{self.by}>={self.threshold:g}"]
        else:
            codes = panel.codes(self.by)
            if len(codes.labels) > _MOST:
                raise DesignError(
                    f"'{self.by}' has {len(codes.labels)} values, too many for subgroups",
                    where="Split",
                    remedy="give threshold= or quantiles=, or a column with few values",
                )
            groups = codes.values
            labels = [f"{self.by}={write_label(label)}" for label in codes.labels]
        return _by_first_row(panel, groups), labels

    def _quantile_groups(self, panel: Panel, quantiles: int) -> tuple[Ints, list[str]]:
        values = numbers(panel.frame, self.by)
        known = panel.starts[~np.isnan(values[panel.starts])]
        labels = [f"{self.by} {i + 1}/{quantiles}" for i in range(quantiles)]
        if np.isinf(values[known]).any():
            raise DataError(
                f"'{self.by}' is infinite, and has no quantiles",
                where=name_rows(panel.frame, np.isinf(values), self.by),
                remedy="was a logarithm taken of 0? Split by the number itself: quantiles are the same",
            )
        if not len(known):
            return np.full(len(panel), -1), labels
        counts = np.ones(len(known)) if panel.counts is None else numbers(panel.frame, panel.counts)[known]
        groups = np.searchsorted(_cuts(values[known], counts, quantiles), values, side="left")
        filled = np.bincount(groups[known], minlength=quantiles) > 0
        if not filled.all():
            empty = ", ".join(label for label, one in zip(labels, filled, strict=True) if not one)
            raise DesignError(
                f"too many units have the same '{self.by}': nobody is left for {empty}",
                where="Split",
                remedy="ask for fewer quantiles, or give a threshold=",
            )
        return _by_first_row(panel, np.where(np.isnan(values), -1, groups)), labels


def _by_first_row(panel: Panel, groups: Ints) -> Ints:
    return groups if panel.unit_codes is None else groups[panel.starts][panel.unit_codes.values]


def _cuts(values: Floats, counts: Floats, quantiles: int) -> Floats:
    """Values (q - 1,) that divide values (U,), each counted `counts` times, into q parts, between two of them in proportion."""
    order = np.argsort(values, kind="stable")
    ends, ordered = np.cumsum(counts[order]), values[order]
    last = round(float(ends[-1])) - 1
    cuts = []
    for i in range(1, quantiles):
        below, share = divmod(last * i, quantiles)  # whole numbers: a cut that falls on a unit is its value
        low, high = ordered[np.searchsorted(ends, [below, min(below + 1, last)], side="right")]
        cuts.append(low if low == high or share == 0 else low + (high - low) * (share / quantiles))
    return np.array(cuts)
