#!/usr/bin/env bash
# SQLAlchemy 2.1.x: Result.partitions() of a Core statement gives parts of one row where the size is set by execution_options={"yield_per": n},
# and parts of n rows where it is set by Result.yield_per(n). Who writes each part to a file (a Parquet row group, a batch) writes one per row:
# 200,000 rows took two minutes instead of seconds.
# Seen 2026-12-01 on SQLite: first parts of 1 and of 1,000 rows. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "sqlalchemy==2.1.9"
"$folder/venv/bin/python" - <<'PYTHON'
import sqlalchemy as sa

print("SQLAlchemy", sa.__version__)
query = sa.text("with recursive t(n) as (select 1 union all select n + 1 from t where n < 5000) select n from t")
with sa.create_engine("sqlite://").connect() as bank:
    by_option = [len(part) for part in bank.execute(query, execution_options={"yield_per": 1_000}).partitions()]
    by_method = [len(part) for part in bank.execute(query).yield_per(1_000).partitions()]
print(f"by the option: {len(by_option)} parts, the first of {by_option[0]}; by the method: {len(by_method)} parts, the first of {by_method[0]}")
assert by_method == [1_000] * 5
assert by_option == [1] * 5_000, "the option now sets the size of the parts"
PYTHON
