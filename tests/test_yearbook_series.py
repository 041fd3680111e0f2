"""Series: one indicator over many volumes, from folders such as people keep, with invented numbers."""

from __future__ import annotations

import ast
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest

import evalkit as ek
from evalkit.errors import ConfigError, DataError, SourceError
from evalkit.sources import Yearbook
from evalkit.sources.yearbook.volumes import files as of_volumes
from evalkit.study.config import read_study
from evalkit.study.running import evaluate_study, run_study
from yearbook_files import Rows, refused

pytestmark = pytest.mark.filterwarnings("error")

FERTILISER = "化肥施用量"
Cells = Mapping[str, tuple[float | str | None, ...]]


def volume(path: Path, years: tuple[int, ...], cells: Cells, name: str = FERTILISER, unit: str = "万吨") -> Path:
    """Write a volume with one table: regions in rows, years in columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: Rows = [[f"6-2 各地区{name}"], [f"单位:{unit}"], ["地区", *(f"{year}年" for year in years)]]
    workbook = openpyxl.Workbook()
    sheet = workbook.worksheets[0]
    sheet.title = "6-2"
    for row in [*rows, *([region, *values] for region, values in cells.items())]:
        sheet.append(row)
    workbook.save(path)
    return path


def two(folder: Path, first: float = 5.0) -> Path:
    """Write two volumes that overlap in 2019, where 天津 was revised from `first` to 5.5."""
    volume(folder / "2018.xlsx", (2018, 2019), {"北京": (10.5, 11.2), "天津": (4.1, first), "河北": (7.7, 8.3)})
    volume(folder / "2019.xlsx", (2019, 2020), {"北京": (11.2, 12.6), "天津": (5.5, 6.1), "河北": (8.3, 8.9)})
    return folder


def rows_of(table: ek.Table, region: str) -> list[tuple[Any, ...]]:
    frame = table.frame[table.frame["region"] == region]
    return list(frame[["year", "value", "file", "cell"]].itertuples(index=False, name=None))


# --- what is joined ---


def test_volumes_that_agree_are_one_series_with_the_source_of_each_value(tmp_path: Path) -> None:
    table = Yearbook(two(tmp_path)).load()
    assert rows_of(table, "北京") == [
        (2018, 10.5, "2018.xlsx", "B4"),
        (2019, 11.2, "2019.xlsx", "B4"),
        (2020, 12.6, "2019.xlsx", "C4"),
    ]
    assert table.frame.index[1] == "2019.xlsx 6-2!B4"
    assert table.frame["also"].iloc[1] == "2018.xlsx 6-2!C4"
    assert [one.path for one in table.provenance] == [(tmp_path / f"{y}.xlsx").as_posix() for y in (2018, 2019)]
    assert "2 values stand in several volumes and agree to rounding" in table.provenance[0].notes


def test_volumes_that_disagree_are_not_joined_without_a_word(tmp_path: Path) -> None:
    table = Yearbook(two(tmp_path)).load()
    assert rows_of(table, "天津") == []
    assert table.unplaced[["file", "cell", "text"]].apply(" ".join, axis=1).tolist() == [
        "2018.xlsx B5 4.1",
        "2018.xlsx C5 5",
        "2019.xlsx B5 5.5",
        "2019.xlsx C5 6.1",
    ]
    assert set(table.unplaced["why"]) == {
        "'化肥施用量' of 天津 in 2019 is 5 万吨 in 2018.xlsx 6-2!C5 and 5.5 万吨 in 2019.xlsx 6-2!B5, so that the volumes "
        'are not joined for this region; splice={"化肥施用量": "newest"} takes each year from the newest volume'
    }
    (revision,) = table.disagreements.itertuples()
    assert (revision.kind, revision.region, revision.year, revision.value, revision.other) == (
        "revision",
        "天津",
        2019,
        5.0,
        5.5,
    )
    assert revision.change == pytest.approx(0.1)
    assert not revision.joined
    assert "1 series are not joined because their volumes disagree: 化肥施用量" in table.provenance[0].notes


@pytest.mark.parametrize(
    ("splice", "expected", "year"),
    [
        ("newest", [(2018, 4.1), (2019, 5.5), (2020, 6.1)], 2019),
        (2019, [(2018, 4.1), (2019, 5.5), (2020, 6.1)], 2019),
        (2020, [(2018, 4.1), (2019, 5.0), (2020, 6.1)], 2020),
    ],
)
def test_a_splice_is_declared_and_stands_in_the_provenance(
    tmp_path: Path, splice: str | int, expected: list[tuple[int, float]], year: int
) -> None:
    table = Yearbook(two(tmp_path), splice={FERTILISER: splice}).load()
    assert [row[:2] for row in rows_of(table, "天津")] == expected
    assert f"'化肥施用量' is spliced in {year} (1 times over all regions)" in table.provenance[0].notes
    spliced = table.disagreements[table.disagreements["kind"] == "splice"]
    assert spliced[["region", "year"]].to_numpy().tolist() == [["天津", year]]
    assert spliced["change"].tolist() == pytest.approx([0.1])
    # The value that the splice leaves out is listed, and nothing else.
    left = {5.0, 5.5} - {value for _, value in expected}
    assert table.unplaced["text"].tolist() == [f"{value:g}" for value in left]


def test_two_volumes_of_one_year_that_disagree_cannot_be_spliced(tmp_path: Path) -> None:
    volume(tmp_path / "a" / "年鉴.xlsx", (2019,), {"北京": (11.2,), "天津": (5.5,)})
    volume(tmp_path / "b" / "年鉴.xlsx", (2019,), {"北京": (11.2,), "天津": (5.7,)})
    table = Yearbook(tmp_path, splice={FERTILISER: "newest"}).load()
    assert table.frame["region"].tolist() == ["北京"]
    assert set(table.unplaced["file"]) == {"a/年鉴.xlsx", "b/年鉴.xlsx"}
    assert table.unplaced["why"].str.contains("neither volume is known to be the newer one").all()


def test_rounding_is_no_disagreement(tmp_path: Path) -> None:
    """A volume prints 2 digits, a later one 1: all values come from one truth, and no series may fall apart more than chance."""
    rng = np.random.default_rng(5)
    apart = 0
    for world in range(20):
        truth = {
            name: rng.uniform(20, 90, 3) for name in ("北京", "天津", "河北", "山西", "辽宁", "吉林", "上海", "江苏")
        }
        folder = tmp_path / str(world)
        first = {name: tuple(np.round(values[:2], 2)) for name, values in truth.items()}
        second = {name: tuple(np.round(values[1:], 1)) for name, values in truth.items()}
        volume(folder / "2018.xlsx", (2018, 2019), {name: tuple(map(float, one)) for name, one in first.items()})
        volume(folder / "2019.xlsx", (2019, 2020), {name: tuple(map(float, one)) for name, one in second.items()})
        apart += len(Yearbook(folder).load().unplaced) > 0
    assert apart <= 5  # the test of edges accuses one volume in ten at most; P(Bin(20, .1) > 5) = .01


def test_a_series_is_in_the_unit_of_the_newest_volume(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (10500, 11200)}, unit="吨")
    volume(tmp_path / "2019.xlsx", (2019, 2020), {"北京": (1.12, 1.26)})
    table = Yearbook(tmp_path).load()
    assert table.frame["value"].tolist() == [1.05, 1.12, 1.26]
    assert set(table.frame["unit"]) == {"万吨"}
    assert table.frame["published_value"].iloc[0] == 10500
    (unit,) = table.disagreements.itertuples()
    assert unit.kind == "unit"
    assert "in 万吨 (2019.xlsx 6-2!B4) and in 吨 (2018.xlsx 6-2!B4)" in unit.sentence_en
    wide = Yearbook(tmp_path, {"fert": FERTILISER}, convert={FERTILISER: "吨"}).load()
    assert wide.frame["fert"].tolist() == [10500, 11200, 12600]
    assert wide.units == {"fert": "吨"}


def test_the_wide_table_names_the_cell_of_each_value(tmp_path: Path) -> None:
    two(tmp_path)
    volume(tmp_path / "pesticide.xlsx", (2018, 2019, 2020), {"北京": (1.1, 1.2, 1.3)}, "农药使用量", "吨")
    table = Yearbook(tmp_path, {"fert": FERTILISER, "pest": "农药使用量"}, keys=("province", "year")).load()
    beijing = table.frame[table.frame["province"] == "北京"]
    assert beijing[["year", "fert", "pest"]].to_numpy().tolist() == [
        [2018, 10.5, 1.1],
        [2019, 11.2, 1.2],
        [2020, 12.6, 1.3],
    ]
    assert table.cells.loc[beijing.index, ["fert", "pest"]].iloc[2].tolist() == [
        "2019.xlsx 6-2!C4",
        "pesticide.xlsx 6-2!D4",
    ]
    assert table.cells["pest"].isna().sum() == table.frame["pest"].isna().sum() == 3
    panel = ek.assemble(table, unit="province", time="year", derive={"ratio": ek.per("pest", "fert", to="kg/t")})
    assert panel.frame["ratio"].dropna().tolist() == pytest.approx([1.1 / 105, 1.2 / 112, 1.3 / 126])


def test_any_volumes_are_joined_as_by_hand(tmp_path: Path) -> None:
    """Against a join that looks up each value by itself, for volumes with gaps and revisions drawn at random."""
    rng = np.random.default_rng(3)
    regions = ("北京", "天津", "河北", "山西", "辽宁", "吉林")
    for world in range(8):
        folder, printed = tmp_path / str(world), dict[int, dict[tuple[str, int], float]]()
        truth = {(name, year): float(rng.integers(1000, 9000)) for name in regions for year in range(2010, 2018)}
        for last in range(2012, 2018, 1 + world % 2):
            years = tuple(range(last - 2, last + 1))
            own = {key: value for key, value in truth.items() if key[1] in years and rng.random() > 0.1}
            own = {key: value + 500.0 * (rng.random() < 0.05) for key, value in own.items()}
            printed[last] = own
            cells = {name: tuple(own.get((name, year)) for year in years) for name in regions}
            volume(folder / f"{last + 1}年鉴.xlsx", years, cells)
        for splice in ({}, {FERTILISER: "newest"}):
            found = {
                (row.region, row.year): row.value for row in Yearbook(folder, splice=splice).load().frame.itertuples()
            }
            found = {key: value for key, value in found.items() if np.isfinite(value)}
            assert found == by_hand(printed, regions, is_spliced=bool(splice))


def by_hand(
    printed: dict[int, dict[tuple[str, int], float]], regions: tuple[str, ...], *, is_spliced: bool
) -> dict[tuple[str, int], float]:
    joined = {}
    for name in regions:
        years = {year for own in printed.values() for region, year in own if region == name}
        said = {
            year: [own[name, year] for last, own in sorted(printed.items()) if (name, year) in own] for year in years
        }
        if is_spliced or all(len(set(values)) == 1 for values in said.values()):
            joined |= {(name, year): values[-1] for year, values in said.items()}
    return joined


def test_every_number_of_every_volume_is_accounted_for_once(tmp_path: Path) -> None:
    """In the frame, in "also", or listed with a reason: volumes with totals, marks, gaps, revisions and units."""
    rng = np.random.default_rng(11)
    for world in range(3):
        printed = scatter(tmp_path / str(world), rng)
        for splice in (None, "newest", 1950, 2014, 2099)[world::2]:
            options: dict[str, Any] = {
                "splice": {} if splice is None else {FERTILISER: splice},
                "convert": {FERTILISER: "吨"},
            }
            table = Yearbook(tmp_path / str(world), **options).load()
            frame = table.frame[table.frame["value"].notna()]
            placed = [*frame.index, *"; ".join(table.frame["also"]).split("; ")]
            placed += [f"{row.file} {row.sheet}!{row.cell}" for row in table.unplaced.itertuples()]
            assert sorted(one for one in placed if one in printed) == sorted(printed)
            assert not table.frame.duplicated(["region", "year", "indicator"]).any()
            for cell, value, also in zip(frame.index, frame["value"], frame["also"], strict=True):
                assert value == pytest.approx(printed[cell], rel=1e-12)
                # All are whole tenths of 万吨, so that none is farther from another than two halves of their last digit.
                assert all(abs(value - printed[one]) <= 1000 for one in also.split("; ") if one in printed)
            wide = Yearbook(tmp_path / str(world), {"x": FERTILISER}, **options).load()
            values = wide.frame.set_index(["region", "year"])["x"].dropna().to_dict()
            assert values == frame.set_index(["region", "year"])["value"].to_dict()


def scatter(folder: Path, rng: np.random.Generator) -> dict[str, float]:
    """Write volumes of one table, of which two are of one rank; return the numbers printed in each cell, in 吨."""
    printed = dict[str, float]()
    regions = ("总计", "北京", "天津", "内蒙古", "一农场", "河北", "山西", "合计")
    truth = {(name, year): float(rng.integers(0, 40)) / 10 for name in regions for year in range(2010, 2018)}
    for last, file in zip((2012, 2014, 2015, 2016, 2016), "abcde", strict=True):
        years = tuple(range(last - 2, last + 1))
        unit, scale = (("吨", 10_000.0), ("万吨", 1.0))[rng.integers(2)]
        cells = dict[str, tuple[float | str | None, ...]]()
        for line, name in enumerate(regions):
            row = list[float | str | None]()
            for column, year in enumerate(years):
                number = (truth[name, year] + 5.0 * float(rng.random() < 0.05)) * scale
                said = (number, None, "…", "-")[rng.choice(4, p=[0.85, 0.05, 0.05, 0.05])]
                row.append(said)
                if isinstance(said, float):
                    printed[f"{file}.xlsx 6-2!{'BCD'[column]}{4 + line}"] = said * 10_000.0 / scale
            spelt = "内蒙古自治区" if name == "内蒙古" and rng.random() < 0.5 else name
            cells[spelt] = tuple(row)
        volume(folder / f"{file}.xlsx", years, cells, unit=unit)
    return printed


# --- totals, marks and units between volumes ---

TOTAL_OF = {"31 provinces": ("北京", "天津"), "farms": ("一农场", "二农场")}


@pytest.mark.parametrize("rows", TOTAL_OF.values(), ids=TOTAL_OF)
@pytest.mark.parametrize("later", [11.2, 11.3])
def test_a_total_of_an_area_that_is_not_known_is_one_series_over_volumes(
    tmp_path: Path, rows: tuple[str, str], later: float
) -> None:
    """It was a series of each sheet: twice in the long table, revised or not, and two rows of one key in the wide one."""
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"合计": (10.5, 11.2), rows[0]: (5.1, 5.2), rows[1]: (5.4, 6.0)})
    volume(tmp_path / "2019.xlsx", (2019, 2020), {"合计": (later, 12.6), rows[0]: (5.2, 6.2), rows[1]: (6.0, 6.4)})
    table = Yearbook(tmp_path).load()
    assert [row[:2] for row in rows_of(table, "合计")] == (
        [(2018, 10.5), (2019, 11.2), (2020, 12.6)] if later == 11.2 else []
    )
    assert len(table.unplaced) == (0 if later == 11.2 else 4)
    wide = Yearbook(tmp_path, {"x": FERTILISER}).load().frame
    assert not wide.duplicated(["region", "year"]).any()


def test_totals_of_two_areas_are_no_series(tmp_path: Path) -> None:
    volume(
        tmp_path / "a" / "2018.xlsx", (2018, 2019), {"合计": (10.5, 11.2), "昌吉市": (5.1, 5.2), "阜康市": (5.4, 6.0)}
    )
    volume(
        tmp_path / "b" / "2019.xlsx", (2020, 2021), {"合计": (3.5, 4.2), "石河子市": (1.1, 1.2), "伊宁市": (2.4, 3.0)}
    )
    for columns in ({}, {"x": FERTILISER}):
        table = Yearbook(tmp_path, columns).load()
        assert set(table.frame["region"]) == {"昌吉市", "阜康市", "石河子市", "伊宁市"}
        assert table.unplaced["text"].tolist() == ["10.5", "11.2", "3.5", "4.2"]
        assert table.unplaced["why"].str.contains("different regions or totals of one name").all()
        assert "2 series of totals, or of regions, that have one name" in table.provenance[0].notes
        assert "volumes disagree" not in table.provenance[0].notes


def test_units_of_different_kinds_are_not_mixed_in_a_column(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (10.5, 11.2)})
    volume(tmp_path / "2020.xlsx", (2019, 2020), {"北京": (7.5, 8.2)}, unit="万元")
    assert len(Yearbook(tmp_path).load().frame) == 4  # the long table says the unit of each row
    error = refused(tmp_path, columns={"x": FERTILISER})
    assert error.what.startswith("'化肥施用量' is in 万吨 ")
    assert "in 万元" in error.what


def test_a_number_of_another_volume_stands_for_less_than_half_a_unit(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (1.5, 0.3), "天津": (1.5, 7.3)})
    volume(tmp_path / "2019.xlsx", (2019, 2020), {"北京": ("…", 3), "天津": ("…", 3)})
    table = Yearbook(tmp_path).load()
    assert rows_of(table, "北京")[1] == (2019, 0.3, "2018.xlsx", "C4")
    assert table.frame["also"].iloc[1] == "2019.xlsx 6-2!B4"
    assert rows_of(table, "天津") == []


def test_a_folder_in_a_hidden_folder_is_read(tmp_path: Path) -> None:
    two(tmp_path / ".work" / "volumes")
    volume(tmp_path / ".work" / "volumes" / ".old" / "2018.xlsx", (2018,), {"北京": (99.0,)})
    assert Yearbook(tmp_path / ".work" / "volumes").catalogue()["volume"].tolist() == ["2018.xlsx", "2019.xlsx"]


def test_a_listed_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It was one of the files that are reported, and the series went on without it."""
    two(tmp_path / "volumes")
    for name, what in (("2017.xlsx", "there is no such file"), ("volumes", "the list names a folder")):
        error = refused([tmp_path / "volumes" / "2018.xlsx", tmp_path / name])  # type: ignore[arg-type]  # a list
        assert error.what == what
        assert error.where == (tmp_path / name).as_posix()


def test_a_pattern_in_a_folder_with_brackets(tmp_path: Path) -> None:
    two(tmp_path / "年鉴 [1]")
    assert Yearbook(f"{tmp_path}/年鉴 [1]/*.xlsx").catalogue()["volume"].tolist() == ["2018.xlsx", "2019.xlsx"]
    assert len(Yearbook(f"{tmp_path}/年鉴*/201[89].xlsx").files()) == 2


def test_strict_refuses_volumes_of_which_one_is_not_read_whole(tmp_path: Path) -> None:
    two(tmp_path)
    volume(tmp_path / "2020.xlsx", (2020, 2021), {"北京": ("12.6x", 13.1)})
    assert Yearbook(tmp_path).load().frame["year"].max() == 2021
    error = refused(tmp_path, strict=True)
    assert "1 of 3 files are not read: 2020.xlsx: 1 cell is not placed" in error.what


@pytest.mark.parametrize(("old", "new", "unit"), [(36.1, 361.0, "万吨"), (36.1, 0.361, "%")])
def test_no_splice_is_offered_where_a_unit_is_wrong(tmp_path: Path, old: float, new: float, unit: str) -> None:
    """It would join 36.1 % and 0.361 %."""
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (35.2, old)}, unit=unit)
    volume(tmp_path / "2019.xlsx", (2019, 2020), {"北京": (new, 0.37)}, unit=unit)
    why = Yearbook(tmp_path).load().unplaced["why"]
    assert why.str.contains("one of the units is wrong").all()
    assert not why.str.contains("splice=").any()


def test_a_unit_that_contradicts_its_volume_is_said_to(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (35.2, 36.1)}, name="农药使用量")
    two(tmp_path / "others")
    error = refused(tmp_path, units={"农药使用量": "吨"})
    assert "2018.xlsx" in error.what
    assert "'农药使用量' is '万吨' in the file and '吨' in units=" in error.what
    assert error.remedy == "leave it out"


def test_volumes_on_two_drives_are_named_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(paths: list[str]) -> str:
        raise ValueError("Paths don't have the same drive")

    two(tmp_path)
    monkeypatch.setattr(of_volumes.os.path, "commonpath", refuse)
    files = sorted(tmp_path.glob("*.xlsx"))
    assert of_volumes.name_files(files) == [one.as_posix() for one in files]


# --- names ---


def test_a_name_with_its_title_may_be_asked_for_and_renamed(tmp_path: Path) -> None:
    for year, title in ((2018, "2018年化肥施用情况"), (2019, "2019年农药使用情况")):
        workbook = openpyxl.Workbook()
        for row in ([f"6-2 {title}"], ["单位:万吨"], ["地区", "合计"], ["北京", 1.5], ["天津", 2.5]):
            workbook.worksheets[0].append(row)
        workbook.save(tmp_path / f"{year}.xlsx")
    table = Yearbook(tmp_path, {"x": "化肥施用情况 / 合计"}).load()
    assert table.frame[["region", "year", "x"]].to_numpy().tolist() == [["北京", 2018, 1.5], ["天津", 2018, 2.5]]
    (offer,) = Yearbook(tmp_path).load().disagreements.itertuples()
    assert 'renamed={"化肥施用情况 / 合计": "农药使用情况 / 合计"}' in offer.sentence_en
    joined = Yearbook(tmp_path, renamed={"化肥施用情况 / 合计": "农药使用情况/合计"}).load()
    assert joined.frame["indicator"].unique().tolist() == ["农药使用情况 / 合计"]
    error = refused(tmp_path, columns={"x": "合计"}, renamed={"合计": "总数"})
    assert "did you mean" not in error.remedy or "'合计'" not in error.remedy


def test_a_new_name_is_known_however_its_spaces_were_typed(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (10.5, 11.2)}, name="化肥施用量")
    workbook = openpyxl.Workbook()
    for row in (["6-2 农业投入"], ["单位:万吨"], ["地区", "化肥", None], [None, "总量", "氮肥"], ["北京", 11.2, 3.1]):
        workbook.worksheets[0].append(row)
    workbook.worksheets[0].merge_cells("B3:C3")
    workbook.save(tmp_path / "2019.xlsx")
    table = Yearbook(tmp_path, year=2019, renamed={"化肥施用量": "化肥 / 总量"}).load()
    found = table.frame[table.frame["indicator"] == "化肥 / 总量"]
    assert found[["year", "value"]].to_numpy().tolist() == [[2018, 10.5], [2019, 11.2]]


def test_a_renamed_indicator_is_offered_and_joined_only_by_a_map(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (10.5, 11.2)}, "农用化肥施用折纯量")
    volume(tmp_path / "2019.xlsx", (2019, 2020), {"北京": (11.2, 12.6)}, "农用化肥施用量")
    apart = Yearbook(tmp_path).load()
    assert apart.frame.groupby("indicator", sort=False).size().to_dict() == {
        "农用化肥施用折纯量": 2,
        "农用化肥施用量": 2,
    }
    (offer,) = apart.disagreements.itertuples()
    assert (offer.kind, offer.indicator, offer.against) == ("rename", "农用化肥施用折纯量", "农用化肥施用量")
    assert "of the 1 values that both print, 1 agree" in offer.sentence_en
    assert 'renamed={"农用化肥施用折纯量": "农用化肥施用量"}' in offer.sentence_en
    joined = Yearbook(tmp_path, renamed={"农用化肥施用折纯量": "农用化肥施用量"}).load()
    assert joined.frame["value"].tolist() == [10.5, 11.2, 12.6]
    assert "'农用化肥施用折纯量' is called '农用化肥施用量' (renamed=)" in joined.provenance[0].notes


def test_indicators_whose_values_differ_are_not_offered_as_one(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (10.5, 11.2)}, "农用地膜使用量")
    volume(tmp_path / "2019.xlsx", (2019, 2020), {"北京": (33.3, 35.6)}, "农用棚膜使用量")
    assert Yearbook(tmp_path).load().disagreements.empty


def test_a_name_that_says_nothing_is_joined_under_one_title_only(tmp_path: Path) -> None:
    def patents(name: str, year: int, title: str, number: int) -> None:
        path = volume(tmp_path / name, (year,), {})
        workbook = openpyxl.Workbook()
        sheet = workbook.worksheets[0]
        for row in (
            [f"8-1 {title}({year}年)"],
            ["单位:件"],
            ["地区", "合计", "发明"],
            ["北京", number, 1],
            ["天津", 7, 2],
        ):
            sheet.append(row)
        workbook.save(path)

    patents("2018.xlsx", 2018, "专利申请受理数", 60)
    patents("2019.xlsx", 2019, "专利申请受理数", 65)
    assert Yearbook(tmp_path).load().frame["indicator"].unique().tolist() == ["合计", "发明"]
    patents("2020.xlsx", 2020, "专利申请授权数", 33)
    table = Yearbook(tmp_path, {"granted": "专利申请授权数 / 合计", "filed": "专利申请受理数 / 合计"}).load()
    beijing = table.frame[table.frame["region"] == "北京"]
    assert beijing[["year", "granted", "filed"]].fillna(0).to_numpy().tolist() == [
        [2018, 0, 60],
        [2019, 0, 65],
        [2020, 33, 0],
    ]
    # 发明 says what is counted, but the two titles do not say that it is the same, and no values do.
    assert set(Yearbook(tmp_path).load().frame["indicator"]) == {
        f"{title} / {name}" for title in ("专利申请受理数", "专利申请授权数") for name in ("合计", "发明")
    }
    error = refused(tmp_path, columns={"inventions": "发明"})
    assert "'发明' stands under titles that differ, and no values link them" in error.what
    said = ast.literal_eval(error.remedy.partition("renamed=")[2])
    joined = Yearbook(tmp_path, {"inventions": "发明"}, renamed=said).load()
    assert joined.frame["inventions"].tolist() == [1, 1, 1, 2, 2, 2]
    # Values that both print link them.
    patents("2020.xlsx", 2019, "专利申请授权数", 65)
    linked = Yearbook(tmp_path).load()
    assert "发明" in set(linked.frame["indicator"])
    scope = linked.disagreements[linked.disagreements["kind"] == "scope"]
    assert scope["indicator"].tolist() == ["发明"]
    assert "专利申请受理数, 专利申请授权数" in scope["sentence_en"].iloc[0]


def test_the_number_with_most_digits_is_taken_of_those_that_agree(tmp_path: Path) -> None:
    volume(tmp_path / "2018.xlsx", (2018, 2019), {"北京": (7203, 7174), "天津": (3106, 3051)}, unit="吨")
    volume(tmp_path / "2019.xlsx", (2019, 2020), {"北京": (0.7, 0.6), "天津": (0.3, 0.2)})
    table = Yearbook(tmp_path, {"fert": FERTILISER}, convert={FERTILISER: "吨"}).load()
    assert table.frame["fert"].tolist() == [7203, 7174, 6000, 3106, 3051, 2000]
    assert table.unplaced.empty


# --- folders as people keep them ---


def test_strangers_twins_and_refused_files_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    two(tmp_path / "年鉴")
    shutil.copy(tmp_path / "年鉴" / "2018.xlsx", tmp_path / "年鉴" / "copy.xlsx")
    volume(tmp_path / "old" / "2018.xlsx", (2017, 2018), {"北京": (9.9, 10.5)})  # one name, other content
    volume(tmp_path / "nounit.xlsx", (2020,), {"北京": (9.9,)}, "农药使用量", "")
    (tmp_path / "readme.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "~$2018.xlsx").write_bytes(b"x")
    (tmp_path / ".hidden.csv").write_bytes(b"x")
    (tmp_path / "empty.csv").write_bytes(b"")
    book = Yearbook(tmp_path)
    table, catalogue = book.load(), book.catalogue()
    assert rows_of(table, "北京")[:2] == [(2017, 9.9, "old/2018.xlsx", "B4"), (2018, 10.5, "年鉴/2018.xlsx", "B4")]
    outcomes = dict(zip(catalogue["volume"], catalogue["outcome"], strict=True))
    assert outcomes == {
        "empty.csv": "refused",
        "nounit.xlsx": "refused",
        "old/2018.xlsx": "read",
        "readme.pdf": "refused",
        "年鉴/2018.xlsx": "read",
        "年鉴/2019.xlsx": "read",
        "年鉴/copy.xlsx": "twin",
    }
    why = dict(zip(catalogue["volume"], catalogue["why"], strict=True))
    assert why["年鉴/copy.xlsx"] == "it has the same bytes as 年鉴/2018.xlsx"
    assert "PDF" in why["readme.pdf"]
    assert why["nounit.xlsx"].startswith("nounit.xlsx: no unit is found")
    assert str(tmp_path) not in " ".join(why.values())
    assert all(f"{name}:" in table.provenance[0].notes for name in ("empty.csv", "readme.pdf", "nounit.xlsx"))
    pd.testing.assert_frame_equal(table.catalogue, catalogue)
    row = catalogue[catalogue["volume"] == "年鉴/2019.xlsx"].iloc[0]
    assert row[["table", "cells", "years", "indicators", "regions", "level", "units", "values"]].tolist() == [
        "6-2各地区化肥施用量", "6-2!B4:C6", "2019-2020", FERTILISER, 3, "province", "万吨", 6,
    ]  # fmt: skip


def test_a_volume_of_another_level_stays_out_of_the_panel(tmp_path: Path) -> None:
    two(tmp_path)
    volume(tmp_path / "county.xlsx", (2019, 2020), {"奇台县": (1.1, 1.2), "吉木萨尔县": (1.3, 1.4)})
    table = Yearbook(tmp_path, {"fert": FERTILISER}).load()
    assert set(table.frame["region"]) == {"北京", "河北"}
    left = table.unplaced[table.unplaced["file"] == "county.xlsx"]
    assert left["text"].tolist() == ["1.1", "1.2", "1.3", "1.4"]
    assert set(left["why"]) == {"its regions are of the level county, those of most volumes of the level province"}
    assert "county.xlsx: its regions are of the level county" in table.provenance[0].notes
    assert set(Yearbook(tmp_path).load().frame["region"]) == {"北京", "河北", "奇台县", "吉木萨尔县"}


def test_volumes_without_the_indicator_are_named(tmp_path: Path) -> None:
    two(tmp_path)
    volume(tmp_path / "other.xlsx", (2019,), {"北京": (1.1,)}, "化肥施用实物量")
    table = Yearbook(tmp_path, {"fert": FERTILISER}).load()
    assert dict(zip(table.catalogue["volume"], table.catalogue["outcome"], strict=True))["other.xlsx"] == "without"
    error = refused(tmp_path, columns={"fert": "化肥施用总量"})
    assert "none of the 3 files is read" in error.what
    assert FERTILISER in error.remedy


def test_the_year_of_a_volume_may_stand_in_the_name_of_its_folder(tmp_path: Path) -> None:
    for year, number in ((2018, 10.5), (2019, 11.2)):
        (tmp_path / f"{year}年鉴").mkdir()
        page = f"各地区农药使用量\n单位:吨\n地区,农药使用量\n北京,{number}\n天津,3.3\n"
        (tmp_path / f"{year}年鉴" / "6-5.csv").write_text(page, encoding="utf-8")
    table = Yearbook(tmp_path, year="file name").load()
    assert table.frame[["region", "year", "value"]].to_numpy().tolist()[:2] == [
        ["北京", 2018, 10.5],
        ["北京", 2019, 11.2],
    ]
    said = Yearbook(tmp_path).catalogue()["why"]
    assert said.str.contains('year="file name"').all()


def test_what_is_said_of_all_volumes_goes_where_it_is_needed(tmp_path: Path) -> None:
    """The year of the file's name, one unit and a name in volumes that lack them; a setting that none needs is refused."""
    for year, number in ((2018, 10.5), (2019, 11.2)):
        (tmp_path / f"raw-{year}.csv").write_text(
            f"各地区农药使用量\n地区,农药使用量\n北京,{number}\n天津,3.3\n", encoding="utf-8"
        )
    two(tmp_path)
    table = Yearbook(tmp_path, year="file name", units={"农药使用量": "吨"}).load()
    pesticide = table.frame[(table.frame["indicator"] == "农药使用量") & (table.frame["region"] == "北京")]
    assert pesticide[["year", "value", "unit"]].to_numpy().tolist() == [[2018, 10.5, "吨"], [2019, 11.2, "吨"]]
    for settings, named in (
        ({"units": {"农膜使用量": "吨"}}, "units= of '农膜使用量'"),
        ({"region": "昌吉州"}, "region="),
        ({"renamed": {"农膜": FERTILISER}}, "renamed= of '农膜'"),
        ({"splice": {"农膜": "newest"}}, "splice= names indicator '农膜'"),
    ):
        said = {"year": "file name", "units": {"农药使用量": "吨"}, **settings}
        if "units" in settings:
            said["units"] = {"农药使用量": "吨", **settings["units"]}
        assert named in refused(tmp_path, **said).what


def test_paths_are_folders_patterns_and_lists(tmp_path: Path) -> None:
    two(tmp_path)
    whole = Yearbook(tmp_path).load().frame
    pattern = Yearbook(str(tmp_path / "20*.xlsx"))
    listed = Yearbook([tmp_path / "2018.xlsx", str(tmp_path / "2019.xlsx")])
    for one in (pattern, listed):
        pd.testing.assert_frame_equal(one.load().frame, whole)
        assert one.files() == (tmp_path / "2018.xlsx", tmp_path / "2019.xlsx")
    assert hash(listed) == hash(Yearbook((tmp_path / "2018.xlsx", str(tmp_path / "2019.xlsx"))))
    (tmp_path / "none").mkdir()
    assert "holds no file" in refused(tmp_path / "none").what
    assert "no file fits" in refused(str(tmp_path / "*.ods")).what
    for wrong, what in (([], "is empty"), ([tmp_path / "2018.xlsx"] * 2, "listed twice")):
        with pytest.raises(SourceError, match=what):
            Yearbook(wrong).load()
    with pytest.raises(SourceError, match="shows one file"):
        Yearbook(tmp_path).explain()
    for setting in ({"splice": {FERTILISER: "newest"}}, {"renamed": {"a": "b"}}):
        assert "this is one file" in refused(tmp_path / "2018.xlsx", **setting).what
    with pytest.raises(SourceError, match="neither a year nor"):
        Yearbook(tmp_path, splice={FERTILISER: "latest"})


def test_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two(tmp_path)
    for year in range(2000, 2008):
        volume(tmp_path / f"{year}.xlsx", (year,), {"北京": (1.0 * year,)})
    alone = Yearbook(tmp_path).load()
    monkeypatch.setattr(of_volumes, "_FEW", 0)
    monkeypatch.setattr(of_volumes.os, "cpu_count", lambda: 2)
    before = threading.active_count()
    assert Yearbook(tmp_path).load() == alone
    assert threading.active_count() == before  # and none of them stays


# --- panels and studies ---


def test_two_wide_tables_are_two_volumes(tmp_path: Path) -> None:
    two(tmp_path, first=5.5)
    tables = [Yearbook(tmp_path / f"{year}.xlsx", {"fert": FERTILISER}).load() for year in (2018, 2019)]
    assert tables[1].cells["fert"].tolist() == [
        f"2019.xlsx 6-2!{cell}" for cell in ("B4", "C4", "B5", "C5", "B6", "C6")
    ]
    panel = ek.assemble(*tables, unit="region", time="year")
    assert panel.frame["fert"].tolist() == [10.5, 11.2, 12.6, 4.1, 5.5, 6.1, 7.7, 8.3, 8.9]
    assert len(panel.provenance) == 2
    assert [str(note) for note in panel.notes] == [
        "2019.xlsx is a further volume of 2018.xlsx: 3 rows are added; 3 rows are in both and agree to rounding"
    ]


def test_wide_tables_that_disagree_are_refused(tmp_path: Path) -> None:
    two(tmp_path, first=5.2)
    tables = [Yearbook(tmp_path / f"{year}.xlsx", {"fert": FERTILISER}).load() for year in (2018, 2019)]
    with pytest.raises(
        DataError, match=r"'fert' of region 天津 and year 2019 is 5.2 in 2018.xlsx and 5.5 in 2019.xlsx"
    ) as error:
        ek.assemble(*tables, unit="region", time="year")
    assert 'splice={"…": "newest"}' in error.value.remedy
    assert error.value.where == "2019.xlsx, row 6-2!B5"
    other = Yearbook(tmp_path / "2019.xlsx", {"fert": FERTILISER}, convert={FERTILISER: "吨"}).load()
    with pytest.raises(DataError, match=r"in 万吨 in 2018\.xlsx and in 吨"):
        ek.assemble(tables[0], other, unit="region", time="year")


PROVINCES = ("北京", "天津", "河北", "山西", "辽宁", "吉林")
STUDY = """
[[source]]
name = "book"
kind = "Yearbook"
path = PATH
columns = { fert = "化肥施用量" }
keys = ["province", "year"]
splice = { "化肥施用量" = "newest" }
[[source]]
name = "policy"
kind = "Delimited"
path = "policy.csv"
[panel]
sources = ["book", "policy"]
unit = "province"
time = "year"
[design]
outcome = "fert"
adoption = "start"
assigned_at = "province"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
"""


def study(folder: Path, start: int, path: str = '"volumes"') -> Path:
    """Write a study of six provinces in two volumes, of which two provinces were revised in 2014."""
    rng = np.random.default_rng(1)
    names = PROVINCES
    truth = {name: np.round(rng.uniform(50, 90, 12), 2) for name in names}
    old = {name: tuple(map(float, values[:5])) for name, values in truth.items()}
    new = {name: tuple(map(float, values[4:] + 3.0 * (name in names[:2]))) for name, values in truth.items()}
    volume(folder / "volumes" / "2015.xlsx", tuple(range(2010, 2015)), old)
    volume(folder / "volumes" / "2022.xlsx", tuple(range(2014, 2022)), new)
    lines = [f"{name},{start if name in names[1:4] else ''}" for name in names]
    (folder / "policy.csv").write_text("province,start\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "study.toml").write_text(STUDY.replace("PATH", path), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("start", "verdict", "away"), [(2014, "fail", 0), (2016, "fail", 2), (2017, "pass", 3)])
def test_a_splice_near_an_adoption_fails(tmp_path: Path, start: int, verdict: str, away: int) -> None:
    evidence = evaluate_study(read_study(study(tmp_path, start)))
    findings = {one.check: one for on, one in evidence.findings if on == "main"}
    splices = findings["Splices"]
    assert (splices.verdict, splices.statistic, splices.bound) == (verdict, away, 2)
    assert splices.null is not None
    assert splices.table[["region", "year", "adoption"]].to_numpy().tolist() == [
        ["北京", 2014, start],
        ["天津", 2014, start],
    ]
    volumes = findings["Volumes"]
    assert volumes.verdict == "described"
    assert "2 values of 化肥施用量 are printed otherwise in a newer volume" in volumes.summary()
    assert "序列" in splices.summary("zh")


def test_a_splice_is_about_the_estimates_that_use_the_column(tmp_path: Path) -> None:
    home = study(tmp_path, 2014)
    volume(home / "volumes" / "other.xlsx", tuple(range(2010, 2022)), {"北京": tuple(range(12))}, "农药使用量", "吨")
    text = (
        (home / "study.toml")
        .read_text(encoding="utf-8")
        .replace('{ fert = "化肥施用量" }', '{ fert = "化肥施用量", pest = "农药使用量" }')
    )
    text = text.replace("[design]", '[panel.derive]\nlog_fert = { verb = "log", of = "fert" }\n[design]')
    for outcome, expected in (("log_fert", {"Splices", "Volumes"}), ("level", {"Volumes"})):
        changed = text.replace('outcome = "fert"', f'outcome = "{outcome}"')
        changed = changed.replace(
            'name = "policy"', 'name = "levels"\nkind = "Delimited"\npath = "levels.csv"\n[[source]]\nname = "policy"'
        )
        changed = changed.replace('["book", "policy"]', '["book", "levels", "policy"]')
        rows = [f"{name},{year},{i + year % 3}" for i, name in enumerate(PROVINCES) for year in range(2010, 2022)]
        (home / "levels.csv").write_text("province,year,level\n" + "\n".join(rows) + "\n", encoding="utf-8")
        (home / "study.toml").write_text(changed, encoding="utf-8")
        evidence = evaluate_study(read_study(home))
        assert {one.check for _, one in evidence.findings} == expected


@pytest.mark.parametrize("path", ['"volumes/*.xlsx"', '["volumes/2015.xlsx", "volumes/2022.xlsx"]'])
def test_a_study_writes_what_it_found_on_its_volumes(tmp_path: Path, path: str) -> None:
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    home = study(tmp_path / "analyses" / "fert", 2015, path)
    run_study(home)
    processed = tmp_path / "data" / "processed" / "fert"
    found = pd.read_csv(processed / "findings.csv", encoding="utf-8-sig")
    assert found.set_index("check")["verdict"].to_dict() == {"Splices": "fail", "Volumes": "described"}
    assert (processed / "finding_main_Splices.csv").is_file()
    assert len(list((tmp_path / "figures" / "fert").glob("*splices*"))) >= 2


def test_a_study_reads_volumes_of_its_project_only(tmp_path: Path) -> None:
    home = study(tmp_path / "project", 2015)
    (home / "pyproject.toml").write_text("", encoding="utf-8")
    elsewhere = volume(tmp_path / "2023.xlsx", (2022,), {"北京": (99.0,)})
    (home / "volumes" / "2023.xlsx").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=r"2023\.xlsx leaves the project"):
        read_study(home)


def test_a_folder_of_volumes_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It was said to leave the project."""
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="there is no file or folder 'volumen'"):
        read_study(study(tmp_path, 2015, '"volumen"'))
