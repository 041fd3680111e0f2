"""Further fixed effects without a limit: blocks, steps and pyfixest's demeaners tell what the whole system tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import oracles
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DesignError, EvalkitError
from evalkit.estimators import EventStudy, Imputation, Split, Stacked, TripleDifference, TwoStage, TwoWayFE
from evalkit.inference import BiasReduced, Cluster, Jackknife, Robust, WildBootstrap
from evalkit.numerics import absorb, arrays, level_systems
from evalkit.numerics.absorb import effects_rank, make_absorber
from evalkit.numerics.arrays import first_rows
from evalkit.numerics.level_systems import Factored, Iterated
from evalkit.results import basis
from evalkit.results.clusters import way_of
from evalkit.results.estimation import Estimator, Inference
from evalkit.results.loadings import loadings_of


def loans(
    *, movers: float = 0.0, units: int = 240, months: int = 8, banks: int = 12, missing: float = 0.0
) -> pd.DataFrame:
    """Synthetic: loans of banks over months in 12 counties, a share of rows in another bank; seed fixed."""
    rng = np.random.default_rng(11)
    f = pd.DataFrame({"loan": np.repeat(np.arange(units), months), "month": np.tile(np.arange(months), units)})
    f["county"], f["bank"] = f["loan"] % 12, f["loan"] * 7 // 5 % banks
    moves = rng.random(len(f)) < movers
    f.loc[moves, "bank"] = rng.integers(0, banks, int(moves.sum()))
    f["size"] = rng.integers(1, 4, units)[f["loan"]].astype(float)
    f["large"], f["sector"] = f["loan"] % 5 % 2, f["loan"] % 4
    f["x"] = rng.normal(size=len(f))
    f["first"] = np.select([f["county"] < 3, f["county"] < 5], [4.0, 6.0], np.nan)
    f["d"] = (f["month"] >= f["first"]).astype(float)
    shock = rng.normal(size=(12, months))
    f["y"] = rng.normal(size=len(f)) + 0.3 * f["x"] + shock[f["county"], f["month"]] + 0.4 * f["d"]
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def run(f: pd.DataFrame, estimator: Estimator, inference: Inference, **change: Any) -> Estimate:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", "absorb": ("bank*month",), **change}
    return estimate(Panel.from_frame(f, unit="loan", time="month"), Design(**settings), estimator, inference=inference)


Limit = Callable[[int], None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Let blocks be of at most so many levels from the call on, and see every regression by its rows."""

    def lower(most: int) -> None:
        for module in (absorb, level_systems):
            monkeypatch.setattr(module, "LARGEST_BLOCK", most)
        monkeypatch.setattr(basis, "_MOST_NUMBERS", 0.0)

    return lower


SAME: dict[str, tuple[Estimator, dict[str, Any]]] = {
    "plain": (TwoWayFE(), {}),
    "weighted, with covariates": (TwoWayFE(), {"weights": "size", "covariates": ("x",)}),
    "two wide effects": (TwoWayFE(), {"absorb": ("bank*month", "sector*month")}),
    "path": (EventStudy(leads=2, lags=1), {"covariates": ("x",)}),
    "subgroups": (Split(by="large", estimator=TwoWayFE()), {}),
    "stack": (Stacked(leads=2, lags=1), {}),
    "imputed": (Imputation(aggregate="dynamic", leads=1), {"weights": "size", "covariates": ("x",)}),
    "two stages": (TwoStage(), {}),
    "triple": (TripleDifference(), {"eligible": "large", "absorb": ("sector*month",)}),
}


@pytest.mark.parametrize("movers", [0.0, 0.1])
@pytest.mark.parametrize("name", SAME)
def test_every_inference_is_that_of_the_whole_system(name: str, movers: float, limit: Limit) -> None:
    estimator, change = SAME[name]
    f = loans(movers=movers, missing=0.1)
    inferences: list[Inference] = [Cluster(), Jackknife(), Robust()]
    if name not in ("stack", "imputed", "two stages"):
        inferences += [Cluster(correction="all_effects"), BiasReduced(), WildBootstrap(draws=199, seed=1)]
    else:
        inferences.pop()
    whole = [run(f, estimator, inference, **change) for inference in inferences]
    sizes = expected_sizes(run(f, estimator, Cluster(), **change))
    for most in (30, 2):  # blocks with a border; nothing but steps
        limit(most)
        for inference, before in zip(inferences, whole, strict=True):
            after = run(f, estimator, inference, **change)
            np.testing.assert_allclose(after.params, before.params, atol=1e-9)
            np.testing.assert_allclose(after.bse, before.bse, rtol=1e-8)
            np.testing.assert_allclose(after.pvalues, before.pvalues, rtol=1e-6, atol=1e-12)
            demeaned = [note for note in map(str, after.notes) if "demeaners of pyfixest" in note]
            assert len(demeaned) == 1 or most > 2
            assert all("to a tolerance of 1e-12" in note for note in demeaned)
        again = expected_sizes(run(f, estimator, Cluster(), **change))
        np.testing.assert_allclose(again, sizes, rtol=1e-7)


def expected_sizes(one: Estimate) -> list[float]:
    loadings = loadings_of(one.fit, one.spec, way_of(None, one.fit, one.spec))
    return [loadings.expected_size(weights) for weights in np.eye(len(one.params))]


@pytest.mark.parametrize("movers", [0.0, 0.05, 1.0])
def test_thousands_of_levels_equal_pyfixest(movers: float) -> None:
    f = loans(movers=movers, units=1806, months=24, banks=301)
    b, V = oracles.pyfixest_fit("y ~ d | loan + bank^month", f, weights=None, vcov={"CRV1": "county"}, k_fixef=None)
    one = run(f, TwoWayFE(), Cluster(correction="none"))
    assert one.params["ATT"] == pytest.approx(b[0], abs=1e-9)
    assert one.bse["ATT"] == pytest.approx(np.sqrt(V[0, 0]), abs=1e-9)
    n, k = (
        len(f),
        1 + f.groupby(["bank", "month"]).ngroups,
    )  # units lie within clusters, periods are made of levels
    assert run(f, TwoWayFE(), Cluster()).bse["ATT"] == pytest.approx(
        np.sqrt(12 / 11 * (n - 1) / (n - k) * V[0, 0]), abs=1e-9
    )


@pytest.mark.parametrize(
    "factors",
    [
        ("bank*month",),
        ("month", "bank*month"),
        ("bank*month", "sector*month"),
        ("bank", "sector", "county*month"),
        ("loan", "bank*month"),
    ],
)
@pytest.mark.parametrize("movers", [0.0, 0.1])
def test_the_rank_is_that_of_dummies(factors: tuple[str, ...], movers: float, limit: Limit) -> None:
    f = loans(movers=movers, units=48, missing=0.2)
    codes = tuple(f.groupby(one.split("*")).ngroup().to_numpy().astype(np.int64) for one in factors)
    dummies = np.hstack([np.eye(int(one.max()) + 1)[one] for one in codes])
    whole = np.hstack([dummies, np.eye(48)[np.unique(f["loan"], return_inverse=True)[1]]])
    limit(25)
    assert effects_rank(codes) == np.linalg.matrix_rank(dummies)
    unit = np.unique(f["loan"], return_inverse=True)[1].astype(np.int64)
    absorber = make_absorber(unit=unit, starts=first_rows(unit), factors=codes, weights=None)
    assert absorber.rank == np.linalg.matrix_rank(whole)


def test_both_systems_give_the_effects_of_least_squares(limit: Limit) -> None:
    f = loans(movers=0.1, units=60, missing=0.1)
    unit = f["loan"].to_numpy()
    unit = np.unique(unit, return_inverse=True)[1].astype(np.int64)
    level = f.groupby(["bank", "month"]).ngroup().to_numpy().astype(np.int64)
    weights = f["size"].to_numpy()
    limit(500)
    factored = make_absorber(unit=unit, starts=first_rows(unit), factors=(level, level), weights=weights)
    limit(2)
    iterated = make_absorber(unit=unit, starts=first_rows(unit), factors=(level, level), weights=weights)
    assert isinstance(factored.system, Factored)
    assert isinstance(iterated.system, Iterated)
    column = f["y"].to_numpy() - np.bincount(unit, f["y"] * weights)[unit] / np.bincount(unit, weights)[unit]
    D = np.hstack([np.eye(int(one.max()) + 1)[one] for one in (unit, level)])
    root = np.sqrt(weights)
    left = column - D @ np.linalg.lstsq(D * root[:, None], column * root, rcond=None)[0]
    for absorber in (factored, iterated):
        load = absorber.load(column[:, None])
        effects = absorber.system.solve(load)
        np.testing.assert_allclose(column - absorber.fitted(effects)[:, 0], left, atol=1e-10)
        np.testing.assert_allclose(absorber.sweep([f["y"].to_numpy()])[:, 0], left, atol=1e-10)
        root_of = absorber.system.root(load)
        assert float((root_of**2).sum()) == pytest.approx(float(np.sum(load * effects)), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("names", [("month",), ("month", "late"), ("month", "sector*month")])
def test_blocks_of_units_leave_what_least_squares_leaves(
    names: tuple[str, ...], missing: float, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absorb, "cut_blocks", lambda n, starts=None, least=0: arrays.cut_blocks(n, starts, least=100))
    f = loans(units=60, missing=missing)
    f["late"] = f["month"].isin([2, 5, 6]).astype(int)  # two rows of a unit on one level
    unit, *factors = (f.groupby(one.split("*")).ngroup().to_numpy().astype(np.int64) for one in ("loan", *names))
    weights = f["size"].to_numpy() * (1 + f["month"].to_numpy() % 3) if weighted else None
    absorber = make_absorber(unit=unit, starts=first_rows(unit), factors=tuple(factors), weights=weights)
    alike = missing == 0 and "sector*month" not in names
    assert absorber.depth == (8 if alike else 0)
    columns = [f["y"].to_numpy(), f["d"].to_numpy() == 1, f["x"].to_numpy()]
    D = np.hstack([np.eye(int(one.max()) + 1)[one] for one in (unit, *factors)])
    root = np.ones(len(f)) if weights is None else np.sqrt(weights)
    left = [one - D @ np.linalg.lstsq(D * root[:, None], one * root, rcond=None)[0] for one in columns]
    columns[0] = columns[0] + 1e6  # a constant, which is swept out
    np.testing.assert_allclose(absorber.sweep(columns), np.column_stack(left), atol=1e-9)
    assert absorber.rank == np.linalg.matrix_rank(D)


@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_the_number_of_threads_changes_no_bit(missing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    f = loans(units=15_000, months=8, missing=missing)  # some four blocks
    designs: list[dict[str, Any]] = [
        {"absorb": ()},
        {"absorb": (), "covariates": ("x",), "weights": "size"},
        {"absorb": ("sector*month",), "covariates": ("x",)},
    ]
    monkeypatch.setattr(arrays, "_WORTH_THREADS", 0)

    def fitted(threads: int) -> list[Estimate]:
        monkeypatch.setattr(arrays.os, "cpu_count", lambda: threads)
        return [run(f, TwoWayFE(), Cluster(), **change) for change in designs]

    for one, other in zip(fitted(1), fitted(3), strict=True):
        first, second = (each.fit.parts[0].regression for each in (one, other))
        assert first is not None
        assert second is not None
        assert np.array_equal(first.regressors, second.regressors)
        assert np.array_equal(first.residuals, second.residuals)
        assert one.tidy().equals(other.tidy())
        assert list(map(str, one.notes)) == list(map(str, other.notes))


@pytest.mark.parametrize("estimator", [Imputation(), TwoStage(), Stacked(leads=1, lags=1)])
def test_steps_leave_alone_what_only_rounding_is_left_of(estimator: Estimator, limit: Limit) -> None:
    """Columns that the levels explain whole, and weights between 1e-4 and 1e4: loads of rounding are not solved for."""
    f = loans(movers=0.1, missing=0.1)
    f["size"] = 10.0 ** np.random.default_rng(2).uniform(-4, 4, 240)[f["loan"]]
    f["own"] = np.where(np.arange(len(f)) % 25 == 0, 1000 + np.arange(len(f)), f["bank"])
    change: dict[str, Any] = {"weights": "size", "absorb": ("bank*month", "own")}
    inferences: list[Inference] = [Cluster(), Jackknife()]
    whole = [run(f, estimator, inference, **change) for inference in inferences]
    limit(2)
    for inference, before in zip(inferences, whole, strict=True):
        steps = run(f, estimator, inference, **change)
        np.testing.assert_allclose(steps.params, before.params, atol=1e-9)
        np.testing.assert_allclose(steps.bse, before.bse, rtol=1e-8)


def test_columns_of_clusters_that_effects_explain_almost_whole(limit: Limit) -> None:
    """Lanczos' steps that are short: their directions keep the mean 0 in every unit, or systems could not be solved."""
    f = loans(movers=0.3, units=60, missing=0.2)
    f["own"] = np.where(np.arange(len(f)) % 9 == 0, 1000 + np.arange(len(f)), f["bank"])
    whole = run(f, TripleDifference(), Jackknife(), absorb=("own",), eligible="large", covariates=("x",))
    limit(2)
    steps = run(f, TripleDifference(), Jackknife(), absorb=("own",), eligible="large", covariates=("x",))
    np.testing.assert_allclose(steps.bse, whole.bse, rtol=1e-7)


def test_systems_beyond_the_estimate_are_refused_too(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    """What inference solves, and what treated rows put in, is refused in words where it cannot be solved."""
    f = loans(movers=0.1, missing=0.1)
    limit(2)
    monkeypatch.setattr(level_systems, "_MOST_STEPS", 1)
    for estimator, inference in (
        (TwoWayFE(), BiasReduced()),
        (TwoWayFE(), WildBootstrap(draws=99, seed=1)),
        (Imputation(), Jackknife()),
    ):
        with pytest.raises(EvalkitError, match="not solved after 1 steps"):
            _ = run(f, estimator, inference).pvalues


def test_effects_that_absorb_the_treatment_are_named(limit: Limit) -> None:
    f = loans(movers=0.1).assign(copy=lambda f: f["county"])
    for most in (800, 30, 2):
        limit(most)
        with pytest.raises(DesignError, match="the effect ATT cannot be told from the fixed effects"):
            run(f, TwoWayFE(), Cluster(), absorb=("bank*month", "copy*month"))


def test_a_rank_that_is_only_bounded_is_told(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    f = loans(movers=0.1)
    limit(2)
    told = "absorbed effects that depend on each other in threes"
    both = {"absorb": ("bank*month", "sector*month")}
    assert not any(told in str(note) for note in run(f, TwoWayFE(), Cluster(), **both).notes)
    monkeypatch.setattr(level_systems, "_MOST_COUNTED", 10)
    assert any(told in str(note) for note in run(f, TwoWayFE(), Cluster(), **both).notes)
    assert not any(told in str(note) for note in run(f, TwoWayFE(), Cluster()).notes)


def test_levels_with_one_row_are_counted_and_add_nothing() -> None:
    f = loans()
    f["branch"] = f["bank"]
    f.loc[[3, 900], "branch"] = [90, 91]  # in a month of their own
    one = run(f, TwoWayFE(), Cluster(correction="none"), absorb=("branch*month",))
    assert "2 levels of the absorbed effects branch*month have one row each" in " ".join(map(str, one.notes))
    without = run(f.drop([3, 900]), TwoWayFE(), Cluster(correction="none"), absorb=("branch*month",))
    assert one.params["ATT"] == pytest.approx(without.params["ATT"], abs=1e-12)
    assert one.bse["ATT"] == pytest.approx(without.bse["ATT"], rel=1e-10)
    assert not any("one row each" in str(note) for note in without.notes)


def test_large_outcomes_keep_their_digits_in_the_demeaner(limit: Limit) -> None:
    f = loans(movers=0.1)
    limit(2)
    one, other = (
        run(f.assign(y=f["y"] * scale + shift), TwoWayFE(), Cluster()) for scale, shift in ((1, 0), (1e12, 1e13))
    )
    assert other.params["ATT"] / 1e12 == pytest.approx(one.params["ATT"], rel=1e-9)
    assert other.bse["ATT"] / 1e12 == pytest.approx(one.bse["ATT"], rel=1e-9)


@pytest.mark.parametrize("most", [30, 2])
def test_large_outcomes_change_no_draw(most: int, limit: Limit) -> None:
    f = loans(movers=0.1)
    limit(most)
    for inference in (WildBootstrap(draws=199, seed=1), BiasReduced(), Jackknife()):
        one, other = (run(f.assign(y=f["y"] * scale), EventStudy(leads=2, lags=1), inference) for scale in (1, 1e12))
        np.testing.assert_allclose(other.pvalues, one.pvalues, rtol=1e-6)
        np.testing.assert_allclose(other.conf_int() / 1e12, one.conf_int(), rtol=1e-6)


def test_systems_that_take_too_many_steps_are_refused(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(2)
    f = loans(movers=0.1)
    monkeypatch.setattr(absorb, "_FEW_STEPS", 1)
    monkeypatch.setattr(absorb, "_STEPS", 1)
    with pytest.raises(DesignError, match="not solved after 1 steps") as caught:
        run(f, TwoWayFE(), Cluster())
    assert "absorb fewer effects" in caught.value.remedy
