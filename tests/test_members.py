"""The batteries of sources, steps, claim rules and writers: what every member of a family has to keep.

Those of estimators, inferences and checks stand in test_conformance.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.catalogue import LANGUAGES
from evalkit.errors import EvalkitError
from evalkit.results.evidence import Desk, Evidence
from evalkit.study.config import members
from evalkit.tables.table import Source, Table
from examples import CLAIM_TABLES, CLAIMS, SOURCES, STEPS, WRITERS
from test_reporting import desk_at, make_evidence

REGISTRIES = {"source": SOURCES, "step": STEPS, "claim": CLAIMS, "writer": WRITERS}


@pytest.mark.parametrize("family", REGISTRIES)
def test_every_export_has_an_example(family: str) -> None:
    assert {name.split()[0] for name in REGISTRIES[family]} == set(members(family))


@pytest.mark.parametrize(("family", "kind"), [(family, kind) for family in REGISTRIES for kind in members(family)])
def test_members_are_frozen_values(family: str, kind: str) -> None:
    member = members(family)[kind]
    assert dataclasses.is_dataclass(member)
    assert member.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (member.__doc__ or "").strip()


# -------------------------------------------------------------------------------------------------------------- sources


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_read_and_say_where_from(name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    before = contents(tmp_path)
    one, two = source.load(), source.load()
    assert contents(tmp_path) == before
    assert len(one.frame)
    pd.testing.assert_frame_equal(one.frame, two.frame)
    assert set(one.units) <= set(one.frame.columns)
    files = source.files()
    assert files
    assert all(path.is_file() for path in files)
    assert one.provenance
    for found in one.provenance:  # every number has a file, by its hash, among those that the source names
        assert Path(found.path) in files
        assert found.sha256 == before[Path(found.path).name]


@pytest.mark.parametrize("name", SOURCES)
def test_sources_name_their_sidecar_among_their_files(name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    first = source.files()[0]
    beside = first.with_name(first.name + ".provenance.toml")
    assert beside not in source.files()
    beside.write_text('publisher = "a bureau"\n', encoding="utf-8")
    assert beside in source.files()
    assert source.load().provenance[0].publisher == "a bureau"


BAD = {
    "empty": b"",
    "of bytes that are no text": bytes(range(128, 256)) * 9,
    "of zeros": bytes(400),
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "half a workbook": b"PK\x03\x04" + bytes(60),
    "half an old workbook": bytes.fromhex("D0CF11E0A1B11AE1") + bytes(900),
    "only a header": "农户,年份,金额\n".encode(),
    "prose": "这不是表格。\n".encode() * 3,
}


def attempt(source: Source) -> tuple[EvalkitError | None, Table | None]:
    """Load: why it was refused, or the table."""
    try:
        return None, source.load()
    except EvalkitError as error:
        return error, None


@pytest.mark.parametrize("content", BAD)
@pytest.mark.parametrize("name", SOURCES)
def test_sources_refuse_files_of_another_kind_by_name(name: str, content: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    path = source.files()[0]
    path.write_bytes(BAD[content])
    error, read = attempt(source)
    assert path.read_bytes() == BAD[content]
    if read is not None:  # a table may have no rows, or hold the prose as text; numbers it has none
        assert not read.frame.select_dtypes("number").size
        return
    assert path.name in str(error)
    assert error is not None
    assert error.remedy


@pytest.mark.parametrize("name", SOURCES)
def test_sources_say_which_file_is_missing(name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    path = source.files()[0]
    path.unlink()
    with pytest.raises(EvalkitError, match="no such file") as caught:
        source.load()
    assert path.name in caught.value.where


# ---------------------------------------------------------------------------------------------------------------- steps


class Watched(dict[str, Table]):
    """Tables that remember which were taken."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        super().__init__(tables)
        self.taken: set[str] = set()

    def __getitem__(self, name: str) -> Table:
        self.taken.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("name", STEPS)
def test_steps_read_what_they_name_and_change_nothing(name: str) -> None:
    step, tables = STEPS[name]
    before = {key: table.frame.copy(deep=True) for key, table in tables.items()}
    watched = Watched({**tables, "another": next(iter(tables.values()))})
    made = step.run(watched)
    assert watched.taken == set(step.reads())
    for key, frame in before.items():
        pd.testing.assert_frame_equal(tables[key].frame, frame)
    pd.testing.assert_frame_equal(made.frame, step.run(tables).frame)
    assert len(made.frame)
    assert set(made.units) <= set(made.frame.columns)
    origins = {one.path for one in made.provenance}  # what a table was made of goes along
    assert {one.path for key in step.reads() for one in tables[key].provenance} <= origins


@pytest.mark.parametrize("name", STEPS)
def test_steps_keep_the_mark_of_synthetic_data(name: str) -> None:
    step, tables = STEPS[name]
    marked = {
        key: dataclasses.replace(
            table, provenance=tuple(dataclasses.replace(one, synthetic=True) for one in table.provenance)
        )
        for key, table in tables.items()
    }
    assert any(one.synthetic for one in step.run(marked).provenance)


# --------------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_rules_judge_in_both_languages_and_cannot_presume_the_verdict(name: str) -> None:
    rule = CLAIMS[name]
    found, again = rule.judge(CLAIM_TABLES), rule.judge(CLAIM_TABLES)
    assert found == again
    english, chinese = (found.sentence.text(language) for language in LANGUAGES)
    assert english != chinese
    assert hash(rule) == hash(dataclasses.replace(rule))
    with pytest.raises(EvalkitError):
        dataclasses.replace(rule, otherwise="consistent")


# -------------------------------------------------------------------------------------------------------------- writers


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    made = make_evidence(treated=3, only="path")
    return dataclasses.replace(made, manifest={"inputs": []})


PAPER = '#import "evalkit.typ": *\n#show: paper-en.with(title: [T], authors: [A], abstract: [B])\n'


def written(writer: Any, evidence: Evidence, folder: Path) -> tuple[dict[str, bytes], tuple[Path, ...], Desk]:
    """Let a writer write, where the tables stand already; return every file's bytes, the paths that it names, and the desk."""
    desk = desk_at(folder)
    (desk.home / "paper.typ").write_text(PAPER, encoding="utf-8")
    before = {*WRITERS["Tables"].write(evidence, desk), desk.home / "paper.typ"}
    paths = writer.write(evidence, desk)
    made = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert set(made) == before | set(paths)
    return {path.relative_to(folder).as_posix(): content for path, content in made.items()}, paths, desk


@pytest.mark.parametrize("name", WRITERS)
def test_writers_name_every_file_that_they_write_inside_the_desk_and_write_the_same_again(
    name: str, evidence: Evidence, tmp_path: Path
) -> None:
    made, paths, desk = written(WRITERS[name], evidence, tmp_path / "a")
    assert paths
    for path in paths:
        assert path.is_file()
        assert path.parent in (desk.processed, desk.figures, desk.documents)
    assert made == written(WRITERS[name], evidence, tmp_path / "b")[0]


@pytest.mark.parametrize("name", WRITERS)
def test_writers_write_an_account_too(name: str, tmp_path: Path) -> None:
    """A study without estimates has tables, and nothing to draw."""
    table = STEPS["Inventory"][0].run(STEPS["Inventory"][1])
    account = Evidence("account", {}, (), {"inputs": []}, references={"emissions": table})
    made, _, desk = written(WRITERS[name], account, tmp_path)
    assert "processed/emissions.csv" in made
    assert desk.processed.is_dir()
