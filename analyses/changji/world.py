"""The synthetic worlds of this study: who is treated, the true effects, and shocks that give errors of the printed size.

The effects and standard errors are those that the source prints; its microdata are not public. Nothing here was chosen by
looking at an estimate: the seed is the year of the policy, and the spreads follow from the arithmetic below.
"""

from __future__ import annotations

from evalkit import Place, World

SEED = 2022
PERIODS = (2019, 2020, 2021, 2022, 2023, 2024)
ADOPTION = 2022
FARMS = {"small": 65, "large": 65}  # below 50 mu, and from 50 mu on

CHANGJI = ("昌吉市", "阜康市", "呼图壁县", "玛纳斯县", "奇台县", "吉木萨尔县", "木垒哈萨克自治县")
CONTROLS = {
    "塔城地区": ("塔城市", "乌苏市", "额敏县", "沙湾市", "托里县", "裕民县", "和布克赛尔蒙古自治县"),
    "博尔塔拉蒙古自治州": ("博乐市", "精河县", "温泉县"),
    "石河子市": ("石河子市",),
}
PREFECTURE = "昌吉回族自治州"
THREE_PILOTS = ("昌吉市", "呼图壁县", "玛纳斯县")  # a choice of ours: the source does not say which counties began

# True effects on log intensity, as printed: by year overall, and on average for large and small farms. Weighting large farms
# by .5395 makes their mean the printed -.123; in a sample of 65 and 65 that takes sampling weights.
PATH = (-0.090, -0.123, -0.156)
OVERALL, LARGE, SMALL = -0.123, -0.158, -0.082
LARGE_SHARE = (OVERALL - SMALL) / (LARGE - SMALL)
WEIGHTS = {"large": 2 * LARGE_SHARE, "small": 2 * (1 - LARGE_SHARE)}
EFFECTS = {
    "large": tuple(step * LARGE / OVERALL for step in PATH),
    "small": tuple(step * SMALL / OVERALL for step in PATH),
}

# A county's difference of means over 3 and 3 years has sqrt(2/3) of the spread of a yearly shock, and 7 against 11 counties
# sqrt(1/7 + 1/11) of that: a yearly county spread of .0810 gives a standard error of .032, .0887 one of .035. The printed
# errors of the whole sample, .025, then ask for a correlation of .12 between the groups: the shock common to both.
NOISE = 0.25  # of one farm in one year; over 65 farms .031
COMMON = (0.12 * 0.0810 * 0.0887) ** 0.5
SUBGROUP_SD = {
    "large": (0.0810**2 - COMMON**2 - NOISE**2 / 65) ** 0.5,
    "small": (0.0887**2 - COMMON**2 - NOISE**2 / 65) ** 0.5,
}
SHARED = 0.20  # of the variance of county shocks, common to a prefecture


def changji(shared: float = SHARED) -> World:
    """Seven pilots, all of the prefecture, against eleven units elsewhere."""
    treated = tuple(Place(name=name, units=FARMS, adoption=ADOPTION, above=PREFECTURE) for name in CHANGJI)
    others = tuple(Place(name=name, units=FARMS, above=above) for above, names in CONTROLS.items() for name in names)
    return _world((*treated, *others), shared)


def three_pilots(shared: float = SHARED) -> World:
    """Three pilots inside the prefecture, against its other four counties."""
    places = tuple(
        Place(name=name, units=FARMS, adoption=ADOPTION if name in THREE_PILOTS else None, above=PREFECTURE)
        for name in CHANGJI
    )
    return _world(places, shared)


def _world(places: tuple[Place, ...], shared: float) -> World:
    return World(
        places=places,
        periods=PERIODS,
        effects=EFFECTS,
        weights=WEIGHTS,
        mean=-3.1,  # about .045 kg CO2 per yuan
        trend=-0.03,
        unit_sd=0.30,
        noise_sd=NOISE,
        place_sd=COMMON,
        subgroup_sd=SUBGROUP_SD,
        shared=shared,
    )
