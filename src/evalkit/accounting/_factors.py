"""Emission factors: one coefficient, and the set that an inventory uses, with what the set leaves out in words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evalkit.accounting._vocabulary import source_labels
from evalkit.catalogue import checked_language, say
from evalkit.errors import DataError
from evalkit.table import Provenance
from evalkit.units import convert, kind_of

Status = Literal["published", "computed", "recalled", "unknown", "excluded"]
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
_UNIT = re.compile(r"([^/]+) ([A-Za-z0-9-]+)/([^/]+)")


@dataclass(frozen=True)
class Factor:
    """One entry of a factor set: how much of a substance a unit of an emission source emits, and who says so.

    `unit` is written "kg C/kg": mass, substance, per what. An "unknown" factor has no printed value; an "excluded" source is
    left out for a `reason` (language → clause).
    """

    name: str
    status: Status
    value: float | None = None
    unit: str = ""
    source: str = ""
    reason: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Density:
    """The mass of a litre of a fuel, and who says so."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class FactorSet:
    """The factors of one publication by emission source, with what is needed to express them in CO2 equivalents.

    `gwp100` weighs gases other than CO2; `density` (by emission source) turns volumes into masses. `coefficients_in_standard`
    and `printed` say how much of a standard is public, where that is known.
    """

    name: str
    title: Mapping[str, str]
    published_by: str
    source: str
    status: str
    gases: tuple[str, ...]
    boundary: Mapping[str, str]
    factors: Mapping[str, Factor]
    provenance: Provenance
    gwp100: Mapping[str, float] = field(default_factory=dict)
    gwp_source: str = ""
    density: Mapping[str, Density] = field(default_factory=dict)
    coefficients_in_standard: int | None = None
    printed: int | None = None

    def rate(self, source: str, unit: str, *, where: str) -> float:
        """Return kg CO2e per `unit` of an emission source that has a value in this set.

        Carbon counts 44/12, nitrogen in N2O 44/28 times the GWP of the set. A volume is turned into a mass, or a mass into a
        volume, with the density that the set gives; without one DataError is raised, as for a unit of another kind.
        """
        factor = self.factors[source]
        if factor.value is None:
            raise DataError(
                f"the set '{self.name}' has no value for '{source}' ({factor.status})",
                where=where,
                remedy=f'leave the source out (leave_out=("{source}",)), or use another set',
            )
        mass, substance, per = split_unit(factor.unit, where)
        gas, ratio = SUBSTANCES[substance]
        weight = 1.0 if gas in UNWEIGHTED else self.gwp100[gas]
        return convert(factor.value, mass, "kg", where=where) * ratio * weight * self._amount(source, unit, per, where)

    def needs_density(self, source: str, unit: str, *, where: str) -> bool:
        """Tell whether the unit is a volume and the factor of the source per mass, or the other way round."""
        per = split_unit(self.factors[source].unit, where)[2]
        return {kind_of(unit, where=where), kind_of(per, where=where)} == {"mass", "volume"}

    def _amount(self, source: str, unit: str, per: str, where: str) -> float:
        """Express one `unit` of the source in the unit that its factor is per."""
        if not self.needs_density(source, unit, where=where):
            return convert(1.0, unit, per, where=where)
        if source not in self.density:
            raise DataError(
                f"'{source}' is given in '{unit}' and its factor is per '{per}'; the set '{self.name}' has no density",
                where=where,
                remedy=f"give it in a unit like '{per}', or add [density.{source}] to a factor file of your own",
            )
        density = self.density[source]
        kg_per_litre = convert(density.value, density.unit, "kg/L", where=where)
        if kind_of(unit, where=where) == "volume":
            return convert(convert(1.0, unit, "L", where=where) * kg_per_litre, "kg", per, where=where)
        return convert(convert(1.0, unit, "kg", where=where) / kg_per_litre, "L", per, where=where)

    def leaves_out(self, language: str = "en") -> str:
        """Say in words what the set covers and what it leaves out, in English ("en") or Chinese ("zh")."""
        labels, chosen = source_labels(), checked_language(language)
        comma, space = ("、", "") if chosen == "zh" else (", ", " ")

        def named(sources: list[str]) -> str:
            return comma.join(labels[source][chosen] for source in sources)

        def having(*statuses: Status) -> list[str]:
            return [source for source in labels if source in self.factors and self.factors[source].status in statuses]

        covered = named(having("published", "computed", "recalled"))
        gases = comma.join(self.gases)
        said = [say("accounting.covers", chosen, title=self.title[chosen], sources=covered, gases=gases)]
        said.append(self.boundary[chosen])
        if self.coefficients_in_standard is not None:
            counted = {"total": self.coefficients_in_standard, "printed": self.printed}
            said.append(say("accounting.printed", chosen, **counted))
        if unknown := having("unknown"):
            said.append(say("accounting.unknown", chosen, sources=named(unknown)))
        if recalled := having("recalled"):
            said.append(say("accounting.recalled", chosen, sources=named(recalled)))
        for reason in dict.fromkeys(self.factors[source].reason[chosen] for source in having("excluded")):
            alike = [source for source in having("excluded") if self.factors[source].reason[chosen] == reason]
            said.append(say("accounting.excluded", chosen, sources=named(alike), reason=reason))
        if absent := [source for source in labels if source not in self.factors]:
            said.append(say("accounting.absent", chosen, sources=named(absent)))
        return space.join(said)


def split_unit(unit: str, where: str) -> tuple[str, str, str]:
    """Split the unit of a factor into mass, substance and per what; raise DataError when it is not written so."""
    found = _UNIT.fullmatch(unicodedata.normalize("NFKC", unit).strip())
    if found is None or found[2] not in SUBSTANCES or kind_of(found[1], where=where) != "mass":
        raise DataError(
            f"'{unit}' is not the unit of an emission factor",
            where=where,
            remedy=f'write a mass, a substance ({", ".join(SUBSTANCES)}) and per what, such as "kg CO2/L"',
        )
    return found[1], found[2], found[3]
