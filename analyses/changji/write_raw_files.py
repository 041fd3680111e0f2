"""Write the synthetic worlds as the raw files that an office would hand over (`make world`).

For each world a folder of data/raw/ with a county yearbook, a farm survey, a bank's ledger of loans, the policy, and the
truth that was put in; each file with a sidecar that says it is synthetic. The same seed gives the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import world as worlds
from numpy.typing import NDArray
from openpyxl import Workbook
from openpyxl.styles import Alignment, Border, Font, Side
from openpyxl.worksheet.worksheet import Worksheet

from evalkit import Panel, World, simulate
from evalkit.accounting import factor_set

ROOT = Path(__file__).resolve().parents[2]
SEED = worlds.SEED
YEARS = worlds.PERIODS
CODES = {
    "昌吉市": 652301, "阜康市": 652302, "呼图壁县": 652323, "玛纳斯县": 652324, "奇台县": 652325, "吉木萨尔县": 652327,
    "木垒哈萨克自治县": 652328, "塔城市": 654201, "乌苏市": 654202, "额敏县": 654221, "沙湾市": 654203, "托里县": 654224,
    "裕民县": 654225, "和布克赛尔蒙古自治县": 654226, "博乐市": 652701, "精河县": 652722, "温泉县": 652723, "石河子市": 659001,
}  # fmt: skip

# Xinjiang 2023, carbon per sown hectare of each input (kg per ha times kg C per kg of the literature set): shares of emissions.
PER_HA = {"fertiliser": 362, "pesticide": 2.8, "film": 46, "diesel": 131}
OUTPUT_PER_MU = 3900.0  # yuan; crop output of Xinjiang per sown mu
DIESEL_DENSITY = 0.84  # kg per litre
NITROGEN_SHARE = 0.45
INCOME_EFFECT = -0.10  # of log rural income on log intensity, beside the policy

# Chance of monitoring equipment and of a loan for smart agriculture in a year: as printed for the pilots after the start
# (65 and 32 %; 2.3 times as likely), and the same low base elsewhere and before.
EQUIPMENT = {"base": 0.05, "large": 0.65, "small": 0.32}
SMART_LOAN = {"base": 0.02, "large": 0.23, "small": 0.10}
Floats = NDArray[np.float64]


def stream(name: str) -> np.random.Generator:
    """Return random numbers of one purpose, so that adding a column moves no other."""
    return np.random.default_rng(np.random.SeedSequence([SEED, crc32(name.encode())]))


def make_farms(world: World, counties: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Farms by year with their activity data, and by row the effect put in."""
    panel: Panel = simulate(world, seed=SEED)
    f = panel.frame.reset_index(drop=True)
    number = f.groupby("place")["unit"].transform(lambda units: pd.factorize(units, sort=True)[0] + 1)
    f["farm"] = f["place"].map(CODES).astype(str) + "-" + number.astype(str).str.zfill(3)
    f = f.sort_values(["farm", "period"], ignore_index=True)
    f = f.merge(counties, left_on=["place", "period"], right_on=["county", "year"], how="left", validate="many_to_one")
    large = (f["subgroup"] == "large").to_numpy()

    def per_farm(name: str, draw: str, *arguments: float) -> Floats:
        drawn: Floats = getattr(stream(name), draw)(*arguments, size=f["farm"].nunique())
        return drawn[pd.factorize(f["farm"])[0]]

    size = per_farm("area", "random")
    area = np.where(large, 50 + 250 * size**2.5, 12 + 37.9 * size).round(1)
    sown = (area * stream("sown").uniform(0.93, 1.0, len(f))).round(1)
    irrigated = (sown * per_farm("irrigated", "uniform", 0.7, 1.0)).round(1)
    real = (
        OUTPUT_PER_MU * sown * np.exp(per_farm("yield", "normal", 0.0, 0.25) + stream("harvest").normal(0, 0.1, len(f)))
    )
    log_income = np.log(f["rural_income"]) - np.log(f.groupby("period")["rural_income"].transform("mean"))
    log_cei = f["outcome"].to_numpy() + INCOME_EFFECT * log_income.to_numpy()

    def activity(log_intensity: Floats) -> dict[str, Floats]:
        """Spread emissions over inputs so that the literature set gives back this intensity."""
        fixed = sown * rate("literature", "sown_area", "mu") + irrigated * rate("literature", "irrigated_area", "mu")
        rest = np.exp(log_intensity) * real - fixed
        shares = {
            name: kg * rate("literature", name, "kg")
            * np.exp(per_farm(f"share {name}", "normal", 0.0, 0.15) + stream(name).normal(0, 0.10, len(f)))
            for name, kg in PER_HA.items()
        }  # fmt: skip
        total = sum(shares.values())
        used = {name: rest * share / total / rate("literature", name, "kg") for name, share in shares.items()}
        used["diesel"] = used["diesel"] / DIESEL_DENSITY
        return used

    used = activity(log_cei)
    base = np.where((f["effect"] != 0).to_numpy(), 1, 0)
    equipped = per_farm("equipment", "random") < np.where(
        base == 1, np.where(large, EQUIPMENT["large"], EQUIPMENT["small"]), EQUIPMENT["base"]
    )
    farms = pd.DataFrame(
        {
            "farm": f["farm"],
            "year": f["period"],
            "county": f["place"],
            "weight": f["weight"].round(6),
            "area_mu": area,
            "sown_area": sown,
            "irrigated_area": irrigated,
            "fertiliser": used["fertiliser"].round(1),
            "fertiliser_n": (used["fertiliser"] * per_farm("nitrogen", "normal", NITROGEN_SHARE, 0.03)).round(1),
            "pesticide": used["pesticide"].round(2),
            "film": used["film"].round(1),
            "diesel": used["diesel"].round(1),
            "output": (real * f["price_level"]).round(0).astype(np.int64),
            "equipment": equipped.astype(np.int64),
        }
    )
    without = activity(log_cei - f["effect"].to_numpy())
    rows = pd.DataFrame(
        {
            "treated": f["effect"] != 0,
            "subgroup": f["subgroup"],
            "weight": f["weight"],
            "year": f["period"],
            "literature": f["effect"],
            "changji_2022": _change(
                used,
                without,
                {name: rate("changji_2022", name, unit) for name, unit in (("fertiliser", "kg"), ("diesel", "L"))},
            ),
            "ipcc_2006": _change(
                used,
                without,
                {
                    "fertiliser": NITROGEN_SHARE * rate("ipcc_2006", "fertiliser_n", "kg"),
                    "diesel": rate("ipcc_2006", "diesel", "L"),
                },
            ),
        }
    )
    return farms, rows


def rate(factors: str, source: str, unit: str) -> float:
    """Emissions in kg of CO2e per unit of a source, by a factor set."""
    sets = ("literature", "literature_irrigation_recalled") if factors == "literature" else (factors,)
    return factor_set(*sets).rate(source, unit, where="write_raw_files")


def _change(used: dict[str, Floats], without: dict[str, Floats], kg_co2: dict[str, float]) -> Floats:
    now, then = (sum(kg * inputs[name] for name, kg in kg_co2.items()) for inputs in (used, without))
    return np.log(now) - np.log(then)


def make_truth(rows: pd.DataFrame) -> pd.DataFrame:
    """The true effects, under the names that estimates have in the study."""
    treated = rows[rows["treated"]]

    def mean(of: pd.DataFrame, column: str = "literature") -> float:
        return float(np.average(of[column], weights=of["weight"]))

    large, small = (treated[treated["subgroup"] == name] for name in ("large", "small"))
    found = {
        ("main", "ATT"): mean(treated),
        ("by_size", "ATT [area_mu<50]"): mean(small),
        ("by_size", "ATT [area_mu>=50]"): mean(large),
        ("by_size", "ATT [area_mu>=50] - ATT [area_mu<50]"): mean(large) - mean(small),
        **{("path", f"ATT(e={e})"): mean(treated[treated["year"] == worlds.ADOPTION + e]) for e in range(3)},
        ("factors_changji", "ATT"): mean(treated, "changji_2022"),
        ("factors_ipcc", "ATT"): mean(treated, "ipcc_2006"),
        **{
            (name, f"ATT [area_mu{sign}50]"): chance[size] - chance["base"]
            for name, chance in (("finance", SMART_LOAN), ("equipment", EQUIPMENT))
            for size, sign in (("small", "<"), ("large", ">="))
        },
        **{
            (name, "ATT [area_mu>=50] - ATT [area_mu<50]"): chance["large"] - chance["small"]
            for name, chance in (("finance", SMART_LOAN), ("equipment", EQUIPMENT))
        },
    }
    return pd.DataFrame(
        [(*key, value) for key, value in found.items()], columns=["specification", "term", "truth"]
    ).round(6)


def make_counties(world: World) -> pd.DataFrame:
    """County-level yearbook series: income, price index and level, areas."""
    rng = stream("counties")
    rows = []
    for place in world.places:
        level, income = 1.0, 17000 * float(np.exp(rng.normal(0, 0.12)))
        sown = float(rng.uniform(30, 120))
        for year in YEARS:
            index = round(float(rng.normal(103.0, 1.5)), 1)
            level = 1.0 if year == YEARS[0] else level * index / 100
            income *= float(np.exp(rng.normal(0.07, 0.02)))
            rows.append(
                {
                    "county": place.name,
                    "prefecture": place.above,
                    "year": year,
                    "rural_income": round(income),
                    "price_index": index,
                    "price_level": level,
                    "sown": round(sown * float(rng.uniform(0.97, 1.03)), 2),
                    "irrigated": round(sown * float(rng.uniform(0.80, 0.92)), 2),
                }
            )
    return pd.DataFrame(rows)


def make_loans(farms: pd.DataFrame, pilots: set[str]) -> pd.DataFrame:
    """A bank's ledger: ordinary farm loans, loans for smart agriculture, and loans to borrowers outside the survey."""
    rng = stream("loans")
    large = farms["area_mu"].to_numpy() >= 50
    after = farms["county"].isin(pilots).to_numpy() & (farms["year"] >= worlds.ADOPTION).to_numpy()
    chance = np.where(after, np.where(large, SMART_LOAN["large"], SMART_LOAN["small"]), SMART_LOAN["base"])
    owner = pd.factorize(farms["farm"])[0]
    drawn = farms.assign(农户编号=farms["farm"], borrower=owner)[["农户编号", "year", "borrower"]]
    ordinary = drawn[rng.random(len(farms)) < 0.22].assign(贷款用途="农业生产经营", 是否绿色贷款="否")
    smart = drawn[rng.random(len(farms)) < chance].assign(贷款用途="智慧农业设备（光伏提灌）", 是否绿色贷款="是")
    others = pd.DataFrame({"year": rng.choice(YEARS, 150), "borrower": owner.max() + 1 + np.arange(150)})
    others = others.assign(农户编号="", 贷款用途="农村商业", 是否绿色贷款="否")
    loans = pd.concat([ordinary, smart, others], ignore_index=True)
    n = len(loans)
    days = rng.integers(0, 365, n)
    start = [date(int(year), 1, 1) + timedelta(days=int(day)) for year, day in zip(loans["year"], days, strict=True)]
    months = rng.choice([12, 24, 36], n)
    amount = np.where(loans["是否绿色贷款"] == "是", rng.uniform(8, 60, n), rng.uniform(3, 20, n)).round(1)
    rate = (np.where(loans["是否绿色贷款"] == "是", 3.95, 4.35) + rng.normal(0, 0.15, n)).round(2)
    table = pd.DataFrame(
        {
            "借据号": "",
            "客户号": [f"C{number:06d}" for number in loans["borrower"]],
            "户名": [f"合成农户{number:05d}" for number in loans["borrower"]],
            "证件号码": [_citizen_id(int(number)) for number in loans["borrower"]],
            "农户编号": loans["农户编号"],
            "放款日期": [day.strftime("%Y%m%d") for day in start],
            "到期日期": [
                (day + timedelta(days=int(30.4 * m))).strftime("%Y%m%d") for day, m in zip(start, months, strict=True)
            ],
            "贷款金额(万元)": amount,
            "年利率(%)": rate,
            "贷款用途": loans["贷款用途"],
            "是否绿色贷款": loans["是否绿色贷款"],
            "币种": "CNY",
        }
    )
    table = table.sort_values(["放款日期", "客户号", "贷款用途"], ignore_index=True)
    table["借据号"] = [f"JJ{table['放款日期'][i]}{i + 1:05d}" for i in range(n)]
    return table


def _citizen_id(number: int) -> str:
    """An 18-digit number with a valid check digit (GB 11643) in an area, 990000, where nobody can be registered."""
    body = f"990000{1950 + number % 50:04d}0101{number % 1000:03d}"
    total = sum(int(digit) * 2 ** (17 - i) for i, digit in enumerate(body))
    return body + "10X98765432"[total % 11]


# --------------------------------------------------------------------------------------------------------- the yearbook

THIN, THICK = Side(style="thin"), Side(style="medium")


def write_yearbook(path: Path, counties: pd.DataFrame) -> None:
    """A workbook as a prefecture's office prints it: contents, then one table a sheet."""
    book = Workbook()
    contents = book.active
    contents.title = "目录"
    contents["A1"] = "县市统计年鉴 2025（合成数据，仅供方法演示）"
    _by_year(
        book, "4-2", "各县市农村居民人均可支配收入", "单位：元", counties, "rural_income", ["注：本表为合成数据。"]
    )
    _by_year(
        book, "9-3", "各县市农产品生产者价格指数", "(上年=100)", counties, "price_index",
        ["注：1.本表为合成数据。", "   2.各县市指数按同一口径编制。"],
    )  # fmt: skip
    _areas(book, counties)
    listed = {"4-2": "农村居民人均可支配收入", "6-7": "播种面积和灌溉面积", "9-3": "农产品生产者价格指数"}
    for row, (sheet, title) in enumerate(listed.items(), 3):
        contents.cell(row, 1, f"{sheet}  各县市{title}")
    book.properties.created = book.properties.modified = datetime(2025, 11, 1)
    held = io.BytesIO()
    book.save(held)
    _zip_again(held, path)


def _zip_again(held: io.BytesIO, path: Path) -> None:
    """Write a workbook's parts with one fixed date, so that the same content has the same bytes."""
    with zipfile.ZipFile(held) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":  # openpyxl stamps the time of saving
                start, end = content.index(b"<dcterms:modified"), content.index(b"</dcterms:modified>")
                stamp = content[content.index(b">", start) + 1 : end]
                content = content.replace(stamp, b"2025-11-01T00:00:00Z")
            new.writestr(zipfile.ZipInfo(name, (2025, 11, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def _head(sheet: Worksheet, number: str, title: str, caption: str, width: int) -> None:
    sheet["A1"] = f"{number} {title}"
    sheet["A1"].font = Font(size=14)
    sheet["A1"].alignment = Alignment(horizontal="center")
    sheet.merge_cells(start_row=1, start_column=1, end_row=1, end_column=width)
    sheet.cell(2, width, caption).alignment = Alignment(horizontal="right")
    sheet.column_dimensions["A"].width = 24


def _names(counties: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(counties["county"]))


def _spaced(name: str) -> str:
    """Two- and three-character names are printed with blanks between, to fill the column."""
    return "  ".join(name) if len(name) <= 3 else name


def _by_year(
    book: Workbook, number: str, title: str, caption: str, counties: pd.DataFrame, column: str, notes: list[str]
) -> None:
    sheet = book.create_sheet(number)
    _head(sheet, number, title, caption, 2 + len(YEARS))
    for at, word in enumerate(["县 市", "行政区划代码", *(f"{year}年" for year in YEARS)], 1):
        sheet.cell(3, at, word).border = Border(top=THICK, bottom=THIN)
    table = counties.pivot(index="county", columns="year", values=column)
    for row, name in enumerate(_names(counties), 4):
        sheet.cell(row, 1, _spaced(name))
        sheet.cell(row, 2, str(CODES[name]))
        for at, year in enumerate(YEARS, 3):
            sheet.cell(row, at, float(table.loc[name, year]))
    _foot(sheet, notes)


def _areas(book: Workbook, counties: pd.DataFrame) -> None:
    sheet = book.create_sheet("6-7")
    shown = YEARS[-3:]
    _head(sheet, "6-7", "各县市农作物播种面积和有效灌溉面积", "单位：千公顷", 1 + 2 * len(shown))
    sheet["A3"] = "县 市"
    sheet.merge_cells("A3:A4")
    for i, (column, word) in enumerate((("sown", "农作物播种面积"), ("irrigated", "有效灌溉面积"))):
        first = 2 + i * len(shown)
        sheet.cell(3, first, word).alignment = Alignment(horizontal="center")
        sheet.merge_cells(start_row=3, start_column=first, end_row=3, end_column=first + len(shown) - 1)
        table = counties.pivot(index="county", columns="year", values=column)
        for at, year in enumerate(shown, first):
            sheet.cell(4, at, f"{year}年")
            for row, name in enumerate(_names(counties), 5):
                sheet.cell(row, 1, _spaced(name))
                sheet.cell(row, at, float(table.loc[name, year]))
    _foot(sheet, ["注：本表为合成数据；播种面积含复种。"])


def _foot(sheet: Worksheet, notes: list[str]) -> None:
    for row, note in enumerate(notes, sheet.max_row + 1):
        sheet.cell(row, 1, note)


# ------------------------------------------------------------------------------------------------------------- the folder


def write_world(world: World, folder: Path, title: str) -> None:
    """Write all files of one world."""
    folder.mkdir(parents=True, exist_ok=True)
    counties = make_counties(world)
    farms, rows = make_farms(world, counties)
    pilots = {place.name for place in world.places if place.adoption is not None}
    policy = counties[["county", "prefecture"]].drop_duplicates(ignore_index=True)
    policy["pilot_year"] = (
        policy["county"].map(lambda name: worlds.ADOPTION if name in pilots else None).astype("Int64")
    )
    write_yearbook(folder / "county_yearbook.xlsx", counties)
    tables = {"farms": farms, "loans": make_loans(farms, pilots), "policy": policy, "truth": make_truth(rows)}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, encoding="utf-8", lineterminator="\n")
    units = {
        "area_mu": "mu", "sown_area": "mu", "irrigated_area": "mu", "fertiliser": "kg", "fertiliser_n": "kg",
        "pesticide": "kg", "film": "kg", "diesel": "L", "output": "yuan", "equipment": "0/1",
    }  # fmt: skip
    about = {
        "farms.csv": ("farm survey", units),
        "loans.csv": ("ledger of loans", {}),
        "policy.csv": ("first year of the carbon account by county", {}),
        "county_yearbook.xlsx": ("county yearbook", {}),
        "truth.csv": ("true effects", {}),
    }
    for name, (what, of) in about.items():
        _write_sidecar(folder / name, f"Synthetic {what}, {title}", of)


def _write_sidecar(path: Path, title: str, units: dict[str, str]) -> None:
    lines = [
        f'title = "{title}"',
        'publisher = "evalkit, analyses/changji/write_raw_files.py"',
        f'vintage = "seed {SEED}"',
        'licence = "MIT"',
        'notes = "Synthetic: drawn at random with known effects. No farm, borrower or county is described."',
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"',
        "synthetic = true",
    ]
    if units:
        lines += ["", "[units]", *(f"{column} = {json.dumps(unit)}" for column, unit in units.items())]
    path.with_name(path.name + ".provenance.toml").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def main(root: Path = ROOT) -> None:
    """Write both worlds."""
    raw = root / "data" / "raw"
    write_world(worlds.changji(), raw / "changji_synthetic", "seven pilots of Changji")
    write_world(worlds.three_pilots(), raw / "changji_three_pilots_synthetic", "three pilots inside Changji")


if __name__ == "__main__":
    main()
