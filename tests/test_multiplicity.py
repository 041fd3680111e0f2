"""Adjusted p-values: Holm by statsmodels, Romano and Wolf by regressions on drawn outcomes and by the step-down of pyfixest."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.stats.multitest import multipletests

from evalkit import Design, Estimate, Panel, adjust, estimate
from evalkit.errors import DataError, InferenceError
from evalkit.estimators import CallawaySantAnna, EventStudy, Split, TwoWayFE
from evalkit.inference import Cluster, Multiplier, WildBootstrap
from evalkit.numerics.wild import draw_weights

OUTCOMES = {"yield": "y1", "income": "y2", "carbon": "y3", "area": "y4"}


def frame(counties: int = 20, treated: int = 8, farms: int = 2) -> pd.DataFrame:
    """Farms in counties over six years; the first two outcomes have effects, and all share shocks of counties."""
    rng = np.random.default_rng(6)
    f = pd.DataFrame(
        {"farm": np.repeat(np.arange(counties * farms), 6), "year": np.tile(range(2010, 2016), counties * farms)}
    )
    f["county"] = f["farm"] // farms
    f["large"] = f["farm"] % 2
    f["first"] = np.where(f["county"] < treated, 2013.0, np.nan)
    shared = rng.normal(size=(counties, 6))[f["county"], f["year"] - 2010]
    for name, effect in (("y1", 1.2), ("y2", 0.9), ("y3", 0.4), ("y4", 0.0)):
        f[name] = effect * (f["year"] >= f["first"]) + 0.7 * shared + rng.normal(size=len(f))
    return f


def run(f: pd.DataFrame, outcome: str, inference: object, estimator: object = None, **change: object) -> Estimate:
    design = Design(**{"outcome": outcome, "adoption": "first", "assigned_at": "county", **change})
    return estimate(Panel.from_frame(f, unit="farm", time="year"), design, estimator or TwoWayFE(), inference=inference)


def family(f: pd.DataFrame, inference: object, estimator: object = None) -> dict[str, Estimate]:
    return {name: run(f, outcome, inference, estimator) for name, outcome in OUTCOMES.items()}


def wild(seed: int = 3, **change: object) -> WildBootstrap:
    return WildBootstrap(**{"draws": 499, "seed": seed, **change})


def statistics_by_hand(f: pd.DataFrame, signs: np.ndarray, *, restricted: bool) -> tuple[np.ndarray, np.ndarray]:
    """|t| of the four effects, and (4, B) of regressions with dummies on outcomes drawn with or without the null."""
    county = f["county"].to_numpy()
    n_counties = int(county.max()) + 1
    dummies = [pd.get_dummies(f[c], dtype=float).iloc[:, 1:] for c in ("farm", "year")]
    effects = np.column_stack([np.ones(len(f)), *dummies])
    X = np.column_stack([(f["year"] >= f["first"]).astype(float), effects])
    pull = np.linalg.pinv(X)[0]

    def t(outcome: np.ndarray, around: float) -> float:
        again = sm.OLS(outcome, X).fit()
        error = np.sqrt((np.bincount(county, pull * again.resid) ** 2).sum() * n_counties / (n_counties - 1))
        return float(abs(again.params[0] - around) / error)

    actual, drawn = [], []
    for column in OUTCOMES.values():
        y = f[column].to_numpy()
        null = sm.OLS(y, effects if restricted else X).fit()
        around = 0.0 if restricted else null.params[0]
        actual.append(t(y, 0.0))
        drawn.append([t(null.fittedvalues + s[county] * null.resid, around) for s in signs])
    return np.array(actual), np.array(drawn)


def step_down_by_hand(actual: np.ndarray, drawn: np.ndarray, included: bool) -> np.ndarray:
    """Romano and Wolf (2016): hypotheses by falling |t|; each among the largest of those not yet passed; then made monotone."""
    order, p = np.argsort(-actual), np.empty(len(actual))
    for place, s in enumerate(order):
        extreme = sum(bool(max(draw[order[place:]]) >= actual[s] * (1 - 1e-9)) for draw in drawn.T)
        own = extreme / drawn.shape[1] if included else (1 + extreme) / (1 + drawn.shape[1])
        p[s] = own if place == 0 else max(own, p[order[place - 1]])
    return p


@pytest.mark.parametrize("inference", [Cluster(), wild()])
def test_holm_is_that_of_statsmodels(inference: object) -> None:
    table = adjust(family(frame(), inference))
    expected = multipletests(table["p_value"], method="holm")[1]
    np.testing.assert_allclose(table["p_holm"], expected, rtol=1e-12)
    assert table["name"].tolist() == list(OUTCOMES)
    assert set(table["term"]) == {"ATT"}
    assert (table["p_holm"] > table["p_value"]).sum() >= 3


def test_a_probability_is_at_most_1() -> None:
    f = frame()
    for column in ("y2", "y3", "y4"):
        f[column] = np.random.default_rng(3).permutation(f[column])  # nothing is left to be found
    table = adjust(family(f, Cluster()))
    p = np.sort(table["p_value"])
    assert p[1] * 3 > 1  # it would be more than 1
    assert table["p_holm"].max() == 1.0
    np.testing.assert_allclose(table["p_holm"], multipletests(table["p_value"], method="holm")[1], rtol=1e-12)


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("counties", [8, 15])
def test_romano_wolf_is_that_of_regressions_on_drawn_outcomes(restricted: bool, counties: int) -> None:
    f = frame(counties=counties, treated=4, farms=1)
    settings = {"draws": None, "seed": None} if counties == 8 else {"draws": 199, "seed": 3}
    estimates = family(f, WildBootstrap(**settings, restricted=restricted))
    (signs,) = draw_weights(n_clusters=counties, weights="rademacher", **settings)
    actual, drawn = statistics_by_hand(f, signs, restricted=restricted)
    table = adjust(estimates)
    np.testing.assert_allclose((table["estimate"] / table["std_error"]).abs(), actual, rtol=1e-8)  # rounding
    included = restricted and counties == 8  # of all vectors, the null imposed, one is the sample itself
    np.testing.assert_allclose(table["p_romano_wolf"], step_down_by_hand(actual, drawn, included), rtol=1e-12)
    assert table.attrs["reason"] is None


def test_statistics_of_draws_with_a_null_imposed_are_those_of_a_new_estimate() -> None:
    """Counties of unequal size and shocks, so that nothing cancels between the terms in the distance of the null."""
    f = frame(counties=7, treated=3, farms=3)
    f = f[f["farm"] % 7 != 2].reset_index(drop=True)
    f["y1"] *= 1 + f["county"]
    one = run(f, "y1", WildBootstrap(weights="rademacher"))
    (signs,) = draw_weights(n_clusters=7, weights="rademacher", draws=None, seed=None)
    county = f["county"].to_numpy()
    dummies = [pd.get_dummies(f[c], dtype=float).iloc[:, 1:] for c in ("farm", "year")]
    effects = np.column_stack([np.ones(len(f)), *dummies])
    X = np.column_stack([(f["year"] >= f["first"]).astype(float), effects])
    null = f["y1"] - effects @ np.linalg.pinv(effects) @ f["y1"]
    expected = []
    for s in signs:
        again = np.linalg.pinv(X) @ (s[county] * null)
        left = s[county] * null - X @ again
        error = np.sqrt((np.bincount(county, np.linalg.pinv(X)[0] * left) ** 2).sum())
        expected.append(abs(again[0]) / error)
    distance = float(one.params["ATT"])
    found = one.distribution.replicates(np.eye(1)[0]).statistics(distance)
    np.testing.assert_allclose(found, expected, rtol=1e-8)  # of explicit residuals


def test_the_step_down_is_that_of_pyfixest_on_the_same_draws() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyfixest.estimation.post_estimation.multcomp import _get_rwolf_pval
    estimates = family(frame(), wild())
    ranks = [one.distribution.ranked(np.eye(1)) for one in estimates.values()]
    actual, drawn = np.concatenate([r.actual for r in ranks]), np.concatenate([r.drawn for r in ranks])
    table = adjust(estimates)
    np.testing.assert_allclose(table["p_romano_wolf"], _get_rwolf_pval(actual, drawn.T), rtol=1e-12)
    assert len(set(table["p_romano_wolf"])) >= 3


@pytest.mark.parametrize("inference", [wild(), wild(restricted=False), wild(weights="webb"), wild(by="farm")])
@pytest.mark.parametrize("estimator", [TwoWayFE(), CallawaySantAnna()])
def test_one_hypothesis_keeps_its_p_and_more_never_lower_it(inference: object, estimator: object) -> None:
    estimates = family(frame(), inference, estimator)
    alone = adjust({"carbon": estimates["carbon"]}).iloc[0]
    assert alone["p_holm"] == alone["p_romano_wolf"] == alone["p_value"]
    table = adjust(estimates)
    assert (table["p_romano_wolf"] >= table["p_value"] - 1e-12).all()


def test_romano_wolf_gains_over_holm_where_outcomes_move_together() -> None:
    f = frame()
    f["y2"], f["y3"], f["y4"] = (f["y1"] + 1e-3 * f[c] for c in ("y2", "y3", "y4"))
    table = adjust(family(f, wild()))
    assert table["p_romano_wolf"].max() < 0.03  # as one test
    assert (table["p_holm"] > 2 * table["p_romano_wolf"]).any()


def test_terms_and_subgroups_of_one_estimate_are_a_family() -> None:
    f = frame()
    split = run(f, "y3", wild(), Split(by="large", estimator=TwoWayFE()))
    names = ["ATT [large=0]", "ATT [large=1]"]
    table = adjust({"by size": split}, names)
    assert table["term"].tolist() == names
    assert table["p_value"].tolist() == split.pvalues[names].tolist()
    ranks = split.distribution.ranked(np.eye(2))
    expected = step_down_by_hand(ranks.actual, ranks.drawn, included=False)
    assert table["p_romano_wolf"].tolist() == pytest.approx(expected)
    path = run(f, "y1", wild(), EventStudy(leads=3, lags=2))
    both = adjust({"path": path, "again": run(f, "y2", wild(), EventStudy(leads=3, lags=2))}, ["ATT(e=0)", "ATT(e=1)"])
    assert both[["name", "term"]].to_numpy().tolist() == [
        [n, t] for n in ("path", "again") for t in ("ATT(e=0)", "ATT(e=1)")
    ]
    assert both["p_romano_wolf"].notna().all()


def test_regressions_and_other_estimators_share_draws_and_count_the_sample_as_one() -> None:
    f = frame(counties=10, treated=5)
    mixed = {"regression": run(f, "y1", WildBootstrap()), "cohorts": run(f, "y2", WildBootstrap(), CallawaySantAnna())}
    ranks = [one.distribution.ranked(np.eye(1)) for one in mixed.values()]
    assert [one.whole for one in ranks] == [True, False]
    actual, drawn = np.concatenate([r.actual for r in ranks]), np.concatenate([r.drawn for r in ranks])
    assert drawn.shape == (2, 512)
    expected = step_down_by_hand(actual, drawn, included=False)
    assert adjust(mixed)["p_romano_wolf"].tolist() == pytest.approx(expected.tolist())


def test_estimates_on_other_panels_share_draws_if_their_clusters_do() -> None:
    f = frame()
    rows = f[f["year"] > 2010].sample(frac=1, random_state=2)
    table = adjust({"all years": run(f, "y1", wild()), "later years": run(rows, "y2", wild())})
    assert table["p_romano_wolf"].notna().all()


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (lambda f: run(f, "y2", wild(seed=4)), "income"),
        (lambda f: run(f, "y2", wild(draws=999)), "income"),
        (lambda f: run(f, "y2", wild(weights="webb")), "income"),
        (lambda f: run(f, "y2", wild(by="farm")), "income"),
        (lambda f: run(f[f["county"] != 19], "y2", wild()), "income"),
        (lambda f: run(f.assign(county=f["county"] + 1), "y2", wild()), "income"),
    ],
)
def test_other_draws_leave_romano_wolf_empty_and_say_why(other, names: str) -> None:
    f = frame()
    table = adjust({"yield": run(f, "y1", wild()), names: other(f)})
    assert table["p_romano_wolf"].isna().all()
    assert table["p_holm"].notna().all()
    reason = table.attrs["reason"]
    assert (
        str(reason) == "no Romano-Wolf p-values: income were drawn by other clusters, weights, draws or seed than yield"
    )
    assert "种子" in reason.text("zh")


@pytest.mark.parametrize("inference", [Cluster(), Multiplier(draws=999, seed=1)])
def test_laws_that_rank_nothing_leave_romano_wolf_empty(inference: object) -> None:
    table = adjust(family(frame(), inference))
    assert table["p_romano_wolf"].isna().all()
    assert table["p_holm"].notna().all()
    assert "judge every estimate by WildBootstrap()" in str(table.attrs["reason"])


def test_unsupported_p_values_are_not_adjusted() -> None:
    f = frame(treated=1)
    for inference in (wild(), Cluster()):
        estimates = family(f, inference)
        table = adjust(estimates)
        assert table[["p_holm", "p_romano_wolf"]].isna().all(axis=None)
        assert table["p_value"].notna().all()
        assert table.attrs["reason"] == estimates["yield"].uncertainty.unsupported


def test_what_cannot_be_adjusted_is_refused() -> None:
    one = run(frame(), "y1", wild(), EventStudy(leads=3, lags=2))
    with pytest.raises(DataError, match=r"'path' has no term 'ATT\(e=9\)'") as missing:
        adjust({"path": one}, ["ATT(e=9)"])
    assert "did you mean" in missing.value.remedy
    with pytest.raises(InferenceError, match=r"'ATT\(e=-1\)' of 'path' has no p-value"):
        adjust({"path": one}, ["ATT(e=0)", "ATT(e=-1)"])
    for estimates, terms in (({}, ["ATT"]), ({"path": one}, []), ({"path": one}, "ATT(e=0)"), ([one], ["ATT(e=0)"])):
        with pytest.raises(InferenceError, match=r"nothing to adjust|by name") as refused:
            adjust(estimates, terms)
        assert "adjust({" in refused.value.remedy
