"""What a round's rules come to on monitored values: quantities, indices and requirements, one number per settlement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from evalkit.accounting._tables import unit_of
from evalkit.accounting.settling.monitoring import Monitor, in_unit
from evalkit.accounting.settling.reading import check_weights
from evalkit.accounting.settling.rules import (
    CompensationIndex,
    Monitored,
    PrintedFigure,
    Quantity,
    Requirement,
    Schedule,
    ScheduleRound,
    Threshold,
)
from evalkit.errors import ConfigError, DataError, nearest
from evalkit.numerics.arrays import Flags, Floats

_MISSED, _KEPT = 0.0, 1.0
_ROUNDING = 1e-12  # 0.1 + 0.2 is not above 0.3: a sum of weights in binary must not turn a payment round


@dataclass
class FiguresInUse:
    """The figures of a schedule with those that are given, and what was used of them, in words."""

    schedule: Schedule
    given: Mapping[str, float]
    given_source: str
    used: dict[str, str] = field(default_factory=dict)
    recalled: dict[str, None] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)
    synthetic: bool = False

    def __post_init__(self) -> None:
        known = [name for one in self.schedule.figures() for name in _names(one)]
        for name, value in self.given.items():
            if name not in known:
                raise ConfigError(f"there is no figure '{name}' to give", where="given=", remedy=nearest(name, known))
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise ConfigError(
                    f"'{name}' is {value!r}", where="given=", remedy=f'write a number: given={{"{name}": 0.8}}'
                )
            alike = [one for one in self.schedule.figures() if name in _names(one)]
            if len(alike) > 1:
                listed = " and ".join(f'"{one.of_round}.{name}"' for one in alike)
                what = f"'{name}' is a figure of {len(alike)} rounds"
                raise ConfigError(what, where="given=", remedy=f"say which is given: {listed}")
            others = [one for one in _names(alike[0]) if one != name and one in self.given]
            if others:
                raise ConfigError(
                    f"'{name}' and '{others[0]}' are the same figure", where="given=", remedy="give it once"
                )
            if alike[0].status in ("verified", "computed"):
                raise ConfigError(
                    f"'{name}' is printed ({alike[0].source}) and cannot be given",
                    where="given=",
                    remedy="write a schedule of your own where your agreement says otherwise",
                )
        if self.given and not self.given_source.strip():
            remedy = 'say where they are from: given_source="agreement of …, article …"'
            raise ConfigError("figures are given without a source", where="given_source=", remedy=remedy)

    def value(self, figure: PrintedFigure) -> float:
        """Return a figure's value, given or printed. Raises DataError for an open one, with the remedy to give it."""
        label = f"{figure.of_round}: {figure.name}" if figure.of_round else figure.name
        unit = f" {figure.unit}" if figure.unit else ""
        for name in _names(figure):
            if name in self.given:
                self.needed.add(name)
                self.used[label] = f"{label} {self.given[name]:g}{unit}, given ({self.given_source.strip()})"
                return float(self.given[name])
        if figure.value is None:
            said = f"; {figure.source}" if figure.source else ""
            raise DataError(
                f"the figure '{figure.name}' is open: nobody has printed it{said}",
                where=f"schedule '{self.schedule.name}'" + (f", round '{figure.of_round}'" if figure.of_round else ""),
                remedy=f'give it{" in " + figure.unit if figure.unit else ""}: given={{"{self._name_to_give(figure)}": …}}, '
                'given_source="…"',
            )
        self.synthetic |= figure.status == "invented"
        self.used[label] = f"{label} {figure.value:g}{unit}, {figure.status} ({figure.source})"
        if figure.status == "recalled":
            self.recalled[label] = None
        return figure.value

    def _name_to_give(self, figure: PrintedFigure) -> str:
        alike = [one for one in self.schedule.figures() if one.name == figure.name]
        return figure.name if len(alike) == 1 else f"{figure.of_round}.{figure.name}"


def _names(figure: PrintedFigure) -> tuple[str, ...]:
    """List the names under which a figure can be given."""
    return (figure.name, f"{figure.of_round}.{figure.name}") if figure.of_round else (figure.name,)


@dataclass
class RoundEvaluation:
    """A round on a table: every result is an array (n,) over all settlements, of which those of the round are used."""

    round: ScheduleRound
    monitor: Monitor
    figures: FiguresInUse
    _indices: dict[str, Floats] = field(default_factory=dict)

    def number(self, quantity: Quantity, unit: str) -> Floats:
        """Return a quantity in `unit` (n,)."""
        if quantity.column:
            return self.monitor.numbers(quantity.column, unit)
        if quantity.figure:
            figure = self.round.figures[quantity.figure]
            value, own = self.figures.value(figure), figure.unit
        else:
            value, own = float(quantity.value or 0.0), quantity.unit
        return in_unit(np.full(len(self.monitor.groups), value), own, unit, where=quantity.where)

    def unit_of(self, quantity: Quantity) -> str:
        """Return the unit in which a quantity is given."""
        if quantity.column:
            return unit_of(self.monitor.table, quantity.column)
        return self.round.figures[quantity.figure].unit if quantity.figure else quantity.unit

    def index(self, name: str) -> Floats:
        """Return an index (n,), NaN where a value that it needs is missing."""
        if name not in self._indices:
            self._indices[name] = self._evaluate(self.round.indices[name])
        return self._indices[name]

    def monitored(self, term: Monitored, before: int = 0) -> Floats:
        """Return what a term reads (n,), in its unit."""
        if term.index:
            return in_unit(self.index(term.index), self.round.indices[term.index].unit, term.unit, where=term.where)
        return self.monitor.numbers(
            term.indicator,
            term.unit,
            term.section,
            before=before,
            negative=term.may_be_negative,
            within=term.within,
        )

    def kept(self, requirements: Sequence[Requirement]) -> Floats:
        """Say whether all requirements are kept (n,): 1 or 0, NaN where a missing value leaves it open."""
        kept = np.full(len(self.monitor.groups), _KEPT)
        unknown = np.zeros(len(kept), dtype=bool)
        for one in requirements:
            values, at = self.monitored(one.of), self.number(one.threshold.at, one.of.unit)
            nothing = np.isnan(values) | np.isnan(at)
            kept[~nothing & ~holds(one.threshold, values, at)] = _MISSED
            unknown |= nothing
        return np.where(unknown & (kept == _KEPT), np.nan, kept)

    def _evaluate(self, index: CompensationIndex) -> Floats:
        n = len(self.monitor.groups)
        total = np.ones(n) if index.compare == "product" else np.zeros(n)
        weights = np.zeros(n)
        for term in index.terms:
            value = self._compared(index, term)
            if index.compare == "product":
                total = total * value
                continue
            weight = np.ones(n) if term.weight is None else self.number(term.weight, "")
            if (weight < 0).any() and not index.weights_free:
                raise DataError("a weight is negative", where=term.where, remedy="correct it")
            weights += weight
            total = total + weight * value
        if index.compare != "product" and not index.weights_free:
            for each in np.unique(weights[~np.isnan(weights)]).tolist():
                check_weights(each, index.where)
        if index.factor is None:
            return total
        factor = self.number(index.factor, "")
        if index.compare == "ratio" and (factor < 0).any():
            raise DataError("the factor of a ratio is negative", where=index.where, remedy="correct it")
        return total * factor

    def _compared(self, index: CompensationIndex, term: Monitored) -> Floats:
        value = self.monitored(term)
        if index.compare in ("level", "product"):
            return value
        base = self.monitored(term, term.periods_before) if term.base is None else self.number(term.base, term.unit)
        if index.compare == "ratio":
            if (base <= 0).any():
                remedy = "correct the base value; an unknown one is an empty cell, or open"
                where = f"{self.monitor.rows(base <= 0)}; {term.where}"
                raise DataError("a base value is zero or negative, where no ratio exists", where=where, remedy=remedy)
            return value / base
        return value - base if index.compare == "rise" else base - value


def holds(threshold: Threshold, values: Floats, at: Floats) -> Flags:
    """Tell where values keep a bound (n,); NaN keeps none. What differs from the bound by rounding alone lies on it."""
    compare = {"at_most": np.less_equal, "below": np.less, "at_least": np.greater_equal, "above": np.greater}
    on_it = np.abs(values - at) <= _ROUNDING * np.maximum(np.abs(values), np.abs(at))
    return np.asarray(compare[threshold.word](np.where(on_it, at, values), at), dtype=bool)
