"""Leave one unit of assignment out at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evalkit.catalogue import message
from evalkit.designs.sample import draw_sample
from evalkit.errors import CostError, EvalkitError
from evalkit.progress import watched
from evalkit.reassignment.cost import BUDGET, Enumerates
from evalkit.results.estimation import Estimate, Specification
from evalkit.results.finding import Chart, Finding, headline


@dataclass(frozen=True)
class LeaveOneOut:
    """Re-estimate without each unit of assignment in turn; describes how much rests on one of them.

    Where the inference goes through all assignments of adoption, it may take an equal share of a minute (60 s, foretold from the
    design) without each unit: CostError says how to ask for draws where Permutation() would take longer, while ByDesign() then
    turns to what it takes where they are too many.

    The table has one row per unit left out: estimate, std_error, interval, treated, and why where it cannot be estimated
    (without the only treated unit there is no effect).
    """

    on_cells = True

    def run(self, spec: Specification) -> Finding:
        """Re-estimate once per unit of assignment."""
        sample = draw_sample(spec.panel, spec.design)
        adoption = sample.cluster_adoption()
        cluster = np.full(len(spec.panel), -1)
        cluster[sample.rows] = sample.cluster
        rows = []
        inference = spec.inference
        codes = np.flatnonzero(~np.isnan(adoption))
        for code in watched(codes, "LeaveOneOut", len(codes)):
            row: dict[str, object] = {
                "left_out": str(sample.clusters[code]),
                "treated": bool(adoption[code] <= sample.period.max()),
                "why": "",
            }
            try:
                fit = spec.estimator.fit(spec.panel, spec.design, (cluster >= 0) & (cluster != code))
                if isinstance(inference, Enumerates):
                    uncertainty = inference.assess_within(BUDGET / len(codes), fit, spec)
                else:
                    uncertainty = inference.assess(fit, spec)
                row |= headline(Estimate(fit, uncertainty, spec))
            except CostError:
                raise
            except EvalkitError as error:
                row["why"] = str(error)
            rows.append(row)
        columns = ["left_out", "treated", "term", "estimate", "std_error", "conf_low", "conf_high", "why"]
        table = pd.DataFrame(rows, columns=columns)
        done = table[table["estimate"].notna()]
        failed = table[table["estimate"].isna()]
        key = "finding.leave_one_out" if failed.empty else "finding.leave_one_out_failed"
        if done.empty:
            key = "finding.leave_one_out_none"
        sentence = message(
            key,
            level=spec.design.assigned_at,
            low=f"{done['estimate'].min():.4f}",
            high=f"{done['estimate'].max():.4f}",
            failed=", ".join(failed["left_out"]),
        )
        spread = float(done["estimate"].max() - done["estimate"].min()) if len(done) else float("nan")
        chart = Chart("leave_one_out", message("chart.leave_one_out", level=spec.design.assigned_at))
        return Finding("LeaveOneOut", None, spread, float("nan"), float("nan"), "described", sentence, table, chart)
