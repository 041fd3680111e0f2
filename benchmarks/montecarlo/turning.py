"""The two numbers that turn a conclusion: at the noise ratio, and at the share of common shocks, 5 % of draws must go as far."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from evalkit.estimators import CallawaySantAnna, Imputation, TwoWayFE
from evalkit.inference import ByDesign
from evalkit.numerics.loadings import turning_noise, turning_share
from evalkit.results.estimation import Estimator
from montecarlo.cells import NOMINAL, AtOnce, Cell, Experiment, Outcome, Tallies, Tally, cell
from montecarlo.linear import Statistic, Study, study
from montecarlo.named import CASTLE, NAMED, Layout
from montecarlo.panels import Flags, Floats, Ints
from montecarlo.worlds import draw_shocks, share, spread

DRAWS = 10_000
_MANY = Layout("80/70/50 + 200 never", ((80, 3), (70, 5), (50, 6)), 200)
_TRIED = 2_000
_NUMBERS = ("noise", "shared")
_WHERE: dict[str, tuple[Layout, tuple[Estimator, ...]]] = {
    "one date 3/8": (NAMED["one date 3/8"], (TwoWayFE(),)),
    "one date 5/20": (NAMED["one date 5/20"], (TwoWayFE(), CallawaySantAnna())),
    "one date 10/50": (NAMED["one date 10/50"], (TwoWayFE(), CallawaySantAnna())),
    CASTLE.name: (CASTLE, (TwoWayFE(), CallawaySantAnna(), Imputation())),
    "five of 1 + 15 never": (NAMED["five of 1 + 15 never"], (TwoWayFE(), CallawaySantAnna(), Imputation())),
    "three of 4 + 28 never": (NAMED["three of 4 + 28 never"], (CallawaySantAnna(), Imputation())),
    _MANY.name: (_MANY, (CallawaySantAnna(), TwoWayFE())),
}
P_VALUES = (".06", ".045", ".01")
_FAR = 100.0
"""Ratio that is drawn where none turns the conclusion (1 over it, where the effect is not significant); of shares, all."""


def cells() -> tuple[Cell, ...]:
    """By design, estimator and the p of the effect that was observed."""
    return tuple(
        cell("turning", DRAWS, design=name, estimator=type(one).__name__, p=p)
        for name, (_, estimators) in _WHERE.items()
        for one in estimators
        for p in P_VALUES
    )


@dataclass(frozen=True, eq=False)
class _Turned:
    """A t as far out as the one observed, in worlds where the treated vary `ratio` times as much, or share `part`."""

    statistic: Statistic
    shape: tuple[int, int]
    treated: Flags
    block: Ints
    t: float
    name: str
    ratio: float
    part: float

    def tally(self, rng: np.random.Generator, draws: int) -> Tallies:
        """Count draws at least as far out, under each law."""
        shocks = draw_shocks(rng, *self.shape, draws)
        common = rng.standard_normal((int(self.block.max()) + 1, self.shape[1], draws))
        found = Tallies()
        for law, at in (("noise", self.ratio), ("shared", self.part)):
            if np.isnan(at):
                continue
            tally = found.by_method.setdefault(f"{self.name}, {law}", Tally())
            why, at = (f"at {at:.3g}", at) if 0 < at < np.inf else ("at none", _FAR if at else 1 / _FAR)
            at = min(at, 1.0) if law == "shared" else at
            made = spread(shocks, at, self.treated) if law == "noise" else share(shocks, at, common, self.block)
            drawn = made.reshape(-1, draws)
            far = np.abs(self.statistic.loadings @ drawn) >= self.t * self.statistic.errors(drawn)
            for one in far:
                tally.add(Outcome(bool(one), why=why))
        return found


def prepare(one: Cell) -> AtOnce:
    """Find where the conclusion turns, as ByDesign does, which a draw in which it says so must confirm."""
    layout, estimators = _WHERE[one["design"]]
    estimator = next(each for each in estimators if type(each).__name__ == one["estimator"])
    rng = np.random.default_rng(1)
    of = study(layout.panel(), replace(layout.design(), above="prefecture"), estimator, rng)
    here = replace(of, design=layout.design())
    (weights,) = (
        np.eye(len(of.loadings.fit.terms))[i] for i, t in enumerate(of.loadings.fit.terms) if t.role == "effect"
    )
    county = np.array([int(label) for label in of.loadings.labels])
    block = of.panel.frame.groupby("county")["prefecture"].first().to_numpy(dtype=np.int64)[county]
    shocks = rng.standard_normal((np.prod(of.shape), _TRIED))
    name = here.chosen(here.draw(shocks[:, 0], ByDesign()))
    statistic = of.statistics(weights)[name]
    _confirm(of, here, statistic, weights, block, shocks)
    t = float(stats.t.isf(float(one["p"]) / 2, statistic.df))
    significant = float(one["p"]) < NOMINAL
    ratio, part = _turns(of, statistic, weights, block, t, significant)
    return _Turned(statistic, of.shape, of.loadings.treated, block, t, name, ratio, part)


def _turns(
    of: Study, statistic: Statistic, weights: Floats, block: Ints, t: float, significant: bool = True
) -> tuple[float, float]:
    """Ratio and share at which an effect t standard errors away from 0 turns; NaN for a share where it is not significant."""
    loadings = of.loadings.values @ weights
    seen = statistic.seen.times(float(statistic.factor[0]))
    ratio = turning_noise(t=t, significant=significant, loadings=loadings, treated=of.loadings.treated, of=seen)
    if not significant:
        return ratio, float("nan")
    return ratio, turning_share(t=t, loadings=loadings, block=block, of=seen)


def _confirm(of: Study, here: Study, statistic: Statistic, weights: Floats, block: Ints, shocks: Floats) -> None:
    """AssertionError unless the public interface gives the same two numbers in a draw in which p is below .05."""
    (i, *_) = np.flatnonzero(statistic.p_values(shocks) < 0.02)
    drawn = shocks[:, [i]]
    t = float((statistic.loadings @ drawn)[0] / statistic.errors(drawn)[0])
    ratio, part = _turns(of, statistic, weights, block, t)
    said = [other.draw(drawn[:, 0], ByDesign()).uncertainty.turning for other in (here, of)]
    told = [float("nan") if one is None else getattr(one, name) for one, name in zip(said, _NUMBERS, strict=True)]
    # clustered errors count slopes in their factor, and these numbers do not
    np.testing.assert_allclose(told, [ratio, part], rtol=1e-4 if here.shape[0] < 300 else 0.02)


EXPERIMENT = Experiment("turning", cells(), prepare)
