"""Factor sets: TOML files of emission factors, those that come with the package and an office's own."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from evalkit.catalogue import LANGUAGES, checked_language, say
from evalkit.errors import ConfigError, DataError, SourceError, nearest
from evalkit.tables.contents import in_short
from evalkit.tables.table import Provenance
from evalkit.tables.units import convert, kind_of_unit


def factor_set(name_or_path: str | Path) -> FactorSet:
    """Read a factor set: one of the package by its name, or an office's own TOML file by its path (*.toml).

    The package has "literature" (coefficients of Chinese studies), "changji_2022" (the printed part of a local standard) and
    "ipcc_2006" (Tier 1 defaults). Raises ConfigError for an unknown name, and SourceError for a file that cannot be read or
    has unknown, missing or impossible entries.
    """
    shipped = files("evalkit").joinpath("accounting", "factor_sets")
    names = sorted(item.name.removesuffix(".toml") for item in shipped.iterdir() if item.name.endswith(".toml"))
    if str(name_or_path) in names:
        data = shipped.joinpath(f"{name_or_path}.toml").read_bytes()
        path = f"evalkit/accounting/factor_sets/{name_or_path}.toml"
        return _read_factors(data, path, hashlib.sha256(data).hexdigest(), taken=())
    path = Path(name_or_path).as_posix()
    if not path.endswith(".toml"):
        raise ConfigError(
            f"there is no factor set '{name_or_path}'",
            where="factor_set",
            remedy=f"{nearest(str(name_or_path), names)}; or give the path of a file that ends in .toml",
        )
    try:
        data = Path(name_or_path).read_bytes()
    except OSError as error:
        remedy = f"check the path; the sets of the package are {', '.join(names)}"
        raise SourceError(f"the factor file cannot be read ({error.strerror})", where=path, remedy=remedy) from None
    return _read_factors(data, path, hashlib.sha256(data).hexdigest(), taken=tuple(names))


_Status = Literal["published", "computed", "recalled", "unknown", "excluded"]
# Substance → the gas emitted, and kg of it per kg of the substance (molar masses 44 of CO2 and of N2O, 12 of C, 28 of N2).
_SUBSTANCES: Mapping[str, tuple[str, float]] = {
    "CO2": ("CO2", 1.0),
    "C": ("CO2", 44 / 12),
    "N2O": ("N2O", 1.0),
    "N2O-N": ("N2O", 44 / 28),
    "CH4": ("CH4", 1.0),
    "CO2e": ("CO2e", 1.0),  # already weighed by whoever published it
}
_UNWEIGHTED = ("CO2", "CO2e")
_UNIT = re.compile(r"([^/]+) ([A-Za-z0-9-]+)/([^/]+)")


@dataclass(frozen=True)
class Factor:
    """One entry of a factor set: how much of a substance a unit of an emission source emits, and who says so.

    `unit` is written "kg C/kg": mass, substance, per what. An "unknown" factor has no printed value; an "excluded" source is
    left out for a `reason` (language → clause).
    """

    name: str
    status: _Status
    value: float | None = None
    unit: str = ""
    source: str = ""
    reason: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Density:
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
    density: Mapping[str, _Density] = field(default_factory=dict)
    coefficients_in_standard: int | None = None
    printed: int | None = None

    __repr__ = in_short

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
        mass, substance, per = _split_unit(factor.unit, where)
        gas, ratio = _SUBSTANCES[substance]
        weight = 1.0 if gas in _UNWEIGHTED else self.gwp100[gas]
        return convert(factor.value, mass, "kg", where=where) * ratio * weight * self._amount(source, unit, per, where)

    def needs_density(self, source: str, unit: str, *, where: str) -> bool:
        """Tell whether the unit is a volume and the factor of the source per mass, or the other way round."""
        per = _split_unit(self.factors[source].unit, where)[2]
        return {kind_of_unit(unit, where=where), kind_of_unit(per, where=where)} == {"mass", "volume"}

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
        if kind_of_unit(unit, where=where) == "volume":
            return convert(convert(1.0, unit, "L", where=where) * kg_per_litre, "kg", per, where=where)
        return convert(convert(1.0, unit, "kg", where=where) / kg_per_litre, "L", per, where=where)

    def leaves_out(self, language: str = "en") -> str:
        """Say in words what the set covers and what it leaves out, in English ("en") or Chinese ("zh")."""
        labels, chosen = _source_labels(), checked_language(language)
        comma, space = ("、", "") if chosen == "zh" else (", ", " ")

        def named(sources: list[str]) -> str:
            return comma.join(labels[source][chosen] for source in sources)

        def having(*statuses: _Status) -> list[str]:
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


def _split_unit(unit: str, where: str) -> tuple[str, str, str]:
    """Split the unit of a factor into mass, substance and per what; raise DataError when it is not written so."""
    found = _UNIT.fullmatch(unicodedata.normalize("NFKC", unit).strip())
    if found is None or found[2] not in _SUBSTANCES or kind_of_unit(found[1], where=where) != "mass":
        raise DataError(
            f"'{unit}' is not the unit of an emission factor",
            where=where,
            remedy=f'write a mass, a substance ({", ".join(_SUBSTANCES)}) and per what, such as "kg CO2/L"',
        )
    return found[1], found[2], found[3]


_GASES = tuple(dict.fromkeys(gas for gas, _ in _SUBSTANCES.values()))
_TEXTS = ("name", "published_by", "source", "status")
_KEYS = (*_TEXTS, "title", "gases", "boundary", "coefficients_in_standard", "printed", "factors", "density", "gwp100")
_VALUED = ("value", "unit", "source")
_ENTRY: Mapping[_Status, tuple[str, ...]] = {  # what an entry of each status says; its source may always be named
    "published": _VALUED,
    "computed": _VALUED,
    "recalled": _VALUED,
    "unknown": (),
    "excluded": ("reason",),
}


def _read_factors(data: bytes, path: str, sha256: str, *, taken: Iterable[str]) -> FactorSet:
    """Read a factor set from the bytes of its file; `taken` are names that it may not have.

    Raises SourceError naming the file and the entry.
    """
    try:
        # Notepad on Windows puts a byte order mark in front, which TOML does not allow.
        content = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SourceError("the factor file is not UTF-8", where=path, remedy="save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SourceError(f"this is not TOML: {error}", where=path, remedy="correct that line") from None
    try:
        return _Reader(path).factor_set(content, sha256, tuple(taken))
    except DataError as error:  # a unit: what is wrong with it stands in this file
        raise SourceError(error.what, where=error.where, remedy=error.remedy) from None


@dataclass(frozen=True)
class _Reader:
    """Reads the sections of one file."""

    path: str

    def factor_set(self, content: dict[str, Any], sha256: str, taken: tuple[str, ...]) -> FactorSet:
        self._known(content, _KEYS, "top level")
        texts = {key: self._text(content, key, "top level") for key in _TEXTS}
        if texts["name"] in taken:
            what = f"the name '{texts['name']}' belongs to a set of the package"
            raise self._error(what, "name", "give the set a name of its own")
        title, boundary = (self._words(content, key, "top level") for key in ("title", "boundary"))
        gases = self._gases(content)
        gwp100, gwp_source = self._gwp100(self._section(content, "gwp100"), gases)
        factors = {name: self._factor(name, entry, gases) for name, entry in self._entries(content, "factors").items()}
        if not factors:
            raise self._error(
                "no factor is given", "factors", 'add a section such as [factors.diesel], value = …, unit = "…"'
            )
        total, printed = self._printed(content)
        return FactorSet(
            **texts,
            title=title,
            gases=gases,
            boundary=boundary,
            factors=factors,
            provenance=Provenance(
                self.path, sha256, publisher=texts["published_by"], title=title["en"], citation=texts["source"]
            ),
            gwp100=gwp100,
            gwp_source=gwp_source,
            density={name: self._density(name, entry) for name, entry in self._entries(content, "density").items()},
            coefficients_in_standard=total,
            printed=printed,
        )

    def _factor(self, name: str, entry: dict[str, Any], gases: tuple[str, ...]) -> Factor:
        section = f"factors.{name}"
        status = next((known for known in _ENTRY if known == entry.get("status")), None)
        if status is None:
            given = entry.get("status", "missing")
            raise self._error(f"the status is {given!r}", f"{section}.status", nearest(str(given), _ENTRY))
        needed = _ENTRY[status]
        self._known(entry, ("status", *dict.fromkeys((*needed, "source"))), f"{section}, which is {status}")
        source = self._text(entry, "source", section) if "source" in needed or "source" in entry else ""
        if status == "unknown":
            return Factor(name, status, source=source)
        if status == "excluded":
            return Factor(name, status, source=source, reason=self._words(entry, "reason", section))
        unit = self._text(entry, "unit", section)
        _, substance, per = _split_unit(unit, f"{self.path}, {section}.unit")
        kinds, kind = emission_sources()[name].kinds, kind_of_unit(per, where=f"{self.path}, {section}.unit")
        if kind not in kinds:
            raise self._error(
                f"the factor is per '{per}', which measures {kind}",
                f"{section}.unit",
                f"{name} is a {' or '.join(kinds)}",
            )
        if _SUBSTANCES[substance][0] not in gases:
            gas = _SUBSTANCES[substance][0]
            raise self._error(f"gases does not name {gas}, which this factor emits", section, f'add "{gas}" to gases')
        return Factor(name, status, self._number(entry, "value", section), unit, source)

    def _density(self, name: str, entry: dict[str, Any]) -> _Density:
        section = f"density.{name}"
        self._known(entry, _VALUED, section)
        unit = self._text(entry, "unit", section)
        value = self._number(entry, "value", section)
        convert(value, unit, "kg/L", where=f"{self.path}, {section}.unit")
        return _Density(value, unit, self._text(entry, "source", section))

    def _gwp100(self, section: dict[str, Any], gases: tuple[str, ...]) -> tuple[dict[str, float], str]:
        weighed = [gas for gas in gases if gas not in _UNWEIGHTED]
        self._known(section, (*weighed, "source"), "gwp100")
        if not weighed:
            return {}, ""
        return {gas: self._number(section, gas, "gwp100") for gas in weighed}, self._text(section, "source", "gwp100")

    def _gases(self, content: dict[str, Any]) -> tuple[str, ...]:
        gases = content.get("gases")
        if not isinstance(gases, list) or not gases or not all(isinstance(gas, str) for gas in gases):
            raise self._error("the gases are not listed", "gases", 'write gases = ["CO2"]')
        self._known(dict.fromkeys(gases), _GASES, "gases")
        return tuple(gases)

    def _printed(self, content: dict[str, Any]) -> tuple[int | None, int | None]:
        total, printed = content.get("coefficients_in_standard"), content.get("printed")
        if total is None and printed is None:
            return None, None
        if type(total) is not int or type(printed) is not int or not 0 <= printed <= total:
            raise self._error(
                f"coefficients_in_standard is {total!r} and printed {printed!r}",
                "printed",
                "give both as whole numbers, printed the smaller, or neither",
            )
        return total, printed

    def _entries(self, content: dict[str, Any], section: str) -> dict[str, dict[str, Any]]:
        """Return the entries of a section by emission source."""
        entries = self._section(content, section)
        self._known(entries, tuple(emission_sources()), section)
        return {name: self._section(entries, name, f"{section}.") for name in entries}

    def _section(self, content: dict[str, Any], key: str, parent: str = "") -> dict[str, Any]:
        section = content.get(key, {})
        if not isinstance(section, dict):
            raise self._error(f"'{key}' is not a section", f"{parent}{key}", f"write [{parent}{key}]")
        return section

    def _words(self, content: dict[str, Any], key: str, section: str) -> dict[str, str]:
        remedy = f'write {key} = {{ en = "…", zh = "…" }}'
        words = content.get(key)
        if not isinstance(words, dict) or not all(isinstance(text, str) for text in words.values()):
            raise self._error(f"'{key}' is missing or not in words", section, remedy)
        self._known(words, LANGUAGES, f"{section}, {key}")
        if not all(words.get(language, "").strip() for language in LANGUAGES):
            raise self._error(f"'{key}' is not given in each language", section, remedy)
        return words

    def _text(self, content: dict[str, Any], key: str, section: str) -> str:
        text = content.get(key)
        if not isinstance(text, str) or not text.strip():
            raise self._error(f"'{key}' is missing or not a text", section, f'write {key} = "…"')
        return text.strip()

    def _number(self, content: dict[str, Any], key: str, section: str) -> float:
        value = content.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self._error(
                f"'{key}' is {'missing' if value is None else repr(value)}",
                section,
                f"write a number above 0: {key} = 0.8",
            )
        return float(value)

    def _known(self, given: Mapping[str, Any], valid: Iterable[str], section: str) -> None:
        valid = tuple(valid)
        for key in given:
            if key not in valid:
                raise self._error(f"unknown key '{key}'", section, nearest(key, valid))

    def _error(self, what: str, section: str, remedy: str) -> SourceError:
        return SourceError(what, where=f"{self.path}, {section}", remedy=remedy)


@dataclass(frozen=True)
class Plausible:
    """What is plausible per sown hectare in `unit`: the median between `low` and `high`, no row above `highest`."""

    unit: str
    low: float
    high: float
    highest: float
    source: str


@dataclass(frozen=True)
class _EmissionSource:
    """One emission source: its label by language, the kinds of unit it is measured in, and its plausible use."""

    label: Mapping[str, str]
    kinds: tuple[str, ...]
    per_hectare: tuple[Plausible, ...]


@cache
def emission_sources() -> Mapping[str, _EmissionSource]:
    """Read the closed vocabulary: name → emission source, in the order of the file."""
    text = files("evalkit").joinpath("accounting", "emission_sources.toml").read_text(encoding="utf-8")
    return {
        name: _EmissionSource(
            entry["label"], tuple(entry["kinds"]), tuple(Plausible(**line) for line in entry["per_hectare"])
        )
        for name, entry in tomllib.loads(text).items()
    }


@cache
def _source_labels() -> Mapping[str, Mapping[str, str]]:
    """Return the readers' words for each emission source: name → language → words."""
    return {name: source.label for name, source in emission_sources().items()}
