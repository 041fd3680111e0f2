"""Dimensions: units of emission factors, in which a mass is one of a substance, and products of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from evalkit.errors import DataError
from evalkit.tables.units import kind_of_unit, unit_ratio

# Substance → the gas emitted, and kg of it per kg of the substance (molar masses 44 of CO2 and of N2O, 12 of C, 28 of N2).
SUBSTANCES: Mapping[str, tuple[str, float]] = {
    "CO2": ("CO2", 1.0),
    "C": ("CO2", 44 / 12),
    "N2O": ("N2O", 1.0),
    "N2O-N": ("N2O", 44 / 28),
    "CH4": ("CH4", 1.0),
    "CO2e": ("CO2e", 1.0),  # already weighed by whoever published it
}
UNWEIGHTED = ("CO2", "CO2e")
_BASE: Mapping[str, str] = {"mass": "kg", "area": "ha", "volume": "L", "energy": "kWh", "money": "yuan",
                            "animals": "head", "people": "person", "power": "kW"}  # fmt: skip
_YEARLY = re.compile(r"/\s*(?:a|yr|year|年)$")  # activity data are those of a year
_DAY = ("day", "days", "d", "天", "日")


@dataclass(frozen=True)
class FactorUnit:
    """The unit of an emission factor: a mass of a substance per what, such as kg CH4 per head."""

    mass: str
    substance: str
    per: str

    @property
    def gas(self) -> str:
        return SUBSTANCES[self.substance][0]

    @property
    def kg_of_gas(self) -> float:
        """How many kg of the gas one of the unit's mass is."""
        return float(unit_ratio(self.mass, "kg", where=self.mass)) * SUBSTANCES[self.substance][1]


def read_factor_unit(unit: str, where: str) -> FactorUnit:
    """Read the unit of an emission factor; raise DataError when it is not a mass of a substance per something.

    A trailing "per year" is dropped, and so is what a mass below the line is of ("kg N2O-N/kg N" is per kg).
    """
    above, _, below = _plain(unit).partition("/")
    mass, _, substance = above.strip().partition(" ")
    per = _split_term(below, where)[0] if below and "/" not in below else ""
    if not per or substance not in SUBSTANCES or kind_of_unit(mass, where=where) != "mass":
        raise DataError(
            f"'{unit}' is not the unit of an emission factor",
            where=where,
            remedy=f'write a mass, a substance ({", ".join(SUBSTANCES)}) and per what, such as "kg CO2/L"',
        )
    kind_of_unit(per, where=where)
    return FactorUnit(mass, substance, per)


def multiply(figures: Iterable[tuple[float, str, int]], unit: str, where: str) -> float:
    """Return the product of figures (value, unit, power 1 or -1) in `unit`; units above and below the line cancel.

    Masses cancel only where they are of the same substance: kg N/kg times kg N2O-N/kg N is kg N2O-N/kg. Raises DataError
    where the product measures something else than `unit`.
    """
    value, size, found = 1.0, Fraction(1), Counter[str]()
    for number, one, power in figures:
        value *= number**power
        ratio, dimensions = _measure(one, where)
        size *= ratio**power
        found.update({name: power * times for name, times in dimensions.items()})
    ratio, wanted = _measure(unit, where)
    if {name: power for name, power in found.items() if power} != {
        name: power for name, power in wanted.items() if power
    }:
        raise DataError(
            f"the product measures {_written(found)}, and '{unit}' measures {_written(wanted)}",
            where=where,
            remedy="correct the unit of the factor or of one of its parameters, or the list of parameters",
        )
    size /= ratio
    return value * float(size.numerator) / float(size.denominator)


def check_unit(unit: str, where: str) -> None:
    """Raise DataError for the unit of a parameter that cannot be read."""
    _measure(unit, where)


def _measure(unit: str, where: str) -> tuple[Fraction, Counter[str]]:
    """Return the size of a unit in base units, and the power of each dimension."""
    plain = _plain(unit)
    if plain in ("ratio", "1", "%"):
        return Fraction(1, 100) if plain == "%" else Fraction(1), Counter()
    size, found = Fraction(1), Counter[str]()
    for at, part in enumerate(plain.split("/")):
        sign = -1 if at else 1
        if part.strip() in _DAY:
            found["day"] += sign
            continue
        name, substance = _split_term(part, where)
        kind = kind_of_unit(name, where=where)
        size *= unit_ratio(name, _BASE[kind], where=where) ** sign
        found[f"{kind} of {substance}" if substance else kind] += sign
    return size, found


def _split_term(part: str, where: str) -> tuple[str, str]:
    """Split "kg N" into a unit and what the mass is of; what is a unit as a whole ("10 000 t") has no substance."""
    part = part.strip()
    try:
        kind_of_unit(part, where=where)
    except DataError:
        name, _, substance = part.rpartition(" ")
        if not name:
            raise
        kind_of_unit(name, where=where)
        return name, substance
    return part, ""


def _plain(unit: str) -> str:
    return _YEARLY.sub("", unicodedata.normalize("NFKC", unit).strip())


def _written(dimensions: Counter[str]) -> str:
    above = [name for name, power in dimensions.items() for _ in range(power)]
    below = [name for name, power in dimensions.items() for _ in range(-power)]
    return " × ".join(above or ["a number"]) + "".join(f" per {name}" for name in below)
