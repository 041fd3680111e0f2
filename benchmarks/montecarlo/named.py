"""The designs on which marks and headline are measured: those that the rule was built on, by name, and others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evalkit import Design, Panel
from evalkit.estimators import CallawaySantAnna, Imputation, Split, Stacked, SunAbraham, TwoWayFE
from evalkit.results.estimation import Estimator
from montecarlo.cells import SEED
from montecarlo.panels import Floats, lay_out

_EACH: tuple[Literal["simple", "dynamic", "cohort"], ...] = ("simple", "dynamic", "cohort")
_BLOCK = 5
"""Counties of a prefecture, where shocks are shared."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Counties by cohort, (number, first treated period), those never treated last.

    heavy  the county that weighs as much as all others together, if one does.
    large  how many of each cohort, and of those never treated, belong to the second of two subgroups, if there are two.
    missing  share of the county-periods that are not observed.
    lot    prefectures are drawn by lot; else counties that adopt together lie together.
    """

    name: str
    cohorts: tuple[tuple[int, int], ...]
    never: int
    periods: int = 8
    heavy: int | None = None
    large: tuple[int, ...] = ()
    missing: float = 0.0
    lot: bool = False

    @property
    def first(self) -> Floats:
        """First treated period (G,), NaN = never."""
        adopting = [np.full(n, float(when)) for n, when in self.cohorts]
        return np.concatenate([*adopting, np.full(self.never, np.nan)])

    @property
    def treated(self) -> int:
        return sum(n for n, _ in self.cohorts)

    def panel(self) -> Panel:
        """Lay it out, with columns weight, large, prefecture, fixed (a covariate of counties) and moving (one over time)."""
        first, rng = self.first, np.random.default_rng(SEED)
        counties = len(first)
        weight = np.ones(counties)
        if self.heavy is not None:
            weight[self.heavy] = counties - 1
        sizes = [n for n, _ in self.cohorts] + [self.never]
        large = [np.arange(n) < k for n, k in zip(sizes, self.large or [0] * len(sizes), strict=True)]
        fixed, lots = rng.standard_normal(counties), rng.permutation(counties)
        prefecture = (lots if self.lot else np.arange(counties)) // _BLOCK
        columns = {"weight": weight, "large": np.concatenate(large).astype(float), "fixed": fixed}
        panel = lay_out(first, periods=self.periods, columns=columns | {"prefecture": prefecture.astype(float)})
        moving = rng.standard_normal((counties, self.periods)).cumsum(axis=1).ravel()
        panel = panel.with_column("moving", moving)
        if not self.missing:
            return panel
        return Panel.from_frame(panel.frame[rng.random(len(panel)) >= self.missing], unit="unit", time="period")

    def design(self) -> Design:
        """The design that goes with it."""
        weights = None if self.heavy is None else "weight"
        return Design(outcome="outcome", adoption="first", assigned_at="county", weights=weights)

    def estimators(self) -> dict[str, tuple[Estimator, ...]]:
        """What is asked of it, by the name shown: an estimator with each of its aggregates."""
        if self.large:
            inner = TwoWayFE() if len(self.cohorts) == 1 else CallawaySantAnna()
            return {f"gap, {type(inner).__name__}": (Split(by="large", estimator=inner),)}
        found: dict[str, tuple[Estimator, ...]] = {
            "TwoWayFE": (TwoWayFE(),),
            "CallawaySantAnna": tuple(CallawaySantAnna(aggregate=one) for one in ("simple", "dynamic", "group")),
            "Imputation": tuple(Imputation(aggregate=one) for one in _EACH),
        }
        if len(self.cohorts) > 1:
            found["SunAbraham"] = tuple(SunAbraham(aggregate=one) for one in _EACH)
            if self.never:
                found["Stacked"] = (Stacked(leads=2, lags=1),)
        return found


def _dates(*numbers: int, start: int = 3) -> tuple[tuple[int, int], ...]:
    """Cohorts of so many counties, one after the other."""
    return tuple((n, start + i) for i, n in enumerate(numbers))


def _one_date(treated: int, counties: int) -> Layout:
    return Layout(f"one date {treated}/{counties}", ((treated, 4),), counties - treated)


_GAPS = (
    Layout("gap 10/30 and 2/20", ((12, 4),), 38, large=(2, 18)),
    Layout("gap 10/20 and 3/6", ((13, 4),), 13, large=(3, 3)),
    Layout("gap 8+1 of 20 and 5+1 of 15", ((13, 3), (2, 5)), 20, large=(5, 1, 9)),
)
CASTLE = Layout("castle 1/13/4/2/1 + 29", _dates(1, 13, 4, 2, 1, start=5), 29, periods=11)
NAMED: dict[str, Layout] = {
    one.name: one
    for one in (
        *(_one_date(treated, 20) for treated in range(1, 19)),
        *(_one_date(*sizes) for sizes in ((2, 8), (3, 8), (5, 50), (10, 50), (15, 50))),
        CASTLE,
        Layout("60 + one late + 60 never", ((60, 3), (1, 6)), 60),
        Layout("five of 1 + 15 never", _dates(1, 1, 1, 1, 1, start=2), 15),
        Layout("three of 2 + 12 never", ((2, 3), (2, 5), (2, 6)), 12),
        Layout("three of 4 + 28 never", ((4, 3), (4, 5), (4, 6)), 28),
        Layout("three of 10 + 70 never", ((10, 3), (10, 5), (10, 6)), 70),
        Layout("nine of 2 + 22 never", _dates(*[2] * 9, start=2), 22, periods=12),
        Layout("57/46/25 + 103 never", ((57, 3), (46, 5), (25, 6)), 103),
        Layout("5 + three of 1 + 30 never", _dates(5, 1, 1, 1), 30),
        Layout("five of 4, all in the end", _dates(4, 4, 4, 4, 4, start=2), 0),
        Layout("tails 1/2/3/5/8/8 + 13 never", _dates(1, 2, 3, 5, 8, 8, start=2), 13, periods=10),
        *(Layout(f"four of 5 + {n} never", _dates(5, 5, 5, 5), n) for n in (1, 2, 3)),
        Layout("a treated county holds half, 3/12", ((3, 4),), 9, heavy=0),
        Layout("a treated county holds half, 6/20", ((6, 4),), 14, heavy=0),
        Layout("a control county holds half, 3/12", ((3, 4),), 9, heavy=11),
        *_GAPS,
    )
}


def random_layout(number: int) -> Layout:
    """A staggered design by lot: 2 to 6 cohorts, many of one county, beside 6 to 40 counties never treated."""
    rng = np.random.default_rng([SEED, number])
    periods = int(rng.integers(8, 13))
    dates = np.sort(rng.choice(np.arange(2, periods), size=int(rng.integers(2, 7)), replace=False))
    cohorts = tuple((int(min(rng.geometric(0.3), 12)), int(when)) for when in dates)
    return Layout(f"by lot {number}", cohorts, int(rng.integers(6, 41)), periods=periods)


def sparse(of: Layout, missing: float) -> Layout:
    """The same with some of its county-periods missing at random."""
    return replace(of, name=f"{of.name}; {100 * missing:.0f} % missing", missing=missing)
