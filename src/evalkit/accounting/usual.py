"""What is usual of emission factors: one far from it is explained by the mistakes that offices make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evalkit.accounting.dimensions import UNWEIGHTED, FactorUnit, read_factor_unit
from evalkit.accounting.factors import Density
from evalkit.accounting.vocabulary import Usual, usual_of, vocabulary
from evalkit.tables.units import convert, kind_of_unit

_PER = {
    "area": ("km2", "ha", "mu"),
    "mass": ("t", "kg", "g"),
    "energy": ("MWh", "kWh"),
    "animals": ("万头", "head"),
    "volume": ("m3", "L"),
}
_ABOVE = ("t", "kg", "g")


def explain_unusual(
    activity: str, process: str, value: float, unit: str, density: Mapping[str, Density], where: str
) -> tuple[str, str] | None:
    """Say what is wrong with a factor outside the usual range and what to do; None where it lies inside or none is at hand.

    Tried are carbon for CO2 and nitrogen for N2O, another mass above and another unit below the line, and the factor of
    another product.
    """
    usual = usual_of(activity, process) if activity in vocabulary().activities else None
    read = read_factor_unit(unit, where)
    if usual is None or _lies(value, read, usual, activity, density, where) is not False:
        return None
    found = _first_fit(activity, process, value, read, usual, density, where)
    what = f"the factor of {activity} is {value:g} {unit}; usual is {usual.low:g} to {usual.high:g} {usual.unit} ({usual.source})"
    remedy = (
        f"{found} If it is right as it stands, write why: "
        'unusual = { en = "…", zh = "…" }, which every account repeats'
    )
    return what, remedy


def _first_fit(
    activity: str,
    process: str,
    value: float,
    read: FactorUnit,
    usual: Usual,
    density: Mapping[str, Density],
    where: str,
) -> str:
    for other in _others(read, where):
        if _lies(value, other, usual, activity, density, where):
            return f"is it {other.mass} {other.substance}/{other.per}?"
    for name, one in vocabulary().activities.items():
        product = usual_of(name, process)
        if product is not None and _lies(value, read, product, name, density, where):
            return f"is it the factor of {one.label['en']}?"
    return "compare value and unit with the source."


def _others(read: FactorUnit, where: str) -> Iterator[FactorUnit]:
    """Other readings of the same number, the likeliest first."""
    for one, other in (("CO2", "C"), ("C", "CO2"), ("N2O", "N2O-N"), ("N2O-N", "N2O")):
        if read.substance == one:
            yield FactorUnit(read.mass, other, read.per)
    for per in _PER.get(kind_of_unit(read.per, where=where), ()):
        yield FactorUnit(read.mass, read.substance, per)
    for mass in _ABOVE:
        yield FactorUnit(mass, read.substance, read.per)


def _lies(
    value: float, read: FactorUnit, usual: Usual, activity: str, density: Mapping[str, Density], where: str
) -> bool | None:
    """Tell whether a factor lies in a range; None where the two do not compare: other gases, other kinds of activity."""
    wanted = read_factor_unit(usual.unit, where)
    gases = {"CO2" if gas in UNWEIGHTED else gas for gas in (read.gas, wanted.gas)}
    kinds = [kind_of_unit(one, where=where) for one in (wanted.per, read.per)]
    if len(gases) > 1:
        return None
    if kinds == ["mass", "volume"] and activity in density:
        given = density[activity]
        per = convert(1.0, wanted.per, "kg", where=where) / convert(given.value, given.unit, "kg/L", where=where)
        amount = per / convert(1.0, read.per, "L", where=where)
    elif kinds[0] == kinds[1]:
        amount = convert(1.0, wanted.per, read.per, where=where)
    else:
        return None
    found = value * read.kg_of_gas * amount / wanted.kg_of_gas
    return usual.low <= found <= usual.high
