"""Split: the same estimator in each subgroup, with the covariance between subgroups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.catalogue import Message, message
from evalkit.columns import Flags, Ints, numbers, require_column
from evalkit.design import Design
from evalkit.errors import DesignError, EvalkitError
from evalkit.estimation import Estimator
from evalkit.fit import Fit, stack_fits
from evalkit.panel import Panel


@dataclass(frozen=True, kw_only=True)
class Split:
    """Estimate the effect separately in each subgroup of column `by`; terms are "ATT [large_farm=1]".

    Without `threshold` each value of `by` is a subgroup; with it there are two, below and from the threshold on. A unit belongs
    where its first row places it, so that a characteristic that the treatment changes does not sort units afterwards. Rows of
    the panel without a value are left out and noted. A subgroup that cannot be estimated is named in the notes; the others stand.
    The gap is `estimate.contrast(a, b)`: its covariance counts that subgroups share clusters.
    """

    by: str
    estimator: Estimator
    threshold: float | None = None

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate in each subgroup."""
        groups, labels = self._groups(panel)
        rows = np.ones(len(panel), dtype=bool) if keep is None else keep
        fits: list[tuple[str, Fit]] = []
        notes: list[Message] = []
        missing = int((rows & (groups < 0)).sum())
        if missing:
            notes.append(message("note.subgroup_missing", rows=missing, column=self.by))
        for code, label in enumerate(labels):
            inside = rows & (groups == code)
            if not inside.any():
                continue
            try:
                fits.append((label, self.estimator.fit(panel, design, inside)))
            except EvalkitError as error:
                notes.append(message("note.subgroup_failed", subgroup=label, why=str(error)))
        if not fits:
            raise DesignError(
                f"no subgroup of '{self.by}' can be estimated", where="Split", remedy="; ".join(map(str, notes))
            )
        fit = stack_fits(fits)
        return Fit(fit.terms, fit.coefficients, fit.parts, (*notes, *fit.notes))

    def _groups(self, panel: Panel) -> tuple[Ints, list[str]]:
        """Subgroup code (n,) of each row, -1 where unknown, and the subgroups' labels."""
        require_column(panel.frame, self.by)
        if self.threshold is not None:
            values = numbers(panel.frame, self.by)
            groups = np.where(np.isnan(values), -1, (values >= self.threshold).astype(np.int64))
            labels = [f"{self.by}<{self.threshold:g}", f"{self.by}>={self.threshold:g}"]
        else:
            codes = panel.codes(self.by)
            if len(codes.labels) > 50:
                raise DesignError(
                    f"'{self.by}' has {len(codes.labels)} values, too many for subgroups",
                    where="Split",
                    remedy="give a threshold=, or a column with few values",
                )
            groups = codes.values
            labels = [f"{self.by}={_plain(label)}" for label in codes.labels]
        if panel.unit_codes is not None:
            groups = groups[panel.starts][panel.unit_codes.values]
        return groups, labels


def _plain(label: object) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
