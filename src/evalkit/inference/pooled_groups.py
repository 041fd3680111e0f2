"""One difference per cluster, one variance for all of them: t with G - 2 degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.catalogue import message
from evalkit.columns import Flags, Floats
from evalkit.errors import InferenceError
from evalkit.estimation import Specification
from evalkit.fit import Fit, Part
from evalkit.inference._clusters import assignment, count_clusters, smallest_p
from evalkit.sample import Sample
from evalkit.uncertainty import Uncertainty

_SAME = 1e-9  # relative; totals of weights differ by rounding only


@dataclass(frozen=True)
class PooledGroups:
    """Reduce each unit of assignment to one number, and compare the treated with the control ones by a pooled t test.

    The effect is then a difference of two means of G independent numbers, and t(G - 2) is exact when these are normal and treated
    and control clusters vary alike, be one cluster treated or many. Where the treated vary more, true nulls are rejected too
    often, and with one treated cluster the data cannot tell. Needs a regression, one date of adoption, units observed in every
    period, no covariates, and units of assignment that weigh alike; else InferenceError says what is in the way.
    Source: Donald and Lang, Review of Economics and Statistics 89 (2007), section III.
    """

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """Pool the squares of the clusters' influence around their means."""
        way = assignment(fit)
        residuals = np.zeros((way.n_codes, len(fit.terms)))
        scale = df = 0.0
        sides = [_sides(part) for part in fit.parts]
        for part, (treated, control) in zip(fit.parts, sides, strict=True):
            if (treated != sides[0][0]).any() or (control != sides[0][1]).any():
                raise InferenceError(
                    "the subgroups are not found in the same units of assignment",
                    where="PooledGroups",
                    remedy="estimate each subgroup on its own, or use Cluster()",
                )
            n_treated, n_control = int(treated.sum()), int(control.sum())
            df = n_treated + n_control - 2
            if df < 1:
                raise InferenceError(
                    f"there are only {n_treated} treated and {n_control} control units of assignment",
                    where="PooledGroups",
                    remedy="with two units no variance can be told from an effect; add units of comparison",
                )
            scale = 1 / n_treated + 1 / n_control
            own = part.influence.sum_within(part.sample.cluster, way.n_codes)
            if part.regression is None:  # influence need not be a deviation from a mean
                raise InferenceError(
                    "PooledGroups needs the residuals of a regression, which this estimator does not have",
                    where="PooledGroups",
                    remedy="use Jackknife(), or Placebo(draws=200, seed=1), or Cluster()",
                )
            residuals[:, part.positions] = own * np.where(treated, n_treated, n_control)[:, None]
        covariance = residuals.T @ residuals / df * scale
        counted, parts = count_clusters(fit, way)
        return Uncertainty(
            covariance,
            np.full(len(fit.terms), df),
            message("method.pooled_groups", level=spec.design.assigned_at),
            smallest_p(fit),
            counted,
            parts,
            joint_unsupported=message("note.joint_pooled"),
            notes=(message("note.vary_alike", treated=counted.treated, control=counted.control),),
        )


def _sides(part: Part) -> tuple[Flags, Flags]:
    """Flag the treated and the control clusters by code, after checking that the effect is a difference of their means."""
    sample = part.sample
    if sample.covariates or sample.absorb:
        _refuse("the design has covariates or further fixed effects", "leave them out")
    if sample.dose is not None or sample.eligible is not None:
        _refuse("the design has a dose, or compares the eligible with others", "leave that out")
    adoption = sample.cluster_adoption()
    adoption[adoption > sample.period.max()] = np.inf
    dates = np.unique(adoption[np.isfinite(adoption)])
    if len(dates) > 1:
        _refuse(f"there are {len(dates)} dates of adoption", "keep one cohort and its comparison")
    totals = _totals(sample)
    treated, control = np.isfinite(adoption), np.isinf(adoption)
    for side, name in ((treated, "treated"), (control, "control")):
        if side.any() and np.ptp(totals[side]) > _SAME * totals[side].max():
            level = sample.design.assigned_at
            _refuse(
                f"the {name} units of assignment ({level}) do not weigh alike: from {totals[side].min():g} to "
                f"{totals[side].max():g} in total",
                f'weigh their rows so that they do: derive a column by equal_weight("{level}") and name it as weights',
            )
    return treated, control


def _totals(sample: Sample) -> Floats:
    """Total weight of each cluster in one period, by code; every absorbed unit must weigh the same in every period."""
    weight = np.ones(len(sample.rows)) if sample.weights is None else sample.weights
    periods, at = np.unique(sample.period, return_inverse=True)
    n_units = int(sample.unit.max()) + 1
    cells = np.bincount(sample.unit * len(periods) + at, weights=weight, minlength=n_units * len(periods))
    cells = cells.reshape(n_units, len(periods))
    uneven = np.ptp(cells, axis=1) > _SAME * cells.max()
    if uneven.any():
        _refuse(
            f"{int(uneven.sum())} of {n_units} units are not observed, or do not weigh the same, in every period",
            "keep units observed throughout, with constant weights",
        )
    totals = np.zeros(len(sample.clusters))
    np.add.at(totals, sample.cluster[sample.starts], cells[:, 0])
    return totals


def _refuse(what: str, remedy: str) -> None:
    raise InferenceError(
        f"{what}, so that the effect is no difference of means of units of assignment",
        where="PooledGroups",
        remedy=f"{remedy}, or use Cluster()",
    )
