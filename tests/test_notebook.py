"""The studies' notebooks run from top to bottom in a real kernel, and show what the study computed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
TRUTH = pd.read_csv(ROOT / "data/raw/changji_synthetic/truth.csv")["truth"]
MARKS = ("(Synthetic data)", "（合成数据）")
EXPECTED = {
    "jiangxi_insurance": ["0.121081"],  # the main estimate, as tests/test_study.py holds it
    # The effects that were put in, and the t ratio of the printed -.123 (.025).
    "changji": [*(f"{value:.6f}" for value in TRUTH), "t = -4.92"],
}


def told(text: str | list[str]) -> str:
    """What a notebook file holds in lines."""
    return text if isinstance(text, str) else "".join(text)


# What the notebook of Changji shows, tests/test_changji.py holds as well; in a kernel of its own it takes half a minute.
STUDIES = ["jiangxi_insurance", pytest.param("changji", marks=pytest.mark.exhaustive)]


@pytest.mark.parametrize("study", STUDIES)
def test_a_notebook_runs_and_shows_its_exhibits(study: str, tmp_path: Path) -> None:
    made = tmp_path / "notebook.ipynb"
    source = ROOT / "analyses" / study / "notebook.py"
    options = ["--to", "notebook", "--execute", "--run-path", str(ROOT), "--output", str(made)]
    done = subprocess.run(
        [sys.executable, "-m", "jupytext", *options, str(source)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads(made.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    shown = "".join(
        told(output.get("text", "")) + "".join(map(told, output.get("data", {}).values())) for output in outputs
    )
    assert [figure for figure in EXPECTED[study] if figure not in shown] == []
    axes = [output for output in outputs if told(output.get("data", {}).get("text/plain", "")).startswith("<Axes")]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == len(axes) > 1  # each figure that is drawn is seen
    marked = [any(mark in told(axis["data"]["text/plain"]) for mark in MARKS) for axis in axes]
    assert set(marked) == {study == "changji"}  # synthetic data are declared on every figure, and no others
