"""Imputation agrees with R didimputation, with matrices by hand and with closed forms, and says which rows it cannot reach."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cases
import oracles
import untreated_oracle as oracle
from evalkit import Design, Estimate, Panel, collapse, estimate
from evalkit.designs.sample import draw_sample
from evalkit.errors import DesignError
from evalkit.estimators import Imputation, Split, TwoStage, TwoWayFE
from evalkit.estimators._untreated import average_effects, fit_untreated, influence_of_imputed
from evalkit.inference import Cluster
from evalkit.numerics.extrapolate import extrapolate, weigh_errors

STORED = json.loads((cases.TESTS / "reference" / "r_imputation_two_stage_mpdta.json").read_text(encoding="utf-8"))
R = {entry["id"]: {row["term"]: row for row in entry["results"]} for entry in STORED["entries"]}
SANDWICH = Cluster(correction="none")


def mpdta(*, cohort_2004: bool = True) -> pd.DataFrame:
    f = cases.mpdta()
    return f if cohort_2004 else f[f["first"] != 2004].reset_index(drop=True)


def run(
    frame: pd.DataFrame,
    estimator: Any,
    inference: Any = SANDWICH,
    *,
    unit: str | None = "farm",
    counts: str | None = None,
    **design: Any,
) -> Estimate:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", **design}
    return estimate(
        Panel.from_frame(frame, unit=unit, time="year", counts=counts),
        Design(**settings),
        estimator,
        inference=inference,
    )


def run_mpdta(frame: pd.DataFrame, estimator: Any, inference: Any = SANDWICH) -> Estimate:
    return run(frame, estimator, inference, unit="countyreal", outcome="lemp", assigned_at="countyreal")


def assert_close(one: Estimate, terms: list[str], values: Any, V: Any, tolerance: float = 1e-10) -> None:
    """Double precision on both sides; the pseudo-inverse of the dummies loses some four digits."""
    scale = np.sqrt(np.diag(V))
    assert (np.abs(one.params[terms].to_numpy() - values) / scale).max() < tolerance
    assert (np.abs(one.vcov().loc[terms, terms].to_numpy() - V) / np.outer(scale, scale)).max() < tolerance


@pytest.mark.parametrize(
    ("entry", "estimator", "terms"),
    [
        ("imputation", Imputation(), {"treat": "ATT"}),
        ("imputation_horizon", Imputation(aggregate="dynamic"), {"0": "ATT(e=0)", "1": "ATT(e=1)"}),
        ("imputation_pretrends", Imputation(aggregate="dynamic", leads=3), {"0": "ATT(e=0)", "1": "ATT(e=1)"}),
    ],
)
def test_equals_r_didimputation(entry: str, estimator: Imputation, terms: dict[str, str]) -> None:
    # R's first stage dropped the cohort of 2004 (one untreated row a unit), without a word.
    table = run_mpdta(mpdta(cohort_2004=False), estimator).tidy().set_index("term")
    for r, term in terms.items():
        # fixest's first stage leaves about 1e-9 in the outcome, the effects are of size 0.03
        assert table.loc[term, "estimate"] == pytest.approx(R[entry][r]["estimate"], rel=2e-7)
        assert table.loc[term, "std_error"] == pytest.approx(R[entry][r]["std.error"], rel=1e-8)


def test_leads_equal_the_pretrends_of_r() -> None:
    table = run_mpdta(mpdta(cohort_2004=False), Imputation(aggregate="dynamic", leads=3)).tidy().set_index("term")
    # fixest's factor for a regression: 2,189 untreated rows of 480 counties; 5 years and 3 leads are not nested in them.
    factor = np.sqrt(480 / 479 * 2188 / (2189 - 8))
    for e in (-3, -2, -1):
        ours, theirs = table.loc[f"ATT(e={e})"], R["imputation_pretrends"][str(e)]
        assert ours["estimate"] == pytest.approx(theirs["estimate"], rel=1e-6)  # as above; lead -1 is of size 0.001
        assert ours["std_error"] * factor == pytest.approx(theirs["std.error"], rel=1e-8)


def test_units_with_one_untreated_row_stay_in() -> None:
    f = mpdta()
    by_hand = oracle.first_stage(f, "lemp", [f["countyreal"], f["year"]], ~cases.post(f, "year", "first").astype(bool))
    event = (f["year"] - f["first"]).where(cases.post(f, "year", "first") == 1)
    labels, share = oracle.shares(by_hand, event)
    values, influence = oracle.conservative(by_hand, share, (f["first"] * 10_000 + f["year"]).to_numpy())
    one = run_mpdta(f, Imputation(aggregate="dynamic"))
    V = oracle.covariance(influence, f["countyreal"])
    assert_close(one, [f"ATT(e={e:.0f})" for e in labels], values, V)


KEYS: dict[str, Any] = {
    "simple": lambda f: pd.Series("ATT", f.index),
    "dynamic": lambda f: "ATT(e=" + (f["year"] - f["first"]).map("{:.0f}".format) + ")",
    "cohort": lambda f: "ATT(g=" + f["first"].map("{:.0f}".format) + ")",
    "cohort_time": lambda f: "ATT(g=" + f["first"].map("{:.0f}".format) + ",t=" + f["year"].map("{:d}".format) + ")",
}
GROUPS: dict[str, Any] = {
    "cohort_time": lambda f: f["first"] * 10_000 + f["year"],
    "cohort": lambda f: f["first"],
    "event_time": lambda f: f["year"] - f["first"],
}
DESIGNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weights and covariates": {"weights": "area", "covariates": ("rain", "price")},
    "further effects": {"covariates": ("rain",), "absorb": ("sector*year",)},
}


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(
    "estimator",
    [
        *(Imputation(aggregate=aggregate) for aggregate in KEYS),  # type: ignore[arg-type]
        Imputation(average_by="cohort"),
        Imputation(average_by="event_time"),
        Imputation(aggregate="dynamic", average_by="cohort", leave_out=True),
        Imputation(leave_out=True),
    ],
    ids=str,
)
def test_equals_matrices_by_hand(estimator: Imputation, design: str) -> None:
    f, settings = oracle.villages(), DESIGNS[design]
    treated = (f["year"] >= f["first"]).to_numpy()
    weights = f["area"] if "weights" in settings else None
    effects = [f["farm"], f["year"]] + ([f["sector"] * 10_000 + f["year"]] if "absorb" in settings else [])
    by_hand = oracle.first_stage(f, "y", effects, ~treated, settings.get("covariates", ()), weights)
    labels, share = oracle.shares(by_hand, KEYS[estimator.aggregate](f).where(treated))
    groups = GROUPS[estimator.average_by](f).where(treated).to_numpy()
    clusters = f["county"].to_numpy() if estimator.leave_out else None
    values, influence = oracle.conservative(by_hand, share, groups, clusters=clusters)
    for level in ("farm", "county"):
        one = run(f, estimator, Cluster(level, correction="none"), **settings)
        assert set(labels) == {term.name for term in one.fit.terms if term.role == "effect"}
        assert_close(one, labels, values, oracle.covariance(influence, f[level]))
    np.testing.assert_allclose(one.params[list(settings.get("covariates", ()))], by_hand.slopes, rtol=1e-9)


def test_leads_equal_a_regression_of_untreated_rows() -> None:
    f = oracle.villages()
    untreated = f[~(f["year"] >= f["first"])].reset_index(drop=True)
    event = untreated["year"] - untreated["first"]
    X = np.column_stack([*((event == e).to_numpy(float) for e in (-2, -1)), untreated["rain"]])
    r = oracles.dummy_regression(untreated["y"], X, [untreated["farm"], untreated["year"]], untreated["area"])
    V, _ = oracles.clustered(r, [untreated["county"]], "none")
    one = run(f, Imputation(aggregate="dynamic", leads=2), covariates=("rain",), weights="area")
    assert_close(one, ["ATT(e=-2)", "ATT(e=-1)"], r.b[:2], V[:2, :2])


def test_covariance_of_leads_effects_and_slopes_is_joint() -> None:
    f = oracle.villages()
    one = run(f, Imputation(aggregate="dynamic", leads=2), covariates=("rain",))
    (part,) = one.fit.parts
    rows = part.influence.sum_within(np.arange(len(f)), len(f))  # the frame is sorted as the sample is
    np.testing.assert_allclose(one.vcov(), oracle.covariance(rows, f["county"]), atol=1e-14)  # variances of size 0.01
    assert np.abs(rows.sum(axis=0)).max() < 1e-12  # without weights it sums to zero


def test_equals_the_saturated_regression() -> None:
    f = mpdta()
    f = f[f["countyreal"].isin(f["countyreal"].unique()[::4])].reset_index(drop=True)
    cells = sorted({(g, t) for g in (2004, 2006, 2007) for t in range(g, 2008)})
    X = np.column_stack([((f["first"] == g) & (f["year"] == t)).to_numpy(float) for g, t in cells])
    Z = np.column_stack([X, pd.get_dummies(f["countyreal"]).to_numpy(float), pd.get_dummies(f["year"]).to_numpy(float)])
    b = np.linalg.lstsq(Z, f["lemp"].to_numpy(), rcond=1e-13)[0][: len(cells)]
    one = run_mpdta(f, Imputation(aggregate="cohort_time"))
    names = [f"ATT(g={g},t={t})" for g, t in cells]
    # On a balanced panel, effects of all cohorts and periods leave units and periods to the untreated rows alone.
    np.testing.assert_allclose(one.params[names], b, atol=1e-12)  # outcomes of size 5
    assert one.tidy()[["cohort", "period"]].to_numpy().tolist() == [[str(g), str(t)] for g, t in cells]


def one_cohort() -> pd.DataFrame:
    f = mpdta()
    return f[f["first"].isin([0, 2006])].reset_index(drop=True)


def test_one_cohort_is_two_by_two() -> None:
    f = one_cohort()
    late, treated = f["year"] >= 2006, f["first"] == 2006
    means = f.groupby([treated, late])["lemp"].mean()
    by_hand = means[True, True] - means[True, False] - means[False, True] + means[False, False]
    found = [run_mpdta(f, estimator).tidy().iloc[0] for estimator in (Imputation(), TwoStage(), TwoWayFE())]
    # The same number three times, from outcomes of size 5 in double precision.
    assert [row["estimate"] for row in found] == pytest.approx([by_hand] * 3, rel=1e-11)
    assert [row["std_error"] for row in found] == pytest.approx([found[2]["std_error"]] * 3, rel=1e-11)


def test_weights_of_untreated_rows_balance_the_treated_exactly() -> None:
    f = oracle.villages()
    treated = (f["year"] >= f["first"]).to_numpy()
    unit, period = f["farm"].to_numpy(), (f["year"] - 2010).to_numpy()
    fit = extrapolate(
        unit=unit,
        factors=(period,),
        columns=[f["rain"].to_numpy()],
        outcome=f["y"].to_numpy(),
        base=~treated,
        weights=f["area"].to_numpy(),
        reference=np.ones(1),
    )
    rows = np.flatnonzero(treated)
    share = np.full(len(rows), 1 / len(rows))
    pull = weigh_errors(fit, rows, np.zeros(len(rows), dtype=np.int64), share, 1)
    v = np.zeros(len(f))
    v[rows] = share
    base, absorber = fit.base, fit.absorber
    v[base] = pull.unit[absorber.unit, 0] + pull.level[absorber.levels[0], 0] + fit.columns[base] @ pull.slope[:, 0]
    v[base] *= -f["area"].to_numpy()[base]
    # v'Z = 0: the treated rows' units, periods and covariates are matched by those of untreated rows (shares of size 0.01).
    assert np.abs(np.bincount(unit, weights=v)).max() < 1e-15
    assert np.abs(np.bincount(period, weights=v)).max() < 1e-15
    assert abs(v @ f["rain"]) < 1e-14
    assert v @ f["y"] == pytest.approx(fit.errors[rows].mean(), abs=1e-13)


def test_always_treated_units_are_left_out_and_named() -> None:
    f = oracle.villages()
    always = f.assign(first=f["first"].where(f["county"] != 0, 2009.0))
    one = run(always, Imputation(aggregate="dynamic"))
    other = run(f[f["county"] != 0], Imputation(aggregate="dynamic"))
    lost = int((f["county"] == 0).sum())
    pd.testing.assert_series_equal(one.params, other.params)
    pd.testing.assert_series_equal(one.bse, other.bse)
    assert [(line.rows, line.units) for line in one.ledger] == [(lost, 4)]
    note = next(str(note) for note in one.notes if "cannot be imputed" in str(note))
    assert note.startswith(f"{lost} treated rows")
    assert f"2009 [2010, 2011, 2012, 2013, 2014, 2015, 2016, 2017]: {lost}" in note
    assert one.glance()["n_treated_clusters"].item() == 5
    for language in ("en", "zh"):
        assert one.summary(language)


def test_periods_without_untreated_rows_are_left_out() -> None:
    f = oracle.villages()
    all_treated = f[f["first"].notna()]  # the last cohort adopts in 2016
    one = run(all_treated, Imputation(aggregate="cohort_time"))
    other = run(all_treated[all_treated["year"] < 2016], Imputation(aggregate="cohort_time"))
    pd.testing.assert_series_equal(one.params, other.params)
    assert {term.period for term in one.fit.terms} == {"2013", "2014", "2015"}
    assert any("2016 [2016, 2017]" in str(note) for note in one.notes)


def test_units_and_periods_without_a_link_are_left_out() -> None:
    # Farms 0-1 are untreated only in 2010-11, farms 2-5 only later: no untreated row links the early years with the late.
    blocks = [
        (range(2), range(2010, 2014), 2012.0),
        (range(2, 4), range(2012, 2016), 2014.0),
        (range(4, 6), range(2012, 2016), None),
    ]
    rows = [(farm, year, first) for farms, years, first in blocks for farm in farms for year in years]
    f = pd.DataFrame(rows, columns=["farm", "year", "first"]).assign(county=lambda f: f["farm"])
    f["y"] = np.random.default_rng(0).normal(size=len(f))
    one = run(f, Imputation(aggregate="cohort_time"))
    assert one.params.index.tolist() == ["ATT(g=2014,t=2014)", "ATT(g=2014,t=2015)"]
    assert any("2012 [2012, 2013]: 4" in str(note) for note in one.notes)
    inside = f[f["farm"] >= 2]
    np.testing.assert_allclose(one.params, run(inside, Imputation(aggregate="cohort_time")).params, atol=1e-14)


def test_a_covariate_unknown_to_untreated_rows_is_no_basis_for_imputing() -> None:
    f = oracle.villages()
    since = (f["year"] - f["first"]).fillna(-1)
    f["subsidy"] = np.where((since >= 0) & (f["county"] == 0), f["rain"], 0.0)
    one = run(f, Imputation(), covariates=("subsidy",))
    assert any(str(note).startswith("subsidy is dropped") for note in one.notes)
    reached = ~((f["county"] == 0) & (since >= 0))
    assert any("cannot be imputed" in str(note) for note in one.notes)
    np.testing.assert_allclose(one.params["ATT"], run(f[reached], Imputation()).params["ATT"], atol=1e-13)
    with pytest.raises(DesignError, match=r"none of the \d+ treated rows can be imputed.*covariate must vary"):
        run(f.assign(subsidy=np.where(since >= 0, f["rain"] + 9, 0.0)), Imputation(), covariates=("subsidy",))


def test_a_collinear_covariate_is_dropped_by_name() -> None:
    f = oracle.villages().assign(fixed=lambda f: 1e6 + f["farm"], twice=lambda f: 2 * f["rain"] + f["year"])
    one = run(f, Imputation(), covariates=("fixed", "rain", "twice"))
    plain = run(f, Imputation(), covariates=("rain",))
    dropped = [str(note).split(" is dropped")[0] for note in one.notes if " is dropped" in str(note)]
    assert dropped == ["fixed", "twice"]
    np.testing.assert_allclose(one.params, plain.params, rtol=1e-9)  # the column of size 1e6 is swept with the others
    np.testing.assert_allclose(one.bse, plain.bse, rtol=1e-9)


def test_counts_are_repeated_rows() -> None:
    f = oracle.villages()
    repeated = f.loc[f.index.repeat(f["size"])].reset_index(drop=True)
    repeated["farm"] = repeated["farm"] * 10 + repeated.groupby(["farm", "year"]).cumcount()
    for estimator in (Imputation(aggregate="dynamic", leads=2), Imputation(average_by="event_time", leave_out=True)):
        one = run(f, estimator, counts="size", covariates=("rain",), weights="area")
        other = run(repeated, estimator, covariates=("rain",), weights="area")
        np.testing.assert_allclose(
            one.params, other.params, rtol=1e-9
        )  # sums of products against sums of repeated terms
        np.testing.assert_allclose(one.vcov(), other.vcov(), atol=1e-13)
        assert one.glance()["n_obs"].item() == other.glance()["n_obs"].item() == len(repeated)


def test_collapsed_cells_equal_rows() -> None:
    f = oracle.villages()
    design = Design(outcome="y", adoption="first", assigned_at="county")
    cells = collapse(f, design, unit="farm", time="year")
    rows = Panel.from_frame(f, unit="farm", time="year")
    for estimator in (Imputation(aggregate="dynamic", leads=2), Imputation(leave_out=True)):
        one, other = (estimate(panel, design, estimator, inference=Cluster()) for panel in (cells, rows))
        np.testing.assert_allclose(one.params, other.params, atol=1e-12)  # outcomes of size 5
        np.testing.assert_allclose(one.bse, other.bse, rtol=1e-10)


def test_repeated_cross_sections_absorb_the_level_of_assignment() -> None:
    f = oracle.villages()
    treated = (f["year"] >= f["first"]).to_numpy()
    by_hand = oracle.first_stage(f, "y", [f["county"], f["year"]], ~treated, ("rain",))
    _, share = oracle.shares(by_hand, KEYS["simple"](f).where(treated))
    values, influence = oracle.conservative(by_hand, share, GROUPS["cohort_time"](f).to_numpy())
    one = run(f.drop(columns="farm"), Imputation(), unit=None, covariates=("rain",))
    assert_close(one, ["ATT"], values, oracle.covariance(influence, f["county"]))


def test_anticipated_periods_are_imputed_and_shown() -> None:
    f = oracle.villages()
    path = run(f, Imputation(aggregate="dynamic", leads=1), anticipation=1)
    assert [term.event_time for term in path.fit.terms] == [-2, -1, 0, 1, 2, 3, 4]
    earlier = run(f.assign(first=f["first"] - 1), Imputation(aggregate="dynamic", leads=1))
    np.testing.assert_array_equal(path.fit.coefficients, earlier.fit.coefficients)
    one = run(f, Imputation(), anticipation=1)
    kept = ~(f["year"] == f["first"] - 1)
    assert one.params["ATT"] == run(f[kept], Imputation()).params["ATT"]
    assert one.ledger[0].rows == (~kept).sum()


def test_one_unit_of_assignment_in_a_group_is_named_or_refused() -> None:
    f = oracle.villages()
    f["first"] = f["first"].where(f["county"] != 1)  # county 0 is the cohort of 2013
    one = run(f, Imputation())
    assert any("standard errors are too small" in str(note) and "2013 [2013" in str(note) for note in one.notes)
    assert one.uncertainty.unsupported is not None
    with pytest.raises(DesignError, match=r"leave_out needs two or more.*2013 \[2013.*average_by='event_time'"):
        run(f, Imputation(leave_out=True))


def test_leaving_out_the_own_county_enlarges_the_error() -> None:
    f = mpdta()
    assert run_mpdta(f, Imputation(leave_out=True)).bse["ATT"] > run_mpdta(f, Imputation()).bse["ATT"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"aggregate": "dynamics"}, "did you mean 'dynamic'"),
        ({"average_by": "year"}, "average_by 'year' is unknown"),
        ({"leads": 2}, "set aggregate='dynamic'"),
        ({"aggregate": "dynamic", "leads": -1}, "leads is -1"),
        ({"aggregate": "dynamic", "leads": True}, "leads is True"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(DesignError, match=words):
        Imputation(**settings)


def test_designs_it_cannot_carry_out_are_refused() -> None:
    f = oracle.villages()
    with pytest.raises(DesignError, match="Imputation also learns from units before their own adoption"):
        run(f, Imputation(), comparison="never_treated")
    with pytest.raises(DesignError, match=r"lead ATT\(e=-1\) cannot be told.*fewer leads"):
        run(f, Imputation(aggregate="dynamic", leads=7))
    with pytest.raises(DesignError, match="Imputation does not use it"):
        run(f.assign(loan=(f["year"] >= f["first"]) * 1.0), Imputation(), dose="loan")
    with pytest.raises(DesignError, match="no row is untreated"):
        run(f[f["first"].notna()], Imputation(aggregate="dynamic"), anticipation=6)
    one_date = f[f["first"].isna() | (f["first"] == 2014)]
    assert (
        run(one_date, Imputation(), comparison="never_treated").params["ATT"]
        == run(one_date, Imputation()).params["ATT"]
    )


def test_a_lead_without_rows_is_noted() -> None:
    f = oracle.villages()
    f = f[f["year"] - f["first"] != -2]
    one = run(f, Imputation(aggregate="dynamic", leads=3))
    assert [term.event_time for term in one.fit.terms][:3] == [-3, -1, 0]
    assert any(str(note) == "no row is observed at event times -2" for note in one.notes)


def test_an_outcome_without_noise_has_no_error() -> None:
    f = oracle.villages()
    f["y"] = 0.1 * f["farm"] + 3.0 * f["year"] + 2.0 * (f["year"] >= f["first"])
    one = run(f, Imputation())
    assert one.params["ATT"] == pytest.approx(2.0, abs=1e-11)  # outcomes of size 6,000
    assert np.isnan(one.bse["ATT"])
    assert any("fitted without residual" in str(note) for note in one.notes)


@pytest.mark.parametrize("level", [0.0, 1e9])
@pytest.mark.parametrize("estimator", [Imputation(), Imputation(aggregate="dynamic", leads=1), TwoStage()], ids=str)
def test_what_rounding_leaves_of_an_outcome_is_no_error(estimator: Any, level: float) -> None:
    """Of values around a billion rounding leaves 1e-7, far more than of what they vary by."""
    f = oracle.villages()
    f["y"] = level + 0.1 * f["farm"] + 7 * np.sqrt(f["year"]) + 2.0 * (f["year"] >= f["first"])
    one = run(f, estimator)
    assert one.bse.isna().all()
    assert one.notes


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_residuals_and_deviations_that_are_rounding_are_none(noise: float) -> None:
    f = oracle.villages()
    f["y"] = 0.1 * f["farm"] + 7 * np.sqrt(f["year"]) + 2.0 * (f["year"] >= f["first"])
    f["y"] += noise * np.random.default_rng(3).normal(size=len(f))
    design = Design(outcome="y", adoption="first", assigned_at="county")
    untreated = fit_untreated(draw_sample(Panel.from_frame(f, unit="farm", time="year"), design), "Imputation")
    averages = average_effects(untreated, "simple")
    effects = untreated.fit.errors[averages.rows]
    influence = influence_of_imputed(untreated, averages, effects - effects.mean())
    assert influence.base_pull.any() == influence.deviation.any() == (noise > 0)


@pytest.mark.parametrize("level", [0.0, 1e9])
def test_sums_of_influence_below_what_rounding_can_leave_are_none(level: float) -> None:
    """1e-12 of what is added up, or 2e-15 of the largest outcome."""
    f = oracle.villages()
    f["y"] = level + f["farm"] + np.random.default_rng(3).normal(size=len(f))
    design = Design(outcome="y", adoption="first", assigned_at="county")
    untreated = fit_untreated(draw_sample(Panel.from_frame(f, unit="farm", time="year"), design), "Imputation")
    averages = average_effects(untreated, "simple")
    effects = untreated.fit.errors[averages.rows]
    influence = influence_of_imputed(untreated, averages, effects - effects.mean())
    pulls = np.abs(influence.pull.unit).max() + np.abs(influence.pull.level).max()
    added = np.linalg.norm(influence.deviation) + pulls * np.linalg.norm(influence.base_pull)
    (floor,) = influence.without_rounding(untreated.sample).floor
    assert floor == pytest.approx(max(1e-12 * added, 2e-15 * f["y"].abs().max()), rel=1e-9)
    assert (floor > 1.1e-12 * added) == (level > 0)


EACH = [Imputation(), Imputation(aggregate="dynamic", leads=2), Imputation(aggregate="cohort_time", leave_out=True)]


@pytest.mark.parametrize("estimator", EACH, ids=str)
def test_what_must_not_change_a_number(estimator: Imputation) -> None:
    f = oracle.villages()
    before = f.copy(deep=True)
    one = run(f, estimator, covariates=("rain",))
    pd.testing.assert_frame_equal(f, before)
    same = run(f.sample(frac=1, random_state=1)[f.columns[::-1]], estimator, covariates=("rain",))
    np.testing.assert_array_equal(same.fit.coefficients, one.fit.coefficients)
    np.testing.assert_array_equal(same.uncertainty.covariance, one.uncertainty.covariance)
    equal = run(f.assign(w=0.37), estimator, covariates=("rain",), weights="w")
    np.testing.assert_array_equal(equal.uncertainty.covariance, one.uncertainty.covariance)
    permuted = np.random.default_rng(2).permutation(40)[f["farm"]]
    for changed in (f.assign(farm=permuted), f.assign(y=f["y"] + 3 * f["farm"] + (f["year"] - 2013) ** 2)):
        other = run(changed, estimator, covariates=("rain",))
        np.testing.assert_allclose(other.params, one.params, atol=1e-11)  # outcomes of size 100 at most
        np.testing.assert_allclose(other.bse, one.bse, rtol=1e-11)


@pytest.mark.parametrize("estimator", EACH, ids=str)
def test_what_must_change_it_and_how(estimator: Imputation) -> None:
    f = oracle.villages()
    one = run(f, estimator)
    scaled = run(f.assign(y=-2.5 * f["y"] + 7), estimator)
    np.testing.assert_allclose(
        scaled.params, -2.5 * one.params, rtol=1e-11
    )  # rounding of 7 against effects of size 0.5
    np.testing.assert_allclose(scaled.bse, 2.5 * one.bse, rtol=1e-11)
    more = run(f.assign(y=f["y"] + 3 * (f["year"] >= f["first"])), estimator)
    shift = [3.0 * (term.event_time is None or term.event_time >= 0) for term in one.fit.terms]
    np.testing.assert_allclose(more.params, one.params + shift, atol=1e-12)
    np.testing.assert_allclose(more.bse, one.bse, rtol=1e-11)


def test_subgroups_share_their_clusters() -> None:
    f = oracle.villages()
    split = run(f, Split(by="sector", estimator=Imputation()))
    for sector in (0, 1):
        alone = run(f[f["sector"] == sector], Imputation())
        assert split.params[f"ATT [sector={sector}]"] == pytest.approx(alone.params["ATT"], rel=1e-12)
    V = split.vcov().to_numpy()
    assert abs(V[0, 1]) > 1e-3 * V[0, 0]
