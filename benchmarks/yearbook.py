"""How long it takes to read a workbook of 150 sheets, and its peak memory. Synthetic: 37 counties by 11 indicators a sheet."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import openpyxl
from panels import peak_memory

from evalkit.sources import Yearbook

SHEETS, COUNTIES, INDICATORS = 150, 37, 11


def write(path: Path) -> None:
    """Write the workbook: a title with the year, a unit, one row of names of indicators on each sheet."""
    rng = np.random.default_rng(1)
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for i in range(SHEETS):
        number = f"{i // 30 + 1}-{i % 30 + 1}"
        sheet = book.create_sheet(number)
        sheet.append([f"{number} 各县市农业指标（2019年）"])
        sheet.append([None, "单位：吨"])
        sheet.append(["地区", *(f"作物{i}之{j}" for j in range(INDICATORS))])
        for county in range(COUNTIES):
            sheet.append([f"第{county}县", *rng.uniform(0, 1000, INDICATORS).round(2)])
    book.save(path)


def main() -> None:
    """Write the workbook and time its reading, the audit with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.xlsx"
        write(path)
        start = time.process_time()
        rows = len(Yearbook(path).load().frame)
        print(f"{SHEETS} sheets, {rows:,} values: {time.process_time() - start:.1f} s of processor time")
        print(f"peak memory of the process {1000 * peak_memory():.0f} MB")  # nan on Windows


if __name__ == "__main__":
    main()
