"""The page docs/how-to-read-a-yearbook.md: its lines run in order and print what stands below them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from biff8 import DEFAULT_PASSWORD, XlsSheet, xls_bytes

PAGE = Path(__file__).parents[1] / "docs/how-to-read-a-yearbook.md"
COUNTIES = ["昌吉市", "阜康市", "呼图壁县", "玛纳斯县", "奇台县", "吉木萨尔县", "木垒县"]
YEARS = [2019, 2020, 2021, 2022]
BLOCK = re.compile(r"```python\n(.*?)```\n(?:```\n(.*?)```\n)?", re.DOTALL)

# Invented for the page, within the orders of magnitude of a prefecture.
GROWTH = {2019: 1.0, 2020: 1.031, 2021: 1.128, 2022: 1.187}
USE = {2019: 1.0, 2020: 0.983, 2021: 0.971, 2022: 0.952}


def gdp() -> XlsSheet:
    """GDP with its sectors, two rows of header; 奇台县's GDP of 2022 repeats 2021, its sectors do not."""
    rows: list[list] = [["3-2 各县市地区生产总值"], [None] * 16 + ["单位：亿元"], ["县市"], [None]]
    merged = [(2, 3, 0, 0)]
    for i, year in enumerate(YEARS):
        rows[2] += [f"{year}年", None, None, None]
        rows[3] += ["地区生产总值", "#第一产业", "#第二产业", "#第三产业"]
        merged.append((2, 2, 1 + 4 * i, 4 + 4 * i))
    body = []
    for i, name in enumerate(COUNTIES):
        row: list = [name]
        for year in YEARS:
            level = GROWTH[year] * (1 + 0.003 * ((i * 5 + year) % 7))
            sectors = [round(base * level, 2) for base in (12.31 + 3.17 * i, 48.53 - 4.19 * i, 61.87 - 5.23 * i)]
            row += [round(sum(sectors), 2), *sectors]
        body.append(row)
    total = ["全州", *(round(sum(row[column] for row in body), 2) for column in range(1, 17))]
    body[4][13] = body[4][9]
    return XlsSheet([*rows, total, *body, ["注：2022年起含兵团。"]], merged=merged)


def fertiliser() -> XlsSheet:
    """Fertiliser in tonnes, in 万吨 from 2022 on below an unchanged heading; 全州 of 2020 is 900 t too high."""
    body = [
        [name, *(round((21_413 + 3_187 * i) * USE[year] * (1 + 0.002 * ((i * 3 + year) % 5))) for year in YEARS)]
        for i, name in enumerate(COUNTIES)
    ]
    total = ["全州", *(sum(row[column] for row in body) for column in range(1, 5))]
    total[2] += 900
    for row in (total, *body):
        row[4] = round(row[4] / 10_000, 3)
    header = [["6-5 各县市农用化肥施用量"], [None, None, None, "单位：吨"], ["县市", *(f"{year}年" for year in YEARS)]]
    return XlsSheet([*header, total, *body])


def sown() -> XlsSheet:
    body = [
        [name, *(round(31.27 + 6.13 * i + 0.21 * (year - 2019), 2) for year in YEARS)]
        for i, name in enumerate(COUNTIES)
    ]
    header = [
        ["6-2 各县市农作物播种面积"],
        [None, None, None, "单位：千公顷"],
        ["县市", *(f"{year}年" for year in YEARS)],
    ]
    return XlsSheet([*header, *body])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    book = xls_bytes({"3-2": gdp(), "6-2": sown(), "6-5": fertiliser()}, DEFAULT_PASSWORD)
    (tmp_path / "yearbook.xls").write_bytes(book)
    sidecar = 'title = "A yearbook invented for docs/how-to-read-a-yearbook.md"\nsynthetic = true\n'
    (tmp_path / "yearbook.xls.provenance.toml").write_text(sidecar, encoding="utf-8")
    layout = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert layout is not None
    (tmp_path / "layout.toml").write_text(layout[1], encoding="utf-8")
    (tmp_path / "policy.csv").write_text("county,first_year\n昌吉市,2022\n玛纳斯,2022\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_lines_of_the_page_print_what_it_shows() -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert [line.rstrip() for line in printed.getvalue().splitlines()] == shown.splitlines()
