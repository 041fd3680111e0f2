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
_FUELS = (0.7, 0.9)  # kg a litre of petrol and of diesel weighs, where the file does not say
_POTENTIALS = {"CH4": (21.0, 30.0), "N2O": (265.0, 310.0)}  # over 100 years, in the reports of the IPCC


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
    wanted = read_factor_unit(usual.unit, where)
    other_gas = [FactorUnit(read.mass, wanted.substance, read.per)] if _weights(read.gas, wanted.gas) != (1, 1) else []
    for other in (*other_gas, *_others(read, where)):
        if other != read and _lies(value, other, usual, activity, density, where):
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
    """Tell whether a factor lies in a range; None where the two do not compare: other kinds of activity.

    CO2 and CO2 equivalents (carbon, too: some papers write methane as carbon) are compared with methane and nitrous oxide by
    the lowest and the highest potential; any two other gases are not the same.
    """
    wanted = read_factor_unit(usual.unit, where)
    kinds = [kind_of_unit(one, where=where) for one in (wanted.per, read.per)]
    if kinds == ["mass", "volume"]:
        given = density.get(activity)
        weights = _FUELS if given is None else (given.kg_per_litre, given.kg_per_litre)
        per = convert(1.0, wanted.per, "kg", where=where) / convert(1.0, read.per, "L", where=where)
        amounts = (per / weights[1], per / weights[0])
    elif kinds[0] == kinds[1]:
        amounts = (convert(1.0, wanted.per, read.per, where=where),) * 2
    else:
        return None
    weighed = _weights(read.gas, wanted.gas)
    if weighed is None:
        return False
    least, most = (value * read.kg_of_gas * amount / wanted.kg_of_gas for amount in amounts)
    return usual.low * weighed[0] <= most and least <= usual.high * weighed[1]


def _weights(gas: str, wanted: str) -> tuple[float, float] | None:
    """Return between which numbers one kg of the gas that is wanted is in kg of the other; None where they do not compare."""
    if gas == wanted or {gas, wanted} <= set(UNWEIGHTED):
        return 1.0, 1.0
    return _POTENTIALS.get(wanted) if gas in UNWEIGHTED else None
