"""Bands: intervals that hold for several terms at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evalkit.errors import InferenceError
from evalkit.fit import Fit
from evalkit.law import Law, Simultaneous, require_level

BANDS = "term estimate conf_low conf_high critical event_time".split()


def simultaneous_bands(fit: Fit, law: Law, positions: Sequence[int], level: float) -> pd.DataFrame:
    """Give the terms at these positions intervals that hold for all of them at once in `level` of samples.

    They are the estimate ± `critical` standard errors; infinite where the law's draws are too few for the level. A term without
    a standard error, such as the base, has none of the three. InferenceError where the law has no draws that terms share.
    """
    require_level(level, "bands")
    if not isinstance(law, Simultaneous):
        raise InferenceError(
            "this inference has no draws from which to tell how the terms vary together",
            where="bands",
            remedy="judge the same fit by one that has: estimate.under(WildBootstrap(draws=9999, seed=1)).bands()",
        )
    each = np.eye(len(fit.terms))
    errors = {at: law.std_error(each[at]) for at in positions if fit.terms[at].role != "base"}
    known = [at for at, error in errors.items() if not np.isnan(error)]
    critical = law.critical(each[known], level) if known else float("nan")
    rows = []
    for at in positions:
        term, value = fit.terms[at], float(fit.coefficients[at])
        own = critical if at in known else float("nan")
        margin = own * errors.get(at, float("nan"))
        rows.append([term.name, value, value - margin, value + margin, own, term.event_time])
    return pd.DataFrame(rows, columns=BANDS).astype({"event_time": "Int64"})
