"""The notebook vocabulary: re-exports, each loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.assembly import assemble as assemble
    from evalkit.auditing import audit as audit
    from evalkit.collapsing import collapse as collapse
    from evalkit.derivation import at_least as at_least
    from evalkit.derivation import deflate as deflate
    from evalkit.derivation import equal_weight as equal_weight
    from evalkit.derivation import lag as lag
    from evalkit.derivation import log as log
    from evalkit.derivation import per as per
    from evalkit.derivation import share as share
    from evalkit.derivation import winsorise as winsorise
    from evalkit.design import Design as Design
    from evalkit.diagnosis import diagnose as diagnose
    from evalkit.errors import EvalkitError as EvalkitError
    from evalkit.estimation import Estimate as Estimate
    from evalkit.estimation import Specification as Specification
    from evalkit.estimation import estimate as estimate
    from evalkit.finding import Finding as Finding
    from evalkit.finding import check as check
    from evalkit.multiplicity import adjust as adjust
    from evalkit.panel import Panel as Panel
    from evalkit.placing import Area as Area
    from evalkit.reporting.figures import plot as plot
    from evalkit.simulation import Place as Place
    from evalkit.simulation import World as World
    from evalkit.simulation import simulate as simulate
    from evalkit.study import run_study as run_study
    from evalkit.table import Provenance as Provenance
    from evalkit.table import Table as Table

_HOME = {
    "EvalkitError": "errors",
    "Provenance": "table",
    "Table": "table",
    "Panel": "panel",
    "Design": "design",
    "Estimate": "estimation",
    "Specification": "estimation",
    "estimate": "estimation",
    "Finding": "finding",
    "check": "finding",
    "assemble": "assembly",
    "Area": "placing",
    "audit": "auditing",
    "at_least": "derivation",
    "deflate": "derivation",
    "equal_weight": "derivation",
    "lag": "derivation",
    "log": "derivation",
    "per": "derivation",
    "share": "derivation",
    "winsorise": "derivation",
    "collapse": "collapsing",
    "World": "simulation",
    "Place": "simulation",
    "simulate": "simulation",
    "diagnose": "diagnosis",
    "adjust": "multiplicity",
    "plot": "reporting.figures",
    "run_study": "study",
}
_MODULES = ("accounting", "checks", "estimators", "inference", "sources")
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"evalkit.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"evalkit.{name}")
    raise AttributeError(f"module 'evalkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
