"""The summary of an estimate: its table, sizes, ledger and notes as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from evalkit.catalogue import Labels, Message, say
from evalkit.panel import Dropped


def write_summary(
    head: Message,
    table: pd.DataFrame,
    *,
    bases: Collection[str],
    sizes: Mapping[str, object],
    ledger: Sequence[Dropped],
    notes: Sequence[Message],
    unsupported: Message | None,
    language: str,
    labels: Labels | None,
) -> str:
    """Write a table with the columns of `tidy()`, of which `bases` are the reference terms; † marks p-values unsupported.

    `sizes` are the columns of `glance()`; `notes` begin with the reason where p-values are unsupported.
    """
    width = max(len(term) for term in table.term)
    mark = " †" if unsupported is not None else ""
    lines = [head.text(language, labels), ""]
    for row in table.to_dict("records"):
        told = f"  {row['term']:<{width}}  {row['estimate']:>12.6g}  "
        if np.isnan(row["std_error"]):
            lines.append(told + say("summary.base" if row["term"] in bases else "summary.no_error", language))
            continue
        told += f"({row['std_error']:.6g})  p = {row['p_value']:.4f}{mark}  "
        lines.append(f"{told}[{row['conf_low']:.6g}, {row['conf_high']:.6g}]")
    effective = sizes["effective_clusters"]
    counted = isinstance(effective, float) and effective > 0
    lines += ["", say("summary.sizes" if counted else "summary.sizes_plain", language, None, **sizes)]
    for line in ledger:
        reason = line.reason.text(language, labels)
        lines.append(say("summary.dropped", language, rows=line.rows, units=line.units, reason=reason))
    for i, note in enumerate(notes):
        lines.append(("† " if i == 0 and note is unsupported else "- ") + note.text(language, labels))
    return "\n".join(lines)
