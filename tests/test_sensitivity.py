"""Sensitivity to trends that are not parallel: against R and Python packages, linear programs solved whole, and closed forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path as File
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from scipy import optimize, stats

from evalkit import Design, EvalkitError, Finding, Panel, check, estimate
from evalkit.checks import Sensitivity
from evalkit.estimators import CallawaySantAnna, EventStudy, Imputation, Split, TwoStage, TwoWayFE
from evalkit.inference import Cluster, PooledGroups
from evalkit.numerics.honest import (
    Interval,
    Path,
    _cut,
    _least_favourable,
    _shrinkage_path,
    breakdown,
    original_interval,
    relative_magnitudes_interval,
    smoothness_interval,
)

HERE = File(__file__).parent
REFERENCE = json.loads((HERE / "reference" / "r_honestdid.json").read_text(encoding="utf-8"))
SOLVE: dict[str, Callable[[Path, float], Interval]] = {
    "original": lambda path, _: original_interval(path),
    "C-LF": relative_magnitudes_interval,
    "FLCI": smoothness_interval,
}


def tax_cut(leads: int = 4, lags: int = 4, weights: Any = (1.0, 0.0, 0.0, 0.0)) -> Path:
    beta, V, use = np.array(REFERENCE["betahat"]), np.array(REFERENCE["sigma"]), slice(4 - leads, 4 + lags)
    return Path(beta[4 - leads : 4], beta[4 : 4 + lags], V[use, use], np.array(weights))


def random_path(leads: int, lags: int, seed: int, effect: float = 1.0) -> Path:
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(leads + lags, leads + lags + 3))
    weights = np.full(lags, 1 / lags)
    return Path(rng.normal(size=leads) / 10, effect + rng.normal(size=lags) / 10, draws @ draws.T / 100, weights)


@pytest.mark.parametrize("entry", REFERENCE["entries"], ids=lambda e: f"{e['software']}: {e['call'][:90]}")
def test_intervals_agree_with_packages(entry: dict[str, Any]) -> None:
    path = tax_cut(entry["leads"], entry["lags"], entry["weights"])
    for row in entry["results"]:
        found = SOLVE[entry["method"]](path, row.get("M", 0.0))
        # C-LF: a step for the grid, and one for the critical value that is simulated there. FLCI: theirs are solved for
        # to about 1e-7, by the torch port with a simulated quantile to 1e-4.
        slack = {"original": 1e-13, "FLCI": 1e-4 if "honestdid 0.1.1" in entry["software"] else 1e-6}
        slack["C-LF"] = 2 * row.get("grid_step", 0.0)
        assert (found.low, found.high) == pytest.approx((row["low"], row["high"]), abs=slack[entry["method"]])


def directions_that_keep(weights: Any) -> list[Any]:
    return list(np.linalg.svd(weights[None, :])[2][1:])


class ByLinearPrograms:
    """The C-LF test of one piece from its definition: moments A·β, all bases of the dual program, first stage by simulation."""

    def __init__(self, path: Path, bound: float, largest: int, sign: float) -> None:
        n, lags = len(path.leads), len(path.lags)
        steps = np.diff(np.insert(np.eye(n + lags), n, 0.0, axis=0), axis=0)
        limit = bound * sign * steps[largest]
        A = np.vstack([steps[n:] - limit, -steps[n:] - limit])
        basis = np.column_stack([path.weights / (path.weights @ path.weights), *directions_that_keep(path.weights)])
        free = A[:, n:] @ basis
        self.path, self.y, self.V, self.on_effect = path, A @ path.estimates, A @ path.covariance @ A.T, free[:, 0]
        self.W = np.column_stack([np.sqrt(np.diag(self.V)), free[:, 1:]])
        unit = np.eye(lags)[0]
        bases = [list(rows) for rows in combinations(range(len(A)), lags)]
        bases = [rows for rows in bases if abs(np.linalg.det(self.W[rows])) > 1e-9]
        found = np.zeros((len(bases), len(A)))
        for weights, rows in zip(found, bases, strict=True):
            weights[rows] = np.linalg.solve(self.W[rows].T, unit)
        self.vertices = np.unique(found[(found > -1e-9).all(axis=1)].round(12), axis=0)
        draws = np.random.default_rng(1).multivariate_normal(np.zeros(len(A)), self.V, size=200_000, method="eigh")
        self.critical = float(np.quantile((draws @ self.vertices.T).max(axis=1), 0.995))

    def statistic(self, effect: float) -> float:
        """η by a linear program."""
        y = self.y - self.on_effect * effect
        cost = np.eye(self.W.shape[1])[0]
        return float(optimize.linprog(cost, A_ub=-self.W, b_ub=-y, bounds=(None, None)).fun)

    def accepts(self, effect: float) -> bool:
        y = self.y - self.on_effect * effect
        values = self.vertices @ y
        assert values.max() == pytest.approx(self.statistic(effect), abs=1e-8)
        best = self.vertices[values.argmax()]
        variance = best @ self.V @ best
        slope = self.vertices @ self.V @ best / variance
        with np.errstate(divide="ignore", invalid="ignore"):
            limit = (values - slope * values.max()) / (1 - slope)
        low = max(limit[slope < 1 - 1e-9], default=-np.inf) / variance**0.5
        high = min([*limit[slope > 1 + 1e-9], self.critical]) / variance**0.5
        if values.max() > self.critical:
            return False
        size = 0.045 / 0.995
        return values.max() / variance**0.5 <= max(0.0, float(stats.truncnorm.ppf(1 - size, low, high)))


@pytest.mark.parametrize(
    ("seed", "bound", "weights"), [(1, 1.0, None), (2, 0.4, None), (3, 1.5, (0.0, 1.0, 0.0)), (4, 0.7, None)]
)
def test_relative_magnitudes_are_the_inverted_linear_programs(seed: int, bound: float, weights: Any) -> None:
    path = random_path(3, 3, seed)
    if weights is not None:
        path = Path(path.leads, path.lags, path.covariance, np.array(weights))
    found = relative_magnitudes_interval(path, bound)
    pieces = [ByLinearPrograms(path, bound, i, sign) for sign in (1.0, -1.0) for i in range(3)]
    # 200,000 draws leave a standard error of .011.
    assert _least_favourable(_cut(path, bound)) == pytest.approx([piece.critical for piece in pieces], abs=0.04)
    width = found.high - found.low
    # Half a percent of the width leaves room for the critical value that is simulated here.
    for end, outward in ((found.low, -1.0), (found.high, 1.0)):
        assert any(piece.accepts(end - outward * 0.005 * width) for piece in pieces)
        for far in (0.005, 0.05, 0.3):
            assert not any(piece.accepts(end + outward * far * width) for piece in pieces)


def test_relative_magnitudes_without_violation_are_the_original_interval() -> None:
    for path in (tax_cut(), random_path(3, 2, 5), random_path(1, 1, 6)):
        one, other = relative_magnitudes_interval(path, 0.0), original_interval(path)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)  # solved for to 1e-12


def test_straight_lines_are_extrapolated_by_generalised_least_squares() -> None:
    for path in (tax_cut(), random_path(5, 3, 7)):
        P, T = len(path.leads), len(path.lags)
        X = np.zeros((P + T, 1 + T))
        X[:, 0] = [*range(-P, 0), *range(1, T + 1)]
        X[P:, 1:] = np.eye(T)
        inverse = np.linalg.inv(path.covariance)
        V = np.linalg.inv(X.T @ inverse @ X)
        effect = path.weights @ (V @ X.T @ inverse @ path.estimates)[1:]
        margin = 1.959963984540054 * np.sqrt(path.weights @ V[1:, 1:] @ path.weights)
        found = smoothness_interval(path, 0.0)
        assert (found.low, found.high) == pytest.approx((effect - margin, effect + margin), rel=1e-9)


def test_wide_bounds_lean_on_the_last_change_before_adoption() -> None:
    path = tax_cut(weights=(0.25, 0.25, 0.25, 0.25))
    found = smoothness_interval(path, 100.0)
    weights = np.array(
        [0, 0, 0, 2.5, 0.25, 0.25, 0.25, 0.25]
    )  # the line through the last lead and the base, 2.5 on average
    error = np.sqrt(weights @ path.covariance @ weights)
    margin = (
        100.0 * (1.5 + 0.75 + 0.25 + 2.5) + 1.6448536269514722 * error
    )  # bends at 0, 1, 2 after adoption, and at the base
    centre = weights @ path.estimates
    assert (found.low, found.high) == pytest.approx((centre - margin, centre + margin), rel=1e-10)
    assert relative_magnitudes_interval(path, 100.0).has_zero


def test_smoothness_finds_the_shortest_interval() -> None:
    path, bound, t = random_path(3, 2, 8), 0.05, np.array([1.0, 2.0])

    def margin(free: Any) -> float:
        leads = np.array([*free, t @ path.weights - np.array([3, 2]) @ free])  # no bias from a straight line
        bias = bound * (path.weights[1] + t @ path.weights + abs(free[1] + 2 * free[0]) + abs(free[0]))
        weights = np.concatenate([leads, path.weights])
        error = np.sqrt(weights @ path.covariance @ weights)
        return float(error * np.sqrt(stats.ncx2.ppf(0.95, 1, (bias / error) ** 2)))

    best = optimize.minimize(margin, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
    found = smoothness_interval(path, bound)
    assert (found.high - found.low) / 2 == pytest.approx(best.fun, rel=1e-9)


@pytest.mark.parametrize("patterned", [False, True])
def test_every_knot_of_the_path_is_a_penalised_minimum(patterned: bool) -> None:
    rng = np.random.default_rng(11)
    for _ in range(300):
        k = int(rng.integers(1, 10))
        draws = rng.normal(size=(k, k + 1))
        Q, q = draws @ draws.T, rng.normal(size=k) * 10.0 ** rng.integers(-6, 6)
        if patterned:  # several numbers reach or leave 0 at once
            draws = rng.integers(-2, 3, size=(k, k)).astype(float)
            Q, q = draws @ draws.T + np.eye(k), rng.integers(-2, 3, size=k).astype(float)
        knots = _shrinkage_path(Q, q)
        for z in knots:
            slopes = Q @ z + q
            rounding = 1e-7 * np.abs(q).max()
            np.testing.assert_allclose(slopes[z != 0], -np.abs(slopes).max() * np.sign(z[z != 0]), atol=rounding)
        np.testing.assert_allclose(Q @ knots[-1], -q, atol=1e-10 * np.abs(q).max())


@pytest.mark.parametrize("method", ["C-LF", "FLCI"])
def test_intervals_scale_mirror_and_grow(method: str) -> None:
    path, solve = random_path(4, 3, 9), SOLVE[method]
    bounds = [0.0, 0.1, 0.5, 1.0, 3.0]
    found = [solve(path, m) for m in bounds]
    assert all(a.low > b.low and a.high < b.high for a, b in pairwise(found))
    for a in (-1.0, 1e-7, 3e8):
        scaled = Path(a * path.leads, a * path.lags, a**2 * path.covariance, path.weights)
        for m, one in zip(bounds, found, strict=True):
            other = solve(scaled, m if method == "C-LF" else m * abs(a))
            assert sorted((a * one.low, a * one.high)) == pytest.approx([other.low, other.high], rel=1e-8)


@pytest.mark.parametrize("method", ["C-LF", "FLCI"])
def test_breakdown_is_where_zero_enters(method: str) -> None:
    path, solve = tax_cut(), SOLVE[method]
    value = breakdown(lambda m: solve(path, m), path.std_error)
    low, high = {"C-LF": (1.5, 2.0), "FLCI": (0.2, 0.3)}[method]  # the packages' grids
    assert low < value < high
    assert not solve(path, value * (1 - 1e-5)).has_zero
    assert solve(path, value * (1 + 1e-5)).has_zero
    null = Path(path.leads, 0.01 * path.lags, path.covariance, path.weights)
    assert np.isnan(breakdown(lambda m: relative_magnitudes_interval(null, m), 1.0))


@pytest.mark.exhaustive
def test_sets_cover_the_truth_under_the_largest_violation() -> None:
    rng, V = np.random.default_rng(10), tax_cut().covariance
    violation = 0.03 * np.array([4, 3, 2, 1, -1, -2, -3, -4])  # all changes alike: the largest that M = 1 allows
    covered = {"C-LF": 0, "original": 0}
    for draw in rng.multivariate_normal(violation, V, size=250):
        path = Path(draw[:4], draw[4:], V, np.full(4, 0.25))
        for method in covered:
            covered[method] += SOLVE[method](path, 1.0).has_zero
    assert covered["C-LF"] >= 250 * (0.95 - 3 * 0.0138)  # three binomial standard errors
    assert covered["original"] < 125


def farms(counties: int = 80, treated: int = 40, years: int = 7, effect: float = 1.0, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    f = pd.DataFrame(
        {"county": np.repeat(np.arange(counties), years), "year": np.tile(2010 + np.arange(years), counties)}
    )
    f["first"] = np.where(f["county"] < treated, 2014.0, np.nan)
    f["y"] = rng.normal(size=len(f)) / 2 + effect * (f["year"] >= f["first"])
    return f


def run(f: pd.DataFrame, one: Sensitivity, estimator: Any = None, inference: Any = None, **design: Any) -> Finding:
    panel = Panel.from_frame(f, unit="county", time="year")
    chosen = Design(**{"outcome": "y", "adoption": "first", "assigned_at": "county", **design})
    used = estimator or EventStudy(leads=4, lags=2)
    (found,) = check(estimate(panel, chosen, used, inference=inference or Cluster()), one)
    return found


def test_the_check_takes_leads_lags_and_covariance_from_the_estimate() -> None:
    f = farms()
    panel = Panel.from_frame(f, unit="county", time="year")
    study = estimate(
        panel,
        Design(outcome="y", adoption="first", assigned_at="county"),
        EventStudy(leads=4, lags=2),
        inference=Cluster(),
    )
    names = [f"ATT(e={e})" for e in (-4, -3, -2, 0, 1, 2)]
    b, V = study.params[names].to_numpy(), study.vcov().loc[names, names].to_numpy()
    path = Path(b[:3], b[3:], V, np.array([0.2, 0.3, 0.5]))
    found = run(f, Sensitivity(effect=(0.2, 0.3, 0.5), grid=[2, 0.5]))
    assert found.statistic == path.effect
    assert found.table["method"].tolist() == ["original", "C-LF", "C-LF"]
    assert found.table["M"].tolist()[1:] == [0.5, 2.0]
    expected = [original_interval(path), *(relative_magnitudes_interval(path, m) for m in (0.5, 2.0))]
    for row, one in zip(found.table.itertuples(), expected, strict=True):
        assert (row.low, row.high) == (one.low, one.high)
    assert found.bound == breakdown(lambda m: SOLVE["C-LF"](path, m), 1.0)
    assert (found.verdict, found.null) == ("described", None)
    smooth = run(f, Sensitivity(kind="smoothness", effect="first"))
    bend = np.abs(np.diff([*b[:3], 0.0], n=2)).max()
    assert smooth.table["M"].tolist()[1:] == pytest.approx([0, bend / 2, bend, 1.5 * bend, 2 * bend])
    assert set(smooth.table["method"]) == {"original", "FLCI"}
    for row, m in zip(smooth.table.itertuples(), [None, *smooth.table["M"][1:]], strict=True):
        first = Path(b[:3], b[3:], V, np.array([1.0, 0, 0]))
        one = original_interval(first) if m is None else smoothness_interval(first, m)
        assert (row.low, row.high) == (one.low, one.high)


@pytest.mark.parametrize(
    ("asked", "size", "treated", "verdict"),
    [
        (0.3, 1.0, 40, "pass"),
        (50, 1.0, 40, "fail"),
        (0, 0.0, 40, "fail"),
        (0.3, 2.0, 10, "inconclusive"),
        (50, 1.0, 10, "fail"),
    ],
)
def test_verdicts_follow_the_bound_stated_beforehand(asked: float, size: float, treated: int, verdict: str) -> None:
    found = run(farms(effect=size, treated=treated), Sensitivity(bound=asked))
    assert found.verdict == verdict
    assert (found.bound >= asked) == (verdict in ("pass", "inconclusive"))
    assert found.null is not None
    words = {"pass": ("passed", "通过"), "fail": ("failed", "未通过"), "inconclusive": ("inconclusive", "无法判定")}[
        verdict
    ]
    for language, word in zip(("en", "zh"), words, strict=True):
        said = found.summary(language)
        assert f"{asked:g}" in found.null.text(language)
        assert word in said
        assert (f"{treated} treated" in said or f"处理组 {treated}" in said) == (treated == 10)
    assert ("No interval leaves out zero" in found.summary()) == np.isnan(found.bound)


def test_outcomes_in_other_units_and_rows_in_another_order_change_nothing_else() -> None:
    f = farms()
    for kind, scaled in (("relative_magnitudes", ["low", "high"]), ("smoothness", ["M", "low", "high"])):
        one = run(f, Sensitivity(kind=kind))
        other = run(f.assign(y=f["y"] * 1e6 + 5), Sensitivity(kind=kind))
        np.testing.assert_allclose(other.table[scaled], one.table[scaled] * 1e6, rtol=1e-7)
        assert other.bound == pytest.approx(
            one.bound * (1e6 if kind == "smoothness" else 1), rel=2e-6
        )  # solved to 1e-6
        shuffled = run(f.sample(frac=1, random_state=1), Sensitivity(kind=kind))
        pd.testing.assert_frame_equal(shuffled.table, one.table, check_exact=True)
        assert shuffled.bound == one.bound


def counties_of_the_united_states() -> tuple[Panel, Design]:
    f = pd.read_csv(HERE / "data" / "mpdta.csv")
    f["first"] = f["first.treat"].replace(0, np.nan)
    panel = Panel.from_frame(f, unit="countyreal", time="year")
    return panel, Design(outcome="lemp", adoption="first", assigned_at="countyreal")


def test_minimum_wages_by_callaway_santanna() -> None:
    study = estimate(*counties_of_the_united_states(), CallawaySantAnna(aggregate="dynamic", base="universal"),
                     inference=Cluster(correction="none"))  # fmt: skip
    found, smooth = check(study, Sensitivity(bound=0.4), Sensitivity(kind="smoothness"))
    att = study.tidy().set_index("term").loc["ATT"]
    assert found.statistic == pytest.approx(att["estimate"], rel=1e-12)
    original = found.table.iloc[0]
    assert (original["high"] - original["low"]) / 2 == pytest.approx(1.959963984540054 * att["std_error"], rel=1e-9)
    assert found.bound > 0.4  # but the smallest cohort has 20 counties, too few for a joint law
    assert (found.verdict, smooth.verdict) == ("inconclusive", "described")
    assert "20 treated" in found.summary()
    assert "20" in smooth.summary("zh")


def test_binned_ends_are_said() -> None:
    for lags, said in ((2, False), (1, True)):
        found = run(farms(), Sensitivity(), EventStudy(leads=4, lags=lags))
        assert ("binned into its ends" in found.summary()) == said
        assert ("并入两端" in found.summary("zh")) == said


NO_PATH = [
    (EventStudy(leads=1, lags=2), "no lead besides the base"),
    (EventStudy(leads=4, lags=2, reference=(-4, -1)), "the base is -4, -1, and must be event time -1 alone"),
    (EventStudy(leads=4, lags=2, reference=-4), "the base is -4"),
    (TwoWayFE(), "the base is not named"),
    (CallawaySantAnna(aggregate="dynamic"), "the base is not named"),
    (Imputation(aggregate="dynamic", leads=2), "the base is not named"),
    (TwoStage(aggregate="dynamic", leads=3), "not differences from the base"),
    (Split(by="half", estimator=EventStudy(leads=4, lags=2)), "several effects have event time"),
]


@pytest.mark.parametrize(("estimator", "what"), NO_PATH)
def test_what_is_no_path_against_the_last_period_is_refused(estimator: Any, what: str) -> None:
    f = farms()
    with pytest.raises(EvalkitError, match=what):
        run(f.assign(half=f["county"] % 2), Sensitivity(), estimator)


def test_gaps_and_singular_covariances_are_refused() -> None:
    f = farms()
    with pytest.raises(EvalkitError, match="gap: -4, -2, 0, 1, 2"):
        run(f[f["year"] != 2011], Sensitivity())
    few = farms(counties=4, treated=2)
    with pytest.raises(EvalkitError, match=r"rank 2, .* need 4"):
        run(few, Sensitivity(kind="smoothness"))
    assert run(few, Sensitivity(bound=0)).verdict != "pass"
    with pytest.raises(EvalkitError, match="give 3 weights"):
        run(f, Sensitivity(effect=(0.5, 0.5)))
    assert "joint" in run(f, Sensitivity(), inference=PooledGroups()).summary()


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ({"kind": "relative_magnitude"}, "did you mean 'relative_magnitudes'"),
        ({"effect": "mean"}, "effect is 'mean'"),
        ({"effect": (0.0, 0.0)}, "effect is"),
        ({"effect": (1.0, float("nan"))}, "effect is"),
        ({"grid": ()}, "grid is"),
        ({"grid": (0.5, -1)}, "numbers from 0 on"),
        ({"grid": 0.5}, "grid is 0.5"),
        ({"bound": -0.1}, "bound is -0.1"),
        ({"bound": float("inf")}, "bound is inf"),
        ({"bound": True}, "bound is True"),
    ],
)
def test_bad_settings_are_refused(setting: dict[str, Any], what: str) -> None:
    with pytest.raises(EvalkitError, match=what):
        Sensitivity(**setting)


def test_settings_can_be_written_in_toml() -> None:
    hints = Sensitivity.__annotations__
    assert set(hints) == {"kind", "effect", "grid", "bound"}
    written = '{"kind": "smoothness", "effect": [0.5, 0.5], "grid": [0, 0.1], "bound": 0.1}'
    made = TypeAdapter(Sensitivity).validate_json(written, strict=True)
    assert made == Sensitivity(kind="smoothness", effect=(0.5, 0.5), grid=(0, 0.1), bound=0.1)
