"""Units of measurement: those of Chinese yearbooks and farm records, converted exactly or refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import DataError, nearest

Number = TypeVar("Number", float, NDArray[np.float64])

# Kind → definition for pint → names. Text from a file is compared with the names; only the definitions reach pint, which
# evaluates what it is given. "ton" is the metric ton, as in the English headers of the yearbooks.
_UNITS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "mass": {
        "kilogram": ("kg", "千克", "公斤"),
        "metric_ton": ("t", "吨", "公吨", "tonne", "tonnes", "ton", "tons"),
        "10**4 * metric_ton": ("万吨", "10 000 t", "10 000 tons"),
        "gram": ("g", "克"),
        "kilogram / 2": ("斤", "市斤"),
        "10**3 * metric_ton": ("千吨", "kt"),
        "10**6 * metric_ton": ("百万吨", "Mt"),
        "10**8 * metric_ton": ("亿吨", "100 million tons"),
        "50 * kilogram": ("担", "市担"),
        "milligram": ("mg", "毫克"),
        "microgram": ("µg", "微克"),
    },
    "area": {
        "hectare": ("ha", "公顷", "hm2", "hectare", "hectares"),
        "hectare / 15": ("mu", "亩", "市亩"),
        "10**3 * hectare": ("千公顷", "1 000 ha", "1 000 hectares"),
        "10**4 * hectare": ("万公顷", "10 000 hectares"),
        "10**4 * hectare / 15": ("万亩", "10 000 mu"),
        "meter**2": ("m2", "平方米"),
        "kilometer**2": ("km2", "平方公里", "平方千米"),
        "4046.8564224 * meter**2": (
            "acre",
            "acres",
            "英亩",
        ),  # the international acre; pint's own is the one of US surveys
    },
    "volume": {
        "liter": ("L", "升", "litre", "litres", "liter", "liters"),
        "meter**3": ("m3", "立方米", "立方"),
        "milliliter": ("mL", "毫升"),
        "10**4 * meter**3": ("万立方米", "万立方"),
        "10**8 * meter**3": ("亿立方米", "亿立方"),
    },
    "money": {
        "yuan": ("yuan", "元", "CNY", "RMB"),
        "10**4 * yuan": ("万元", "10 000 yuan"),
        "10**8 * yuan": ("亿元", "100 million yuan"),
        "10**3 * yuan": ("千元",),
        "10**6 * yuan": ("百万元", "million yuan"),
    },
    "energy": {
        "kilowatt_hour": ("kWh", "千瓦时", "度"),
        "10**4 * kilowatt_hour": ("万千瓦时", "万度", "10 000 kWh"),
        "10**8 * kilowatt_hour": ("亿千瓦时", "亿度", "100 million kWh"),
        "megawatt_hour": ("MWh",),
        "megajoule": ("MJ",),
        "gigajoule": ("GJ",),
        "terajoule": ("TJ",),
        # Coal equivalent: 7,000 kilocalories (of 4.1868 kJ) a kilogram, GB/T 2589.
        "29.3076 * megajoule": ("kgce", "千克标准煤", "千克标煤"),
        "29.3076 * gigajoule": ("tce", "吨标准煤", "吨标煤"),
        "29.3076 * 10**4 * gigajoule": ("万吨标准煤", "万吨标煤", "10 000 tce"),
    },
    "power": {"kilowatt": ("kW", "千瓦"), "10**4 * kilowatt": ("万千瓦", "10 000 kW")},
    "animals": {
        "animals": ("head", "heads", "头", "只", "匹", "羽"),
        "10**4 * animals": ("万头", "万只", "万匹", "万羽", "10 000 heads"),
    },
    "people": {"people": ("person", "persons", "人"), "10**4 * people": ("万人", "10 000 persons")},
}
_SHARES = {"%": "%", "percent": "%", "percentage": "%", "‰": "‰"}
# 度 is of electricity, and of temperature, longitude and hardness; Mt a million tonnes, and a metric ton to some.
_NOT_IN_HEADERS = ("度", "Mt")
_OWN_DIMENSIONS = ("yuan = [money]", "people = [people]", "animals = [animals]")


def convert(values: Number, unit: str, to: str, *, where: str) -> Number:
    """Convert numbers from one unit to another; `where` names them in errors.

    A unit is a known name (kg, t, 万吨, mu, 亩, 千公顷, L, 万元, kWh, …) or one name per another (kg/mu, 元/亩). Full-width
    letters, raised figures and spaces do not matter; capitals do. NaN stays NaN. Ratios are exact: 1 mu is 1/15 ha. Raises
    DataError for a unit that is unknown, or of another kind than `to`.
    """
    factor = unit_ratio(unit, to, where=where)
    return values * float(factor.numerator) / float(factor.denominator)


def unit_ratio(unit: str, to: str, *, where: str) -> Fraction:
    """Return how many of `to` one `unit` is, exactly: 10,000 for 万吨 in 吨, 1/15 for 亩 in 公顷. Raises as convert() does."""
    kind, definition = _read(unit, where)
    wanted, target = _read(to, where)
    if kind != wanted:
        raise DataError(
            f"the unit '{unit}' measures {kind}, which cannot be expressed in '{to}' ({wanted})",
            where=where,
            remedy=f"correct the unit; for {wanted}, {nearest(unit, _names(wanted))}",
        )
    return _ratio(definition, target)


def kind_of_unit(unit: str, *, where: str) -> str:
    """Say what a unit measures: mass, area, volume, money, energy, power, animals, people, or a quotient such as mass/area."""
    return _read(unit, where)[0]


def unit_of_header(text: str) -> str | None:
    """Return the unit that stands in the brackets of a header, in the spelling of the list; None where it is unknown there.

    Beside what convert() knows: "per" for "/" (Kg per ha is kg/ha), capitals where only one unit could be meant, % and ‰.
    """
    plain = _plain(re.sub(r"\s+per\s+", "/", text.strip(), flags=re.IGNORECASE))
    if share := _SHARES.get(plain.casefold()):
        return share
    exact, loose = _spellings()
    found = [exact.get(part) or loose.get(part.casefold()) for part in plain.split("/")]
    known = [one for one in found if one is not None]
    return "/".join(known) if len(known) == len(found) <= 2 else None


def same_unit(one: str, other: str) -> bool | None:
    """Tell whether two units are of the same size, as t and 吨; None where one is unknown, and they are written differently."""
    one, other = unit_of_header(one) or one, unit_of_header(other) or other
    if _plain(one) == _plain(other):
        return True
    try:
        return unit_ratio(one, other, where="") == 1
    except DataError:
        unknown = any(None in map(_known().get, _plain(unit).split("/")) for unit in (one, other))
        return None if unknown else False


def _read(unit: str, where: str) -> tuple[str, str]:
    """Find the kind and the definition of a unit in the closed list."""
    found = [_known().get(part) for part in _plain(unit).split("/")]
    known = [one for one in found if one is not None]
    if len(known) < len(found) or len(known) > 2:
        shown = unit if len(unit) <= 40 else f"{unit[:40]}…"
        raise DataError(f"the unit '{shown}' is unknown", where=where, remedy=nearest(shown, _names()))
    return "/".join(kind for kind, _ in known), " / ".join(f"({definition})" for _, definition in known)


def _names(kind: str = "") -> list[str]:
    """List the names of a kind; all of them, the most common first, for a quotient and where none is named."""
    kinds = [kind] if kind in _UNITS else list(_UNITS)
    return [name for one in kinds for names in _UNITS[one].values() for name in names]


def _plain(unit: str) -> str:
    return "".join(unicodedata.normalize("NFKC", unit).split())


@cache
def _known() -> Mapping[str, tuple[str, str]]:
    return {
        _plain(name): (kind, definition)
        for kind, definitions in _UNITS.items()
        for definition, names in definitions.items()
        for name in names
    }


@cache
def _spellings() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Names by how a header may write them, and without capitals, those of one letter and those of several units left out."""
    names = [name for name in _names() if name not in _NOT_IN_HEADERS]
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(_plain(name).casefold(), []).append(name)
    loose = {plain: found[0] for plain, found in folded.items() if len(found) == 1 and len(plain) > 1}
    return {_plain(name): name for name in names}, loose


@cache
def _ratio(definition: str, target: str) -> Fraction:
    """Divide one unit by another; both are definitions of the table above, never text of a file."""
    parse = _registry().parse_expression
    ratio: Fraction = (parse(definition) / parse(target)).to_base_units().magnitude
    return Fraction(ratio)


@cache
def _registry() -> Any:
    import pint  # takes half a second, and most studies convert nothing

    registry: Any = pint.UnitRegistry(non_int_type=Fraction)
    for line in _OWN_DIMENSIONS:
        registry.define(line)
    return registry
