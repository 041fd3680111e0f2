"""How the methods are asked about a draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import EvalkitError
from evalkit.inference import BiasReduced, Cluster, Jackknife, Permutation, PooledGroups, Robust, WildBootstrap
from evalkit.inference.by_design import ByDesign
from evalkit.results.estimation import Estimate, Inference
from montecarlo.cells import NOMINAL, Outcome

Floats = NDArray[np.float64]
DRAWS = 399
"""Of the bootstrap and of permutations, where these cannot be enumerated: .05 (399 + 1) is a whole number."""
_ASK = 20

# The seed is that of the draw: the same weights in all draws of a cell would shift its size by their own chance.
Method = Callable[[int], Inference]
METHODS: Mapping[str, Method] = {
    "Robust": lambda i: Robust(),
    "CR1": lambda i: Cluster(),
    "influence": lambda i: Cluster(correction="none"),
    "CR2": lambda i: BiasReduced(),
    "CV3": lambda i: Jackknife(),
    "pooled": lambda i: PooledGroups(),
    "WCR": lambda i: WildBootstrap(draws=DRAWS, seed=i),
    "WCU": lambda i: WildBootstrap(draws=DRAWS, seed=i, restricted=False),
    "permutation": lambda i: Permutation(draws=DRAWS, seed=i),
    "ByDesign": lambda i: ByDesign(draws=DRAWS, seed=i),
}


@dataclass(frozen=True)
class Told:
    """p of a true null by one method; None where it has none, and why."""

    p_value: float | None
    supported: bool
    why: str
    method: str

    def outcome(self) -> Outcome:
        """Reject at p <= .05; p of enumerations can be .05 up to rounding."""
        if self.p_value is None:
            return Outcome(None, False, self.why)
        return Outcome(self.p_value <= NOMINAL + 1e-12, self.supported, self.why)


def weights_of(one: Estimate, term: str) -> Floats:
    """Weights (k,) that pick one term."""
    return np.array([1.0 if other.name == term else 0.0 for other in one.fit.terms])


def tell(one: Estimate, inference: Inference, term: str = "ATT") -> Told:
    """Judge the fit of an estimate by an inference: what `one.under(inference).pvalues[term]` says."""
    try:
        judged = one if one.spec.inference == inference else one.under(inference)
        p_value = judged.distribution.p_value(weights_of(one, term))
    except EvalkitError as error:
        return Told(None, False, error.what, "")
    of = judged.uncertainty
    if np.isnan(p_value):
        return Told(None, False, "no standard error", str(of.method))
    return Told(p_value, of.unsupported is None, "" if of.unsupported is None else str(of.unsupported), str(of.method))


@dataclass
class Headline:
    """ByDesign among other methods of the same draw.

    Which method the design supports is the same in all draws of a cell, so that ByDesign itself is asked in one of twenty draws
    only. What it says must then be what one of the others said, p to the last bit; in between the p of that one is its own.
    """

    known: str = field(default="", init=False)

    def among(self, one: Estimate, told: Mapping[str, Told], i: int) -> Told:
        """Say what ByDesign says of draw i, given what the others told."""
        if self.known and i % _ASK:
            return told[self.known]
        own = tell(one, METHODS["ByDesign"](i))
        same = [
            name for name, other in told.items() if (other.p_value, other.supported) == (own.p_value, own.supported)
        ]
        named = [name for name in same if told[name].method and told[name].method in own.method]
        if self.known and self.known not in named:
            raise AssertionError(f"ByDesign chose {self.known} in one draw, and in draw {i}: {own}")
        self.known = self.known or (named[0] if named else "")
        return own


def judge(one: Estimate, names: tuple[str, ...], i: int, headline: Headline | None = None) -> dict[str, Outcome]:
    """Ask the named methods about the effect of draw i, and ByDesign last where `headline` is given."""
    told = {name: tell(one, METHODS[name](i)) for name in names}
    if headline is not None:
        told["ByDesign"] = headline.among(one, told, i)
    return {name: each.outcome() for name, each in told.items()}
