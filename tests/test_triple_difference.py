"""Triple differences: as run on published data, against dummies, pyfixest and hand arithmetic; what is left out or refused."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cases
import evalkit as ek
import oracles
from evalkit import Design, Estimate, Panel, estimate
from evalkit.errors import DataError, DesignError, EvalkitError, InferenceError
from evalkit.estimators import EventStudy, Split, TripleDifference, TwoWayFE
from evalkit.inference import Classical, Cluster, PooledGroups, Robust
from evalkit.results.estimation import Inference

PUBLISHED = tomllib.loads((cases.TESTS / "reference" / "published.toml").read_text(encoding="utf-8"))
SATURATED, PLAIN = TripleDifference(), TripleDifference(saturated=False)


def farms(*, staggered: bool = False, missing: float = 0.1, seed: int = 6) -> pd.DataFrame:
    """72 farms in 12 counties, 2010-2016, a third of them eligible; 4 counties adopt in 2013 (2 of them in 2014); synthetic."""
    rng = np.random.default_rng(seed)
    farm, year = np.repeat(np.arange(72), 7), np.tile(np.arange(2010, 2017), 72)
    county = farm // 6
    first = np.where(county < 4, 2013.0, np.nan)
    if staggered:
        first[county < 2] = 2014.0
    f = pd.DataFrame(
        {"farm": farm, "year": year, "county": county, "first": first, "large": (farm % 3 == 0).astype(int)}
    )
    f["income"], f["w"] = rng.normal(size=len(f)), rng.uniform(1, 3, 72)[farm]
    f["post"] = (year >= first).astype(float)
    f["y"] = rng.normal(size=len(f)) + rng.normal(size=(12, 7))[county, year - 2010] + 0.2 * f["income"]
    f["y"] += 0.5 * f["post"] * f["large"] + 0.3 * f["large"] * (year - 2010)
    return f[rng.random(len(f)) >= missing].reset_index(drop=True)


def run(f: Any, estimator: Any = SATURATED, inference: Inference | None = None, **design: Any) -> Estimate:
    settings = {"outcome": "y", "adoption": "first", "assigned_at": "county", "eligible": "large", **design}
    panel = f if isinstance(f, Panel) else Panel.from_frame(f, unit="farm", time="year")
    return estimate(panel, Design(**settings), estimator, inference=inference or Cluster())


def cai() -> Panel:
    return Panel.from_frame(cases.read("cai"), unit="hhno", time="year")


CAI = {"outcome": "checksaving_ratio", "adoption": "first_year", "eligible": "sector"}


def printed(value: float, text: str) -> bool:
    return bool(round(value, len(text.partition(".")[2])) == float(text))


def test_cai_with_two_interactions_as_run() -> None:
    row = run(cai(), PLAIN, **CAI).tidy().iloc[0]
    assert row["term"] == "ATT"
    assert printed(row["estimate"], PUBLISHED["cai"]["triple"][0])
    assert printed(row["std_error"], PUBLISHED["cai"]["triple"][1])


def test_cai_saturated_equals_pyfixest() -> None:
    f = cases.read("cai")
    both = f.groupby("county")["sector"].transform("nunique") == 2
    assert f.loc[~both, "county"].unique().tolist() == [6]
    g = f[both].assign(
        x=lambda g: ((g["year"] >= g["first_year"]) & (g["sector"] == 1)).astype(float),
        county_year=lambda g: g["county"] * 10_000 + g["year"],
        sector_year=lambda g: g["sector"] * 10_000 + g["year"],
    )
    g = g[["checksaving_ratio", "x", "hhno", "county_year", "sector_year", "county"]]
    formula = "checksaving_ratio~x|hhno+county_year+sector_year"
    b, V = oracles.pyfixest_fit(formula, g, weights=None, vcov={"CRV1": "county"}, k_fixef=None)
    one = run(cai(), SATURATED, Cluster(correction="none"), **CAI)
    # pyfixest de-means by alternating projections until a step is below 1e-14.
    assert one.params["ATT"] == pytest.approx(b[0], rel=1e-8)
    assert one.bse["ATT"] == pytest.approx(np.sqrt(V[0, 0]), rel=1e-8)
    (line,) = one.ledger
    assert (line.rows, line.units) == (int((~both).sum()), f.loc[~both, "hhno"].nunique())
    assert "all or none are sector" in str(line.reason)


INFERENCES = {"classical": Classical(), "robust": Robust(), "cr1": Cluster(), "none": Cluster(correction="none")}


@pytest.mark.parametrize(
    ("saturated", "staggered", "design"),
    [
        (True, False, {}),
        (True, True, {"covariates": ("income",), "weights": "w"}),
        (False, False, {"covariates": ("income",), "weights": "w"}),
    ],
)
def test_equals_dummies(saturated: bool, staggered: bool, design: dict[str, Any]) -> None:
    f = farms(staggered=staggered)
    x = (f["post"] * f["large"]).to_numpy()
    if saturated:
        crossed = [f["county"] * 10_000 + f["year"], f["large"] * 10_000 + f["year"]]
    else:
        crossed = [f["post"], f["large"] * (f["year"] >= 2013)]
    X = np.column_stack([x, *(f[name] for name in design.get("covariates", ()))])
    r = oracles.dummy_regression(f["y"], X, [f["farm"], f["year"], *crossed], f["w"] if "weights" in design else None)
    for method, inference in INFERENCES.items():
        if method in ("classical", "robust"):
            V, df = (oracles.classical if method == "classical" else oracles.robust)(r)
        else:
            V, df = oracles.clustered(r, [f["county"]], method)
        one = run(f, TripleDifference(saturated=saturated), inference, **design)
        # The same equations in double precision; 1e-9 leaves room for the condition number of the dummies.
        assert one.params["ATT"] == pytest.approx(r.b[0], abs=1e-9 * np.sqrt(V[0, 0]))
        assert one.bse["ATT"] == pytest.approx(np.sqrt(V[0, 0]), rel=1e-9)
        assert one.uncertainty.df[0] == df


@pytest.mark.parametrize("estimator", [SATURATED, PLAIN])
def test_is_the_difference_of_two_differences_in_differences(estimator: TripleDifference) -> None:
    """Every group of the same size in each county and period: means of means, by hand."""
    f = farms(missing=0.0)
    means = f.assign(adopts=f["county"] < 4, after=f["year"] >= 2013).groupby(["adopts", "large", "after"])["y"].mean()
    change = means.xs(True, level="after") - means.xs(False, level="after")
    by_hand = (change[True, 1] - change[True, 0]) - (change[False, 1] - change[False, 0])
    one = run(f, estimator)
    assert one.params["ATT"] == pytest.approx(by_hand, rel=1e-12)
    two = [
        run(f[f["large"] == group], TwoWayFE(), eligible=None).params["ATT"] for group in (1, 0)
    ]  # with the same comparison counties in both
    assert one.params["ATT"] == pytest.approx(two[0] - two[1], rel=1e-12)


def test_repeated_cross_sections_absorb_county_by_group() -> None:
    f = farms(staggered=True).drop(columns="farm")
    x = (f["post"] * f["large"]).to_numpy()
    pairs = [f["county"] * 10 + f["large"], f["county"] * 10_000 + f["year"], f["large"] * 10_000 + f["year"]]
    r = oracles.dummy_regression(f["y"], x[:, None], pairs)
    V, _ = oracles.clustered(r, [f["county"]], "cr1")
    one, other = (
        run(Panel.from_frame(g, unit=None, time="year"))
        for g in (f, f.sample(frac=1, random_state=1).reset_index(drop=True))
    )
    assert one.params["ATT"] == pytest.approx(r.b[0], rel=1e-10)
    assert one.bse["ATT"] == pytest.approx(np.sqrt(V[0, 0]), rel=1e-10)
    np.testing.assert_array_equal(one.vcov(), other.vcov())


def test_shocks_to_counties_and_to_the_eligible_change_nothing() -> None:
    f = farms(staggered=True)
    shocked = f.assign(
        y=f["y"] + f["county"] * (f["year"] - 2012) ** 2 + f["large"] * np.sin(f["year"]) + 0.1 * f["farm"]
    )
    one, other = run(f), run(shocked)
    # Values of size 200 are rounded at 3e-14.
    assert other.params["ATT"] == pytest.approx(one.params["ATT"], abs=1e-11)
    assert other.bse["ATT"] == pytest.approx(one.bse["ATT"], rel=1e-10)
    assert abs(run(shocked, TwoWayFE(), eligible=None).params["ATT"]) > 1  # which does not survive them


@pytest.mark.parametrize("estimator", [SATURATED, PLAIN])
def test_an_added_effect_is_found_and_units_scale(estimator: TripleDifference) -> None:
    f = farms()
    one = run(f, estimator, covariates=("income",))
    more = run(f.assign(y=-2 * (f["y"] + 3 * f["post"] * f["large"]) + 7), estimator, covariates=("income",))
    assert more.params["ATT"] == pytest.approx(-2 * (one.params["ATT"] + 3), rel=1e-11)
    assert more.bse["ATT"] == pytest.approx(2 * one.bse["ATT"], rel=1e-11)


def test_order_labels_and_equal_weights_change_nothing() -> None:
    f = farms(staggered=True)
    one = run(f)
    before = f.copy(deep=True)
    np.testing.assert_array_equal(run(f.sample(frac=1, random_state=3)).vcov(), one.vcov())
    np.testing.assert_array_equal(run(f.assign(w=2.5), weights="w").vcov(), one.vcov())
    renamed = f.assign(farm="户" + f["farm"].map("{:03d}".format), large=f["large"].astype(bool))
    np.testing.assert_array_equal(run(renamed).vcov(), one.vcov())
    pd.testing.assert_frame_equal(f, before)


def test_counts_are_repeated_rows() -> None:
    f = farms(staggered=True).assign(n=lambda f: 1 + f["farm"] % 3)
    repeated = f.loc[f.index.repeat(f["n"])]
    repeated["farm"] = repeated["farm"] * 10 + repeated.groupby(["farm", "year"]).cumcount()
    one = run(Panel.from_frame(f, unit="farm", time="year", counts="n"))
    other = run(repeated)
    assert one.params["ATT"] == pytest.approx(other.params["ATT"], rel=1e-11)
    assert one.bse["ATT"] == pytest.approx(other.bse["ATT"], rel=1e-11)


@pytest.mark.parametrize("estimator", [SATURATED, PLAIN])
@pytest.mark.parametrize("inference", [Classical(), Robust(), Cluster()], ids=repr)
def test_cells_equal_rows(estimator: TripleDifference, inference: Inference) -> None:
    design = Design(**CAI, assigned_at="county")
    cells = ek.collapse(cases.read("cai"), design, unit="hhno", time="year")
    assert len(cells) < len(cases.read("cai")) / 20
    one, other = run(cells, estimator, inference, **CAI), run(cai(), estimator, inference, **CAI)
    # Sums of the same numbers in another order.
    assert one.params["ATT"] == pytest.approx(other.params["ATT"], rel=1e-10)
    assert one.bse["ATT"] == pytest.approx(other.bse["ATT"], rel=1e-9)
    sizes = ["n_obs", "n_units", "n_clusters", "df"]
    assert one.glance()[sizes].equals(other.glance()[sizes])


def test_counties_with_one_group_say_nothing_and_leave_through_the_ledger() -> None:
    f = farms()
    f.loc[f["county"].isin([0, 11]), "large"] = 1
    one, other = run(f), run(f[~f["county"].isin([0, 11])])
    assert one.params.equals(other.params)
    assert one.glance()[["n_treated_clusters", "n_control_clusters"]].iloc[0].tolist() == [3, 7]
    inside = oracles.dummy_regression(
        f["y"],
        (f["post"] * f["large"]).to_numpy()[:, None],
        [f["farm"], f["county"] * 10_000 + f["year"], f["large"] * 10_000 + f["year"]],
    )
    assert one.params["ATT"] == pytest.approx(inside.b[0], rel=1e-10)  # kept in, they move nothing
    assert run(f, PLAIN).ledger == ()  # their changes over time count there


def test_anticipation_leaves_out_rows() -> None:
    f = farms()
    one = run(f, anticipation=1)
    window = (f["year"] == 2012) & f["first"].notna()
    other = run(f[~window])
    assert one.params.equals(other.params)
    assert one.ledger[0].rows == int(window.sum())


def test_units_without_a_group_leave_through_the_ledger() -> None:
    f = farms()
    unknown = f["farm"].isin([5, 50])
    one, other = run(f.assign(large=f["large"].where(~unknown))), run(f[~unknown])
    assert one.params.equals(other.params)
    (line,) = one.ledger
    assert (line.rows, line.units, str(line.reason)) == (int(unknown.sum()), 2, "large is missing")


def test_staggered_adoption_is_said_with_its_weights() -> None:
    (note,) = [note for note in run(farms(staggered=True)).notes if note.key == "note.staggered"]
    assert "2 cohorts" in str(note)
    assert not [note for note in run(farms()).notes if note.key == "note.staggered"]
    with pytest.raises(DesignError, match="never_treated"):
        run(farms(staggered=True), comparison="never_treated")
    assert run(farms(), comparison="never_treated").params.equals(run(farms()).params)


def test_works_inside_a_split() -> None:
    f = farms().assign(half=lambda f: f["farm"] % 2)
    one = run(f, Split(by="half", estimator=SATURATED))
    assert one.params["ATT [half=1]"] == run(f[f["half"] == 1]).params["ATT"]


def change(f: pd.DataFrame, rows: Any, value: Any) -> pd.DataFrame:
    return f.assign(large=f["large"].astype(object).where(~rows, value))


REFUSED: dict[str, tuple[Any, type[EvalkitError], tuple[str, ...]]] = {
    "no eligible column": (
        lambda f: run(f, eligible=None),
        DesignError,
        ("does not say who is eligible", "name a 0/1"),
    ),
    "eligible is the outcome": (lambda f: run(f, eligible="y"), DesignError, ("also the outcome",)),
    "a dose": (lambda f: run(f, dose="income"), DesignError, ("dose = 'income'", "TripleDifference does not use it")),
    "values of 2": (
        lambda f: run(change(f, f["farm"] == 4, 2)),
        DataError,
        ("must be 0 or 1; found 2", "'large', rows"),
    ),
    "text": (lambda f: run(change(f, f["farm"] == 4, "yes")), DataError, ("'yes' is not a number",)),
    "a farm that changes its group": (
        lambda f: run(change(f, (f["farm"] == 4) & (f["year"] > 2014), 1)),
        DesignError,
        ("farm 4 has both 0 and 1", "first row"),
    ),
    "adopting counties of one group": (
        lambda f: run(change(f, f["county"] < 4, 1)),
        DesignError,
        ("no county which adopts holds both", "saturated=False"),
    ),
    "comparison counties of one group": (
        lambda f: run(change(f, f["county"] >= 4, 0)),
        DesignError,
        ("no county to compare with holds both",),
    ),
    "nobody eligible, two interactions": (
        lambda f: run(change(f, f["county"] >= 4, 0), PLAIN),
        DesignError,
        ("no eligible units where it is not adopted",),
    ),
    "all eligible, two interactions": (
        lambda f: run(f.assign(large=1), PLAIN),
        DesignError,
        ("no other units where it is adopted",),
    ),
    "two dates, two interactions": (
        lambda f: run(farms(staggered=True), PLAIN),
        DesignError,
        ("2 dates of adoption", "use TripleDifference()"),
    ),
    "two-way effects do not use eligible": (
        lambda f: run(f, TwoWayFE()),
        DesignError,
        ("eligible = 'large'", "TwoWayFE does not use it", "TripleDifference"),
    ),
    "nor does an event study": (
        lambda f: run(f, EventStudy(leads=2, lags=1)),
        DesignError,
        ("EventStudy does not use it",),
    ),
    "pooled groups": (
        lambda f: run(farms(missing=0.0), inference=PooledGroups()),
        InferenceError,
        ("further fixed effects",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str) -> None:
    make, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        make(farms())
    for word in words:
        assert word in str(caught.value)


def test_effects_of_thousands_of_counties_are_the_gaps_within_them() -> None:
    n = 2600
    f = pd.DataFrame({"farm": np.repeat(np.arange(2 * n), 2), "year": np.tile([2010, 2011], 2 * n)})
    f["county"], f["large"] = f["farm"] // 2, f["farm"] % 2
    f["first"] = np.where(f["county"] % 2, 2011, 0)
    f["y"] = np.random.default_rng(0).normal(size=len(f))
    change = f.pivot(index="farm", columns="year", values="y").diff(axis=1)[2011].to_numpy().reshape(n, 2)
    gap = change[:, 1] - change[:, 0]  # of the eligible over the other, in each county
    for estimator in (PLAIN, SATURATED):
        assert run(f, estimator).params["ATT"] == pytest.approx(gap[1::2].mean() - gap[0::2].mean(), rel=1e-10)
