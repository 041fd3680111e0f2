"""The summary of an estimate as text, and bands that hold for several terms at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from evalkit.catalogue import Labels, Message, say
from evalkit.errors import InferenceError
from evalkit.panels.panel import Dropped
from evalkit.results.fit import Fit
from evalkit.results.uncertainty import ReferenceDistribution, Simultaneous, require_level


def write_summary(
    head: Message,
    table: pd.DataFrame,
    *,
    bases: Collection[str],
    sizes: Mapping[str, object],
    ledger: Sequence[Dropped],
    notes: Sequence[Message],
    doubts: int,
    rests: Mapping[str, float],
    beside: Mapping[str, float],
    language: str,
    labels: Labels | None,
) -> str:
    """Write a table with the columns of `tidy()`, of which `bases` are the reference terms; † marks p-values that are no guide.

    `sizes` are the columns of `glance()`; the first `doubts` of the `notes` say which p-values are no guide, or need a word;
    `rests` on how many clusters the average effect rests; `beside` has p-values by term from another inference.
    """
    width = max(len(term) for term in table.term)
    lines = [head.text(language, labels), ""]
    for row in table.to_dict("records"):
        told = f"  {row['term']:<{width}}  {row['estimate']:>12.6g}  "
        if np.isnan(row["std_error"]):
            lines.append(told + say("summary.base" if row["term"] in bases else "summary.no_error", language))
            continue
        mark = "" if row["supported"] else " †"
        told += f"({row['std_error']:.6g})  p = {row['p_value']:.4f}{mark}  "
        told += f"[{row['conf_low']:.6g}, {row['conf_high']:.6g}]{mark}"
        if row["term"] in beside:
            told += "  " + say("summary.beside", language, None, p=f"{beside[row['term']]:.4f}")
        lines.append(told)
    lines += ["", say("summary.sizes", language, None, **sizes)]
    if rests and all(np.isfinite(number) for number in rests.values()):
        lines.append(say("summary.rests", language, None, **rests))
    for line in ledger:
        reason = line.reason.text(language, labels)
        lines.append(say("summary.dropped", language, rows=line.rows, units=line.units, reason=reason))
    for i, note in enumerate(notes):
        lines.append(("† " if i < doubts else "- ") + note.text(language, labels))
    return "\n".join(lines)


BANDS = "term estimate conf_low conf_high critical event_time".split()


def simultaneous_bands(
    fit: Fit, distribution: ReferenceDistribution, positions: Sequence[int], level: float
) -> pd.DataFrame:
    """Give the terms at these positions intervals that hold for all of them at once in `level` of samples.

    They are the estimate ± `critical` standard errors; infinite where its draws are too few for the level. A term without
    a standard error, such as the base, has none of the three. InferenceError where there are no draws that terms share.
    """
    require_level(level, "bands")
    if not isinstance(distribution, Simultaneous):
        raise InferenceError(
            "this inference has no draws from which to tell how the terms vary together",
            where="bands",
            remedy="judge the same fit by one that has: estimate.under(WildBootstrap(draws=9999, seed=1)).bands()",
        )
    each = np.eye(len(fit.terms))
    errors = {at: distribution.std_error(each[at]) for at in positions if fit.terms[at].role != "base"}
    known = [at for at, error in errors.items() if not np.isnan(error)]
    critical = distribution.critical(each[known], level) if known else float("nan")
    rows = []
    for at in positions:
        term, value = fit.terms[at], float(fit.coefficients[at])
        own = critical if at in known else float("nan")
        margin = own * errors.get(at, float("nan"))
        rows.append([term.name, value, value - margin, value + margin, own, term.event_time])
    return pd.DataFrame(rows, columns=BANDS).astype({"event_time": "Int64"})
