"""The notebook vocabulary: re-exports, each loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.auditing import audit as audit
    from evalkit.designs.cells import collapse as collapse
    from evalkit.designs.design import Design as Design
    from evalkit.designs.indicators import indicators as indicators
    from evalkit.errors import EvalkitError as EvalkitError
    from evalkit.inference.multiplicity import adjust as adjust
    from evalkit.panels.assembly import assemble as assemble
    from evalkit.panels.carrying import carry as carry
    from evalkit.panels.carrying import mean_of as mean_of
    from evalkit.panels.derivation import at_least as at_least
    from evalkit.panels.derivation import deflate as deflate
    from evalkit.panels.derivation import equal_weight as equal_weight
    from evalkit.panels.derivation import lag as lag
    from evalkit.panels.derivation import log as log
    from evalkit.panels.derivation import per as per
    from evalkit.panels.derivation import share as share
    from evalkit.panels.derivation import winsorise as winsorise
    from evalkit.panels.panel import Panel as Panel
    from evalkit.regions.codes import Area as Area
    from evalkit.reporting.figures import plot as plot
    from evalkit.results.estimation import Estimate as Estimate
    from evalkit.results.estimation import Specification as Specification
    from evalkit.results.finding import Finding as Finding
    from evalkit.simulation import Place as Place
    from evalkit.simulation import World as World
    from evalkit.simulation import diagnose as diagnose
    from evalkit.simulation import simulate as simulate
    from evalkit.study.running import run_study as run_study
    from evalkit.tables.protection import Protected as Protected
    from evalkit.tables.protection import protect as protect
    from evalkit.tables.table import Provenance as Provenance
    from evalkit.tables.table import Table as Table
    from evalkit.tables.widening import widen as widen
    from evalkit.verbs import check as check
    from evalkit.verbs import estimate as estimate

_HOME = {
    "audit": "auditing",
    "collapse": "designs.cells",
    "Design": "designs.design",
    "indicators": "designs.indicators",
    "EvalkitError": "errors",
    "adjust": "inference.multiplicity",
    "assemble": "panels.assembly",
    "carry": "panels.carrying",
    "mean_of": "panels.carrying",
    "at_least": "panels.derivation",
    "deflate": "panels.derivation",
    "equal_weight": "panels.derivation",
    "lag": "panels.derivation",
    "log": "panels.derivation",
    "per": "panels.derivation",
    "share": "panels.derivation",
    "winsorise": "panels.derivation",
    "Panel": "panels.panel",
    "Area": "regions.codes",
    "plot": "reporting.figures",
    "Estimate": "results.estimation",
    "Specification": "results.estimation",
    "Finding": "results.finding",
    "Place": "simulation",
    "World": "simulation",
    "diagnose": "simulation",
    "simulate": "simulation",
    "run_study": "study.running",
    "Protected": "tables.protection",
    "protect": "tables.protection",
    "Provenance": "tables.table",
    "Table": "tables.table",
    "widen": "tables.widening",
    "check": "verbs",
    "estimate": "verbs",
}
_MODULES = ("accounting", "checks", "engines", "estimators", "inference", "regions", "sources")
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"evalkit.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"evalkit.{name}")
    raise AttributeError(f"module 'evalkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
