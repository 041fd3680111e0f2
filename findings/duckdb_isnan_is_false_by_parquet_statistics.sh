#!/usr/bin/env bash
# DuckDB 2.0.0: isnan(x) is false for every NaN of a Parquet file whose statistics leave NaN out, as those of pyarrow (and of pandas by it)
# do: the optimizer folds isnan(x), and x = 'nan', by the least and greatest value. So `where isnan(x)` finds no row, while the NaN is there:
# it is shown, and sums are NaN. isfinite(x) tells the truth; so does isnan without the optimizer, and on files without statistics.
# Seen 2026-12-01: of one NaN, isnan finds 0 by default, 1 without statistics, 1 without the optimizer. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "duckdb==2.0.0" "pyarrow==26.0.1"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

print("DuckDB", duckdb.__version__, "pyarrow", pa.__version__)


def count(condition: str, file: str) -> int:
    return database.sql(f"select count(*) from '{file}' where {condition}").fetchall()[0][0]


database = duckdb.connect()
table = pa.table({"x": [1.0, float("nan"), 3.0]})
pq.write_table(table, "with.parquet")
pq.write_table(table, "without.parquet", write_statistics=False)
print("rows of with.parquet:", database.sql("select x, isnan(x), isfinite(x) from 'with.parquet'").fetchall())
found = {name: count("isnan(x)", f"{name}.parquet") for name in ("with", "without")}
finite = count("not isfinite(x)", "with.parquet")
equal = count("x = 'nan'::double", "with.parquet")
database.execute("pragma disable_optimizer")
unoptimized = count("isnan(x)", "with.parquet")
print(f"isnan: {found['with']} with statistics, {found['without']} without, {unoptimized} without the optimizer")
print(f"x = nan: {equal}; not isfinite: {finite}")
assert (found["with"], equal) == (0, 0), "isnan now sees NaN beside the statistics of pyarrow"
assert (found["without"], unoptimized, finite) == (1, 1, 1)
PYTHON
