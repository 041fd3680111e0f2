"""The wheel: built from the checkout, installed where nothing of the checkout is, it holds its data and sets a paper."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from pypdf import PdfReader

from evalkit.reporting._canvas import font_folder

ROOT = Path(__file__).parents[1]
STUDY = """
[[source]]
name = "farms"
kind = "Delimited"
path = "farms.csv"
[panel]
sources = ["farms"]
unit = "farm"
time = "year"
regions = { county = { level = "county", within = "昌吉州" } }
[design]
outcome = "y"
adoption = "first"
assigned_at = "county"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
"""
PAPER = """#import "evalkit.typ": *
#show: paper-zh.with(title: [农户排放])
效应为 #num(est("main", "ATT").estimate, 6)。
"""
RUN = """
import sys, evalkit
from evalkit.sources.ledger.fields import known_names
assert evalkit.__file__.startswith(sys.argv[1]), evalkit.__file__
assert evalkit.accounting.factor_set("ipcc_2006") and "证件号码" in known_names("id_number")
sys.argv = ["evalkit", "run", sys.argv[2]]
from evalkit.cli import main
main()
"""


def farms() -> pd.DataFrame:
    """12 farms in 4 counties over 4 years, two counties treated from 2013 (synthetic)."""
    farm, year = np.repeat(np.arange(12), 4), np.tile(np.arange(2011, 2015), 12)
    county = np.array(["昌吉市", "阜康市", "玛纳斯县", "奇台县"])[farm % 4]
    y = np.random.default_rng(6).normal(size=len(farm)) + (farm % 4 < 2) * (year > 2012)
    return pd.DataFrame(
        {"farm": farm, "year": year, "county": county, "first": np.where(farm % 4 < 2, "2013", ""), "y": y}
    )


def test_an_installed_wheel_holds_its_data_and_runs_a_study_with_a_paper(tmp_path: Path) -> None:
    python, target, study = [sys.executable, "-m"], tmp_path / "installed", tmp_path / "study"
    subprocess.run(
        [*python, "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    assert wanted - held == set()
    assert {Path(name).suffix for name in wanted} == {".py", ".typed", ".toml", ".csv", ".typ"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)

    install = [
        "uv",
        "pip",
        "install",
        "--offline",
        "--no-deps",
        "--quiet",
        "--python",
        sys.executable,
        "--target",
        str(target),
    ]
    subprocess.run([*python, *install, str(wheel)], check=True, capture_output=True)
    study.mkdir()
    farms().to_csv(study / "farms.csv", index=False)
    (study / "study.toml").write_text(STUDY, encoding="utf-8")
    (study / "paper.typ").write_text(PAPER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(target), str(study)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(study / "data/processed/study/estimates.csv")
    text = "".join("".join(page.extract_text() for page in PdfReader(study / "paper.pdf").pages).split())
    assert "农户排放" in text
    assert f"效应为{table['estimate'][0]:.6f}。" in text.replace("−", "-")


def test_the_fonts_come_with_their_licence() -> None:
    """The one font that is not part of Typst or matplotlib comes with zhplot, under the SIL Open Font License."""
    spec = importlib.util.find_spec("zhplot")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = font_folder()
    assert folder.is_relative_to(spec.submodule_search_locations[0])
    assert sorted(path.name for path in folder.glob("*.ttf")) == ["NotoSansSC-Regular.ttf"]
    assert "SIL OPEN FONT LICENSE Version 1.1" in (folder / "OFL.txt").read_text(encoding="utf-8")
