"""Numbers that agree with something outside: dummies in NumPy, live peers, stored R output, printed tables."""

from __future__ import annotations

import json
import tomllib
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import cases
import oracles
from evalkit import Design, Estimate, Panel, check, estimate
from evalkit.checks import PlaceboAdoption, PlaceboAssignment
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Classical, Cluster, Robust
from evalkit.numerics.absorb import effects_rank, make_absorber
from evalkit.numerics.arrays import first_rows
from evalkit.numerics.least_squares import least_squares
from evalkit.results.estimation import Inference

REFERENCE = cases.TESTS / "reference"
PUBLISHED = tomllib.loads((REFERENCE / "published.toml").read_text(encoding="utf-8"))
NIST = json.loads((REFERENCE / "nist_linear.json").read_text(encoding="utf-8"))
FIXEST = {e["id"]: e for e in json.loads((REFERENCE / "r_fixest_mpdta.json").read_text(encoding="utf-8"))["entries"]}

SMALL = [name for name in cases.CASES if cases.case(name).small]
ONE_WAY = ["classical", "robust", "one_cr1", "one_none", "one_all_effects"]
TWO_WAY = ["two_cr1", "two_none", "two_all_effects"]
RUNS = [
    (name, method) for name in SMALL for method in ONE_WAY + (TWO_WAY if len(cases.case(name).clusters) == 2 else [])
]


def inference(method: str, case: cases.Case) -> Inference:
    if method in ("classical", "robust"):
        return Classical() if method == "classical" else Robust()
    ways, correction = method.split("_", 1)
    return Cluster(case.clusters[: 1 if ways == "one" else 2], correction=correction)  # type: ignore[arg-type]


@cache
def dummies(name: str) -> oracles.DummyRegression:
    case = cases.case(name)
    weights = case.frame[case.design.weights] if case.design.weights else None
    effects = [case.labels(effect) for effect in case.effects]
    return oracles.dummy_regression(
        case.frame[case.design.outcome], np.column_stack([*case.terms.values()]), effects, weights
    )


def assert_close(one: Estimate, terms: list[str], b: Any, V: Any, tolerance: float) -> None:
    """Coefficients differ by less than tolerance standard errors, covariances by less than tolerance of their scale."""
    scale = np.sqrt(np.diag(V))
    assert (np.abs(one.params[terms].to_numpy() - b) / scale).max() < tolerance
    assert (np.abs(one.vcov().loc[terms, terms].to_numpy() - V) / np.outer(scale, scale)).max() < tolerance


@pytest.mark.parametrize(("name", "method"), RUNS)
def test_equals_dummies(name: str, method: str) -> None:
    case = cases.case(name)
    r = dummies(name)
    if method in ("classical", "robust"):
        V, df = (oracles.classical if method == "classical" else oracles.robust)(r)
    else:
        ways, correction = method.split("_", 1)
        columns = case.clusters[: 1 if ways == "one" else 2]
        V, df = oracles.clustered(r, [case.frame[column] for column in columns], correction)
    one = estimate(case.panel, case.design, case.estimator, inference=inference(method, case))
    if method.startswith("two") and not is_positive(V):
        assert_mended(one, list(case.terms), V)
        return
    # The same equations in double precision; 1e-10 leaves room for the dummies' condition number (about 1e4).
    assert_close(one, list(case.terms), r.b, V, 1e-10)
    at = [one.params.index.get_loc(term) for term in case.terms]
    assert one.uncertainty.df[at] == pytest.approx(np.full(len(at), df))


def is_positive(V: Any) -> bool:
    """Say whether a covariance, brought to correlations, has no negative eigenvalue (a two-way difference can)."""
    diagonal = np.diag(V)
    return bool((diagonal > 0).all() and np.linalg.eigvalsh(V / np.sqrt(np.outer(diagonal, diagonal))).min() > -1e-12)


def assert_mended(one: Estimate, terms: list[str], V: Any) -> None:
    """What is reported instead of a covariance that is not positive is one, only larger, and says so."""
    ours = one.vcov().loc[terms, terms].to_numpy()
    scale = np.sqrt(np.diag(ours))
    assert np.linalg.eigvalsh(ours / np.outer(scale, scale)).min() > -1e-12  # rounding of a zero eigenvalue
    assert (np.diag(ours) >= np.diag(V) * (1 - 1e-12)).all()
    assert any("not positive" in str(note) for note in one.notes)


PYFIXEST = {
    "classical": ("iid", "full"),
    "robust": ("hetero", "full"),
    "all_effects": (None, "full"),
    "none": (None, None),
}


@pytest.mark.parametrize("method", ["classical", "robust", "one_none", "one_all_effects", "two_none"])
@pytest.mark.parametrize("name", [n for n in cases.CASES if n != "kielmc"])
def test_equals_pyfixest(name: str, method: str) -> None:
    case = cases.case(name)
    columns = [f"x{i}" for i in range(len(case.terms))]
    data = case.frame.assign(**dict(zip(columns, case.terms.values(), strict=True)))
    effects = [effect if isinstance(effect, str) else "_x_".join(effect) for effect in case.effects]
    for effect, label in zip(case.effects, effects, strict=True):
        data[label] = case.labels(effect)
    data = data[list(dict.fromkeys([case.design.outcome, *columns, *effects, *case.clusters]))].assign(
        weight=case.frame[case.design.weights] if case.design.weights else 1.0
    )
    vcov, k_fixef = PYFIXEST[method.removeprefix("one_").removeprefix("two_")]
    clusters = case.clusters[: 2 if method.startswith("two") else 1]
    b, V = oracles.pyfixest_fit(
        f"{case.design.outcome}~{'+'.join(columns)}|{'+'.join(effects)}",
        data,
        weights="weight" if case.design.weights else None,
        vcov=vcov or {"CRV1": "+".join(clusters)},
        k_fixef=k_fixef,
    )
    one = estimate(case.panel, case.design, case.estimator, inference=inference(method, case))
    if k_fixef == "full":  # it counts effects by their levels; evalkit by their rank, which crossed effects lower
        counted = sum(len(np.unique(case.labels(e))) for e in case.effects) - len(case.effects) + 1
        regression = one.fit.parts[0].regression
        assert regression is not None
        rows = len(data) - len(columns)
        V = V * (rows - counted) / (rows - regression.n_effects)
    if method.startswith("two") and not is_positive(V):
        assert_mended(one, list(case.terms), V)
        return
    # pyfixest de-means by alternating projections until a step is below 1e-14; 1e-9 standard errors remain.
    assert_close(one, list(case.terms), b, V, 1e-8)


def test_equals_linearmodels() -> None:
    from linearmodels.panel import PanelOLS

    case = cases.case("ezunem")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
        data = case.frame.set_index(["city", "year"])
        peer = PanelOLS(data["luclms"], data[["ez"]].astype(float), entity_effects=True, time_effects=True).fit(
            cov_type="clustered", cluster_entity=True, group_debias=True
        )
    one = estimate(case.panel, case.design, case.estimator, inference=Cluster(correction="all_effects"))
    assert one.params["ATT"] == pytest.approx(float(peer.params["ez"]), rel=1e-10)  # both in double precision
    assert one.bse["ATT"] == pytest.approx(float(peer.std_errors["ez"]), rel=1e-10)


FIXEST_RUNS: dict[str, tuple[tuple[str, ...], Inference]] = {
    "iid": ((), Classical()),
    "iid_covariates": (("lpop",), Classical()),
    "hetero": ((), Robust()),
    "hetero_covariates": (("lpop",), Robust()),
    "cluster": ((), Cluster()),
    "cluster_covariates": (("lpop",), Cluster()),
    "cluster_cohort": ((), Cluster("first")),
    "cluster_cohort_covariates": (("lpop",), Cluster("first")),
    "two_way": ((), Cluster(("countyreal", "year"))),
    "no_correction": ((), Cluster(correction="none")),
    "all_effects": ((), Cluster(correction="all_effects")),
    "weights": (("weights",), Cluster()),
    "event_study": (("events",), Cluster()),
}


def test_every_stored_call_of_fixest_is_run() -> None:
    assert set(FIXEST_RUNS) == set(FIXEST)


@pytest.mark.parametrize("entry", FIXEST)
def test_equals_r_fixest(entry: str) -> None:
    settings, method = FIXEST_RUNS[entry]
    frame = cases.mpdta().assign(population=lambda f: np.exp(f["lpop"]))
    covariates = tuple(f"lpop{year}" for year in range(2003, 2008)) if "lpop" in settings else ()
    design = Design(
        outcome="lemp",
        adoption="first",
        assigned_at="countyreal",
        covariates=covariates,
        weights="population" if "weights" in settings else None,
    )
    estimator = EventStudy(leads=4, lags=3) if "events" in settings else TwoWayFE()
    table = (
        estimate(Panel.from_frame(frame, unit="countyreal", time="year"), design, estimator, inference=method)
        .tidy(covariates=True)
        .set_index("term")
    )
    for row in FIXEST[entry]["results"]:
        term = "ATT" if row["term"] == "d" else row["term"].replace("lpop:factor(year)", "lpop")
        term = f"ATT(e={term.removeprefix('rel::')})" if term.startswith("rel::") else term
        ours = table.loc[term]
        # fixest de-means to 1e-6 of the outcome's scale by default; on mpdta its digits hold to about 1e-9.
        assert ours["estimate"] == pytest.approx(row["estimate"], rel=1e-8)
        assert ours["std_error"] == pytest.approx(row["se"], rel=1e-8)
        assert ours["p_value"] == pytest.approx(row["p"], rel=1e-7)  # p magnifies the relative error of t


def printed(value: float, text: str) -> bool:
    """Say whether a number rounds to what is printed."""
    decimals = len(text.partition(".")[2])
    return bool(round(value, decimals) == float(text))


@pytest.mark.parametrize(
    ("key", "covariates"),
    [("none", ()), ("age", ("age", "agesq")), ("full", ("age", "agesq", "intst", "land", "area", "rooms", "baths"))],
)
def test_kielmc_as_printed(key: str, covariates: tuple[str, ...]) -> None:
    panel = Panel.from_frame(cases.read("wooldridge_kielmc"), unit=None, time="year")
    design = Design(outcome="rprice", treated="y81nrinc", assigned_at="nearinc", covariates=covariates)
    row = estimate(panel, design, TwoWayFE(), inference=Classical()).tidy().iloc[0]
    value, error = PUBLISHED["kielmc"][key]
    assert printed(row["estimate"], value)
    assert printed(row["std_error"], error)


def test_ezunem_two_way_as_printed() -> None:
    case = cases.case("ezunem")
    row = estimate(case.panel, case.design, case.estimator, inference=Classical()).tidy().iloc[0]
    value, error = PUBLISHED["ezunem"]["two_way"]
    assert printed(row["estimate"], value)
    assert printed(row["std_error"], error)


def classical_errors(X: Any, y: Any) -> tuple[Any, Any]:
    """Coefficients and classical standard errors by evalkit's least squares."""
    found = least_squares(X=X, y=y)
    variance = found.residuals @ found.residuals / (len(y) - len(found.kept))
    return found.coefficients, np.sqrt(variance * np.diag(found.bread))


def test_ezunem_first_difference_as_printed() -> None:
    # A regression on differences: cez switches on and off, which no design with adoption describes.
    f = cases.read("wooldridge_ezunem").dropna(subset=["guclms", "cez"])
    X = np.column_stack([f["cez"], *((f["year"] == year).to_numpy(float) for year in sorted(f["year"].unique()))])
    b, se = classical_errors(X, f["guclms"].to_numpy())
    value, error = PUBLISHED["ezunem"]["first_difference"]
    assert printed(b[0], value)
    assert printed(se[0], error)


def test_traffic_first_difference_as_printed() -> None:
    # One state repeals its open-container law between the years, so this is a regression on differences, too.
    long = cases.traffic_long().sort_values(["state", "year"])
    change = long.groupby("state")[["dthrte", "open", "admn"]].diff().dropna()
    X = np.column_stack([np.ones(len(change)), change[["open", "admn"]]])
    b, se = classical_errors(X, change["dthrte"].to_numpy())
    for i, key in ((1, "open"), (2, "admn")):
        assert printed(b[i], PUBLISHED["traffic"][key][0])
        assert printed(se[i], PUBLISHED["traffic"][key][1])


def cai() -> tuple[Panel, Design]:
    panel = Panel.from_frame(cases.cai_tobacco(), unit="hhno", time="year")
    return panel, Design(outcome="checksaving_ratio", adoption="first_year", assigned_at="county")


def test_cai_effect_and_leads_as_run() -> None:
    panel, design = cai()
    expected = PUBLISHED["cai"]
    row = estimate(panel, design, TwoWayFE(), inference=Cluster()).tidy().iloc[0]
    assert printed(row["estimate"], expected["effect"][0])
    assert printed(row["std_error"], expected["effect"][1])
    assert printed(row["p_value"], expected["p"])
    path = estimate(panel, design, EventStudy(leads=3, lags=5), inference=Cluster()).tidy().set_index("event_time")
    for lead, key in ((-3, "lead_2000"), (-2, "lead_2001")):
        assert printed(path.loc[lead, "estimate"], expected[key][0])
        assert printed(path.loc[lead, "std_error"], expected[key][1])


def test_cai_placebos_as_run() -> None:
    panel, design = cai()
    expected = PUBLISHED["cai"]
    main = estimate(panel, design, TwoWayFE(), inference=Cluster())
    fake, permuted = check(main, PlaceboAdoption(shift=1), PlaceboAssignment())
    assert printed(fake.table["estimate"].iloc[0], expected["fake_start"][0])
    assert printed(fake.table["std_error"].iloc[0], expected["fake_start"][1])
    assert permuted.p_value == float(expected["permutation_p"])
    assert permuted.bound == 1 / 12
    assert len(permuted.table) == 12
    rank = permuted.table["statistic"].abs().rank(ascending=False)[permuted.table["actual"]]
    assert rank.tolist() == [expected["permutation_rank"]]


def test_cai_triple_difference_as_run() -> None:
    f = cases.read("cai").copy()
    later = f["year"] >= 2003
    f["treatment_post"] = (later & (f["treatment"] == 1)).astype(float)
    f["sector_post"] = (later & (f["sector"] == 1)).astype(float)
    f["first"] = f["first_year"].where(f["sector"] == 1)
    f["group"] = f["county"] * 10 + f["sector"]
    design = Design(
        outcome="checksaving_ratio", adoption="first", assigned_at="group", covariates=("treatment_post", "sector_post")
    )
    row = (
        estimate(Panel.from_frame(f, unit="hhno", time="year"), design, TwoWayFE(), inference=Cluster("county"))
        .tidy()
        .iloc[0]
    )
    assert printed(row["estimate"], PUBLISHED["cai"]["triple"][0])
    assert printed(row["std_error"], PUBLISHED["cai"]["triple"][1])


def older(f: pd.DataFrame) -> Any:
    """1 where a household's head is 45 or older in its first row."""
    first = f.sort_values("year").groupby("hhno")["age"].first()
    return (f["hhno"].map(first) >= 45).to_numpy(dtype=int)


@pytest.mark.parametrize("method", [Classical(), Robust(), Cluster(), Cluster(correction="none"), Cluster("year")])
@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=3, lags=2)])
def test_split_equals_separate_regressions(estimator: Any, method: Inference) -> None:
    panel, design = cai()
    panel = panel.with_column("third", panel.frame["hhno"] % 3).where("third", 0)
    split = estimate(panel, design, Split(by="age", threshold=45, estimator=estimator), inference=method).tidy()
    for label, inside in (("age<45", 0), ("age>=45", 1)):
        part = panel.with_column("older", older(panel.frame)).where("older", inside)
        alone = estimate(part, design, estimator, inference=method).tidy()
        together = split[split["subgroup"] == label].reset_index(drop=True)
        numbers = ["estimate", "std_error", "p_value", "conf_low", "conf_high"]
        # The same rows go through the same operations in the same order; only the numbering of clusters differs.
        np.testing.assert_allclose(together[numbers], alone[numbers], rtol=1e-12)


def test_gap_of_a_split_equals_the_interacted_regression() -> None:
    case = cases.case("cai_households")
    f = case.frame
    group = older(f)
    treated = cases.post(f, "year", "first_year")
    X = np.column_stack([treated * (group == 0), treated * (group == 1)])
    r = oracles.dummy_regression(f["checksaving_ratio"], X, [f["hhno"], f["year"] * 10 + group])
    V, _ = oracles.clustered(r, [f["county"]], "none")
    design = Design(outcome="checksaving_ratio", adoption="first_year", assigned_at="county")
    one = estimate(
        case.panel, design, Split(by="age", threshold=45, estimator=TwoWayFE()), inference=Cluster(correction="none")
    )
    terms = ["ATT [age<45]", "ATT [age>=45]"]
    assert_close(one, terms, r.b, V, 1e-10)  # as test_equals_dummies
    assert abs(V[0, 1]) > 0.01 * V[0, 0]  # the counties straddle the groups: there is a covariance to get right
    gap = one.contrast(terms[1], terms[0]).iloc[0]
    assert gap["estimate"] == pytest.approx(r.b[1] - r.b[0], rel=1e-9)  # a difference of near numbers loses a digit
    assert gap["std_error"] == pytest.approx(np.sqrt(V[0, 0] + V[1, 1] - 2 * V[0, 1]), rel=1e-9)


def digits(found: Any, certified: Any) -> float:
    """Correct digits of the worst coefficient (log relative error)."""
    found, certified = np.asarray(found, dtype=float), np.asarray(certified, dtype=float)
    return float(-np.log10(max(np.max(np.abs(found - certified) / np.abs(certified)), 1e-15)))


def test_longley_to_11_digits() -> None:
    data = sm.datasets.longley.load_pandas().data.astype(float)
    X = np.column_stack([np.ones(len(data)), data.iloc[:, 1:]])
    b, se = classical_errors(X, data.iloc[:, 0].to_numpy())
    assert digits(b, NIST["longley"]["coefficients"]) >= NIST["longley"]["digits"]
    assert digits(se, NIST["longley"]["std_errors"]) >= NIST["longley"]["digits"]


@pytest.mark.parametrize("name", ["wampler1", "wampler2", "wampler3", "wampler5"])
def test_wampler_polynomials(name: str) -> None:
    certified = NIST["wampler"][name]
    X = np.arange(21.0)[:, None] ** np.arange(6)
    y = X @ np.array(certified["scale"]) + certified["noise"] * np.array(NIST["wampler"]["delta"])
    b, se = classical_errors(X, y)
    assert digits(b, certified["scale"]) >= certified["digits"]
    if "std_errors" in certified:
        assert digits(se, certified["std_errors"]) >= 9  # the residuals are large: they carry what the bread carries


def test_filip_to_7_digits() -> None:
    certified = NIST["filip"]
    X = np.array(certified["x"])[:, None] ** np.arange(11)
    b, se = classical_errors(X, np.array(certified["y"]))
    assert digits(b, certified["coefficients"]) >= certified["digits"]
    assert digits(se, certified["std_errors"]) >= certified["digits"]


@pytest.mark.parametrize("name", SMALL)
def test_absorbed_effects_are_counted_by_rank(name: str) -> None:
    case = cases.case(name)
    labels = [case.labels(effect) for effect in case.effects]
    codes = [pd.factorize(label, sort=True)[0].astype(np.int64) for label in labels]
    assert effects_rank(tuple(codes)) == oracles.count_effects(labels)
    order = np.argsort(codes[0], kind="stable")
    absorber = make_absorber(
        unit=codes[0][order],
        starts=first_rows(codes[0][order]),
        factors=tuple(c[order] for c in codes[1:]),
        weights=None,
    )
    assert absorber.rank == oracles.count_effects(labels)
