"""The verbs of a notebook that stand above the families: estimate a design, challenge an estimate."""

from __future__ import annotations

from dataclasses import replace

from evalkit.designs.design import Design
from evalkit.errors import CostError, DataError, DesignError, EvalkitError
from evalkit.inference.by_design import ByDesign
from evalkit.panels.panel import Panel
from evalkit.results.estimation import Estimate, Estimator, Inference, Specification, require_member
from evalkit.results.finding import Check, Finding

_BY_DESIGN = ByDesign()


def estimate(panel: Panel, design: Design, estimator: Estimator, *, inference: Inference = _BY_DESIGN) -> Estimate:
    """Estimate a design on a panel, judged by what the design supports (ByDesign), or by the inference named.

    Where the p of a named inference is no guide, a summary shows the one by design beside it. From 20,000 rows on the estimate is
    made on cells of rows that share their part in the design (see `collapse`), wherever it is the same; they are found once for
    each panel and design. Then `estimate.spec.panel` holds the cells, and `estimate.spec.panel.rows` the rows.
    """
    require_member(estimator, "fit", "estimator", "TwoWayFE()")
    require_member(inference, "assess", "inference", "Cluster()")
    if not isinstance(panel, Panel):
        raise DataError(
            f"panel is a {type(panel).__name__}", where="estimate", remedy="make one with Panel.from_frame(frame, …)"
        )
    return replace(Specification(panel, design, estimator, inference).estimate(), beside=_BY_DESIGN)


def check(estimate: Estimate, *checks: Check) -> tuple[Finding, ...]:
    """Challenge an estimate: run each check on its specification, in order; on its rows where cells would not do."""
    for one in checks:
        if isinstance(one, type) or not hasattr(one, "run"):
            raise DesignError(f"{one!r} is not a check", where="check", remedy="pass values such as LeaveOneOut()")
    return tuple(_challenge(one, estimate.spec) for one in checks)


def _challenge(one: Check, spec: Specification) -> Finding:
    if spec.panel.rows is not None and getattr(one, "on_cells", False) and spec.inference.on_cells == "always":
        try:
            return one.run(spec)
        except CostError:
            raise
        except EvalkitError:
            pass  # the rows say what is wrong with which of them
    return one.run(spec.on_rows())
