"""Uncertainty: what an inference says of a fit, and whether the design has the clusters that it presumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from evalkit.catalogue import Message, message
from evalkit.columns import Floats
from evalkit.law import Law


@dataclass(frozen=True)
class Clusters:
    """The clusters of a covariance: how many, how many have treated rows, and how many the estimate effectively rests on.

    `effective` is the number of equal clusters with the same reliability (Carter, Schnepel, Steigerwald, Review of Economics
    and Statistics 99 (2017), eq. 8, with independent rows), for the first effect; NaN where there is no regression.
    """

    total: int
    treated: int
    control: int
    smallest_cohort: int
    effective: float


@dataclass(frozen=True)
class Uncertainty:
    """What an inference says of a fit: covariance (k, k), t degrees of freedom (k,), and the method in words.

    `clusters` counts those of all parts of the fit together, `part_clusters` those of each (a subgroup can lack treated clusters
    that the whole has). `smallest_p` is the smallest p that any permutation of adoption could give. `unsupported` says why the
    p-values, although computed as named, come from a reference distribution that the design cannot support (None where it
    can); `joint_unsupported` the same for joint tests. Both leave the p-value of `wald` empty. `law` judges combinations of
    coefficients (None: Student's t with this covariance and these degrees of freedom). `sentence` says what the design can and
    cannot show, and `compare` tries other methods, where the inference does so.
    """

    covariance: Floats
    df: Floats
    method: Message
    smallest_p: float
    clusters: Clusters
    part_clusters: tuple[Clusters, ...]
    unsupported: Message | None = None
    joint_unsupported: Message | None = None
    notes: tuple[Message, ...] = ()
    law: Law | None = None
    sentence: Message | None = None
    compare: Callable[[], pd.DataFrame] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def alternatives(self) -> pd.DataFrame | None:
        """One row for each method that was tried and each effect, made when it is first asked for; None of a single method."""
        return None if self.compare is None else self.compare()


# With up to so many treated (or control) clusters among at most so many in all, t(G-1) on CR1 errors rejects a true null about
# twice as often as it should or more; joint F tests need more of both. Measured by `make montecarlo`: docs/decisions/0004.
_TOO_FEW = ((12, 2), (20, 3), (40, 5), (60, 6), (100, 7), (math.inf, 8))


_ENOUGH_FOR_JOINT_TESTS = 30


def few_clusters(*parts: Clusters, by_cohort: bool = False) -> tuple[Message | None, Message | None]:
    """Say why t(G-1) on clustered errors cannot be believed: for single coefficients, and for joint tests (None: it can).

    The smaller of the treated and the control clusters decides, and the number of all, in the part for which they are fewest;
    `by_cohort` the smallest cohort in place of the treated, where effects of cohorts are estimated apart.
    """
    single = joint = None

    def treated(one: Clusters) -> int:
        return one.smallest_cohort if by_cohort else one.treated

    for clusters in sorted(parts, key=lambda one: min(treated(one), one.control), reverse=True):
        smaller = min(treated(clusters), clusters.control)
        values = {"treated": treated(clusters), "control": clusters.control}
        if smaller <= next(few for total, few in _TOO_FEW if clusters.total <= total):
            single = message("note.few_clusters", **values)
        if smaller < _ENOUGH_FOR_JOINT_TESTS:
            joint = message("note.joint_few_clusters", **values)
    return single, joint
