"""Categories as covariates: against dummies made by hand, pyfixest's C(), rows against cells, and where they are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
import oracles
from evalkit.errors import ConfigError, DataError, DesignError
from evalkit.estimators import (
    CallawaySantAnna,
    EventStudy,
    ExtendedTWFE,
    Imputation,
    Split,
    Stacked,
    SunAbraham,
    SyntheticControl,
    TripleDifference,
    TwoStage,
    TwoWayFE,
)
from evalkit.inference import Cluster, Jackknife
from evalkit.study.config import read_study

REGIONS = ("东", "中", "南", "西")
SECTORS = ("crops", "fish", "stock")


def farms(seed: int = 0) -> pd.DataFrame:
    """90 farms in 30 counties over 2010-2016; region is of the farm, sector and code change; cohorts 2013, 2015, never."""
    rng = np.random.default_rng(seed)
    f = pd.DataFrame({"farm": np.repeat(np.arange(90), 7), "year": np.tile(np.arange(2010, 2017), 90)})
    f["county"] = f["farm"] // 3
    f["first"] = np.select([f["county"] % 3 == 0, f["county"] % 3 == 1], [2013.0, 2015.0], np.nan)
    f["region"] = np.array(REGIONS)[rng.choice(4, 90, p=[0.2, 0.2, 0.2, 0.4])][f["farm"]]
    f["sector"] = np.array(SECTORS)[rng.choice(3, len(f), p=[0.2, 0.5, 0.3])]
    f["code"] = rng.choice(3, len(f), p=[0.3, 0.3, 0.4])
    f["irrigated"] = rng.random(len(f)) < 0.4
    f["size"] = rng.normal(size=90)[f["farm"]]
    f["y"] = (f["region"] == "东") * (f["year"] - 2010) * 0.3 + (f["sector"] == "fish") + 0.2 * f["farm"]
    f["y"] += rng.normal(size=len(f)) + 0.5 * (f["year"] >= f["first"])
    return f


def run(frame: pd.DataFrame, estimator: Any, covariates: tuple[Any, ...], **settings: Any) -> ek.Estimate:
    panel = ek.Panel.from_frame(frame, unit="farm", time="year")
    design = ek.Design(outcome="y", adoption="first", assigned_at="county", covariates=covariates, **settings)
    return ek.estimate(panel, design, estimator, inference=Cluster())


ESTIMATORS = [
    TwoWayFE(),
    EventStudy(leads=2, lags=2),
    *(CallawaySantAnna(aggregate="dynamic", method=method) for method in ("dr", "reg", "ipw")),
    SunAbraham("simple"),
    ExtendedTWFE(),
    Imputation(),
    TwoStage(),
    Stacked(leads=2, lags=1),
    Split(by="irrigated", estimator=TwoWayFE()),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_indicators_are_dummies_made_by_hand(estimator: Any) -> None:
    f = farms()
    by_hand = [f"{column}={value}" for column, values in (("region", REGIONS[:3]), ("sector", ("crops", "stock")))
               for value in values]  # fmt: skip
    made = f.assign(**{name: (f[name.split("=")[0]] == name.split("=")[1]).astype(float) for name in by_hand})
    one = run(f, estimator, ("size", ek.indicators("region"), ek.indicators("sector")))
    other = run(made, estimator, ("size", *by_hand))
    assert one.params.index.tolist() == other.params.index.tolist()
    assert one.params.to_numpy().tobytes() == other.params.to_numpy().tobytes()
    assert one.vcov().to_numpy().tobytes() == other.vcov().to_numpy().tobytes()
    assert one.params.index.is_unique


@pytest.mark.parametrize("column", ["region", "sector", "code", "irrigated"])
@pytest.mark.parametrize("base", [0, -1])
def test_the_reference_changes_no_effect(column: str, base: int) -> None:
    f = farms()
    value = sorted(f[column].unique())[base]
    for estimator in (TwoWayFE(), CallawaySantAnna(), Imputation()):
        one = run(f, estimator, (ek.indicators(column),))
        other = run(f, estimator, (ek.indicators(column, base=value),))
        assert one.params["ATT"] == pytest.approx(other.params["ATT"], abs=1e-11)  # the same space, other columns
        assert one.bse["ATT"] == pytest.approx(other.bse["ATT"], rel=1e-9)
        assert f"{column}={value}" not in other.params


@pytest.mark.parametrize("effects", ["D", "i(e, ref=-1)"])
def test_pyfixest_agrees_with_categories_that_change(effects: str) -> None:
    f = farms().query("first != 2015").reset_index(drop=True)
    f["D"] = (f["year"] >= f["first"]).astype(int)
    f["e"] = (f["year"] - f["first"]).fillna(-1)
    formula = f"y ~ {effects} + C(sector) | farm + year"
    b, V = oracles.pyfixest_fit(formula, f, weights=None, vcov={"CRV1": "county"}, k_fixef=None)
    estimator = TwoWayFE() if effects == "D" else EventStudy(leads=3, lags=3)
    one = run(f, estimator, (ek.indicators("sector", base="crops"),)).under(Cluster(correction="none"))
    assert one.params.index.tolist()[-2:] == ["sector=fish", "sector=stock"]
    kept = [i for i, term in enumerate(one.fit.terms) if term.role != "base"]
    np.testing.assert_allclose(one.params.iloc[kept], b, atol=1e-9)  # de-meaned by alternating projections
    np.testing.assert_allclose(one.vcov().to_numpy()[np.ix_(kept, kept)], V, atol=1e-9 * np.abs(V).max())


def test_the_most_frequent_value_of_the_rows_used_is_the_reference_and_ties_go_by_name() -> None:
    f = farms()
    assert "region=西" not in run(f, ExtendedTWFE(), (ek.indicators("region"),)).params
    told = [str(note) for note in run(f, TwoWayFE(), (ek.indicators("region"),)).notes]
    assert "region enters as 0/1 columns, one for each of its 4 values but 西" in told
    assert sum("region=" in note and "is dropped" in note for note in told) == 3  # unit effects hold them
    f.loc[f["region"] == "西", "y"] = np.nan
    east, middle = ((f["region"] == name) & f["y"].notna() for name in ("东", "中"))
    assert "but 西" not in " ".join(map(str, run(f, TwoWayFE(), (ek.indicators("region"),)).notes))
    even = pd.concat([f[middle].head(7 * 12), f[east].head(7 * 12), f[f["region"] == "南"].head(7 * 4)])
    assert any("but 东" in str(note) for note in run(even, TwoWayFE(), (ek.indicators("region"),)).notes)  # before 中


def test_missing_categories_leave_through_the_ledger() -> None:
    f = farms().astype({"sector": object})
    f.loc[::10, "sector"] = None
    one = run(f, TwoWayFE(), (ek.indicators("sector"),))
    assert [(str(line.reason), line.rows) for line in one.ledger] == [("sector is missing", 63)]
    other = run(f.dropna(subset="sector"), TwoWayFE(), (ek.indicators("sector"),))
    np.testing.assert_array_equal(one.params, other.params)


@pytest.mark.parametrize(
    "kind", [lambda s: s.astype("category"), lambda s: s.astype("string[pyarrow]"), lambda s: s.astype("string")]
)
def test_how_text_is_stored_does_not_matter(kind: Any) -> None:
    f = farms()
    one, other = (run(g, TwoWayFE(), (ek.indicators("sector"),)) for g in (f, f.assign(sector=kind(f["sector"]))))
    assert one.params.equals(other.params)
    assert one.spec.digest() == other.spec.digest()


def test_a_category_of_one_value_adjusts_nothing_and_says_so() -> None:
    f = farms().assign(land="华北")
    one = run(f, CallawaySantAnna(), (ek.indicators("land"),))
    assert one.params["ATT"] == run(f, CallawaySantAnna(), ()).params["ATT"]
    assert "land is 华北 in all rows, and adjusts nothing" in [str(note) for note in one.notes]


def test_treated_rows_of_a_value_that_no_untreated_row_has_are_not_imputed() -> None:
    f = farms()
    late = (f["year"] == 2016) & (f["first"] == 2013) & (f["farm"] % 3 == 0)
    f.loc[late, "sector"] = "only the treated"
    one = run(f, Imputation(), (ek.indicators("sector"),))
    assert [(str(line.reason), line.rows) for line in one.ledger] == [
        ("treated, and cannot be imputed from untreated rows", int(late.sum()))
    ]


def test_cells_equal_rows() -> None:
    f = farms()
    design = ek.Design(
        outcome="y", adoption="first", assigned_at="county", covariates=(ek.indicators("code"), ek.indicators("region"))
    )
    f["code"] = f["farm"] % 2 * (f["year"] > 2012)  # changes over time, alike for half of the farms
    rows, cells = ek.Panel.from_frame(f, unit="farm", time="year"), ek.collapse(f, design, unit="farm", time="year")
    assert len(cells) < len(rows)
    for estimator in (TwoWayFE(), EventStudy(leads=2, lags=1)):
        one, other = (ek.estimate(panel, design, estimator, inference=Cluster()) for panel in (rows, cells))
        np.testing.assert_allclose(one.params, other.params, atol=1e-12)
        np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-9, atol=1e-16)


def test_leaving_out_a_county_names_the_same_columns() -> None:
    f = farms()
    f.loc[f["county"] == 0, "sector"] = "fish"
    panel = ek.Panel.from_frame(f, unit="farm", time="year")
    design = ek.Design(outcome="y", adoption="first", assigned_at="county", covariates=(ek.indicators("sector"),))
    one = ek.estimate(panel, design, TwoWayFE(), inference=Jackknife())
    dummies = f.assign(crops=1.0 * (f["sector"] == "crops"), stock=1.0 * (f["sector"] == "stock"))
    plain = ek.Design(outcome="y", adoption="first", assigned_at="county", covariates=("crops", "stock"))
    other = ek.estimate(
        ek.Panel.from_frame(dummies, unit="farm", time="year"), plain, TwoWayFE(), inference=Jackknife()
    )
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-10)


def test_the_digest_sees_the_column_and_the_reference() -> None:
    f = farms()
    digests = {
        run(frame, TwoWayFE(), (covariate,)).spec.digest()
        for frame in (f, f.assign(sector=f["sector"].to_numpy()[::-1]))
        for covariate in (ek.indicators("sector"), ek.indicators("sector", base="fish"))
    }
    assert len(digests) == 4


# Refusals


def test_text_named_plainly_is_refused_with_the_verb() -> None:
    with pytest.raises(DataError, match=r'if sector is a category, write covariates=\(ek.indicators\("sector"\),\)'):
        run(farms(), TwoWayFE(), ("sector",))
    with pytest.raises(DataError, match=r'in study.toml covariates = \[\{ verb = "indicators", of = "sector" \}\]'):
        run(farms().astype({"sector": "category"}), CallawaySantAnna(), ("sector",))


@pytest.mark.parametrize(
    ("covariates", "what"),
    [
        (ek.indicators("sector"), r'write covariates=\(ek.indicators\("sector"\),\)'),
        (("code", ek.indicators("code")), "a covariate is named twice"),
        ((ek.indicators("y"),), "a covariate is named twice, or is the outcome"),
        ((3,), "a covariate is 3"),
        ((ek.indicators("sektor"),), "there is no column 'sektor'.*did you mean 'sector'"),
        ((ek.indicators("sector", base="fisch"),), "base is 'fisch'.*did you mean 'fish'"),
        (
            (ek.indicators("name"),),
            r"'name' has 630 values, which make 629 indicators, in 90 units; at most 30.*absorb it",
        ),
        ((ek.indicators("farm"),), "'farm' has 90 values"),
        ((ek.indicators("endless"),), "'endless' is infinite"),
    ],
)
def test_what_cannot_be_indicators_is_refused(covariates: Any, what: str) -> None:
    f = farms()
    f = f.assign(name=[f"第{i}号" for i in range(len(f))], endless=np.where(f["farm"] < 9, np.inf, 1.0))
    with pytest.raises((DesignError, DataError), match=what):
        run(f, TwoWayFE(), covariates)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"of": ["region"]}, r"of is \['region'\], and no name of a column"),
        ({"of": None}, "of is None"),
        ({"of": "region", "base": ["东"]}, r"base is \['东'\], and no value of a column.*give one value"),
    ],
)
def test_what_names_no_column_or_value_is_refused_at_once(given: dict[str, Any], what: str) -> None:
    with pytest.raises(DesignError, match=what):
        ek.indicators(**given)


def test_estimators_that_take_no_covariates_still_refuse_them() -> None:
    with pytest.raises(DesignError, match="SyntheticControl does not use it"):
        run(farms(), SyntheticControl(), (ek.indicators("region"),))
    f = farms().assign(eligible=lambda f: f["farm"] % 3 == 0)
    one = run(f, TripleDifference(), (ek.indicators("sector"),), eligible="eligible")
    assert {"sector=crops", "sector=stock"} <= set(one.params.index)


# In a study

STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "farms.csv"
[panel]
sources = ["farms"]
unit = "farm"
time = "year"
[design]
outcome = "y"
adoption = "first"
assigned_at = "county"
covariates = ["size", { verb = "indicators", of = "sector", base = "fish" }]
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
[[estimate]]
name = "by_region"
design = { covariates = [{ verb = "indicators", of = "region" }] }
estimator = { kind = "CallawaySantAnna" }
inference = { kind = "Cluster" }
"""


def test_a_study_names_categories(tmp_path: Path) -> None:
    farms().to_csv(tmp_path / "farms.csv", index=False)
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    config = read_study(tmp_path)
    assert config.design is not None
    assert config.design.covariates == ("size", ek.indicators("sector", base="fish"))
    evidence = ek.run_study(tmp_path)
    one = evidence.estimates["by_region"]
    assert one.params["ATT"] == pytest.approx(
        run(farms(), CallawaySantAnna(), (ek.indicators("region"),)).params["ATT"], abs=1e-12
    )
    shares = evidence.descriptives_table().query("group == 'all'").set_index("variable")["mean"]
    f = farms()
    for column in ("sector", "region"):
        for value, share in f[column].value_counts(normalize=True).items():
            assert shares[f"{column}={value}"] == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ('{ verb = "log", of = "sector" }', 'verb = "indicators", of = …'),
        ('{ verb = "indicators", off = "sector" }', "unknown key 'off'"),
        ('{ verb = "indicators" }', "'of' is missing"),
        ("3", "3 is no covariate"),
    ],
)
def test_a_study_refuses_other_tables_among_covariates(tmp_path: Path, given: str, what: str) -> None:
    farms().head(7).to_csv(tmp_path / "farms.csv", index=False)
    text = STUDY.replace('{ verb = "indicators", of = "sector", base = "fish" }', given)
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=what):
        read_study(tmp_path)


@pytest.mark.parametrize("given", ['{ verb = "indicators", of = "sector" }', '"sector"'])
def test_a_study_says_how_covariates_are_listed(tmp_path: Path, given: str) -> None:
    farms().head(7).to_csv(tmp_path / "farms.csv", index=False)
    text = re.sub("^covariates = .*", lambda _: f"covariates = {given}", STUDY, flags=re.MULTILINE)
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r'no list.*write covariates = \["log_income", \{ verb = "indicators"'):
        read_study(tmp_path)


# Names


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("name", ["ATT", "ATT(e=1)", "ATT(g=2013,t=2014)"])
def test_a_covariate_called_as_an_effect_is_refused(estimator: Any, name: str) -> None:
    f = farms()
    f[name] = np.random.default_rng(1).normal(size=len(f))
    with pytest.raises(DesignError, match=f"called '{re.escape(name)}', and effects.*rename that column") as refused:
        run(f, estimator, (name,))
    assert "ATT_covariate" in refused.value.remedy


def test_slope_is_a_name_like_others_unless_there_is_a_dose() -> None:
    f = farms().assign(slope=lambda f: np.sin(np.arange(len(f))), loan=lambda f: 1.0 * (f["year"] >= f["first"]))
    assert run(f, TwoWayFE(), ("slope",)).params.index.tolist() == ["ATT", "slope"]
    with pytest.raises(DesignError, match="effects of the estimate are called 'slope'"):
        run(f, TwoWayFE(), ("slope",), dose="loan")


def test_columns_of_one_name_are_refused() -> None:
    f = farms()
    f["sector=fish"] = np.cos(np.arange(len(f)))
    with pytest.raises(DesignError, match="called 'sector=fish', and another covariate has that name"):
        run(f, CallawaySantAnna(), ("sector=fish", ek.indicators("sector", base="crops")))
    f["size (t=2012)"] = np.cos(np.arange(len(f)))
    with pytest.raises(DesignError, match=r"two terms of the estimate would be called 'size \(t=2012\)'"):
        run(f, ExtendedTWFE(), ("size", "size (t=2012)"))
