"""Time and peak memory of LoanLedger on synthetic ledgers, each case in a process of its own: `python benchmarks/ledger.py`.

One million rows as CSV (CPU seconds, peak) and `--rows` as Parquet (10 million by default) beside plain DuckDB group-bys of
the same file. Loans, money and rates are compared with DuckDB's before any time is printed; the exit status is 1 where
they differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = ("csv", "parquet", "plain", "distinct")
COLUMNS = '"证件号码" as unit, year("贷款日期") as year, count(*) as loans, sum("贷款金额(元)") as principal'
PLAIN = f"""select {COLUMNS}, sum("贷款金额(元)" * "合同利率(%)") as weighted,
    count(*) filter ("绿色贷款标识" = '是') as green_loans"""


def make(rows: int, path: Path) -> None:
    """Write a ledger with 200,000 borrowers per million rows; the ids are of no place (990000), with their check digit."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    rng = np.random.default_rng(1)
    size = rows // 5
    born = rng.integers(1950, 2000, size) * 10_000 + rng.integers(1, 13, size) * 100 + rng.integers(1, 29, size)
    places = np.char.mod("99%04d", np.arange(size) // 1000)
    body = np.char.add(np.char.add(places, np.char.mod("%08d", born)), np.char.mod("%03d", np.arange(size) % 1000))
    digits = body.astype("S17").view("u1").reshape(size, 17) - 48
    weights = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
    ids = np.char.add(body, np.array(list("10X98765432"))[(digits @ weights) % 11])
    days = np.datetime64("2018-01-01") + rng.integers(0, 365 * 5, rows)
    uses = np.array(["购买农药", "购买化肥", "购房", "有机肥采购", "购买农机"])
    table = pa.table(
        {
            "借据号": np.char.mod("JJ%012d", rng.permutation(rows)),
            "证件号码": ids[rng.integers(0, size, rows)],
            "贷款日期": pa.array(days.astype("datetime64[D]")),
            "贷款金额(元)": rng.integers(100_000, 30_000_000, rows) / 100,
            "合同利率(%)": np.round(rng.uniform(3, 9, rows), 2),
            "贷款用途": uses[rng.integers(0, 5, rows)],
            "绿色贷款标识": np.array(["是", "否"])[rng.integers(0, 2, rows)],
            "币种": np.full(rows, "CNY"),
            "五级分类": np.full(rows, "正常"),
            "机构号": np.char.mod("%06d", rng.integers(0, 50, rows)),
        }
    )
    if path.suffix == ".csv":
        pc.write_csv(table, path, pc.WriteOptions(quoting_style="none"))
    else:
        pq.write_table(table, path)


def run(case: str, path: Path, key: Path) -> dict[str, float]:
    """Carry out one case in this process; return its seconds, CPU seconds, peak in GB, and sums to be compared."""
    import resource
    import time

    if case in ("csv", "parquet"):
        from evalkit.sources import LoanLedger
    import duckdb

    start, used = time.perf_counter(), time.process_time()
    if case in ("csv", "parquet"):
        frame = LoanLedger(path, unit="证件号码", key_file=key).load().frame
    else:
        more = ', count(distinct "借据号") as numbers' if case == "distinct" else ""
        database = duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(path.parent / "spill")})
        table = database.sql(f"{PLAIN}{more} from read_parquet('{path.as_posix()}') group by all").to_arrow_table()
    took = {"wall": time.perf_counter() - start, "cpu": time.process_time() - used}
    took["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if case in ("csv", "parquet"):
        weighted = float((frame["principal"] * frame["rate"]).sum())
        sums = (
            len(frame),
            int(frame["loans"].sum()),
            float(frame["principal"].sum()),
            weighted,
            int(frame["green_loans"].sum()),
        )
    else:
        import pyarrow.compute as pc

        names = ("loans", "principal", "weighted", "green_loans")
        sums = (table.num_rows, *(pc.sum(table.column(name)).as_py() for name in names))
    return took | dict(zip(("groups", "loans", "principal", "weighted", "green"), map(float, sums), strict=True))


def main() -> None:
    """Make the ledgers, run the cases in turn, compare their sums, and print medians."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--rows", type=int, default=10_000_000)
    reader.add_argument("--rounds", type=int, default=1)
    reader.add_argument("--case", nargs=3, metavar=("CASE", "PATH", "KEY"))
    asked = reader.parse_args()
    if asked.case and asked.case[0].startswith("make "):
        make(int(asked.case[0].split()[1]), Path(asked.case[1]))
        return
    if asked.case:
        print(json.dumps(run(asked.case[0], Path(asked.case[1]), Path(asked.case[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "study.key"
        key.write_text("4f1c7a9be2d05836a7c91e4d2b6f8035", encoding="utf-8")
        files = {"csv": Path(folder) / "data" / "loans.csv", "parquet": Path(folder) / "data" / "loans.parquet"}
        files["csv"].parent.mkdir()
        for kind, rows in (
            ("csv", 1_000_000),
            ("parquet", asked.rows),
        ):  # not in this process, whose peak others start with
            subprocess.run([sys.executable, __file__, "--case", f"make {rows}", str(files[kind]), str(key)], check=True)
        found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
        for _ in range(asked.rounds):
            for case in CASES:
                command = [
                    sys.executable,
                    __file__,
                    "--case",
                    case,
                    str(files["csv" if case == "csv" else "parquet"]),
                    str(key),
                ]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[case].append(json.loads(said.splitlines()[-1]))
    one, other = found["parquet"][0], found["plain"][0]
    differing = [
        name
        for name in ("groups", "loans", "principal", "weighted", "green")
        if abs(one[name] - other[name]) > 1e-9 * abs(other[name])
    ]
    if differing:
        print(f"LoanLedger and DuckDB differ in: {', '.join(differing)}")
        sys.exit(1)
    middle = {
        case: {name: statistics.median(one[name] for one in runs) for name in ("wall", "cpu", "peak")}
        for case, runs in found.items()
    }
    print(f"synthetic ledgers, {asked.rounds} round(s); sums agree with DuckDB's")
    print(
        f"1 million rows CSV:   {middle['csv']['cpu']:.2f} CPU s (target 4), peak {middle['csv']['peak']:.2f} GB (target .4)"
    )
    rows, ours = f"{asked.rows / 1e6:g} million rows Parquet", middle["parquet"]
    print(f"{rows}: {ours['wall']:.1f} s, peak {ours['peak']:.2f} GB (target 2)")
    for case, name in (("plain", "group-by"), ("distinct", "group-by that counts distinct loan numbers, too")):
        ratio = ours["wall"] / middle[case]["wall"]
        print(
            f"  {ratio:.2f} times a plain {name} of DuckDB ({middle[case]['wall']:.1f} s, "
            f"{middle[case]['peak']:.2f} GB; target 3)"
        )


if __name__ == "__main__":
    main()
