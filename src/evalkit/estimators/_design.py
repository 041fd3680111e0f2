"""What of a design an estimator does not use is refused, not ignored."""

from __future__ import annotations

from evalkit.design import Design
from evalkit.errors import DesignError

_USED_BY = {"dose": "TwoWayFE or EventStudy", "eligible": "TripleDifference"}


def refuse_unused(design: Design, estimator: str, *fields: str) -> None:
    """Raise DesignError where the design names one of the fields, which this estimator does not use."""
    for field in fields:
        value = getattr(design, field)
        if value:
            others = _USED_BY.get(field)
            raise DesignError(
                f"the design names {field} = {value!r}, and {estimator} does not use it",
                where=estimator,
                remedy=f"leave {field} out of this estimate's design" + (f", or use {others}" if others else ""),
            )
