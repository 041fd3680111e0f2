"""Simulated panels have the effects and the spread that were put in, and diagnosis counts coverage as it should."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import evalkit as ek
from evalkit import Place, World, diagnose, estimate, simulate
from evalkit.errors import DesignError
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Cluster, PooledGroups

FARMS = {"small": 3, "large": 2}


def world(**change: object) -> World:
    places = [Place(name=f"c{i}", units=FARMS, above=f"p{i // 3}", adoption=2013 if i < 4 else None) for i in range(12)]
    settings: dict[str, object] = {
        "places": tuple(places),
        "periods": tuple(range(2010, 2016)),
        "effects": {"small": (-0.1,), "large": (-0.2, -0.3, -0.4)},
    }
    return World(**{**settings, **change})


def test_without_noise_the_estimate_is_the_truth() -> None:
    panel = simulate(world(noise_sd=0.0), seed=1)
    design = world().design
    path = estimate(panel, design, Split(by="subgroup", estimator=EventStudy(leads=3, lags=2)), inference=Cluster())
    found = path.params
    for lag, effect in enumerate((-0.2, -0.3, -0.4)):
        assert found[f"ATT(e={lag}) [subgroup=large]"] == pytest.approx(effect, abs=1e-12)  # rounding
        assert found[f"ATT(e={lag}) [subgroup=small]"] == pytest.approx(-0.1, abs=1e-12)
    # 3 small farms at -.1 and 2 large ones at -.3 on average
    assert estimate(panel, design, TwoWayFE(), inference=Cluster()).params["ATT"] == pytest.approx(-0.18, abs=1e-12)


def test_the_same_seed_gives_the_same_panel_and_another_seed_another() -> None:
    one, same, other = (simulate(world(), seed=seed).frame["outcome"].to_numpy() for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, same)
    assert not (one == other).any()


def test_a_simulated_panel_says_that_it_is_synthetic() -> None:
    panel = simulate(world(), seed=1)
    assert [source.synthetic for source in panel.provenance] == [True]
    assert "Synthetic" in panel.provenance[0].title


def test_shocks_have_the_spread_and_the_share_in_common_that_were_asked_for() -> None:
    places = tuple(Place(name=f"c{i:03}", units={"all": 1}, above=f"p{i // 10:02}") for i in range(600))
    dull = World(
        places=(*places, Place(name="treated", units={"all": 1}, adoption=2012)),
        periods=tuple(range(2010, 2020)),
        effects={"all": (0.0,)},
        unit_sd=0.0,
        noise_sd=0.0,
        place_sd=2.0,
        shared=0.3,
    )
    frame = simulate(dull, seed=3).frame
    frame = frame[frame["place"] != "treated"]
    # 600 prefecture-years limit the precision to about 4 %.
    assert frame["outcome"].var() == pytest.approx(4.0, rel=0.1)
    means = frame.groupby(["above", "period"])["outcome"].mean()
    assert means.var() == pytest.approx(4 * (0.3 + 0.7 / 10), rel=0.2)


def test_effects_of_a_place_and_adoption_dates_are_its_own() -> None:
    places = (
        Place(name="a", units={"all": 2}, adoption=2012),
        Place(name="b", units={"all": 2}, adoption=2014, effects={"all": (5.0,)}),
        Place(name="c", units={"all": 2}),
    )
    frame = simulate(World(places=places, periods=tuple(range(2010, 2016)), effects={"all": (1.0, 2.0)}), seed=1).frame
    told = frame.groupby(["place", "period"])["effect"].first().unstack()
    assert told.loc["a"].tolist() == [0, 0, 1, 2, 2, 2]
    assert told.loc["b"].tolist() == [0, 0, 0, 0, 5, 5]
    assert told.loc["c"].tolist() == [0] * 6


def test_weights_of_subgroups_and_of_what_lies_above() -> None:
    frame = simulate(world(weights={"large": 1.5}), seed=1).frame
    assert frame.groupby("subgroup")["weight"].unique().map(list).to_dict() == {"large": [1.5], "small": [1.0]}
    totals = frame.groupby(["above", "period"])["above_weight"].sum()
    assert totals.max() - totals.min() < 1e-12
    ratio = frame["above_weight"] / frame["weight"]
    assert ratio.groupby(frame["above"]).nunique().max() == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"periods": (2010, 2012)}, "periods are not consecutive"),
        ({"shared": 1.2}, "shared is 1.2"),
        ({"noise_sd": -1.0}, "negative"),
        ({"effects": {"small": (1.0,)}}, "no effect is given for subgroup 'large' of c0"),
        ({"weights": {"larg": 1.0}}, "did you mean 'large'"),
        ({"places": (Place(name="a", units=FARMS), Place(name="a", units=FARMS))}, "'a' stands twice"),
    ],
)
def test_impossible_worlds_are_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(DesignError, match=says):
        world(**change)


def test_diagnosis_agrees_with_a_loop_by_hand() -> None:
    table = diagnose(world(place_sd=0.5), TwoWayFE(), PooledGroups(), seed=4, worlds=40).set_index("term")
    assert table.loc["ATT", "truth"] == pytest.approx(-0.18)
    assert table.loc["ATT", "worlds"] == 40
    assert table.loc["ATT", "failed"] == 0
    covered = table.loc["ATT", "coverage"]
    assert table.loc["ATT", "coverage_error"] == pytest.approx(math.sqrt(covered * (1 - covered) / 40))
    # The sd of the estimates from the spreads put in: county shocks .5 and farm noise 1 of 5 farms, 3 and 3 periods.
    sd = math.sqrt((0.25 + 1 / 5) * (2 / 3) * (1 / 4 + 1 / 8))
    assert table.loc["ATT", "sd"] == pytest.approx(sd, rel=0.35)  # of 40 draws: three standard errors
    assert table.loc["ATT", "std_error"] == pytest.approx(sd, rel=0.35)


@pytest.mark.exhaustive
def test_pooled_groups_cover_as_they_claim_and_clusters_do_not_when_shocks_are_shared_above() -> None:
    quiet = world(noise_sd=0.1, place_sd=0.5)
    claimed = diagnose(quiet, TwoWayFE(), PooledGroups(), seed=11, worlds=300).iloc[0]
    assert abs(claimed["coverage"] - 0.95) < 3.3 * 0.0126  # 99.9 % of a binomial with 300 worlds
    shared = diagnose(replace(quiet, shared=0.5), TwoWayFE(), Cluster(), seed=11, worlds=300).iloc[0]
    assert shared["coverage"] < 0.88


def test_diagnosis_reports_the_gap_of_two_subgroups_and_every_event_time() -> None:
    gap = diagnose(world(), Split(by="subgroup", estimator=TwoWayFE()), Cluster(), seed=1, worlds=5)
    assert gap["term"].tolist()[-1] == "ATT [subgroup=small] - ATT [subgroup=large]"
    assert gap["truth"].tolist() == pytest.approx([-0.3, -0.1, 0.2])
    path = diagnose(world(), EventStudy(leads=2, lags=1), Cluster(), seed=1, worlds=5).set_index("term")["truth"]
    # Event times from 1 on are binned: (3 · .1 + 2 · .35) / 5.
    assert path.to_dict() == pytest.approx({"ATT(e=-2)": 0.0, "ATT(e=0)": -0.14, "ATT(e=1)": -0.2})


def test_a_diagnosis_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(DesignError, match="worlds is 1"):
        diagnose(world(), TwoWayFE(), Cluster(), seed=1, worlds=1)
    nobody = world(places=tuple(Place(name=f"c{i}", units=FARMS) for i in range(4)))
    with pytest.raises(DesignError, match=r"no world can be estimated.*nobody is treated"):
        diagnose(nobody, TwoWayFE(), Cluster(), seed=1, worlds=3)
    with pytest.raises(DesignError, match="not a subgroup of the world"):
        diagnose(world(), Split(by="above", estimator=TwoWayFE()), Cluster(), seed=1, worlds=2)


def test_the_names_are_public() -> None:
    for name in ("simulate", "diagnose", "World", "Place"):
        assert name in ek.__all__


@pytest.mark.parametrize(("start", "adoption"), [(1, 0), (1, -2), (0, -1)])
def test_a_place_cannot_adopt_in_what_its_column_would_not_say(start: int, adoption: int) -> None:
    """An adoption column reads 0 as never where the periods are positive, and refuses negative dates."""
    with pytest.raises(DesignError, match=f"pilot adopts in {adoption}"):
        World(
            places=(Place(name="pilot", units=FARMS, adoption=adoption),),
            periods=tuple(range(start, start + 5)),
            effects=dict.fromkeys(FARMS, (1.0,)),
        )
