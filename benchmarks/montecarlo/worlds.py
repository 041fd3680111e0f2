"""Laws of the shocks to counties and periods, none of them with an effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from montecarlo.panels import Flags, Floats, Ints

_RHO = 0.5


def draw_shocks(rng: np.random.Generator, counties: int, periods: int, draws: int) -> Floats:
    """Draw independent standard normal shocks (G, T, R)."""
    return rng.standard_normal((counties, periods, draws))


def follow(shocks: Floats) -> Floats:
    """Let shocks (G, T, R) follow a stationary AR(1) in each county, of variance 1."""
    path = shocks.copy()
    for t in range(1, shocks.shape[1]):
        path[:, t] = _RHO * path[:, t - 1] + np.sqrt(1 - _RHO**2) * shocks[:, t]
    return path


def spread(shocks: Floats, ratio: float, treated: Flags) -> Floats:
    """Multiply those of the treated (G,) by a ratio."""
    return shocks * np.where(treated, ratio, 1.0)[:, None, None]


def drift(shocks: Floats, slopes: Floats) -> Floats:
    """Add a linear trend to each county, its slope (G, R) scaled so that trends vary over time as much as the noise."""
    time = np.arange(shocks.shape[1]) - (shocks.shape[1] - 1) / 2
    moved: Floats = shocks + (time / time.std())[None, :, None] * slopes[:, None, :]
    return moved


def share(shocks: Floats, part: float, common: Floats, block: Ints) -> Floats:
    """Let `part` of the variance be common (B, T, R) to the counties of a block (G,)."""
    mixed: Floats = np.sqrt(1 - part) * shocks + np.sqrt(part) * common[block]
    return mixed


Law = Callable[[Floats, Flags, Ints, np.random.Generator], Floats]


def _independent(shocks: Floats, treated: Flags, block: Ints, rng: np.random.Generator) -> Floats:
    return shocks


def _lasting(shocks: Floats, treated: Flags, block: Ints, rng: np.random.Generator) -> Floats:
    return follow(shocks)


def _spread(ratio: float, shocks: Floats, treated: Flags, block: Ints, rng: np.random.Generator) -> Floats:
    return spread(shocks, ratio, treated)


def _drift(shocks: Floats, treated: Flags, block: Ints, rng: np.random.Generator) -> Floats:
    return drift(shocks, rng.standard_normal((shocks.shape[0], shocks.shape[2])))


def _shared(part: float, shocks: Floats, treated: Flags, block: Ints, rng: np.random.Generator) -> Floats:
    return share(shocks, part, rng.standard_normal((int(block.max()) + 1, *shocks.shape[1:])), block)


INDEPENDENT, LASTING = "independent", "AR(1) .5"
LAWS: Mapping[str, Law] = {INDEPENDENT: _independent, LASTING: _lasting}
STRAINED: Mapping[str, Law] = {
    **{f"treated sd × {name}": partial(_spread, ratio) for name, ratio in (("1/2", 0.5), ("2", 2.0), ("3", 3.0))},
    "own linear trends": _drift,
    **{f"{name} % shared by prefecture": partial(_shared, int(name) / 100) for name in ("10", "20", "40")},
}
