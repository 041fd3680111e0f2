"""CONTRIBUTING.md is real: its templates, added to a copy of evalkit, pass the batteries and run through a study to the end."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

PROJECT = Path(__file__).parents[1]
BLOCK = re.compile(r"^`(?P<path>[\w/.]+)`(?P<add> \+)?\n```\w+\n(?P<text>.*?)^```$", re.M | re.S)
FAMILIES = ("sources", "steps", "estimators", "inference", "checks", "claims", "reporting")


@dataclass(frozen=True)
class Block:
    """A block of CONTRIBUTING.md: the file that it makes or, if `added`, is added to."""

    path: str
    added: bool
    text: str


BLOCKS = tuple(
    Block(one["path"], one["add"] is not None, one["text"])
    for one in BLOCK.finditer((PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
)


def follow(block: Block, root: Path) -> None:
    """Do what a reader would."""
    path = root / block.path
    if not block.added:
        assert not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    if path.name == "__init__.py":
        imports, rest = text.split("\n\n__all__", 1)
        path.write_text(f"{imports}\n{block.text}\n__all__{rest}", encoding="utf-8")
    else:
        path.write_text(f"{text}{block.text}", encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with every template added; what no template touches is the project's own."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("src", "tests"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "docs", "README.md", "analyses/changji", "pyproject.toml"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(PROJECT / name)
    for block in BLOCKS:
        follow(block, root)
    return root


def run(root: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd or root,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def kinds() -> Iterator[str]:
    """Names of the members that the templates export."""
    for block in BLOCKS:
        if block.added and block.path.endswith("__init__.py"):
            yield block.text.split(" as ")[1].strip()


def test_there_is_one_template_for_each_family_and_it_touches_no_more_than_it_says() -> None:
    exported = [block.path.split("/")[2] for block in BLOCKS if block.added and block.path.endswith("__init__.py")]
    assert exported == list(FAMILIES)
    files = [block.path.split("/")[2] for block in BLOCKS if not block.added and block.path.startswith("src/")]
    assert files == list(FAMILIES)
    for block in BLOCKS:
        if block.added:
            own = block.path.endswith(("__init__.py", "tests/examples.py")) or block.path.startswith(
                "src/evalkit/catalogue/"
            )
            assert own, block.path
        if block.added and block.path.endswith(".py"):
            assert len(block.text.splitlines()) == 1


def test_the_members_of_the_templates_pass_the_batteries(copy: Path) -> None:
    # The new estimator under one inference of each sort, the new inference with one estimator: the rest of the grid is not new.
    paired = {"TwoPhases": "TwoPhases and Cluster", "PlainCluster": "PlainCluster and TwoWayFE"}
    named = " or ".join(f"({paired.get(kind, kind)})" for kind in kinds())
    done = run(
        copy, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "-k", f"{named} or test_every_export",
        "tests/test_members.py", "tests/test_conformance.py",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    passed = [line for line in done.stdout.splitlines() if "PASSED" in line]
    assert not [kind for kind in kinds() if not any(kind in line for line in passed)]


def test_the_templates_keep_the_rules_of_the_house(copy: Path) -> None:
    rules = (
        "crowded or defined_twice or underscore or floor or import_one_another or every_key or entry_is_used or broad"
    )
    done = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", rules, "tests/test_architecture.py")
    assert done.returncode == 0, done.stdout[-3000:]
    paths = [block.path for block in BLOCKS if not block.added and block.path.endswith(".py")]
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = run(copy, "-m", *tool, *paths)
        assert done.returncode == 0, done.stdout
    for path in paths:
        assert ast.get_docstring(ast.parse((copy / path).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def study(copy: Path) -> Path:
    """A project with the template's study: 8 counties of two farms over 7 years, two of them treated."""
    root = copy / "project"
    shutil.copytree(copy / "analyses" / "template", root / "analyses" / "template")
    (root / "pyproject.toml").write_text('[project]\nname = "office"\n', encoding="utf-8")
    rows = [
        {"county": f"c{county}", "farm": farm, "year": year, "first": 2018 if county < 3 else 0,
         "output": county + 0.1 * farm + year % 3 + (county * year) % 7 - 2.0 * (county < 3 and year >= 2018)}
        for county in range(8) for farm in range(2) for year in range(2014, 2021)
    ]  # fmt: skip
    home = root / "analyses" / "template"
    (home / "farms.json").write_text(json.dumps(rows), encoding="utf-8")
    (home / "events.csv").write_text("period,event\n2016,drought\n", encoding="utf-8")
    return root


def test_the_templates_run_through_a_study_to_figures_and_tables_in_both_languages(copy: Path, study: Path) -> None:
    done = run(copy, "-m", "evalkit", "run", "analyses/template", "--language", "zh", cwd=study)
    assert done.returncode == 0, done.stderr
    assert "逐一剔除各时期后，效应在" in done.stdout
    processed, figures = study / "data/processed/template", study / "figures/template"
    estimates = pd.read_csv(processed / "estimates.csv")
    assert estimates["estimator"].unique().tolist() == ["TwoPhases()"]
    assert estimates["inference"].unique().tolist() == ["PlainCluster()"]
    assert np_close(estimates, processed)
    left_out = pd.read_csv(figures / "main_leave_period_out.csv")["left_out"].tolist()
    assert "2016 drought" in left_out  # the second table, named in the study
    for language, verdict in (("en", "2.5; 3 is printed"), ("zh", "2.5；印刷值为 3")):
        assert verdict in (processed / f"sentences_{language}.md").read_text(encoding="utf-8")
        for ending in ("png", "svg"):
            assert (figures / f"main_leave_period_out_{language}.{ending}").stat().st_size > 5000
    claims = pd.read_csv(processed / "claims.csv")
    assert claims["verdict"].tolist() == ["contradicted"]
    listed = run(copy, "-m", "evalkit", "list").stdout
    assert not [kind for kind in kinds() if f"  {kind}(" not in listed]


def np_close(estimates: pd.DataFrame, processed: Path) -> bool:
    """Two phases on a balanced panel of one cohort: differences of means, by hand from the raw rows."""
    farms = pd.DataFrame(
        json.loads((processed.parents[2] / "analyses/template/farms.json").read_text(encoding="utf-8"))
    )
    county = farms.groupby(["county", "first", "year"])["output"].sum().reset_index()
    change = county.pivot_table(index="county", columns="year", values="output")
    treated = county.groupby("county")["first"].first() > 0
    before = change[range(2014, 2018)].mean(axis=1)
    by_hand = [
        float((gain := change[list(years)].mean(axis=1) - before)[treated].mean() - gain[~treated].mean())
        for years in ((2018,), (2019, 2020))
    ]
    return estimates["estimate"].round(9).tolist() == [round(one, 9) for one in by_hand]
