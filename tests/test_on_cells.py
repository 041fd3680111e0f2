"""What estimate() and check() find on the cells of a panel's rows is what the rows give, to the last note of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit import Panel, checks, estimators, inference
from evalkit.designs import collapsing
from evalkit.errors import EvalkitError
from evalkit.estimators import CallawaySantAnna, EventStudy, ExtendedTWFE, Split, SunAbraham, TripleDifference, TwoWayFE
from evalkit.inference import Classical, Cluster, Jackknife, Permutation, Robust
from evalkit.results.estimation import Specification
from examples import CHALLENGED, CHECKS, ESTIMATORS, INFERENCES

DESIGN = ek.Design(outcome="y", adoption="first", assigned_at="county")


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small panels go over to cells, however many these are."""
    monkeypatch.setattr(collapsing, "WORTH_CELLS", 1)
    monkeypatch.setattr(collapsing, "FEWER", 1)


def world(farms: int = 120, years: int = 7, missing: float = 0.02, dates: int = 2, seed: int = 0) -> pd.DataFrame:
    """Farms in 12 counties of three villages each, two cohorts (or one), unbalanced, some of whom move (synthetic)."""
    rng = np.random.default_rng(seed)
    farm, t = np.repeat(np.arange(farms), years), np.tile(np.arange(years), farms)
    county, kind = farm % 12, farm // 12
    year = 2010 + t
    late = 2010.0 + years // 2 if dates > 1 else np.nan
    first = np.array([2010.0 + years // 3, late, np.nan, np.nan])[county % 4]
    y = 100 + rng.normal(size=farms)[farm] + 0.6 * (year >= first) + rng.normal(size=(12, years))[county, t]
    f = pd.DataFrame({"farm": farm, "year": year, "first": first, "y": y + rng.normal(size=len(farm))})
    f["county"] = np.array([f"c{c:02d}" for c in range(12)])[county]
    f["village"] = 3 * county + kind % 3
    f["prefecture"] = county // 2
    f["large"], f["region"] = kind // 3 % 2, np.array(["n", "s", "w"])[kind % 3]
    f["area"] = np.array([5.0, 20.0, 60.0])[kind % 3]
    f["weight"], f["eligible"] = 1.0 + kind % 3, kind % 2
    f["price"] = rng.normal(size=(12, years))[county, t]
    f["soil"] = rng.normal(size=farms)[farm]
    f["dose"] = np.where(year >= first, 1.0 + county % 3, 0.0)
    f["treated"] = (year >= first).astype(int)
    f["lat"], f["lon"] = 40 + county / 5 + kind % 3 / 50, 80 + county % 5 / 3
    f.loc[(farm % 97 == 5) & (t >= years - 2), "county"] = "c07"
    f.loc[rng.random(len(f)) < missing, "y"] = np.nan
    f.loc[rng.random(len(f)) < missing / 4, "price"] = np.nan
    f.loc[rng.random(len(f)) < missing / 4, "weight"] = 0.0
    return f[rng.random(len(f)) > missing].sample(frac=1, random_state=seed)


def panel_of(frame: pd.DataFrame) -> Panel:
    return Panel.from_frame(frame, unit="farm", time="year")


def on_rows(panel: Panel, design: ek.Design, estimator: Any, judged: Any) -> ek.Estimate:
    return replace(Specification(panel, design, estimator, judged).run(), beside=inference.ByDesign())


def assert_same(cells: ek.Estimate, rows: ek.Estimate) -> None:
    """Sums of the same numbers in another order, to 1e-10 (outcomes are of order 100); words to the letter."""
    assert [term.name for term in cells.fit.terms] == [term.name for term in rows.fit.terms]
    np.testing.assert_allclose(cells.params, rows.params, rtol=1e-10, atol=1e-12)
    largest = np.nanmax(np.abs(rows.vcov().to_numpy()))
    np.testing.assert_allclose(cells.vcov(), rows.vcov(), rtol=1e-9, atol=1e-9 * largest)
    pd.testing.assert_frame_equal(cells.tidy(covariates=True), rows.tidy(covariates=True), rtol=1e-7, atol=1e-10)
    pd.testing.assert_frame_equal(cells.glance(), rows.glance(), rtol=1e-8)
    pd.testing.assert_frame_equal(cells.sizes(), rows.sizes(), rtol=1e-8)
    assert cells.ledger == rows.ledger
    assert list(map(str, cells.notes)) == list(map(str, rows.notes))
    assert cells.spec.digest() == rows.spec.digest()
    assert cells.summary() == rows.summary()


def compare(frame: pd.DataFrame, estimator: Any, judged: Any, *, taken: bool = True, **design: Any) -> None:
    """Estimate both ways, and see whether cells were taken."""
    panel, of = panel_of(frame), replace(DESIGN, **design)
    found = ek.estimate(panel, of, estimator, inference=judged)
    assert (found.spec.panel.rows is panel) == taken
    assert (found.spec.panel is panel) != taken
    if taken:
        assert len(found.spec.panel) < len(panel)
    assert_same(found, on_rows(panel, of, estimator, judged))


ON_CELLS = {name: one for name, one in ESTIMATORS.items() if getattr(one, "on_cells", False)}


@pytest.mark.parametrize("name", ON_CELLS)
def test_every_estimator(name: str) -> None:
    design: dict[str, Any] = {"eligible": "eligible"} if isinstance(ESTIMATORS[name], TripleDifference) else {}
    compare(world(), ESTIMATORS[name], Cluster(), **design)


@pytest.mark.parametrize("name", INFERENCES)
def test_every_inference(name: str) -> None:
    assert INFERENCES[name].on_cells != "never"
    judged = Permutation(draws=99, seed=1) if name == "Permutation" else INFERENCES[name]
    one_date = name in ("PooledGroups", "Placebo")
    compare(world(missing=0.0, dates=1) if one_date else world(), TwoWayFE(), judged)


@pytest.mark.parametrize("judged", [Classical(), Robust(), INFERENCES["Conley"], INFERENCES["DriscollKraay"]], ids=repr)
@pytest.mark.parametrize("estimator", [EventStudy(leads=2, lags=1, bin=False), ON_CELLS["Imputation"]], ids=repr)
def test_inferences_that_need_more_than_cells_have_get_rows(estimator: Any, judged: Any) -> None:
    """Rows beyond the window are cut in time, and an imputation is no regression; a kernel needs regressions only."""
    kernel = judged.on_cells == "of_regressions" and isinstance(estimator, EventStudy)
    if isinstance(estimator, EventStudy) or judged.on_cells == "of_regressions":
        compare(world(), estimator, judged, taken=kernel)
        return
    with pytest.raises(EvalkitError, match="needs the residuals of a regression"):
        ek.estimate(panel_of(world()), DESIGN, estimator, inference=judged)


DESIGNS: dict[str, dict[str, Any]] = {
    "anticipation": {"anticipation": 1},
    "weights": {"weights": "weight"},
    "a covariate of counties": {"covariates": ("price",)},
    "a category": {"covariates": (ek.indicators("region"),)},
    "effects of regions by year": {"absorb": ("region*year",)},
    "a treatment of 0 and 1": {"adoption": None, "treated": "treated"},
    "something above": {"above": "prefecture"},
    "never treated only": {"comparison": "never_treated"},
}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize(
    "estimator", [SunAbraham(), Split(by="large", estimator=CallawaySantAnna(method="reg"))], ids=repr
)
def test_every_part_of_a_design(estimator: Any, design: dict[str, Any]) -> None:
    if isinstance(estimator, Split) and "absorb" in design:
        estimator = Split(by="large", estimator=EventStudy(leads=2, lags=2))
    compare(world(), estimator, Cluster(), **design)


def test_doses_and_zero_weights_and_never_codes() -> None:
    frame = world()
    compare(frame, TwoWayFE(), Cluster(), dose="dose")
    compare(frame, EventStudy(leads=2, lags=2), Robust(), dose="dose", weights="weight")
    compare(frame.assign(first=frame["first"].fillna(-1)), TwoWayFE(), Cluster(), never=-1)
    some = frame["county"].isin(["c02", "c03"])  # two ways of saying never, which a note counts
    compare(frame.assign(first=frame["first"].mask(some, 0.0)), TwoWayFE(), Cluster())


@pytest.mark.parametrize("judged", [Cluster("village"), Jackknife("village"), Cluster(("village", "year"))], ids=repr)
def test_clusters_below_the_assignment(judged: Any) -> None:
    compare(world(missing=0.0), TwoWayFE(), judged)


@pytest.mark.parametrize("years", [63, 64, 65, 130])
def test_panels_of_many_periods(years: int) -> None:
    frame = world(farms=48, years=years, missing=0.0)
    gaps = frame["farm"].to_numpy() // 24 + frame["year"].to_numpy()
    frame = frame[(gaps - 2010) % 61 != 5]  # two patterns, which differ in the last periods, too
    compare(frame, EventStudy(leads=3, lags=3), Cluster())
    assert len(ek.estimate(panel_of(frame), DESIGN, TwoWayFE()).spec.panel) <= len(frame) / 1.9


ROWS: dict[str, tuple[Any, Any, dict[str, Any], dict[str, Any]]] = {
    "a covariate of farms": (TwoWayFE(), Cluster(), {"covariates": ("soil",)}, {}),
    "a covariate of rows": (TwoWayFE(), Cluster(), {"covariates": ("rain",)}, {"rain": np.sin}),
    "weights that change": (TwoWayFE(), Cluster(), {"weights": "w"}, {"w": lambda i: 1.0 + i % 3}),
    "effects that change": (TwoWayFE(), Cluster(), {"absorb": ("s*county",)}, {"s": lambda i: i % 2}),
    "clusters that change": (TwoWayFE(), Cluster("s"), {}, {"s": lambda i: i % 5}),
    "clusters of one farm each": (TwoWayFE(), Cluster("farm"), {}, {}),
    "a Poisson regression": (ExtendedTWFE(family="poisson"), Cluster(), {}, {}),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_stay_where_cells_would_not_do(name: str) -> None:
    estimator, judged, design, columns = ROWS[name]
    frame = world().reset_index(drop=True)
    added = {column: make(np.arange(len(frame))) for column, make in columns.items()}
    compare(frame.assign(**added), estimator, judged, taken=False, **design)


def test_few_rows_or_hardly_fewer_cells_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = world(farms=48)
    monkeypatch.setattr(collapsing, "FEWER", 4)
    compare(frame, TwoWayFE(), Cluster(), taken=False)
    monkeypatch.setattr(collapsing, "FEWER", 1)
    monkeypatch.setattr(collapsing, "WORTH_CELLS", len(frame) + 1)
    compare(frame, TwoWayFE(), Cluster(), taken=False)


def test_cells_without_residual_are_not_taken() -> None:
    """Two counties leave nothing of the means of their farms, and plenty of the farms."""
    frame = world(missing=0.0)
    frame = frame[frame["county"].isin(["c00", "c02"]) & (frame["farm"] % 97 != 5)]
    found = ek.estimate(panel_of(frame), DESIGN, SunAbraham(), inference=Cluster())
    assert found.spec.panel.rows is None
    assert "residual" not in " ".join(map(str, found.notes))


def test_cells_are_found_once_and_serve_all() -> None:
    panel = panel_of(world())
    first = ek.estimate(panel, DESIGN, TwoWayFE(), inference=Cluster())
    second = ek.estimate(panel, replace(DESIGN, anticipation=1), SunAbraham(), inference=Jackknife())
    assert first.spec.panel is second.spec.panel
    other = ek.estimate(panel.with_column("y", panel.frame["y"] * 2), DESIGN, TwoWayFE(), inference=Cluster())
    assert other.spec.panel.frame["y"].sum() == pytest.approx(2 * first.spec.panel.frame["y"].sum())


def test_another_inference_gets_the_cells_that_it_needs() -> None:
    panel = panel_of(world())
    one = ek.estimate(panel, DESIGN, TwoWayFE(), inference=Cluster())
    assert one.under(Jackknife()).fit is one.fit
    for judged in (Robust(), Cluster("village"), Cluster("farm"), Cluster(("prefecture", "year"))):
        assert_same(one.under(judged), on_rows(panel, DESIGN, TwoWayFE(), judged))
    assert one.under(Robust()).under(Cluster("village")).spec.panel.rows is panel


def test_errors_are_those_of_the_rows() -> None:
    frame = world().reset_index(drop=True)
    frame.loc[frame["farm"] == 7, "village"] = np.nan
    for judged, changed, says in (
        (Cluster("village"), frame, "the cluster is missing"),
        (Cluster(), frame.assign(y=frame["y"].mask(frame["farm"] == 7, np.inf)), "'y' is infinite"),
        (Cluster("nowhere"), frame, "nowhere"),
    ):
        panel = panel_of(changed)
        with pytest.raises(EvalkitError, match=says) as of_rows:
            Specification(panel, DESIGN, TwoWayFE(), judged).run()
        with pytest.raises(EvalkitError) as found:
            ek.estimate(panel, DESIGN, TwoWayFE(), inference=judged)
        assert str(found.value) == str(of_rows.value)


@pytest.mark.parametrize("name", [name for name, one in CHECKS.items() if one.on_cells])
def test_every_check(name: str) -> None:
    panel, check = panel_of(world(missing=0.01)), CHECKS[name]
    estimator, draws = CHALLENGED.get(name, TwoWayFE()), {"draws": 99, "seed": 1}
    if name in ("PlaceboAssignment", "PlaceboAdoption", "GroupGaps"):
        check = replace(check, **draws)
    one = ek.estimate(panel, DESIGN, estimator, inference=Cluster())
    assert one.spec.panel.rows is panel
    (found,) = ek.check(one, check)
    rows = check.run(Specification(panel, DESIGN, estimator, Cluster()))
    assert (found.verdict, str(found.sentence), str(found.null)) == (rows.verdict, str(rows.sentence), str(rows.null))
    pd.testing.assert_frame_equal(found.table, rows.table, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        [found.statistic, found.p_value, found.bound], [rows.statistic, rows.p_value, rows.bound], rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("judged", [Robust(), Cluster("village")], ids=repr)
def test_checks_of_other_inferences(judged: Any) -> None:
    panel = panel_of(world(farms=120))
    one = ek.estimate(panel, DESIGN, TwoWayFE(), inference=judged)
    path = Split(by="large", estimator=EventStudy(leads=2, lags=2))  # whose column the cells of the estimate lack
    for check in (checks.LeaveOneOut(), checks.PlaceboAdoption(draws=99, seed=1), checks.PreTrends(estimator=path)):
        (found,) = ek.check(one, check)
        rows = check.run(Specification(panel, DESIGN, TwoWayFE(), judged))
        assert str(found.sentence) == str(rows.sentence)
        pd.testing.assert_frame_equal(found.table, rows.table, rtol=1e-7, atol=1e-9)


def test_checks_of_rows_see_rows() -> None:
    seen = []

    class Looks:
        def run(self, spec: Specification) -> ek.Finding:
            seen.append(spec.panel)
            return checks.LeaveOneOut().run(spec)

    panel = panel_of(world(farms=120))
    looks: Any = Looks()
    ek.check(ek.estimate(panel, DESIGN, TwoWayFE(), inference=Cluster()), looks)
    assert seen == [panel]
    assert seen[0] is panel


@pytest.mark.parametrize("family", [estimators, inference, checks], ids=lambda family: family.__name__)
def test_every_member_declares(family: Any) -> None:
    for name in family.__all__:
        assert "on_cells" in vars(getattr(family, name)), f"{name} does not say whether it runs on cells"
