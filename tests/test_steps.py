"""Steps in a study, an account without estimates, what is kept of a step, and tables that a check names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit.checks
from evalkit.catalogue import message
from evalkit.checks import Power
from evalkit.errors import ConfigError, EvalkitError
from evalkit.results.estimation import Specification
from evalkit.results.finding import Chart, Finding
from evalkit.study.config import members, read_study
from evalkit.study.explaining import explain_study, power_study
from evalkit.study.kept import KeptSteps, step_digest
from evalkit.study.running import evaluate_study, run_study
from evalkit.tables.table import Step, Table
from examples import STEPS

FARMS = "farm,county,year,diesel,output,first\n" + "".join(
    f"f{i},c{i % 6},{year},{10 + i + year % 4},{100 + 3 * i},{2018 if i % 6 < 2 else ''}\n"
    for i in range(12)
    for year in range(2015, 2021)
)
UNITS = '[units]\ndiesel = "kg"\noutput = "yuan"\n'
ACCOUNT = """
[[source]]
name = "farms"
kind = "Delimited"
path = "farms.csv"
[[source]]
name = "published"
kind = "Delimited"
path = "published.csv"
[[step]]
name = "emissions"
kind = "Inventory"
activity = "farms"
factors = "literature"
keys = ["farm", "year"]
[[step]]
name = "cei"
kind = "Intensity"
emissions = "emissions"
output = "farms"
per = "output"
"""
ESTIMATES = """
[panel]
sources = ["farms", "cei"]
unit = "farm"
time = "year"
[design]
outcome = "cei"
adoption = "first"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
"""
CLAIM = """
[[claim]]
id = "1"
printed = { en = "6", zh = "6" }
check = { kind = "Product", times = [2.0, 3.0], printed = 6.0, relative = 0.01, otherwise = "contradicted" }
text = { en = "six", zh = "六" }
"""


@pytest.fixture
def office(tmp_path: Path) -> Callable[..., Path]:
    """A project with one study: give its text, get its folder."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "office"\n', encoding="utf-8")

    def write(text: str = ACCOUNT, claims: str = "") -> Path:
        home = tmp_path / "analyses" / "account"
        home.mkdir(parents=True, exist_ok=True)
        files = {"farms.csv": FARMS, "farms.csv.provenance.toml": UNITS, "published.csv": "year,total\n2020,5\n"}
        for name, content in {**files, "study.toml": text, "claims.toml": claims}.items():
            if content:
                (home / name).write_text(content, encoding="utf-8")
        return home

    return write


def test_an_account_is_a_study_without_estimates(office: Callable[..., Path]) -> None:
    home = office(ACCOUNT, CLAIM)
    evidence = run_study(home)
    made = home.parents[1] / "data/processed/account"
    emissions, cei = (pd.read_csv(made / f"{name}.csv") for name in ("emissions", "cei"))
    # By hand: the factor of diesel is one number, so that emissions go with diesel, and the intensity with diesel / output.
    farms = pd.read_csv(home / "farms.csv")
    rate = emissions["emissions"] / farms["diesel"]
    assert rate.round(12).nunique() == 1
    np.testing.assert_allclose(cei["cei"], farms["diesel"] * rate / farms["output"], rtol=1e-12)
    assert (made / "published.csv").is_file()  # what nothing is made of is written as it is; what a step reads is not
    assert not (made / "farms.csv").exists()
    assert evidence.claims[0].judgement.verdict == "consistent"
    for name in ("estimates", "findings", "alternatives", "descriptives", "ledger"):
        assert pd.read_csv(made / f"{name}.csv").empty
    inputs = json.loads((made / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    assert "analyses/account/farms.csv" in [one["path"] for one in inputs]


@pytest.mark.parametrize(("language", "said"), [("en", "An account: nothing is estimated"), ("zh", "核算：不作估计")])
def test_an_account_is_explained(office: Callable[..., Path], language: str, said: str) -> None:
    text = explain_study(read_study(office()), language)
    assert said in text
    assert "72" in text  # rows of the account
    assert "analyses/account/farms.csv" in text


def test_an_account_has_no_power(office: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="this study is an account"):
        power_study(read_study(office()), Power(noise_sd=1.0, place_sd=1.0))


def test_tables_that_estimates_rest_on_are_not_written_again(office: Callable[..., Path]) -> None:
    config = read_study(office(ACCOUNT + ESTIMATES))
    assert config.references == ("published",)
    assert read_study(office()).references == ("published", "emissions", "cei")
    one = evaluate_study(config).estimates["main"]
    assert {source.path for source in one.spec.panel.provenance} >= {"analyses/account/farms.csv"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('activity = "farms"', 'activity = "farm"', ["step 'emissions'", "no table 'farm'", "did you mean 'farms'"]),
        ('emissions = "emissions"', 'emissions = "later"', ["step 'cei'", "no table 'later'", "emissions"]),
        ('name = "cei"', 'name = "farms"', ["'farms' is also a source"]),
        ('name = "cei"', 'name = "estimates"', ["step cannot be called 'estimates'"]),
        ('kind = "Inventory"', 'kind = "Inventry"', ["no step 'Inventry'", "did you mean 'Inventory'"]),
        ('factors = "literature"', 'factors = "../../../own.toml"', ["leaves the project", "step 'emissions'"]),
        ('per = "output"', 'per = "output"\nby = "x"', ["unknown key 'by'"]),
        ('path = "published.csv"', 'path = "../../../published.csv"', ["leaves the project", "source 'published'"]),
        ("[[step]]", "[[intensity]]", ["unknown key 'intensity'"]),
        (ACCOUNT[ACCOUNT.index("[[step]]"):], "", ["nothing that is made of them"]),
        ('per = "output"\n', 'per = "output"\n[design]\noutcome = "cei"\n', ["[panel] is missing"]),
    ],
)  # fmt: skip
def test_what_a_step_cannot_be(office: Callable[..., Path], old: str, new: str, says: list[str]) -> None:
    assert old in ACCOUNT
    with pytest.raises(ConfigError) as caught:
        read_study(office(ACCOUNT.replace(old, new)))
    for words in says:
        assert words in str(caught.value)


def test_a_step_comes_after_what_it_reads(office: Callable[..., Path]) -> None:
    start, first, second = ACCOUNT.split("[[step]]")
    with pytest.raises(ConfigError, match=r"the step 'emissions' comes later.*put that step first"):
        read_study(office(f"{start}[[step]]{second}[[step]]{first}"))


# ----------------------------------------------------------------------------------------------------------- kept steps


@dataclass(frozen=True)
class Counted:
    """A step that counts its runs, on the side."""

    step: Step
    runs: list[int] = field(compare=False)

    def reads(self) -> tuple[str, ...]:
        return self.step.reads()

    def files(self) -> tuple[Path, ...]:
        return self.step.files()

    def run(self, tables: Mapping[str, Table]) -> Table:
        self.runs.append(1)
        return self.step.run(tables)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_done_once_and_reads_back_as_it_was(name: str, tmp_path: Path) -> None:
    step, tables = STEPS[name]
    made = step.run(tables)
    for _ in range(2):
        kept = KeptSteps(tmp_path / "steps").run(step, tables)
        pd.testing.assert_frame_equal(kept.frame, made.frame)
        assert (kept.name, dict(kept.units), dict(kept.absent), kept.provenance) == (
            made.name, dict(made.units), dict(made.absent), made.provenance,
        )  # fmt: skip
    assert len(list((tmp_path / "steps").glob("*/frame.parquet"))) == 1


def test_a_step_is_done_again_when_anything_that_it_rests_on_is_another(tmp_path: Path) -> None:
    step, tables = STEPS["Inventory"]
    digest, farms = step_digest(step, tables), tables["farms"]
    frame = farms.frame.copy()
    frame.loc[0, "diesel"] += 1e-9
    changed: list[tuple[Step, dict[str, Table]]] = [
        (step, {"farms": Table("farms", frame, farms.provenance, farms.units)}),
        (step, {"farms": Table("farms", farms.frame.set_index(farms.frame.index + 1), farms.provenance, farms.units)}),
        (step, {"farms": Table("farms", farms.frame.astype({"year": float}), farms.provenance, farms.units)}),
        (step, {"farms": Table("farms", farms.frame, farms.provenance, {**farms.units, "diesel": "t"})}),
        (step, {"farms": Table("farms", farms.frame, (), farms.units)}),
        (members("step")["Inventory"](activity="farms", factors="ipcc_2006", keys=("farm", "year")), tables),
    ]
    assert digest == step_digest(step, dict(tables))
    digests = {step_digest(*one) for one in changed}
    assert len(digests) == len(changed)
    assert digest not in digests
    own = tmp_path / "own.toml"
    of_file = members("step")["Inventory"](activity="farms", factors=own, keys=("farm", "year"))
    own.write_text("a", encoding="utf-8")
    before = step_digest(of_file, tables)
    own.write_text("b", encoding="utf-8")
    assert before != step_digest(of_file, tables)


def test_what_was_kept_is_not_trusted(tmp_path: Path) -> None:
    step, tables = STEPS["Inventory"]
    kept, runs = KeptSteps(tmp_path), list[int]()
    counted = Counted(step, runs)
    made = kept.run(counted, tables)
    assert kept.run(counted, tables).frame.equals(made.frame)
    assert len(runs) == 1
    (frame,) = tmp_path.glob("*/frame.parquet")
    (about,) = tmp_path.glob("*/table.json")
    for spoil in (
        lambda: frame.write_bytes(frame.read_bytes()[:-9] + b"123456789"),
        lambda: frame.unlink(),
        lambda: about.write_text("{", encoding="utf-8"),
        lambda: about.write_text('{"sha256": 3}', encoding="utf-8"),
    ):
        spoil()
        before = len(runs)
        assert kept.run(counted, tables).frame.equals(made.frame)
        assert len(runs) == before + 1


def test_a_folder_that_cannot_be_written_keeps_nothing_and_stops_nothing(tmp_path: Path) -> None:
    step, tables = STEPS["Inventory"]
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for _ in range(2):
        assert len(KeptSteps(tmp_path / "file" / "steps").run(step, tables).frame)


def test_tables_that_no_file_could_hold_are_made_each_time(tmp_path: Path) -> None:
    step, tables = STEPS["Inventory"]
    mixed = tables["farms"].frame.assign(note=[("a", 1), {"b": 2}])
    given = {"farms": Table("farms", mixed, tables["farms"].provenance, tables["farms"].units)}
    runs = list[int]()
    for _ in range(2):
        KeptSteps(tmp_path).run(Counted(step, runs), given)
    assert len(runs) == 2


def test_a_second_run_takes_what_the_first_kept_and_forgets_the_rest(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = office()
    run_study(home)
    kept = home.parents[1] / ".evalkit/steps/account"
    first = {path.name for path in kept.iterdir() if path.is_dir()}
    assert len(first) == 2
    before = (home.parents[1] / "data/processed/account/cei.csv").read_bytes()
    for kind in members("step").values():
        monkeypatch.setattr(kind, "run", lambda self, tables: pytest.fail("it was done before"))
    run_study(home)
    assert (home.parents[1] / "data/processed/account/cei.csv").read_bytes() == before
    monkeypatch.undo()
    (home / "study.toml").write_text(ACCOUNT.replace("literature", "ipcc_2006"), encoding="utf-8")
    run_study(home)
    assert not first & {path.name for path in kept.iterdir()}


# ---------------------------------------------------------------------------------------------- tables that a check names


@dataclass(frozen=True, kw_only=True)
class CountsRows:
    """A check that needs a table besides the panel."""

    of: Table

    def run(self, spec: Specification) -> Finding:
        table = pd.DataFrame({"rows": [float(len(self.of.frame))], "name": [self.of.name]})
        sentence, chart = message("verdict.pass"), Chart("counts", message("chart.p_value"), value="rows")
        return Finding("CountsRows", None, table["rows"][0], np.nan, np.nan, "described", sentence, table, chart)


def test_a_check_takes_a_table_of_the_study_by_its_name(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evalkit.checks, "CountsRows", CountsRows, raising=False)
    monkeypatch.setattr(evalkit.checks, "__all__", [*evalkit.checks.__all__, "CountsRows"])
    members.cache_clear()
    try:
        text = ACCOUNT + ESTIMATES + '[[check]]\nkind = "CountsRows"\non = "main"\nof = "emissions"\n'
        ((_, found),) = evaluate_study(read_study(office(text))).findings
        assert (found.statistic, found.table["name"][0]) == (72.0, "emissions")
        with pytest.raises(ConfigError, match=r"no table 'emission'.*did you mean 'emissions'"):
            read_study(office(text.replace('of = "emissions"', 'of = "emission"')))
        with pytest.raises(EvalkitError, match="'of' is missing"):
            read_study(office(text.replace('of = "emissions"\n', "")))
    finally:
        members.cache_clear()
