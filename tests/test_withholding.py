"""What the results of a study of persons do not show, held against the rows that it was made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.study.running import run_study

STUDY = """
[[source]]
name = "loans"
kind = "Delimited"
path = "data/raw/loans.csv"
pseudonymise = ["borrower"]
key_file = "study.key"
[[source]]
name = "list"
kind = "Delimited"
path = "data/raw/list.csv"
pseudonymise = ["borrower"]
key_file = "study.key"
[[source]]
name = "published"
kind = "Delimited"
path = "data/raw/published.csv"
[panel]
sources = ["loans"]
unit = "borrower"
time = "year"
[design]
outcome = "principal"
adoption = "first"
assigned_at = "LEVEL"
[[estimate]]
name = "main"
estimator = { kind = "TwoWayFE" }
inference = { kind = "Cluster" }
[[check]]
kind = "LeaveOneOut"
on = "main"
"""


def study(root: Path, *, treated: int, level: str = "county") -> pd.DataFrame:
    """A study of 30 borrowers over four years, some of them treated (synthetic); its rows."""
    draw = np.random.default_rng(7)
    who, year = np.repeat(np.arange(30), 4), np.tile(np.arange(2018, 2022), 30)
    names = np.array([f"C{1000 + i}" for i in range(30)])
    county = np.where(who < treated, "a", np.array(["b", "c", "d"])[who % 3])
    county = np.where(who < treated // 2, "e", county)
    rows = pd.DataFrame({"borrower": names[who], "year": year, "county": county,
                         "first": np.where(who < treated, "2020", ""),
                         "principal": draw.lognormal(10, 0.2, 120).round(2)})  # fmt: skip
    for folder in ("data/raw", "analyses/s"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").touch()
    rows.to_csv(root / "data/raw/loans.csv", index=False)
    rows.iloc[:8].to_csv(root / "data/raw/list.csv", index=False)
    pd.DataFrame({"county": ["a"], "loans": [12]}).to_csv(root / "data/raw/published.csv", index=False)
    (root / "study.key").write_text("9f2c41d7be3058a6c4e1d2907fb86a35", encoding="utf-8")
    (root / "analyses/s/study.toml").write_text(STUDY.replace("LEVEL", level), encoding="utf-8")
    run_study(root / "analyses/s")
    return rows


def described(root: Path) -> pd.DataFrame:
    table = pd.read_csv(root / "data/processed/s/descriptives.csv")
    return table[table["variable"] == "principal"].set_index("group")


def withheld(root: Path) -> dict[str, str]:
    manifest = json.loads((root / "data/processed/s/manifest.json").read_text(encoding="utf-8"))
    return {one["table"]: one["reason"] for one in manifest["withheld"]}


def test_groups_of_ten_are_described_and_no_single_loan_is(tmp_path: Path) -> None:
    rows = study(tmp_path, treated=12)
    table = described(tmp_path)
    assert table["n_obs"].tolist() == [120, 48, 72]
    assert table.loc["treated", "mean"] == pytest.approx(rows["principal"][:48].mean(), rel=1e-12)
    assert table[["min", "max"]].isna().all().all()
    assert set(withheld(tmp_path)) == {"descriptives", "list"}


def test_a_group_of_nine_is_not_described_nor_told_by_the_others(tmp_path: Path) -> None:
    study(tmp_path, treated=9)
    table = described(tmp_path)
    assert table["mean"].notna().tolist() == [True, False, False]
    assert table["n_obs"].notna().tolist() == [True, False, False]


def test_no_file_lists_borrowers_or_their_loans(tmp_path: Path) -> None:
    rows = study(tmp_path, treated=12, level="borrower")
    made = [path for folder in ("data/processed/s", "figures/s") for path in sorted((tmp_path / folder).iterdir())]
    texts = {path.name: path.read_text(encoding="utf-8") for path in made if path.suffix in (".csv", ".json", ".svg")}
    assert "list.csv" not in texts
    assert texts["published.csv"] == "county,loans\na,12\n"
    assert texts["finding_main_LeaveOneOut.csv"].count("\n") == 1
    assert not [name for name in texts if "leave_one_out" in name]
    assert set(withheld(tmp_path)) == {"descriptives", "list", "finding_main_LeaveOneOut"}
    extremes = [f"{one}" for one in (rows["principal"].min(), rows["principal"].max())]
    pseudonym = r"\b[0-9a-f]{32}\b"
    for name, text in texts.items():
        assert not any(one in text for one in extremes), name
        assert name == "manifest.json" or not pd.Series([text]).str.contains(pseudonym).any(), name
