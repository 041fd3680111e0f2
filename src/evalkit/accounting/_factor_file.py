"""The TOML file of a factor set, read strictly: every key known, every value possible, every factor with its source."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.accounting._factors import SUBSTANCES, UNWEIGHTED, Density, Factor, FactorSet, Status, split_unit
from evalkit.accounting._vocabulary import emission_sources
from evalkit.catalogue import LANGUAGES
from evalkit.errors import DataError, SourceError, nearest
from evalkit.table import Provenance
from evalkit.units import convert, kind_of

_GASES = tuple(dict.fromkeys(gas for gas, _ in SUBSTANCES.values()))
_TEXTS = ("name", "published_by", "source", "status")
_KEYS = (*_TEXTS, "title", "gases", "boundary", "coefficients_in_standard", "printed", "factors", "density", "gwp100")
_VALUED = ("value", "unit", "source")
_ENTRY: Mapping[Status, tuple[str, ...]] = {  # what an entry of each status says; its source may always be named
    "published": _VALUED,
    "computed": _VALUED,
    "recalled": _VALUED,
    "unknown": (),
    "excluded": ("reason",),
}


def read_factors(data: bytes, path: str, sha256: str, *, taken: Iterable[str]) -> FactorSet:
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
        _, substance, per = split_unit(unit, f"{self.path}, {section}.unit")
        kinds, kind = emission_sources()[name].kinds, kind_of(per, where=f"{self.path}, {section}.unit")
        if kind not in kinds:
            raise self._error(
                f"the factor is per '{per}', which measures {kind}",
                f"{section}.unit",
                f"{name} is a {' or '.join(kinds)}",
            )
        if SUBSTANCES[substance][0] not in gases:
            gas = SUBSTANCES[substance][0]
            raise self._error(f"gases does not name {gas}, which this factor emits", section, f'add "{gas}" to gases')
        return Factor(name, status, self._number(entry, "value", section), unit, source)

    def _density(self, name: str, entry: dict[str, Any]) -> Density:
        section = f"density.{name}"
        self._known(entry, _VALUED, section)
        unit = self._text(entry, "unit", section)
        value = self._number(entry, "value", section)
        convert(value, unit, "kg/L", where=f"{self.path}, {section}.unit")
        return Density(value, unit, self._text(entry, "source", section))

    def _gwp100(self, section: dict[str, Any], gases: tuple[str, ...]) -> tuple[dict[str, float], str]:
        weighed = [gas for gas in gases if gas not in UNWEIGHTED]
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
