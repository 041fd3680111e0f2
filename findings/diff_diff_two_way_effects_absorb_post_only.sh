#!/usr/bin/env bash
# diff-diff 3.13.0: TwoWayFixedEffects, described as "unit and time fixed effects", absorbs units and the 0/1 column `post`, not the periods.
# On a balanced panel that makes no difference to the effect; with gaps it does: the effect equals that of pyfixest with `| unit + post`
# to the last digits, and differs from `| unit + year`. Nothing says so in the result. It has a static mode without a column of periods.
# Seen 2026-11-30: unit + year .2848, unit + post and diff-diff both -.1355. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "diff-diff==3.13.0" "pyfixest==0.60.0" "numpy==2.4.6" "pandas==3.1.0"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import diff_diff as dd
import numpy as np
import pandas as pd
import pyfixest as pf

rng = np.random.default_rng(0)
f = pd.DataFrame({"unit": np.repeat(np.arange(40), 8), "year": np.tile(np.arange(2010, 2018), 40)})
f["treated"], f["post"] = (f["unit"] < 20).astype(int), (f["year"] >= 2014).astype(int)
f["d"] = f["treated"] * f["post"]
f["y"] = rng.normal(size=len(f)) + 0.8 * (f["year"] - 2010)  # a common trend
f = f[(f["treated"] == 0) | (f["year"] != 2017)].reset_index(drop=True)  # the treated are not observed in the last year


def effect(formula: str) -> float:
    return float(pf.feols(formula, f).coef()["d"])


theirs = dd.TwoWayFixedEffects().fit(f, outcome="y", treatment="treated", post="post", unit="unit").att
by_year, by_post = effect("y ~ d | unit + year"), effect("y ~ d | unit + post")
print(f"unit + year {by_year:.4f}, unit + post {by_post:.4f}, TwoWayFixedEffects {theirs:.4f}")
assert abs(theirs - by_post) < 1e-6, "it no longer absorbs post"
assert abs(theirs - by_year) > 0.05, "it now absorbs the periods"
PYTHON
