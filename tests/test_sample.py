"""The rows of a design as arrays: what its assignments can show at most."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from evalkit import Design, Panel
from evalkit.designs.sample import draw_sample, smallest_attainable_p


@pytest.mark.parametrize(
    ("first", "floor"),
    [
        ([2014.0] * 3 + [np.nan] * 3, 2 / 20),  # the mirror image of an assignment has the same absolute effect
        ([2014.0] * 2 + [np.nan] * 4, 1 / 15),
        ([2014.0] * 3 + [2019.0] * 3, 2 / 20),  # who adopts after the panel's end is not treated in it
        ([2014.0] * 2 + [2015.0] * 2 + [np.nan] * 2, 1 / 90),  # of cohorts no assignment is a mirror image
        ([2014.0] * 600 + [np.nan] * 600, None),
    ],
)
def test_the_smallest_p_counts_the_mirror_image_where_half_adopt(first: list[float], floor: float | None) -> None:
    f = pd.DataFrame({"county": np.repeat(np.arange(len(first)), 4), "year": np.tile(range(2012, 2016), len(first))})
    f = f.assign(first=np.repeat(first, 4), y=0.0)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    found = smallest_attainable_p(draw_sample(Panel.from_frame(f, unit="county", time="year"), design))
    if floor is None:  # too many for exact integers: 2 over 1200!/(600! 600!)
        logarithm = np.log(2) + 2 * math.lgamma(601) - math.lgamma(1201)
        assert found == pytest.approx(math.exp(logarithm), rel=1e-9)
    else:
        assert found == pytest.approx(floor, rel=1e-12)
