"""A study whose panel is read by an engine finds what the same study finds in memory, and refuses what an engine cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.errors import ConfigError, DataError, SourceError
from evalkit.study.config import read_study
from evalkit.study.explaining import explain_study
from evalkit.study.running import evaluate_study, run_study

FIRST = np.array([2018.0, 2019.0, 2020.0, np.nan])
STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "data/raw/farms{ending}"
columns = {{ farm = "农户", year = "year", county = "county", cei = "cei", area = "area", kind = "kind" }}
[[source]]
name = "policy"
kind = "Delimited"
path = "data/raw/policy.csv"
[panel]
sources = ["farms", "policy"]
unit = "farm"
time = "year"
where = {{ kind = "crop" }}
{panel}
[panel.derive]
log_cei = {{ verb = "log", of = "cei" }}
large = {{ verb = "at_least", of = "area", value = 50 }}
per_hectare = {{ verb = "per", of = "cei", by = "area", to = "kg/ha" }}
{derive}
[design]
outcome = "log_cei"
adoption = "pilot_year"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = {{ kind = "TwoWayFE" }}
[[estimate]]
name = "cohorts"
estimator = {{ kind = "CallawaySantAnna" }}
inference = {{ kind = "Cluster" }}
[[estimate]]
name = "split"
estimator = {{ kind = "Split", by = "large", estimator = {{ kind = "TwoWayFE" }} }}
inference = {{ kind = "Cluster" }}
[[estimate]]
name = "ratio"
design = {{ outcome = "per_hectare" }}
estimator = {{ kind = "TwoWayFE" }}
[[check]]
kind = "LeaveOneOut"
on = "main"
"""


def farms() -> pd.DataFrame:
    """600 farms in 12 counties, some without a value, some of another kind (synthetic)."""
    rng = np.random.default_rng(3)
    farm, year = np.repeat(np.arange(600), 7), np.tile(np.arange(2015, 2022), 600)
    county = farm % 12
    y = rng.normal(size=600)[farm] + 0.4 * (year >= FIRST[county % 4]) + rng.normal(size=len(farm))
    f = pd.DataFrame({"农户": farm, "year": year, "county": [f"县{one}" for one in county], "cei": np.exp(y)})
    f["area"], f["kind"] = 20.0 + farm % 60, np.where(farm % 11 == 0, "other", "crop")
    f.loc[rng.random(len(f)) < 0.05, "cei"] = np.nan
    return f


def project(folder: Path, f: pd.DataFrame, *, ending: str = ".parquet", panel: str = "", derive: str = "") -> Path:
    """Write a project with one study, and name the study."""
    (folder / "pyproject.toml").write_text('[project]\nname = "project"\n')
    study, raw = folder / "analyses/farms", folder / "data/raw"
    study.mkdir(parents=True, exist_ok=True)
    raw.mkdir(parents=True, exist_ok=True)
    if ending == ".csv":
        f.to_csv(raw / "farms.csv", index=False)
    elif ending == ".parquet":
        f.to_parquet(raw / "farms.parquet")
    else:
        (raw / "farms").mkdir(exist_ok=True)
        for part in range(3):
            f.iloc[part::3].to_parquet(raw / f"farms/part-{part}.parquet")
    (raw / f"farms{ending}.provenance.toml").write_text(
        'title = "farms"\nsynthetic = true\n[units]\ncei = "kg"\narea = "mu"\n'
    )
    counties = [f"县{one}" for one in range(12)]
    pd.DataFrame({"county": counties, "pilot_year": [FIRST[one % 4] for one in range(12)]}).to_csv(
        raw / "policy.csv", index=False
    )
    (study / "study.toml").write_text(STUDY.format(ending=ending, panel=panel, derive=derive), encoding="utf-8")
    return study


@pytest.mark.parametrize("ending", [".parquet", ".csv", ""])
def test_duckdb_finds_what_is_found_in_memory(tmp_path: Path, ending: str) -> None:
    f = farms()
    whole = evaluate_study(read_study(project(tmp_path, f) / "study.toml"))
    large = run_study(project(tmp_path, f.sample(frac=1, random_state=1), ending=ending, panel='engine = "duckdb"'))
    assert max(len(one.spec.panel) for one in large.estimates.values()) < len(f) / 3
    for name, one in whole.estimates.items():
        other = large.estimates[name]
        np.testing.assert_allclose(other.params, one.params, rtol=1e-10)
        np.testing.assert_allclose(other.vcov(), one.vcov(), rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(other.pvalues, one.pvalues, rtol=1e-8)
        assert other.glance()[["n_obs", "n_units", "n_clusters", "n_dropped"]].equals(
            one.glance()[["n_obs", "n_units", "n_clusters", "n_dropped"]]
        )
        assert other.spec.panel.units[one.spec.design.outcome] == one.spec.panel.units[one.spec.design.outcome]
    rows, cells = (dict(e.findings)["main"].table.drop(columns="why") for e in (whole, large))
    pd.testing.assert_frame_equal(rows, cells, rtol=1e-9)
    assert large.synthetic
    assert [one["path"] for one in large.manifest["inputs"]] == [f"data/raw/farms{ending}", "data/raw/policy.csv"]
    told, known = large.descriptives_table().set_index(["variable", "group"]), whole.descriptives_table()
    known = known.set_index(["variable", "group"])
    np.testing.assert_allclose(told["mean"], known.loc[told.index, "mean"], rtol=1e-12)
    assert told.loc["log_cei", "sd"].isna().all()  # the spread of rows is not that of cells
    np.testing.assert_allclose(told.loc["large", "sd"], known.loc["large", "sd"])


def test_clusters_that_units_change_need_the_rows(tmp_path: Path) -> None:
    f = farms()
    f["village"] = f["农户"] % 36
    here = project(tmp_path, f)
    asked = (
        (here / "study.toml").read_text(encoding="utf-8").replace('cei = "cei",', 'cei = "cei", village = "village",')
    )
    before, after = asked.rsplit('{ kind = "Cluster" }', 1)
    asked = before + '{ kind = "Cluster", by = ["village"] }' + after
    for moved, cells in ((f, True), (f.assign(village=f["village"].where(f["year"] < 2018, 0)), False)):
        project(tmp_path, moved)
        (here / "study.toml").write_text(asked, encoding="utf-8")
        whole = evaluate_study(read_study(here / "study.toml")).estimates["split"]
        (here / "study.toml").write_text(asked.replace("[panel]\n", '[panel]\nengine = "duckdb"\n'), encoding="utf-8")
        large = evaluate_study(read_study(here / "study.toml")).estimates["split"]
        assert (len(large.spec.panel) < len(f) / 2) == cells
        np.testing.assert_allclose(large.bse, whole.bse, rtol=1e-9)


def test_the_study_is_explained_on_cells(tmp_path: Path) -> None:
    study = project(tmp_path, farms(), panel='engine = "duckdb"')
    said = explain_study(read_study(study / "study.toml"))
    assert "data/raw/farms.parquet" in said
    assert "545 units" in said or "545" in said


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"panel": 'engine = "hadoop"'}, ConfigError, "duckdb"),
        ({"panel": 'engine = "duckdb"\ncounts = "area"'}, ConfigError, "does not take counts"),
        (
            {"panel": 'engine = "duckdb"', "derive": 'late = { verb = "lag", of = "cei" }'},
            ConfigError,
            "the verb of 'late'",
        ),
        (
            {"panel": 'engine = "duckdb"', "derive": 'cei = { verb = "log", of = "area" }'},
            DataError,
            "the tables have one already",
        ),
    ],
)
def test_what_an_engine_does_not_do_is_refused(
    tmp_path: Path, change: dict[str, str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        evaluate_study(read_study(project(tmp_path, farms(), **change) / "study.toml"))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda f: f.assign(cei=f["cei"].where(f["year"] != 2016, 0.0)), DataError, "zero or negative in 600 rows"),
        (lambda f: f.assign(county=f["county"].where(f["year"] != 2016)), DataError, "'county' is missing in 600 rows"),
        (lambda f: f.drop(columns="area"), DataError, "there is no column 'area'"),
        (lambda f: f.assign(kind="other"), DataError, "no row has kind = 'crop'"),
        (lambda f: f.assign(农户=13_800_000_000 + f["农户"]).rename(columns={"农户": "手机"}), DataError, "农户"),
        (lambda f: f.assign(cei="much"), DataError, "not numbers"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(
    tmp_path: Path, change: object, error: type[Exception], says: str
) -> None:
    study = project(tmp_path, change(farms()), panel='engine = "duckdb"')  # type: ignore[operator]
    with pytest.raises(error, match=says) as caught:
        evaluate_study(read_study(study / "study.toml"))
    assert str(tmp_path) not in str(caught.value)


def test_keys_without_a_match_are_noted(tmp_path: Path) -> None:
    f = farms()
    study = project(tmp_path, f.assign(county=f["county"].str.replace("县7", "县七")), panel='engine = "duckdb"')
    notes = [str(one) for one in evaluate_study(read_study(study / "study.toml")).estimates["main"].spec.panel.notes]
    assert any("县七" in one for one in notes)
    assert any("县7" in one for one in notes)


def test_numbers_of_persons_are_refused(tmp_path: Path) -> None:
    f = farms()
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    stems = [f"11010119900101{one:03d}" for one in range(600)]
    ids = [stem + "10X98765432"[sum(int(d) * w for d, w in zip(stem, weights, strict=True)) % 11] for stem in stems]
    f["农户"] = np.array(ids)[f["农户"]]
    study = project(tmp_path, f, panel='engine = "duckdb"')
    with pytest.raises(SourceError, match="citizen") as caught:
        evaluate_study(read_study(study / "study.toml"))
    assert ids[0] not in str(caught.value)
