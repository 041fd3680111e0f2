"""Tables: the numbers of a run as CSV files whose text no spreadsheet takes for a formula, and its manifest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from evalkit.results.evidence import Desk, Evidence
from evalkit.results.filing import file_inside


def list_tables(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Name the tables of a run: estimates, findings and the numbers behind each, ledger, claims, and reference tables."""
    return {
        "estimates": evidence.estimates_table(),
        "alternatives": evidence.alternatives_table(),
        "findings": evidence.findings_table(),
        "ledger": evidence.ledger_table(),
        "descriptives": evidence.descriptives_table(),
        "claims": evidence.claims_table(),
        **evidence.reference_tables(),
        **evidence.finding_tables(),
    }


@dataclass(frozen=True)
class Tables:
    """Write every table of a run as a CSV file (UTF-8, "." decimals, full precision, empty = missing), and manifest.json.

    What is not shown because it is of single persons, or few, stands in the manifest under "withheld".
    """

    def write(self, evidence: Evidence, desk: Desk) -> tuple[Path, ...]:
        """Write into `processed`."""
        written = []
        for name, table in list_tables(evidence).items():
            path = file_inside(desk.processed, f"{name}.csv")
            write_csv(table, path)
            written.append(path)
        path = desk.processed / "manifest.json"
        withheld = evidence.withheld()
        manifest = {**evidence.manifest, **({"withheld": withheld} if withheld else {})}
        text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
        return (*written, path)


# What a spreadsheet calculates when it opens a file, in half and full width; and what it drops before it looks. The library of
# papers, evalkit.typ, has the same two patterns, to take the mark off again.
_LIVE = re.compile(r"'*(?:\s*[=+\-@＝＋－＠]|[\t\r\n])")
# A sign alone, or a signed number, also with a standard error, stars or a range behind it: -0.12 (0.03) ***; +5 %.
_FIGURES = re.compile(
    r"'*\s*[+\-＋－](?:[0-9]+\.?[0-9]*|\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?\s?[%％]?(?:[\s;；,，][0-9\s.,;:()*%†+\-−–；，：（）％]*)?"
)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table (UTF-8, full precision, empty = missing), with formulas among its texts and headers marked as text.

    A text that a spreadsheet would calculate (it begins with =, +, -, @, a tab or a line break) gets an apostrophe in front. So
    does one that begins with apostrophes before these, so that taking one off gives every text back. Figures written as text
    (-0.12 (0.03) ***) stay, and columns of numbers are not touched. A carriage return, which begins a row in Excel and pandas
    even inside a cell, is written as a line feed.
    """
    marked = table.copy(deep=False)
    for at in range(table.shape[1]):
        if is_text(table.iloc[:, at]):
            cells = table.iloc[:, at].tolist()
            written = [_mark(cell) if isinstance(cell, str) else cell for cell in cells]
            if written != cells:
                marked.isetitem(at, written)
    header = [_mark(str(name)) for name in table.columns]
    marked.to_csv(path, index=False, header=header, encoding="utf-8", lineterminator="\n")


def list_texts(table: pd.DataFrame) -> list[str]:
    """Name the columns that hold text, whatever their texts look like: a county may be called "true" or "2013"."""
    return [str(name) for at, name in enumerate(table.columns) if is_text(table.iloc[:, at])]


def is_text(column: pd.Series) -> bool:
    """Tell whether any value of a column is text."""
    kind = column.dtype.kind if not isinstance(column.dtype, pd.CategoricalDtype) else "O"
    return kind not in "iufcbMm" and any(isinstance(cell, str) for cell in column.tolist())


def _mark(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{lines}" if _LIVE.match(lines) and not _FIGURES.fullmatch(lines) else lines
