"""README and docs: every block runs, prints what stands below it, or is read as the study it shows; names and links exist."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import pytest

import sampling
from biff8 import DEFAULT_PASSWORD, XlsSheet, xls_bytes
from evalkit.claims.claim import judge_claims
from evalkit.cli import app
from evalkit.steps import Settle
from evalkit.study.config import StudyConfig, read_study

ROOT = Path(__file__).parents[1]
PAGES = {
    path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """What stands between fences, in a language or none; what is `shown` in the plain block right below."""

    language: str
    text: str
    shown: str | None = None


def blocks(page: str) -> list[Block]:
    """List the blocks of a page; one that shows what the block above it prints belongs to that."""
    found: list[Block] = []
    end = -1
    for one in FENCE.finditer(PAGES[page]):
        below = one.start() == end + 1 and found and found[-1].language == "python" and not one[1]
        if below:
            found[-1] = Block("python", found[-1].text, one[2])
        else:
            found.append(Block(one[1], one[2]))
        end = one.end()
    return found


def run(page: str, few: Callable[[str], str] = str) -> None:
    """Run the python blocks of a page in order, in the present folder; what each prints is what the page shows.

    `few` makes a block cheaper; what it prints is then not what the page shows.
    """
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.language == "python":
            code = block.text if sampling.exhaustive else few(block.text)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, page, "exec"), names)
            if block.shown is not None and code == block.text:
                assert [line.rstrip() for line in printed.getvalue().splitlines()] == block.shown.splitlines()


# ------------------------------------------------------------------------------------------------------------ the pages


def test_the_notebook_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run("README.md")


def test_how_to_publish_tables() -> None:
    run("how-to-publish-tables.md")


def test_how_to_read_a_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run("how-to-read-a-ledger.md")


def test_how_to_choose_an_estimator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run("how-to-choose-an-estimator.md")


def test_how_to_simulate() -> None:
    """With few worlds by default: the shares that the page shows take a minute."""
    run("how-to-simulate.md", lambda code: re.sub(r"worlds=\d{3}\b", "worlds=4", code))


def test_how_to_account_emissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("county_factors.toml", "farms.csv", "farms.csv.provenance.toml", "prices.csv")
    files = [block.text for block in blocks("how-to-account-emissions.md") if block.language != "python"]
    for name, text in zip(names, files, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copy(tmp_path / "farms.csv", tmp_path / "farms_t.csv")
    monkeypatch.chdir(tmp_path)
    run("how-to-account-emissions.md")


def test_how_to_tie_credit() -> None:
    run("how-to-tie-credit.md")


def test_how_to_settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, study = (block.text for block in blocks("how-to-settle.md") if block.language == "toml")
    (tmp_path / "example.toml").write_text(text, encoding="utf-8")
    (step,) = tomllib.loads(study)["step"]
    assert step.pop("kind") == "Settle"
    assert Settle(**{key: value for key, value in step.items() if key != "name"}).given == {"share_forfeited": 1}
    monkeypatch.chdir(tmp_path)
    run("how-to-settle.md")


def test_how_to_read_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [block.text for block in blocks("how-to-read-a-table.md") if block.language != "python"]
    farms_csv = "farm,year,y\na,2020,1.5\na,2021,不详\nb,2020,2.5\nb,2021,3\n"
    for name, text in zip(("fertiliser.csv", "long.csv", "farms.csv"), [*files, farms_csv], strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run("how-to-read-a-table.md")


def test_how_to_use_large_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run("how-to-use-large-data.md")


@pytest.mark.parametrize("page", ["how-to-join-counties.md", "how-to-join-counties.zh.md"])
def test_how_to_join_counties(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = (block.text for block in blocks(page) if block.language != "python")
    (tmp_path / "counties.csv").write_text(table, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run(page)


COUNTIES = ["昌吉市", "阜康市", "呼图壁县", "玛纳斯县", "奇台县", "吉木萨尔县", "木垒县"]
YEARS = [2019, 2020, 2021, 2022]
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


def test_how_to_read_a_yearbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = xls_bytes({"3-2": gdp(), "6-2": sown(), "6-5": fertiliser()}, DEFAULT_PASSWORD)
    (tmp_path / "yearbook.xls").write_bytes(book)
    sidecar = 'title = "A yearbook invented for docs/how-to-read-a-yearbook.md"\nsynthetic = true\n'
    (tmp_path / "yearbook.xls.provenance.toml").write_text(sidecar, encoding="utf-8")
    layouts = [block.text for block in blocks("how-to-read-a-yearbook.md") if block.language == "toml"]
    for name, layout in zip(("errata.toml", "layout.toml"), layouts, strict=True):
        (tmp_path / name).write_text(layout, encoding="utf-8")
    (tmp_path / "policy.csv").write_text("county,first_year\n昌吉市,2022\n玛纳斯,2022\n", encoding="utf-8")
    farms().save(tmp_path / "farms_2011.xlsx")
    write_volumes(tmp_path / "volumes")
    income = "unit,na_item,geo\\time\t2014 \t2013 \nEUR_HAB,B6N,XA1\t38500 \t38100 p\nMIO_EUR,B6N,XA1\t138500 b\t: c\n"
    (tmp_path / "income.tsv").write_text(income, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run("how-to-read-a-yearbook.md")


def farms() -> openpyxl.Workbook:
    """Return a workbook with a total over its parts, a cell that is no number, and neither a year nor the unit of a share."""
    workbook = openpyxl.Workbook()
    sheet = workbook.worksheets[0]
    sheet.title = "1"
    for row in (
        ["各县市养殖场情况"],
        ["县市", "养殖场(个)", None, None, "规模养殖比重"],
        [None, "总数"],
        [None, None, "猪场", "羊场"],
        ["全州", 60, 33, 27, 41.5],
        ["昌吉市", 26, 15, 11, 48],
        ["阜康市", 20, "1S", 9, 39.2],
        ["呼图壁县", 14, 7, 7, 33],
    ):
        sheet.append(row)
    for ref in ("A2:A4", "B2:D2", "B3:B4", "C3:D3", "E2:E4"):
        sheet.merge_cells(ref)
    return workbook


def write_volumes(folder: Path) -> None:
    """Write three volumes of two years each, of which the last revises 玛纳斯县 in another unit, a copy, and a scan."""
    folder.mkdir()
    for name, title, unit, years, rows in (
        ("2021", "化肥施用量", "吨", (2019, 2020), (("昌吉市", 21456, 21091), ("玛纳斯县", 31025, 30498))),
        ("2022", "农用化肥施用量", "吨", (2020, 2021), (("昌吉市", 21091, 20834), ("玛纳斯县", 30498, 30125))),
        ("2023", "农用化肥施用量", "万吨", (2021, 2022), (("昌吉市", 2.083, 2.038), ("玛纳斯县", 2.811, 2.756))),
    ):
        workbook = openpyxl.Workbook()
        sheet = workbook.worksheets[0]
        sheet.title = "6-5"
        for row in ([f"6-5 各县市{title}"], [f"单位：{unit}"], ["县市", *(f"{year}年" for year in years)], *rows):
            sheet.append(list(row))
        workbook.save(folder / f"{name}.xlsx")
    shutil.copy(folder / "2022.xlsx", folder / "2022_copy.xlsx")
    (folder / "2024.pdf").write_bytes(b"%PDF-1.7")


# ------------------------------------------------------------------------------------------------------------ study files


def source(name: str) -> str:
    return f'[[source]]\nname = "{name}"\nkind = "Delimited"\npath = "data/raw/{name}.csv"\n'


def planned(name: str, estimator: str) -> str:
    return f'[[estimate]]\nname = "{name}"\nestimator = {estimator}\ninference = {{ kind = "Cluster" }}\n'


PANEL = '[panel]\nsources = ["households"]\nunit = "hhno"\ntime = "year"\n'
# What a page leaves out of a study that it shows.
DESIGN = '[design]\noutcome = "log_cei"\nadoption = "pilot_year"\nassigned_at = "county"\n'
COMPLETED = {
    "how-to-use-large-data.md": source("farms") + source("policy") + DESIGN + planned("main", '{ kind = "TwoWayFE" }'),
    "how-to-read-a-ledger.md": '[panel]\nsources = ["loans"]\nunit = "member"\ntime = "year"\n'
    + DESIGN
    + planned("main", '{ kind = "TwoWayFE" }'),
    "how-to-tie-credit.md": source("accounts"),
    "README.md": source("households") + PANEL,
    "how-to-choose-an-estimator.md": source("households") + PANEL,
    "how-to-run-a-study.md": source("farms")
    + source("policy")
    + planned("by_size", '{ kind = "Split", by = "size", estimator = { kind = "TwoWayFE" } }')
    + planned("path", '{ kind = "EventStudy", leads = 3, lags = 2 }'),
}


def study_of(page: str, folder: Path) -> StudyConfig:
    """Read the toml blocks of a page as one study, with what the page leaves out; claims are a file of their own."""
    parts = [block.text for block in blocks(page) if block.language == "toml"]
    study, claims = ([part for part in parts if ("[[claim]]" in part) == wanted] for wanted in (False, True))
    home = folder / "analyses" / "shown"
    home.mkdir(parents=True)
    (folder / "pyproject.toml").write_text("", encoding="utf-8")
    (home / "study.toml").write_text("\n".join([*study, COMPLETED[page]]), encoding="utf-8")
    if claims:
        (home / "claims.toml").write_text("\n".join(claims), encoding="utf-8")
    for path in re.findall(r'^path = "([^"]+)"', (home / "study.toml").read_text(encoding="utf-8"), re.MULTILINE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return read_study(home)


@pytest.mark.parametrize("page", COMPLETED)
def test_the_study_files_that_a_page_shows_can_be_read(page: str, tmp_path: Path) -> None:
    config = study_of(page, tmp_path)
    shown = [block.text for block in blocks(page) if block.language == "toml"]
    assert {*config.estimates} >= {
        name for text in shown for name in re.findall(r'\[\[estimate\]\]\nname = "(\w+)"', text)
    }
    assert len(config.checks) == sum(text.count("[[check]]") for text in shown)


def test_the_claim_of_the_page_is_judged_as_it_says(tmp_path: Path) -> None:
    (judged,) = judge_claims(study_of("how-to-run-a-study.md", tmp_path).claims, {})
    (said,) = re.findall(r"^> (.*)$", PAGES["how-to-run-a-study.md"], re.MULTILINE)
    assert judged.summary("en").splitlines()[0] == said


# ------------------------------------------------------------------------------------------------- commands, names, links


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    tested = {"README.md", *(f"how-to-{name}.md" for name in ("account-emissions", "choose-an-estimator", "simulate"))}
    tested |= {"how-to-read-a-yearbook.md", "how-to-read-a-table.md", "how-to-publish-tables.md"}
    tested |= {"how-to-read-a-ledger.md", "how-to-tie-credit.md", "how-to-settle.md"}
    tested |= {"how-to-join-counties.md", "how-to-join-counties.zh.md", "how-to-use-large-data.md"}
    kinds = {page: {block.language for block in blocks(page)} for page in PAGES}
    assert {page for page, found in kinds.items() if "python" in found} == tested
    assert {page for page, found in kinds.items() if "toml" in found} == {
        *COMPLETED, "how-to-account-emissions.md", "how-to-read-a-yearbook.md", "how-to-settle.md",
    }  # fmt: skip
    assert {page for page, found in kinds.items() if found - {"python", "toml"}} == {
        "README.md", "architecture.md", "how-to-account-emissions.md", "how-to-read-a-table.md",
        "how-to-join-counties.md", "how-to-join-counties.zh.md", "how-to-use-large-data.md",
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = {one.name for one in app.registered_commands}
    code = " ".join(
        [*(block.text for block in blocks(page) if block.language == "sh"), *re.findall(r"`([^`\n]+)`", PAGES[page])]
    )
    assert set(re.findall(r"(?:^|\s)make ([\w-]+)", code)) <= targets
    assert set(re.findall(r"python -m evalkit (\w+)", code)) <= commands


@pytest.mark.parametrize("page", PAGES)
def test_names_and_links_exist(page: str) -> None:
    for name in set(re.findall(r"\bevalkit((?:\.\w+)+)\b(?!\()", PAGES[page])) - {".typ"}:
        path = f"evalkit{name}"
        try:
            importlib.import_module(path)
        except ModuleNotFoundError:
            module, _, last = path.rpartition(".")
            assert hasattr(importlib.import_module(module), last), path
    home = ROOT if page == "README.md" else ROOT / "docs"
    for link in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert link.startswith("http") or (home / link).exists(), link
    for path in re.findall(r"`((?:src|tests|analyses|benchmarks|data/raw|docs)/[\w./-]+)`", PAGES[page]):
        assert (ROOT / path).exists(), path


def test_the_plan_of_the_code_is_that_of_the_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (one["layers"] for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    (plan,) = (block.text for block in blocks("architecture.md"))
    drawn: list[Mapping[str, None]] = []
    for line in plan.splitlines():
        floor, words = line[:2].strip(), line[2:].split(None, 1)
        if floor:
            drawn.append({})
        drawn[-1] = {**drawn[-1], words[0]: None}
    assert [[*one] for one in drawn] == [
        [name.strip().removeprefix("evalkit.") for name in floor.split("|")] for floor in layers
    ]
