"""Factor sets: emission factors by source, those that come with the package and an office's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from evalkit.accounting.dimensions import UNWEIGHTED, FactorUnit, read_factor_unit
from evalkit.accounting.vocabulary import vocabulary
from evalkit.accounting.warming import warming_potentials
from evalkit.catalogue import checked_language, say
from evalkit.errors import ConfigError, DataError
from evalkit.tables.contents import in_short
from evalkit.tables.table import Provenance
from evalkit.tables.units import convert, kind_of_unit

Status = Literal["published", "computed", "quoted", "recalled", "unknown", "excluded"]


@dataclass(frozen=True)
class Parameter:
    """A figure of a factor set: its value, its range (95 %) where one is printed, and who says so.

    Factors that rest on one parameter share its error. `range` is None where no range is printed.
    """

    name: str
    status: Status
    value: float
    unit: str
    source: str
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Factor:
    """One emission source of a set: how much of a substance a unit of an activity emits, and who says so.

    `activity` is what is counted, `process` how it emits. `unit` is written "kg C/kg": mass, substance, per what. A `sink` takes
    up what it names. `parameters` are the figures that `value` is made of, (name, power 1 or -1); itself, where it is one number.
    Where the factor differs by rows, `value` is None and `cases` holds (column → the words it applies to, value).

    `status`: "published" was read in the publication or in a package that holds its tables, "computed" follows from such
    figures, "quoted" was read where others quote it, "recalled" was not checked. An "unknown" factor has no printed value; an
    "excluded" source is left out for a `reason` (language → clause). `unusual` says why a factor outside the usual range is
    right.
    """

    name: str
    status: Status
    activity: str
    process: str
    label: Mapping[str, str]
    kinds: tuple[str, ...]
    value: float | None = None
    unit: str = ""
    source: str = ""
    sink: bool = False
    cases: tuple[tuple[Mapping[str, tuple[str, ...]], float], ...] = ()
    parameters: tuple[tuple[str, int], ...] = ()
    reason: Mapping[str, str] = field(default_factory=dict)
    unusual: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_valued(self) -> bool:
        """Whether the set has a number for it."""
        return self.value is not None or bool(self.cases)

    def read_unit(self) -> FactorUnit:
        """Return the unit as mass, substance and per what."""
        return read_factor_unit(self.unit, self.name)

    def by_words(self) -> Mapping[tuple[str, ...], float]:
        """Return the value of each combination of the words of `cases`, as plain_word() writes them."""
        return {
            tuple(map(plain_word, words)): value
            for columns, value in self.cases
            for words in product(*columns.values())
        }


@dataclass(frozen=True)
class Density:
    """The mass of a litre of a fuel, and who says so."""

    value: float
    unit: str
    source: str

    @property
    def kg_per_litre(self) -> float:
        return convert(self.value, self.unit, "kg/L", where="density")


@dataclass(frozen=True)
class FactorSet:
    """The factors of one publication by emission source, with what is needed to express them in CO2 equivalents.

    `gwp100` weighs gases other than CO2; `density` (by activity) turns volumes into masses. `excludes` are groups of
    activities that the set does not count, with the reason. `coefficients_in_standard` and `printed` say how much of a
    standard is public, where that is known.
    """

    name: str
    title: Mapping[str, str]
    published_by: str
    source: str
    status: str
    gases: tuple[str, ...]
    boundary: Mapping[str, str]
    factors: Mapping[str, Factor]
    provenance: tuple[Provenance, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    gwp100: Mapping[str, float] = field(default_factory=dict)
    gwp_source: str = ""
    density: Mapping[str, Density] = field(default_factory=dict)
    excludes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    coefficients_in_standard: int | None = None
    printed: int | None = None

    __repr__ = in_short

    def of_activity(self, activity: str) -> tuple[Factor, ...]:
        """Return the entries of an activity, in the order of the file."""
        return tuple(one for one in self.factors.values() if one.activity == activity)

    def rate(self, source: str, unit: str, *, where: str) -> float:
        """Return kg CO2e per `unit` of the activity of an emission source that has one value in this set; below 0 for a sink.

        Carbon counts 44/12, nitrogen in N2O 44/28 times the GWP of the set. A volume is turned into a mass, or a mass into a
        volume, with the density that the set gives; without one DataError is raised, as for a unit of another kind.
        """
        factor = self.factors[source]
        if factor.value is None:
            why = "differs by " + ", ".join(factor.cases[0][0]) if factor.cases else factor.status
            raise DataError(
                f"the set '{self.name}' has no one value for '{source}' ({why})",
                where=where,
                remedy=f'leave the source out (leave_out=("{source}",)), or use another set',
            )
        return factor.value * self.weigh(factor, unit, where=where)

    def weigh(self, factor: Factor, unit: str, *, where: str) -> float:
        """Return kg CO2e per `unit` of the activity for a factor of 1; raises as rate() does."""
        read = factor.read_unit()
        weight = 1.0 if read.gas in UNWEIGHTED else self.gwp100[read.gas]
        amount = self._amount(factor.activity, unit, read.per, where)
        return (-1 if factor.sink else 1) * read.kg_of_gas * weight * amount

    def needs_density(self, factor: Factor, unit: str, *, where: str) -> bool:
        """Tell whether the unit is a volume and the factor of the source per mass, or the other way round."""
        kinds = {kind_of_unit(unit, where=where), kind_of_unit(factor.read_unit().per, where=where)}
        return kinds == {"mass", "volume"}

    def _amount(self, activity: str, unit: str, per: str, where: str) -> float:
        """Express one `unit` of the activity in the unit that its factor is per."""
        if {kind_of_unit(unit, where=where), kind_of_unit(per, where=where)} != {"mass", "volume"}:
            return convert(1.0, unit, per, where=where)
        if activity not in self.density:
            raise DataError(
                f"'{activity}' is given in '{unit}' and its factor is per '{per}'; the set '{self.name}' has no density",
                where=where,
                remedy=f"give it in a unit like '{per}', or add [density.{activity}] to a factor file of your own",
            )
        density = self.density[activity]
        kg_per_litre = density.kg_per_litre
        if kind_of_unit(unit, where=where) == "volume":
            return convert(convert(1.0, unit, "L", where=where) * kg_per_litre, "kg", per, where=where)
        return convert(convert(1.0, unit, "kg", where=where) / kg_per_litre, "L", per, where=where)

    def weighed_by(self, report: str) -> FactorSet:
        """Return the set with the warming potentials of a report of the IPCC: SAR, AR4, AR5 or AR6. ConfigError for another."""
        found, source = warming_potentials(report)
        gwp100 = {gas: found[gas] for gas in self.gases if gas not in UNWEIGHTED}
        return replace(self, gwp100=gwp100, gwp_source=source if gwp100 else "")

    def leaves_out(self, language: str = "en") -> str:
        """Say in words what the set covers and what it leaves out, in English ("en") or Chinese ("zh")."""
        chosen = checked_language(language)
        comma, space = ("、", "") if chosen == "zh" else (", ", " ")

        def named(factors: list[Factor]) -> str:
            return comma.join(one.label[chosen] for one in factors)

        def having(*statuses: Status) -> list[Factor]:
            return [one for one in self.factors.values() if one.status in statuses]

        covered = having("published", "computed", "quoted", "recalled")
        sinks = [one for one in covered if one.sink]
        gases = comma.join(self.gases)
        sources = named([one for one in covered if not one.sink])
        said = (
            [say("accounting.covers", chosen, title=self.title[chosen], sources=sources, gases=gases)]
            if sources
            else []
        )
        if sinks:
            said.append(say("accounting.sinks", chosen, title=self.title[chosen], sinks=named(sinks), gases=gases))
        said.append(self.boundary[chosen])
        if self.coefficients_in_standard is not None:
            counted = {"total": self.coefficients_in_standard, "printed": self.printed}
            said.append(say("accounting.printed", chosen, **counted))
        if unknown := having("unknown"):
            said.append(say("accounting.unknown", chosen, sources=named(unknown)))
        if quoted := having("quoted"):
            said.append(say("accounting.quoted", chosen, sources=named(quoted)))
        if recalled := having("recalled"):
            said.append(say("accounting.recalled", chosen, sources=named(recalled)))
        excluded = having("excluded")
        for reason in dict.fromkeys(one.reason[chosen] for one in excluded):
            alike = [one for one in excluded if one.reason[chosen] == reason]
            said.append(say("accounting.excluded", chosen, sources=named(alike), reason=reason))
        groups, activities = vocabulary().groups, vocabulary().activities
        for reason in dict.fromkeys(words[chosen] for words in self.excludes.values()):
            alike_groups = [groups[name][chosen] for name, words in self.excludes.items() if words[chosen] == reason]
            said.append(say("accounting.excluded", chosen, sources=comma.join(alike_groups), reason=reason))
        spoken_of = {activities[one.activity].group for one in self.factors.values() if one.activity in activities}
        absent = [words[chosen] for name, words in groups.items() if name not in spoken_of | set(self.excludes)]
        if absent:
            said.append(say("accounting.absent", chosen, sources=comma.join(absent)))
        return space.join(said)


def plain_word(word: object) -> str:
    """Write a word of a case so that those of a table compare with it: half width, without spaces; 2021 for 2021年 and 2021.0."""
    plain = "".join(unicodedata.normalize("NFKC", str(word)).split())
    return plain.removesuffix("年").removesuffix(".0") if plain[:1].isdigit() else plain


def combine(sets: tuple[FactorSet, ...]) -> FactorSet:
    """Join factor sets into one account: what one set excludes, another may count; parameters keep the name of their set.

    Raises ConfigError where two are called alike, give one source, or one gives a potential or density otherwise than the other.
    """
    first, *others = sets
    if not others:
        return first
    names = [one.name for one in sets]
    if repeated := sorted({one for one in names if names.count(one) > 1}):  # figures go by the name of their set
        raise ConfigError(
            f"two of the sets are called '{repeated[0]}'",
            where="factor_set",
            remedy="name each set once, and give files of your own different names (name = …)",
        )
    counted = [{name for name, one in each.factors.items() if one.is_valued} for each in sets]
    for at, each in enumerate(sets[1:], start=1):
        for before in range(at):
            if both := sorted(counted[at] & counted[before]):
                raise ConfigError(
                    f"the sets '{sets[before].name}' and '{each.name}' both have a factor for {', '.join(both)}",
                    where="factor_set",
                    remedy="take one of them, or write a file of your own with the factors that you choose",
                )
    potentials: dict[str, float] = {}
    for each in sets:
        for gas, value in each.gwp100.items():
            if potentials.setdefault(gas, value) != value:
                raise ConfigError(
                    f"the sets weigh {gas} by {potentials[gas]:g} and by {value:g}",
                    where="factor_set",
                    remedy='choose the potentials of one report: factor_set(…, gwp="AR5")',
                )
    reports = list(dict.fromkeys(one.gwp_source for one in sets if one.gwp_source))
    if len(reports) > 1:
        raise ConfigError(
            f"the sets weigh gases by different reports: {'; '.join(reports)}",
            where="factor_set",
            remedy='choose the potentials of one report: factor_set(…, gwp="AR5")',
        )
    densities: dict[str, Density] = {}
    for each in sets:
        for name, density in each.density.items():
            before_it = densities.setdefault(name, density)
            if density.kg_per_litre != before_it.kg_per_litre:
                raise ConfigError(
                    f"the sets weigh a litre of {name} by {before_it.kg_per_litre:g} and by {density.kg_per_litre:g} kg",
                    where="factor_set",
                    remedy="correct the density in your own file, or leave it out there",
                )
    factors: dict[str, Factor] = {}
    for each in sets:
        for name, one in each.factors.items():
            if name not in factors or (one.is_valued and not factors[name].is_valued):
                factors[name] = one
    counted_groups = {
        vocabulary().activities[one.activity].group
        for one in factors.values()
        if one.is_valued and one.activity in vocabulary().activities
    }
    excluded = {name: words for each in sets for name, words in each.excludes.items() if name not in counted_groups}
    join = " + ".join
    return FactorSet(
        name=join(one.name for one in sets),
        title={language: join(one.title[language] for one in sets) for language in first.title},
        published_by="; ".join(dict.fromkeys(one.published_by for one in sets)),
        source="; ".join(dict.fromkeys(one.source for one in sets)),
        status="; ".join(f"{one.name}: {one.status}" for one in sets),
        gases=tuple(dict.fromkeys(gas for one in sets for gas in one.gases)),
        boundary={language: " ".join(one.boundary[language] for one in sets) for language in first.boundary},
        factors=factors,
        provenance=tuple(each for one in sets for each in one.provenance),
        parameters={name: each for one in sets for name, each in one.parameters.items()},
        gwp100=potentials,
        gwp_source="".join(reports),
        density=densities,
        excludes=excluded,
    )
