"""A study from its files to its results, whole or not at all; and the command line that runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.cli import main
from evalkit.errors import ConfigError, EvalkitError
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Cluster
from evalkit.study.config import Planned, read_study
from evalkit.study.running import evaluate_study, run_study

ROOT = Path(__file__).parents[1]
STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "data/raw/farms.csv"
[panel]
sources = ["farms"]
unit = "farm"
time = "year"
[design]
outcome = "y"
adoption = "first"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
[[estimate]]
name = "split"
estimator = { kind = "Split", by = "big", estimator = { kind = "EventStudy", leads = 2, lags = 1 } }
inference = { kind = "Cluster", by = ["county", "year"], correction = "none" }
[[check]]
kind = "LeaveOneOut"
on = "main"
[labels]
y = { en = "yield", zh = "单产" }
"""


def farms() -> pd.DataFrame:
    """60 farms in 6 counties over 6 years, two counties treated from 2019 (synthetic)."""
    rng = np.random.default_rng(5)
    farm, year = np.repeat(np.arange(60), 6), np.tile(np.arange(2016, 2022), 60)
    county = np.array([f"县{i}" for i in range(6)])[farm % 6]
    first = np.where(farm % 6 < 2, "2019", "")
    y = rng.normal(size=60)[farm] + 0.5 * ((farm % 6 < 2) & (year >= 2019)) + rng.normal(size=len(farm))
    return pd.DataFrame({"farm": farm, "year": year, "county": county, "first": first, "big": farm % 2, "y": y})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("run"))
    run_study(root / "analyses/demo")
    return root


@pytest.fixture
def project_that_ran(first_run: Path, tmp_path: Path) -> Path:
    """A copy of the project with its results."""
    return Path(shutil.copytree(first_run, tmp_path / first_run.name))


def make_project(folder: Path) -> Path:
    """A project in a folder with spaces and Chinese characters."""
    root = folder / "碳 账户"
    (root / "data/raw").mkdir(parents=True)
    (root / "analyses/demo").mkdir(parents=True)
    (root / "pyproject.toml").write_text("", encoding="utf-8")
    (root / "analyses/demo/study.toml").write_text(STUDY, encoding="utf-8")
    farms().to_csv(root / "data/raw/farms.csv", index=False)
    (root / "data/raw/farms.csv.provenance.toml").write_text(
        "synthetic = true\n[units]\ny = 't/ha'\n", encoding="utf-8"
    )
    return root


def edit(project: Path, old: str, new: str) -> Path:
    file = project / "analyses/demo/study.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    return project / "analyses/demo"


def command(*arguments: str | Path, cwd: Path) -> tuple[int, str, str]:
    """Run the command line in this process; its exit code, and what it prints on both streams."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["evalkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def test_config_becomes_the_values_it_names(project: Path) -> None:
    config = read_study(project / "analyses/demo")
    assert config.name == "demo"
    assert config.estimates["main"] == Planned(config.design, TwoWayFE(), Cluster())
    assert config.estimates["split"] == Planned(
        config.design,
        Split(by="big", estimator=EventStudy(leads=2, lags=1)),
        Cluster(("county", "year"), correction="none"),
    )
    assert config.design.assigned_at == "county"
    assert read_study(project / "analyses/demo/study.toml") == config


def test_without_an_inference_the_design_chooses(project: Path) -> None:
    file = project / "analyses/demo/study.toml"
    text = file.read_text(encoding="utf-8")
    assert text.count('inference = { kind = "Cluster" }\n') == 1
    file.write_text(text.replace('inference = { kind = "Cluster" }\n', ""), encoding="utf-8")
    run_study(project / "analyses/demo")
    table = pd.read_csv(project / "data/processed/demo/alternatives.csv")
    assert set(table["specification"]) == {"main"}
    assert table["headline"].sum() == 1
    for language in ("en", "zh"):
        assert table[f"sentence_{language}"].notna().all()
    estimates = pd.read_csv(project / "data/processed/demo/estimates.csv").set_index("specification")
    assert estimates.loc["main", "inference"] == "ByDesign()"
    assert estimates.loc["main", "p_value"] == table.loc[table["headline"], "p_value"].item()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[design]", "[desing]", ["study.toml", "unknown key 'desing'", "did you mean 'design'?"]),
        (
            'estimator = { kind = "TwoWayFE" }',
            'estimator = { kind = "SunAbraham", aggregate = "dynamics" }',
            ["estimate 'main'.estimator.aggregate", "'dynamics'", "did you mean 'dynamic'?"],
        ),
        (
            "assigned_at",
            "asigned_at",
            ["study.toml, design", "unknown key 'asigned_at'", "did you mean 'assigned_at'?"],
        ),
        (
            'kind = "TwoWayFE"',
            'kind = "TwoWayFe"',
            ["estimate 'main'.estimator.kind", "'TwoWayFe'", "did you mean 'TwoWayFE'?"],
        ),
        ('kind = "Cluster" }', 'kind = "Clusters" }', ["estimate 'main'.inference.kind", "did you mean 'Cluster'?"]),
        ("leads = 2", 'leads = "two"', ["estimate 'split'.estimator.estimator.leads", "'two'", "integer"]),
        ("leads = 2", "leads = 0", ["estimate 'split'.estimator.estimator", "leads is 0"]),
        ("leads = 2, ", "", ["estimate 'split'.estimator.estimator", "'leads' is missing"]),
        ("leads = 2", "lead = 2", ["unknown key 'lead'", "did you mean 'leads'?"]),
        ('on = "main"', 'on = "mian"', ["check 1.on", "'mian'", "did you mean 'main'?"]),
        ('sources = ["farms"]', 'sources = ["farm"]', ["panel.sources", "did you mean 'farms'?"]),
        ('unit = "farm"\n', "", ["panel", "either unit or repeated_cross_sections"]),
        ('adoption = "first"\n', "", ["design", "either adoption or treated"]),
        ('name = "split"', 'name = "main"', ["estimate 2", "the name 'main' stands twice"]),
        ('name = "main"\n', "", ["estimate 1", "the name is missing"]),
        ("data/raw/farms.csv", "../../../farms.csv", ["source 'farms'.path", "leaves the project"]),
        ('{ en = "yield"', '{ fr = "rendement"', ["labels.y", "unknown key 'fr'"]),
        ("[panel]", "[panel", ["study.toml", "this is not TOML", "line"]),
        ('correction = "none"', 'correction = "cr2"', ["estimate 'split'.inference", "correction", "'cr2'"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_place_and_the_nearest_valid_one(
    project: Path, old: str, new: str, says: list[str]
) -> None:
    study = edit(project, old, new)
    with pytest.raises(ConfigError) as caught:
        read_study(study)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("data/raw/farms.csv", "data/raw/farm.csv", ["farms.csv"]),
        ('outcome = "y"', 'outcome = "yy"', ["no column 'yy'", "did you mean 'y'?"]),
        (
            'outcome = "y"',
            'outcome = "county"',
            ["main, data/raw/farms.csv, column 'county', rows 2, 3", "is not a number"],
        ),
        ('time = "year"\n', 'time = "year"\nwhere = { county = "县9" }\n', ["no row has county = '县9'", "县0"]),
        ('by = "big"', 'by = "bigg"', ["split", "no column 'bigg'", "did you mean 'big'?"]),
    ],
)
def test_a_setting_that_does_not_fit_the_data_leaves_the_last_results_untouched(
    project_that_ran: Path, old: str, new: str, says: list[str]
) -> None:
    project = project_that_ran
    before = {path: path.read_bytes() for path in sorted(project.rglob("*")) if path.is_file()}
    study = edit(project, old, new)
    before[study / "study.toml"] = (study / "study.toml").read_bytes()
    with pytest.raises(EvalkitError) as caught:
        run_study(study)
    for words in says:
        assert words in str(caught.value)
    assert {path: path.read_bytes() for path in sorted(project.rglob("*")) if path.is_file()} == before


def test_a_run_writes_the_contract_files_and_the_same_bytes_again(project_that_ran: Path) -> None:
    project = project_that_ran
    folder = project / "data/processed/demo"
    first = {path.name: path.read_bytes() for path in [*folder.iterdir(), *(project / "figures/demo").iterdir()]}
    estimates = pd.read_csv(folder / "estimates.csv")
    assert estimates["synthetic"].all()
    assert set(estimates["unit"]) == {"t/ha"}
    assert estimates["specification"].unique().tolist() == ["main", "split"]
    findings = pd.read_csv(folder / "findings.csv")
    assert findings["check"].tolist() == ["LeaveOneOut"]
    assert pd.read_csv(folder / "ledger.csv").columns.tolist() == ["step", "reason", "rows", "units"]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (source,) = manifest["inputs"]
    assert source["path"] == "data/raw/farms.csv"
    assert len(source["sha256"]) == 64
    assert str(project) not in (folder / "manifest.json").read_text(encoding="utf-8")
    evidence = run_study(project / "analyses/demo")
    again = {path.name: path.read_bytes() for path in [*folder.iterdir(), *(project / "figures/demo").iterdir()]}
    assert again == first
    assert estimates["estimate"][0] == evidence.estimates["main"].params["ATT"]  # full precision survives the file


def test_results_that_another_program_holds_are_left_whole(
    project_that_ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_that_ran
    before = {path: path.read_bytes() for path in sorted(project.rglob("*")) if path.is_file()}
    rename = Path.rename

    def hold(self: Path, target: Path) -> Path:
        """Refuse as Windows does when a file of the folder is open in Excel."""
        if self == project / "figures/demo":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", hold)
    with pytest.raises(EvalkitError, match="close the programs") as caught:
        run_study(project / "analyses/demo")
    assert "figures" in caught.value.where
    assert {path: path.read_bytes() for path in sorted(project.rglob("*")) if path.is_file()} == before


def test_results_do_not_depend_on_the_order_of_rows_in_the_file(project: Path) -> None:
    one = evaluate_study(read_study(project / "analyses/demo")).estimates_table()
    farms().sample(frac=1, random_state=1).to_csv(project / "data/raw/farms.csv", index=False)
    other = evaluate_study(read_study(project / "analyses/demo")).estimates_table()
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_the_command_line_runs_and_explains_in_both_languages(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evalkit", "run", "analyses/demo", "--language", "zh"],
        capture_output=True,
        encoding="utf-8",
        cwd=project,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "单产" in done.stdout
    assert (project / "data/processed/demo/estimates.csv").is_file()
    code, told, _ = command("explain", "analyses/demo", cwd=project)
    assert code == 0
    for words in ("360 rows of 60 units, 2016 to 2021", "from 2019: 2 (县0, 县1)", "SYNTHETIC", "smallest p"):
        assert words in told
    _, listed, _ = command("list", cwd=project)
    for kind in ("Delimited", "EventStudy", "Cluster", "LeaveOneOut"):
        assert kind in listed


@pytest.mark.parametrize(
    "arguments",
    [("run", "analyses/none"), ("explain", "analyses/none"), ("run", "analyses/demo", "--language", "fr"), ("rum",)],
)
def test_what_is_wrong_ends_with_status_2_and_one_message(project: Path, arguments: tuple[str, ...]) -> None:
    code, _, said = command(*arguments, cwd=project)
    assert code == 2
    assert said
    assert "Traceback" not in said


def test_a_misspelt_key_ends_with_status_2_and_writes_nothing(project: Path) -> None:
    edit(project, "adoption", "adopton")
    code, _, said = command("run", "analyses/demo", cwd=project)
    assert code == 2
    assert "unknown key 'adopton'" in said
    assert "did you mean 'adoption'" in said
    assert "Traceback" not in said
    assert not (project / "data/processed").exists()
    assert not (project / "figures").exists()


def test_the_jiangxi_study_gives_the_numbers_computed_elsewhere(tmp_path: Path) -> None:
    """Own runs with pyfixest and by hand, listed with the data: see data/raw/jiangxi_insurance and docs/decisions."""
    for name in ("analyses/jiangxi_insurance/study.toml", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "data/raw/jiangxi_insurance", tmp_path / "data/raw/jiangxi_insurance")
    evidence = evaluate_study(read_study(tmp_path / "analyses/jiangxi_insurance"))
    estimates = evidence.estimates_table().set_index(["specification", "term"])
    main = estimates.loc[("main", "ATT")]
    assert (round(main.estimate, 4), round(main.std_error, 4), round(main.p_value, 3)) == (0.1211, 0.0338, 0.004)
    assert (main.n_clusters, main.n_treated_clusters, main.smallest_p) == (12, 1, 1 / 12)
    assert not main.supported
    for term, value, error in (("ATT(e=-3)", -0.0019, 0.0208), ("ATT(e=-2)", -0.0406, 0.0110)):
        row = estimates.loc[("path", term)]
        assert (round(row.estimate, 4), round(row.std_error, 4)) == (value, error)
    findings = evidence.findings_table().set_index(["check", "specification"])
    assert round(findings.loc[("PlaceboAdoption", "main")].statistic, 4) == 0.0244
    placebo = findings.loc[("PlaceboAssignment", "main")]
    assert (placebo.p_value, placebo.bound) == (0.25, 1 / 12)
    assert "ranks 3" in placebo.sentence_en
    assert "cannot reject at 5 %" in placebo.sentence_en


@pytest.mark.parametrize(
    ("never", "kept"),
    [('"无"', ("无",)), ('["无", -1]', ("无", -1)), ("9999", (9999,)), ("9999.0", (9999.0,)), ("[]", ())],
)
def test_a_study_declares_what_means_never(project: Path, never: str, kept: tuple[object, ...]) -> None:
    file = project / "analyses/demo/study.toml"
    file.write_text(STUDY.replace('adoption = "first"', f'adoption = "first"\nnever = {never}'), encoding="utf-8")
    config = read_study(file)
    assert config.design is not None
    assert config.design.never == kept
    assert config.estimates["main"].design.never == kept


@pytest.mark.parametrize("never", ["true", "{ code = 1 }", "nan", "[[1]]"])
def test_a_study_refuses_what_cannot_stand_in_a_column(project: Path, never: str) -> None:
    file = project / "analyses/demo/study.toml"
    file.write_text(STUDY.replace('adoption = "first"', f'adoption = "first"\nnever = {never}'), encoding="utf-8")
    with pytest.raises(ConfigError, match="never"):
        read_study(file)


def test_a_declared_code_gives_the_estimate_of_empty_cells(project: Path) -> None:
    plain = evaluate_study(read_study(project / "analyses/demo"))
    file = project / "data/raw/farms.csv"
    table = pd.read_csv(file, dtype=str)
    table.assign(first=table["first"].fillna("无")).to_csv(file, index=False)
    study = project / "analyses/demo/study.toml"
    study.write_text(STUDY.replace('adoption = "first"', 'adoption = "first"\nnever = "无"'), encoding="utf-8")
    declared = evaluate_study(read_study(study))
    pd.testing.assert_frame_equal(declared.estimates["main"].tidy(), plain.estimates["main"].tidy())
