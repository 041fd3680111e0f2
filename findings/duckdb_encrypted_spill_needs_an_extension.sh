#!/usr/bin/env bash
# DuckDB 2.0.0: temp_file_encryption = true is accepted at connect(), and a query fails once it has to spill: the crypto module that is built in
# cannot write, and httpfs, an extension that has to be downloaded, is asked for. A program that promises encrypted temporary files and runs
# without a network therefore works on small data and stops on large. The other way out that the error names calls itself not secure.
# Seen 2026-12-01: small sort fine; the spilling one raises duckdb.Error, "read-only crypto module"; without encryption it works. Fails if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "duckdb==2.0.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb

SORT = "create or replace temp table sorted as select i, hash(i) as h, repeat('x', 40) as t from range({rows}) r(i) order by h"
print("DuckDB", duckdb.__version__)
base = {
    "memory_limit": "60MB", "threads": 1, "temp_directory": "spill",
    "autoinstall_known_extensions": False, "autoload_known_extensions": False,
}
said = {}
for encrypted in (True, False):
    database = duckdb.connect(config={**base, "temp_file_encryption": encrypted})
    for rows in (1_000, 3_000_000):
        try:
            database.execute(SORT.format(rows=rows))
            said[encrypted, rows] = "works"
        except duckdb.Error as error:
            said[encrypted, rows] = str(error).strip()[:90]
        print(f"temp_file_encryption={encrypted}, {rows:,} rows: {said[encrypted, rows]}")
    database.close()
assert said[True, 1_000] == said[False, 1_000] == said[False, 3_000_000] == "works"
assert "crypto module" in said[True, 3_000_000], "an encrypted spill no longer needs the extension"
PYTHON
