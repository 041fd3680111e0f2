#!/usr/bin/env bash
# StatsPAI 1.40.2: fast.event_study and event_study run the same regression with the same clusters and agree on every effect, but not on its
# standard error: the former counts the absorbed units as parameters, although they lie within the clusters, the latter does not (nor do
# fast.feols of the same package, on the same dummies). With T periods it is sqrt(T/(T-1)) times as large: 1.05 times with ten, 1.41 with two.
# Nothing says so in the result, and there is no option to choose (fast.feols has ssc="fixest" | "statspai").
# Seen 2026-11-30: periods 10, 4, 2: 1.0541, 1.1546, 1.4133 times. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "statspai==1.40.2" "numpy==2.4.6" "pandas==3.1.1"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import warnings

import numpy as np
import pandas as pd
import statspai as sp

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
print("StatsPAI", sp.__version__)
for periods, start in ((10, 2013), (4, 2012), (2, 2011)):
    f = pd.DataFrame({"unit": np.repeat(np.arange(400), periods), "year": np.tile(np.arange(2010, 2010 + periods), 400)})
    f["county"] = f["unit"] % 40
    f["first"] = np.where(f["county"] < 20, float(start), np.nan)  # half the counties, all in one year
    f["rel"] = f["year"] - f["first"]
    f["y"] = rng.normal(size=400)[f["unit"]] + rng.normal(size=len(f)) + 0.3 * (f["rel"] >= 0)
    same = {"y": "y", "unit": "unit", "time": "year", "cluster": "county"}
    fast = sp.fast.event_study(f, event_time="rel", **same)
    effect, error = dict(zip(fast.event_times, zip(fast.coefs, fast.ses)))[0]
    window = (int(f["rel"].min()), int(f["rel"].max()))
    slow = sp.event_study(f, treat_time="first", window=window, **same).detail.set_index("relative_time").loc[0]
    events = sorted(f["rel"].dropna().unique())
    dummies = {f"e{k}": (f["rel"] == at).astype(float) for k, at in enumerate(events) if at != -1}
    formula = f"y ~ {' + '.join(dummies)} | unit + year"
    fit = sp.fast.feols(formula, f.assign(**dummies), vcov="cr1", cluster="county")
    by_hand, error_by_hand = (one[f"e{events.index(0.0)}"] for one in (fit.coef(), fit.se()))
    print(f"{periods} periods: fast.event_study {effect:.4f} ({error:.4f}), event_study {slow['att']:.4f} ({slow['se']:.4f}), "
          f"fast.feols {by_hand:.4f} ({error_by_hand:.4f}): {error / slow['se']:.4f} times")
    assert abs(effect - slow["att"]) < 1e-8 and abs(effect - by_hand) < 1e-8
    assert abs(slow["se"] / error_by_hand - 1) < 1e-6, "event_study no longer agrees with fast.feols"
    assert abs(error / slow["se"] - np.sqrt(periods / (periods - 1))) < 0.005, "fast.event_study no longer counts nested effects"
PYTHON
