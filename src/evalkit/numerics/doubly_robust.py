"""Two groups, two periods: the effect on the treated by regression, weighting, or both, with the influence of each observation.

Sant'Anna and Zhao, Journal of Econometrics 219 (2020): eq. 3.1 for changes, eq. 3.4 for levels; standardised weights (Hajek), the
propensity by logit, the outcome by least squares among the comparison. Influence is exact: the derivative of the effect with
respect to an observation's weight, times the weight. It sums to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evalkit.numerics.arrays import Floats
from evalkit.numerics.glm import combine_columns, cross, logit, products
from evalkit.numerics.least_squares import COLLINEAR

Method = Literal["dr", "reg", "ipw"]
Reason = Literal["no_treated", "no_comparison", "overlap", "too_few"]

# As in R did: a comparison with a propensity from _OVERLAP on is given up; observations of comparison from _TRIM on leave it.
_OVERLAP = 0.999
_TRIM = 0.995
_SINGULAR = 1e-12


@dataclass(frozen=True)
class Effect:
    """The effect, the influence (n,) of the observations, and how many of the comparison were left out for lack of overlap.

    `negative` is what the negative weights sum to that a regression of the comparison gives its observations, without their
    sign; all of its weights sum to 1.
    """

    value: float
    influence: Floats
    trimmed: int = 0
    negative: float = 0.0


@dataclass(frozen=True)
class Adjustment:
    """What adjusts n observations, the treated first: a basis (k, n) of the covariates, weights (n,), and the models of both.

    `comparison` (k, k) inverts the cross-products of the comparison. Without covariates there are only weights, None where all
    are equal. `collinear` lists covariates that add nothing to those before them; `negative` is as in Effect.
    """

    n_treated: int
    weights: Floats | None
    basis: Floats | None = None
    propensity: _Propensity | None = None
    comparison: Floats | None = None
    collinear: tuple[int, ...] = ()
    negative: float = 0.0


@dataclass(frozen=True)
class _Propensity:
    """Odds (n_c,) of the comparison times weights, 0 where left out; score (n,) and inverse information (k, k) of the logit."""

    odds: Floats
    score: Floats
    inverse: Floats
    trimmed: int


def adjust_untreated(
    covariates: list[Floats], weights: Floats | None, n_treated: int, method: Method
) -> Adjustment | Reason:
    """Prepare the adjustment of n observations, the treated first, for covariates each (n,)."""
    if not covariates:
        return Adjustment(n_treated, weights)
    basis, collinear = _orthonormal(covariates)
    weights = np.ones(basis.shape[1]) if weights is None else weights
    propensity = None if method == "reg" else _fit_propensity(basis, weights, n_treated)
    if isinstance(propensity, str):
        return propensity
    inverse = None if method == "ipw" else _invert(basis[:, n_treated:], weights[n_treated:])
    if method != "ipw" and inverse is None:
        return "too_few"
    negative = 0.0
    if method == "reg" and inverse is not None:
        centre = products(basis[:, :n_treated], weights[:n_treated]) / weights[:n_treated].sum()
        negative = _negative(inverse, centre, basis[:, n_treated:], weights[n_treated:])
    return Adjustment(n_treated, weights, basis, propensity, inverse, collinear, negative)


def _negative(inverse: Floats, centre: Floats, basis: Floats, weights: Floats) -> float:
    """Sum the negative weights that least squares gives its n observations in the prediction at covariates `centre` (k,).

    A prediction is a weighted mean of the outcomes; the further the centre lies from the covariates (k, n), the more weights are
    negative. Source: Chattopadhyay and Zubizarreta, Biometrika 110 (2023).
    """
    implied = weights * combine_columns(inverse @ centre, basis)
    return float(-implied[implied < 0].sum())


def compare_changes(change: Floats, to: Adjustment) -> Effect:
    """Compare changes (n,) of units between two periods, those of the treated first."""
    m, basis, weights = to.n_treated, to.basis, to.weights
    mine = None if weights is None else weights[:m]
    if basis is None or weights is None:
        treated, one = _mean(change[:m], mine)
        comparison, other = _mean(change[m:], None if weights is None else weights[m:])
        return Effect(treated - comparison, np.concatenate([one, -other]))
    left = change
    if to.comparison is not None:
        slopes = to.comparison @ products(basis[:, m:], weights[m:] * change[m:])
        left = change - combine_columns(slopes, basis)
    treated, one = _mean(left[:m], mine)
    comparison, other, balance, trimmed = 0.0, np.zeros(len(change) - m), np.zeros(len(basis)), 0
    if to.propensity is not None:
        comparison, other = _mean(left[m:], to.propensity.odds)
        balance = products(basis[:, m:], to.propensity.odds) / to.propensity.odds.sum()
        trimmed = to.propensity.trimmed
    influence = np.concatenate([one, -other])
    if to.comparison is not None:
        pull = to.comparison @ (balance - products(basis[:, :m], weights[:m]) / weights[:m].sum())
        influence[m:] += weights[m:] * left[m:] * combine_columns(pull, basis[:, m:])
    if to.propensity is not None:
        influence -= _pull_of_propensity(to.propensity, basis, products(basis[:, m:], other))
    return Effect(treated - comparison, influence, trimmed, to.negative)


@dataclass(frozen=True)
class Linear:
    """How an effect and its influence depend on n observations, given weights and propensity: both are linear in them.

    With observations y (n,) the effect is own·y, and the influence of each own*y - pull'(functionals y); own (n,), pull and
    functionals (r, n).
    """

    own: Floats
    pull: Floats
    functionals: Floats


def linear_mean(n: int, weights: Floats | None) -> Linear:
    """A mean of n observations: each has the influence share·(y - mean)."""
    share = np.full(n, 1.0 / n) if weights is None else weights / weights.sum()
    return Linear(share, share[None], share[None])


def linear_changes(to: Adjustment) -> Linear:
    """What `compare_changes` does to changes, for an adjustment with covariates.

    Their functionals are the slopes of the comparison, the means of what these leave of the treated and of the comparison, and
    how the propensity's coefficients move the latter.
    """
    basis, weights, m = to.basis, to.weights, to.n_treated
    assert basis is not None
    assert weights is not None
    treated, odds = np.zeros_like(weights), np.zeros_like(weights)
    treated[:m] = weights[:m] / weights[:m].sum()
    if to.propensity is not None:
        odds[m:] = to.propensity.odds / to.propensity.odds.sum()
    own = treated - odds
    slopes = np.zeros_like(basis)
    if to.comparison is not None:
        slopes[:, m:] = to.comparison @ (basis[:, m:] * weights[m:])
        own -= products(basis, own) @ slopes
    mean = treated - products(basis, treated) @ slopes
    pull, functionals = [own * basis, treated[None]], [slopes, mean[None]]
    if to.propensity is not None:
        centre = products(basis, odds)
        mean = odds - centre @ slopes
        moved = odds * basis - cross(basis, odds) @ slopes - np.outer(centre, mean)
        pull += [-odds[None], to.propensity.score * (to.propensity.inverse @ basis)]
        functionals += [mean[None], moved]
    return Linear(own, np.vstack(pull), np.vstack(functionals))


def compare_levels(
    outcome: Floats, covariates: list[Floats], weights: Floats | None, sizes: tuple[int, int, int, int], method: Method
) -> tuple[Effect, tuple[int, ...]] | Reason:
    """Compare levels (n,) of different people: treated after and before, then comparison after and before, `sizes` of each.

    Returns the effect and the collinear covariates, or why there is none.
    """
    ends = np.cumsum(sizes).tolist()
    blocks = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    m = sizes[0] + sizes[1]
    adjusted = adjust_untreated(covariates, weights, m, method)
    if isinstance(adjusted, str):
        return adjusted
    basis, weights, propensity = adjusted.basis, adjusted.weights, adjusted.propensity
    influence, value, negative = np.zeros(len(outcome)), 0.0, 0.0
    if basis is None or weights is None:
        for block, sign in zip(blocks, (1.0, -1.0, -1.0, 1.0), strict=True):
            mean, part = _mean(outcome[block], None if weights is None else weights[block])
            value += sign * mean
            influence[block] = sign * part
        return Effect(value, influence), ()
    centre = products(basis[:, :m], weights[:m]) / weights[:m].sum()
    gap = np.zeros(len(basis))  # of the lines: treated less comparison, after less before
    shift = np.zeros(len(basis))
    for s, sign in enumerate((1.0, -1.0)):
        here, there = blocks[s], blocks[s + 2]
        line = None if method == "ipw" else _line(outcome, basis, weights, there)
        own = _line(outcome, basis, weights, here) if method == "dr" else None
        if (line is None and method != "ipw") or (own is None and method == "dr"):
            return "too_few"
        left, balance = outcome[there], np.zeros(len(basis))
        if line is not None:
            gap -= sign * line.slopes
            left = line.left
        if own is not None:  # as a line's residuals have mean 0, its mean stands for that of the outcome
            gap += sign * own.slopes
            influence[here] += sign * own.pull(centre)
        else:
            mean, part = _mean(outcome[here], weights[here])
            value += sign * mean
            influence[here] += sign * part
        if propensity is not None:
            odds = propensity.odds[there.start - m : there.stop - m]
            if not odds.any():
                return "overlap"
            mean, part = _mean(left, odds)
            value -= sign * mean
            influence[there] -= sign * part
            balance = products(basis[:, there], odds) / odds.sum()
            shift += sign * products(basis[:, there], part)
        if line is not None:
            influence[there] += sign * line.pull(balance - centre)
            if method == "reg":
                negative = max(negative, _negative(line.inverse, centre, line.basis, line.weights))
    mean, part = _mean(combine_columns(gap, basis[:, :m]), weights[:m])
    influence[:m] += part
    if propensity is not None:
        influence -= _pull_of_propensity(propensity, basis, shift)
    trimmed = 0 if propensity is None else propensity.trimmed
    return Effect(value + mean, influence, trimmed, negative), adjusted.collinear


def linear_levels(
    covariates: list[Floats], weights: Floats | None, sizes: tuple[int, int, int, int], method: Method
) -> Linear:
    """What `compare_levels` does to levels, with covariates and where it finds an effect.

    Their functionals are, after and before, the slopes (or the mean) of the treated, the slopes of the comparison and the mean of
    what these leave; then the gap of the lines, and how the propensity's coefficients move the means.
    """
    ends = np.cumsum(sizes)
    m = int(ends[1])
    adjusted = adjust_untreated(covariates, weights, m, method)
    assert isinstance(adjusted, Adjustment)
    basis, weights, propensity = adjusted.basis, adjusted.weights, adjusted.propensity
    assert basis is not None
    assert weights is not None
    treated = np.where(np.arange(len(weights)) < m, weights, 0.0) / weights[:m].sum()
    centre = products(basis, treated)
    own, gap, moved = np.zeros_like(weights), np.zeros_like(basis), np.zeros_like(basis)
    pull: list[Floats] = []
    functionals: list[Floats] = []
    for s, sign in enumerate((1.0, -1.0)):
        here, there = (np.zeros_like(weights) for _ in range(2))
        for of, block in ((here, s), (there, s + 2)):
            rows = slice(int(ends[block]) - sizes[block], int(ends[block]))
            of[rows] = weights[rows]
        if method == "dr":
            slopes = _slopes(basis, here)
            enters = sign * (centre @ slopes)
            gap += sign * slopes
            pull, functionals = [*pull, enters * basis], [*functionals, slopes]
        else:
            share = here / here.sum()
            enters = sign * share
            pull, functionals = [*pull, enters[None]], [*functionals, share[None]]
        own += enters
        slopes, odds = np.zeros_like(basis), np.zeros_like(weights)
        if propensity is not None:
            odds[m:] = np.where(there[m:] > 0, propensity.odds, 0.0)
            odds /= odds.sum()
        balance = products(basis, odds)
        enters = -sign * odds
        if method != "ipw":
            slopes = _slopes(basis, there)
            enters += sign * ((balance - centre) @ slopes)
            gap -= sign * slopes
            pull, functionals = [*pull, enters * basis], [*functionals, slopes]
        if propensity is not None:
            mean = odds - balance @ slopes
            moved += sign * (odds * basis - cross(basis, odds) @ slopes - np.outer(balance, mean))
            pull, functionals = [*pull, -sign * odds[None]], [*functionals, mean[None]]
        own += enters
    pull, functionals = [*pull, -treated * (basis - centre[:, None])], [*functionals, gap]
    if propensity is not None:
        pull = [*pull, propensity.score * (propensity.inverse @ basis)]
        functionals = [*functionals, moved]
    return Linear(own, np.vstack(pull), np.vstack(functionals))


def _slopes(basis: Floats, weights: Floats) -> Floats:
    """Least-squares slopes as functionals (k, n) of the outcome, of the rows that have a weight."""
    inverse = _invert(basis, weights)
    assert inverse is not None
    slopes: Floats = inverse @ (basis * weights)
    return slopes


@dataclass(frozen=True)
class _Line:
    """Least squares in one group and period: slopes (k,), what it leaves (n,), the basis (k, n), weights, inverse (k, k)."""

    slopes: Floats
    left: Floats
    basis: Floats
    weights: Floats
    inverse: Floats

    def pull(self, on: Floats) -> Floats:
        """Influence (n,) of the observations on a combination (k,) of the slopes."""
        influence: Floats = self.weights * self.left * combine_columns(self.inverse @ on, self.basis)
        return influence


def _line(outcome: Floats, basis: Floats, weights: Floats, block: slice) -> _Line | None:
    here, w = basis[:, block], weights[block]
    inverse = _invert(here, w)
    if inverse is None:
        return None
    slopes = inverse @ products(here, w * outcome[block])
    return _Line(slopes, outcome[block] - combine_columns(slopes, here), here, w, inverse)


def _mean(values: Floats, weights: Floats | None) -> tuple[float, Floats]:
    """Return the mean and the influence (n,) of each value on it."""
    if weights is None:
        mean = float(values.mean())
        return mean, (values - mean) / len(values)
    total = float(weights.sum())
    mean = float(np.einsum("i,i->", weights, values)) / total
    return mean, (values - mean) * (weights / total)


def _fit_propensity(basis: Floats, weights: Floats, n_treated: int) -> _Propensity | Reason:
    treated = np.zeros(basis.shape[1])
    treated[:n_treated] = 1.0
    fit = logit(columns=basis, outcome=treated, weights=weights)
    if not fit.converged or fit.probabilities.max() >= _OVERLAP:
        return "overlap"
    p = fit.probabilities[n_treated:]
    odds = np.where(p < _TRIM, weights[n_treated:] * p / (1.0 - p), 0.0)
    if not odds.any():
        return "overlap"
    return _Propensity(odds, weights * (treated - fit.probabilities), fit.inverse, int((p >= _TRIM).sum()))


def _pull_of_propensity(propensity: _Propensity, basis: Floats, on: Floats) -> Floats:
    influence: Floats = propensity.score * combine_columns(propensity.inverse @ on, basis)
    return influence


def _orthonormal(covariates: list[Floats]) -> tuple[Floats, tuple[int, ...]]:
    """Return a constant and what each covariate adds to those before it, (k, n) of mean square 1, and which add nothing.

    Fitted values do not depend on the basis; this one loses no digit to the units or the size of a covariate.
    """
    n = len(covariates[0])
    kept, collinear = [np.ones(n)], []
    for j, column in enumerate(covariates):
        length = np.sqrt(np.einsum("i,i->", column, column))
        left = column / length if length > 0 else column
        for _ in range(2):  # twice is enough: Bjoerck, Numerical Methods for Least Squares Problems, 1996, 2.4.5
            for one in kept:
                left = left - np.einsum("i,i->", one, left) / n * one
        rest = np.sqrt(np.einsum("i,i->", left, left))
        if rest > COLLINEAR:
            kept.append(left * (np.sqrt(n) / rest))
        else:
            collinear.append(j)
    return np.array(kept), tuple(collinear)


def _invert(basis: Floats, weights: Floats) -> Floats | None:
    """Invert the cross-products (k, k) of a group; None where its covariates do not span those of all."""
    total = float(weights.sum())
    values, vectors = np.linalg.eigh(cross(basis, weights) / total)
    if values[0] <= _SINGULAR * values[-1]:
        return None
    inverse: Floats = (vectors / values) @ vectors.T / total
    return inverse
