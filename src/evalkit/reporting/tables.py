"""Tables: the numbers of a run as CSV files, and its manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from evalkit.reporting.csv_files import write_csv
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
        **{name: table.frame for name, table in evidence.references.items()},
        **evidence.finding_tables(),
    }


@dataclass(frozen=True)
class Tables:
    """Write every table of a run as a CSV file (UTF-8, "." decimals, full precision, empty = missing), and manifest.json."""

    def write(self, evidence: Evidence, desk: Desk) -> tuple[Path, ...]:
        """Write into `processed`."""
        written = []
        for name, table in list_tables(evidence).items():
            path = file_inside(desk.processed, f"{name}.csv")
            write_csv(table, path)
            written.append(path)
        path = desk.processed / "manifest.json"
        text = json.dumps(evidence.manifest, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
        return (*written, path)
