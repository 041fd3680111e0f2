"""The study's notebook runs from top to bottom in a real kernel, and shows what the study computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]


def test_the_jiangxi_notebook_runs_and_shows_its_exhibits(tmp_path: Path) -> None:
    made = tmp_path / "notebook.ipynb"
    source = ROOT / "analyses/jiangxi_insurance/notebook.py"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "jupytext",
            "--to",
            "notebook",
            "--execute",
            "--run-path",
            str(ROOT),
            "--output",
            str(made),
            str(source),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in nbformat.read(made, as_version=4).cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    shown = "".join(output.get("text", "") + "".join(map(str, output.get("data", {}).values())) for output in outputs)
    assert "0.121081" in shown  # the main estimate, as tests/test_study.py holds it
    assert any("image/png" in output.get("data", {}) for output in outputs)
