#!/usr/bin/env bash
# bonsai-ipcc 0.5.3 (tables of the IPCC's 2019 refinement, volume 4): the default of direct N2O of nitrogen on rice fields whose water regime is
# not specified, 0.006, lies above both regimes that it is the mean of, flooded 0.004 and drained 0.005. Table 11.1 has 0.004 (0.000 to 0.029)
# for the aggregate, 0.003 for continuous flooding and 0.005 for drainage; the 0.029 stands in the package with "flooded". So an inventory that
# takes "unspecified" counts half as much again as the table. Seen 2026-12-01: 0.004, 0.005, 0.006 and 0.029. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-deps "bonsai-ipcc==0.5.3"
"$folder/venv/bin/python" - <<'PYTHON'
import csv
import importlib.util
from importlib.metadata import version
from pathlib import Path

home = Path(importlib.util.find_spec("bonsai_ipcc").origin).parent
with (home / "data" / "agriculture" / "soils" / "par_ef1.csv").open(encoding="utf-8") as file:
    rows = [row for row in csv.DictReader(file) if row["cultivation_type"].startswith("rice")]
found = {(row["cultivation_type"], row["property"]): float(row["value"]) for row in rows}
print("bonsai-ipcc", version("bonsai-ipcc"), {key: value for key, value in found.items() if key[1] in ("def", "max")})
flooded, drained, unspecified = (found[f"rice_{name}", "def"] for name in ("cont_flooding", "drainage", "unspec"))
assert (flooded, drained, unspecified, found["rice_cont_flooding", "max"]) == (0.004, 0.005, 0.006, 0.029), "changed"
assert unspecified > max(flooded, drained)
PYTHON
