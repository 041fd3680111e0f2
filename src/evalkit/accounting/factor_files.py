"""Factor files: TOML read strictly into a factor set."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from evalkit.accounting.dimensions import SUBSTANCES, UNWEIGHTED, check_unit, multiply, read_factor_unit
from evalkit.accounting.factors import Density, Factor, FactorSet, Parameter, Status, combine, plain_word
from evalkit.accounting.usual import explain_unusual
from evalkit.accounting.vocabulary import label_of, split_source, vocabulary
from evalkit.accounting.warming import warming_potentials
from evalkit.catalogue import LANGUAGES
from evalkit.errors import ConfigError, DataError, SourceError, nearest
from evalkit.tables.table import Provenance
from evalkit.tables.units import convert, kind_of_unit


def factor_set(*names_or_paths: str | Path, gwp: str | None = None) -> FactorSet:
    """Read a factor set: one of the package by its name, or an office's own TOML file by its path (*.toml); several are joined.

    The package's sets are listed in docs/how-to-account-emissions.md. `gwp` weighs gases by a report of the IPCC ("AR4",
    "AR5", "AR6", "SAR") in place of the set's own potentials. Raises ConfigError for an unknown name and for sets that give a
    source twice, and SourceError for a file that cannot be read or has unknown, missing or impossible entries, or factors far
    from what is usual.
    """
    if not names_or_paths:
        raise ConfigError("no set is named", where="factor_set", remedy='name one: factor_set("literature")')
    for one in names_or_paths:
        if not isinstance(one, str | Path):
            remedy = 'write factor_set("literature", "county_factors.toml")'
            raise ConfigError(f"{one!r} is neither a name nor a path", where="factor_set", remedy=remedy)
    found = [_read(one) for one in names_or_paths]
    return combine(tuple(found if gwp is None else (one.weighed_by(gwp) for one in found)))


def shipped_sets() -> tuple[str, ...]:
    """Return the names of the package's sets, in the order of the alphabet."""
    folder = files("evalkit").joinpath("accounting", "factor_sets")
    return tuple(sorted(one.name.removesuffix(".toml") for one in folder.iterdir() if one.name.endswith(".toml")))


def _read(name_or_path: str | Path) -> FactorSet:
    names = shipped_sets()
    if str(name_or_path) in names:
        shipped = files("evalkit").joinpath("accounting", "factor_sets", f"{name_or_path}.toml")
        return _read_bytes(shipped.read_bytes(), f"evalkit/accounting/factor_sets/{name_or_path}.toml", taken=())
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
    return _read_bytes(data, path, taken=names)


_GASES = tuple(dict.fromkeys(gas for gas, _ in SUBSTANCES.values()))
_TEXTS = ("name", "published_by", "source", "status")
_KEYS = (*_TEXTS, "title", "gases", "boundary", "coefficients_in_standard", "printed", "parameters", "factors", "density",
         "gwp", "gwp100", "excludes")  # fmt: skip
_FIGURE = ("status", "value", "unit", "source", "range")
_BY_CASE = ("cases", "relative_range", "product", "over")
# Between these lie the densities of all liquid fuels, in kg/L, and the potentials that reports of the IPCC print (CH4 21 to 36,
# N2O 265 to 310, with and without feedbacks): what lies outside is another unit, another horizon or another gas.
_DENSITIES = (0.5, 1.2)
_POTENTIALS = {"CH4": (20.0, 40.0), "N2O": (250.0, 320.0)}
# A factor per kg of a nutrient is one of what is measured in it, and of no other: 1 kg of all nutrients is not 1 kg of N.
_NUTRIENTS = {
    "N": ("nitrogen_fertiliser", "fertiliser_n", "manure_n", "straw_n"),
    "P2O5": ("phosphate_fertiliser",),
    "K2O": ("potash_fertiliser",),
}
_DENSITY = ("value", "unit", "source")
_OWN = ("label", "activity", "sink", "unusual")
# What an entry of each status says; its source may always be named.
_ENTRY: Mapping[Status, tuple[str, ...]] = {
    "published": (*_FIGURE, *_BY_CASE, *_OWN),
    "computed": (*_FIGURE, *_BY_CASE, *_OWN),
    "quoted": (*_FIGURE, *_BY_CASE, *_OWN),
    "recalled": (*_FIGURE, *_BY_CASE, *_OWN),
    "unknown": ("status", "source", "label", "activity"),
    "excluded": ("status", "source", "reason", "label", "activity"),
}
_KNOWN: tuple[Status, ...] = ("published", "computed", "quoted", "recalled")


def _read_bytes(data: bytes, path: str, *, taken: Iterable[str]) -> FactorSet:
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
        return _Reader(path, content).factor_set(hashlib.sha256(data).hexdigest(), tuple(taken))
    except DataError as error:  # a unit: what is wrong with it stands in this file
        raise SourceError(error.what, where=error.where, remedy=error.remedy) from None


@dataclass(frozen=True)
class _Reader:
    """Reads the sections of one file."""

    path: str
    content: dict[str, Any]

    def factor_set(self, sha256: str, taken: tuple[str, ...]) -> FactorSet:
        content = self.content
        self._known(content, _KEYS, "top level")
        name, published_by, source, status = (self._text(content, key, "top level") for key in _TEXTS)
        if name in taken:
            what = f"the name '{name}' belongs to a set of the package"
            raise self._error(what, "name", "give the set a name of its own")
        title, boundary = (self._words(content, key, "top level") for key in ("title", "boundary"))
        gases = self._gases()
        gwp100, gwp_source = self._potentials(gases)
        parameters = {
            f"{name}.{key}": self._parameter(
                f"{name}.{key}", self._entry(entry, f"parameters.{key}"), f"parameters.{key}"
            )
            for key, entry in self._section(content, "parameters").items()
        }
        density = {key: self._density(key, self._entry(entry, f"density.{key}")) for key, entry in self._densities()}
        reader = _FactorReader(self.path, self.content, name, gases, dict(parameters), density)
        factors = {}
        for key, entry in self._section(content, "factors").items():
            factor, figure = reader.factor(key, self._entry(entry, f"factors.{key}"))
            factors[key] = factor
            if figure is not None:
                if figure.name in parameters:  # one would take the place, and the range, of the other
                    raise self._error(
                        f"'{key}' is a parameter and a factor", f"parameters.{key}", "give the parameter another name"
                    )
                parameters[figure.name] = figure
        if not factors:
            raise self._error(
                "no factor is given", "factors", 'add a section such as [factors.diesel], value = …, unit = "…"'
            )
        excludes = self._section(content, "excludes")
        self._known(excludes, vocabulary().groups, "excludes")
        total, printed = self._printed()
        return FactorSet(
            name,
            title,
            published_by,
            source,
            status,
            gases,
            boundary,
            factors,
            (Provenance(self.path, sha256, publisher=published_by, title=title["en"], citation=source),),
            parameters,
            gwp100,
            gwp_source,
            density,
            {group: self._words(excludes, group, "excludes") for group in excludes},
            total,
            printed,
        )

    def _densities(self) -> Iterable[tuple[str, Any]]:
        entries = self._section(self.content, "density")
        known = [name for name, one in vocabulary().activities.items() if {"mass", "volume"} <= set(one.kinds)]
        self._known(entries, known, "density")
        return entries.items()

    def _density(self, name: str, entry: dict[str, Any]) -> Density:
        section = f"density.{name}"
        self._known(entry, _DENSITY, section)
        unit, value = self._text(entry, "unit", section), self._number(entry, "value", section)
        found = convert(value, unit, "kg/L", where=f"{self.path}, {section}.unit")
        if not _DENSITIES[0] <= found <= _DENSITIES[1]:
            raise self._error(
                f"a litre of {name} would weigh {found:g} kg",
                section,
                f"correct value or unit: fuels weigh {_DENSITIES[0]:g} to {_DENSITIES[1]:g} kg/L (840 kg/m3 is 0.84 kg/L)",
            )
        return Density(value, unit, self._text(entry, "source", section))

    def _parameter(self, name: str, entry: dict[str, Any], section: str) -> Parameter:
        """Read a figure that factors are products of."""
        self._known(entry, _FIGURE, section)
        status, unit = self._status(entry, section, _KNOWN), self._text(entry, "unit", section)
        check_unit(unit, f"{self.path}, {section}.unit")
        value = self._number(entry, "value", section)
        return Parameter(
            name, status, value, unit, self._text(entry, "source", section), self._range(entry, value, section)
        )

    def _potentials(self, gases: tuple[str, ...]) -> tuple[dict[str, float], str]:
        """Read the warming potentials: those of a report, or the file's own."""
        own, report = self._section(self.content, "gwp100"), self.content.get("gwp")
        weighed = [gas for gas in gases if gas not in UNWEIGHTED]
        if report is not None:
            if own or not isinstance(report, str):
                raise self._error(
                    "gwp is not one report of the IPCC", "gwp", 'write gwp = "AR5", and no [gwp100] beside it'
                )
            try:
                found, source = warming_potentials(report)
            except ConfigError as error:
                raise self._error(error.what, "gwp", error.remedy) from None
            return {gas: found[gas] for gas in weighed}, source if weighed else ""
        self._known(own, (*weighed, "source"), "gwp100")
        if not weighed:
            return {}, ""
        potentials = {gas: self._number(own, gas, "gwp100") for gas in weighed}
        for gas, value in potentials.items():
            low, high = _POTENTIALS[gas]
            if not low <= value <= high:
                raise self._error(
                    f"the potential of {gas} over 100 years is {value:g}; reports of the IPCC have {low:g} to {high:g}",
                    f"gwp100.{gas}",
                    'correct it (kg CO2e per kg, over 100 years, not 20), or name a report: gwp = "AR5"',
                )
        return potentials, self._text(own, "source", "gwp100")

    def _gases(self) -> tuple[str, ...]:
        gases = self.content.get("gases")
        if not isinstance(gases, list) or not gases or not all(isinstance(gas, str) for gas in gases):
            raise self._error("the gases are not listed", "gases", 'write gases = ["CO2"]')
        self._known(dict.fromkeys(gases), _GASES, "gases")
        return tuple(gases)

    def _printed(self) -> tuple[int | None, int | None]:
        total, printed = self.content.get("coefficients_in_standard"), self.content.get("printed")
        if total is None and printed is None:
            return None, None
        if type(total) is not int or type(printed) is not int or not 0 <= printed <= total:
            raise self._error(
                f"coefficients_in_standard is {total!r} and printed {printed!r}",
                "printed",
                "give both as whole numbers, printed the smaller, or neither",
            )
        return total, printed

    def _status(self, entry: dict[str, Any], section: str, valid: Iterable[Status]) -> Status:
        known = tuple(valid)
        status = next((one for one in known if one == entry.get("status")), None)
        if status is None:
            given = entry.get("status", "missing")
            raise self._error(f"the status is {given!r}", f"{section}.status", nearest(str(given), known))
        return status

    def _range(
        self, entry: dict[str, Any], value: float, section: str, key: str = "range"
    ) -> tuple[float, float] | None:
        """Read the range of a figure, which holds its value."""
        ends = entry.get(key)
        if ends is None:
            return None
        numbers = [one for one in ends if isinstance(one, int | float) and not isinstance(one, bool)] if isinstance(
            ends, list
        ) else []  # fmt: skip
        if len(numbers) != 2 or not 0 <= numbers[0] <= value <= numbers[1] < math.inf or numbers[0] == numbers[1]:
            raise self._error(
                f"the range {ends!r} does not hold the value {value:g}",
                f"{section}.{key}",
                f"write {key} = [low, high], the ends of the 95 % range as it is printed, in the unit of the value",
            )
        return float(numbers[0]), float(numbers[1])

    def _section(self, content: dict[str, Any], key: str) -> dict[str, Any]:
        return self._entry(content.get(key, {}), key)

    def _entry(self, content: Any, where: str) -> dict[str, Any]:
        if not isinstance(content, dict):
            name = where.rpartition(".")[2]
            raise self._error(f"'{name}' is not a section", where, f"write [{where}]")
        return content

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
class _FactorReader(_Reader):
    """Reads the factors of a file, whose parameters and densities have been read."""

    set_name: str
    gases: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    density: Mapping[str, Density]

    def factor(self, name: str, entry: dict[str, Any]) -> tuple[Factor, Parameter | None]:
        """Read one entry, and the figure that it brings with it where its value is given as one number."""
        section = f"factors.{name}"
        status = self._status(entry, section, _ENTRY)
        self._known(entry, dict.fromkeys((*_ENTRY[status], "source")), f"{section}, which is {status}")
        activity, process, label, kinds = self._place(name, entry, section)
        source = (
            self._text(entry, "source", section)
            if "source" in entry or ("product" not in entry and status in _KNOWN)
            else ""
        )
        bare = Factor(name, status, activity, process, label, kinds, source=source)
        if status == "unknown":
            return bare, None
        if status == "excluded":
            return replace(bare, reason=self._words(entry, "reason", section)), None
        unit = self._text(entry, "unit", section)
        read = read_factor_unit(unit, f"{self.path}, {section}.unit")
        kind = kind_of_unit(read.per, where=f"{self.path}, {section}.unit")
        if kinds and kind not in kinds:
            raise self._error(
                f"the factor is per '{read.per}', which measures {kind}",
                f"{section}.unit",
                f"{name} is a {' or '.join(kinds)}",
            )
        nutrient = unit.replace("/", " ").split()[-1]
        if activity in vocabulary().activities and activity not in _NUTRIENTS.get(nutrient, (activity,)):
            raise self._error(
                f"the factor is per kg of {nutrient}, and {activity} is not measured in {nutrient}",
                f"{section}.unit",
                f"name it for one of {', '.join(_NUTRIENTS[nutrient])}, or give a factor per kg of what is counted",
            )
        if read.gas not in self.gases:
            what = f"gases does not name {read.gas}, which this factor emits"
            raise self._error(what, section, f'add "{read.gas}" to gases')
        unusual = self._words(entry, "unusual", section) if "unusual" in entry else {}
        value, cases, rests_on, status, figure = self._value(name, entry, status, unit, section)
        if not unusual:
            for number in [value] if value is not None else [one for _, one in cases]:
                self._compare(activity, process, number, unit, section)
        factor = replace(
            bare,
            status=status,
            kinds=kinds or (kind,),
            value=value,
            unit=unit,
            sink=self._is_sink(name, entry, process, section),
            cases=cases,
            parameters=rests_on,
            unusual=unusual,
        )
        return factor, figure

    def _place(
        self, name: str, entry: dict[str, Any], section: str
    ) -> tuple[str, str, Mapping[str, str], tuple[str, ...]]:
        """Find the activity, the process, the label and the kinds of unit; a source of the file's own says them."""
        split = split_source(name)
        activities = vocabulary().activities
        if split is not None:
            label = self._words(entry, "label", section) if "label" in entry else label_of(*split)
            if entry.get("activity", split[0]) != split[0]:
                raise self._error(
                    f"'{name}' is of the activity '{split[0]}'",
                    f"{section}.activity",
                    "leave it out, or rename the source",
                )
            return *split, label, activities[split[0]].kinds
        if "label" not in entry:
            raise self._error(
                f"unknown emission source '{name}'",
                section,
                f'{nearest(name, activities)}; a source of your own needs words: label = {{ en = "…", zh = "…" }}',
            )
        activity = self._text(entry, "activity", section) if "activity" in entry else name
        kinds = activities[activity].kinds if activity in activities else ()
        return activity, name, self._words(entry, "label", section), kinds

    def _value(
        self, name: str, entry: dict[str, Any], status: Status, unit: str, section: str
    ) -> tuple[float | None, tuple[Any, ...], tuple[tuple[str, int], ...], Status, Parameter | None]:
        """Read the value: a number, the product of parameters, or one for each case."""
        given = [key for key in ("value", "product", "cases") if key in entry]
        if len(given) > 1 or ("over" in entry and given != ["product"]):
            also = [*given, *(["over"] if "over" in entry else [])]
            raise self._error(
                f"the factor has {' and '.join(also)}", section, "give one of them; over goes with product"
            )
        if given == ["cases"] and "range" in entry:
            raise self._error(
                "cases have no one range",
                f"{section}.range",
                "write it over the values of the cases, which share its error: relative_range = [0.9, 1.1]",
            )
        if given != ["cases"] and "relative_range" in entry:
            raise self._error(
                "a relative range goes with cases",
                f"{section}.relative_range",
                "write range = […] in the unit of the value",
            )
        if given == ["product"]:
            return self._product(entry, status, unit, section)
        own = f"{self.set_name}.{name}"
        source = self._text(entry, "source", section)
        if given == ["cases"]:
            cases = self._cases(entry, section)
            figure = Parameter(own, status, 1.0, "ratio", source, self._range(entry, 1.0, section, "relative_range"))
            return None, cases, ((own, 1),), status, figure
        value = self._number(entry, "value", section)
        figure = Parameter(own, status, value, unit, source, self._range(entry, value, section))
        return value, (), ((own, 1),), status, figure

    def _product(
        self, entry: dict[str, Any], status: Status, unit: str, section: str
    ) -> tuple[float, tuple[Any, ...], tuple[tuple[str, int], ...], Status, None]:
        """Multiply the parameters of `product`, and divide by those of `over`."""
        if "range" in entry:
            raise self._error("a product has no range of its own", f"{section}.range", "give it with its parameters")
        figures: list[tuple[str, int]] = []
        for key, power in (("product", 1), ("over", -1)):
            named = entry.get(key, [] if key == "over" else None)
            if (
                not isinstance(named, list)
                or not all(isinstance(one, str) for one in named)
                or (power > 0 and not named)
            ):
                raise self._error(f"{key} does not list parameters", f"{section}.{key}", f'write {key} = ["EF1"]')
            short = [one.removeprefix(f"{self.set_name}.") for one in self.parameters]
            self._known(dict.fromkeys(named), short, f"{section}.{key}")
            figures += [(f"{self.set_name}.{one}", power) for one in named]
        read = [(self.parameters[one].value, self.parameters[one].unit, power) for one, power in figures]
        value = multiply(read, unit, f"{self.path}, {section}.unit")
        for one, power in figures:
            ends = self.parameters[one].range
            if power < 0 and ends is not None and ends[0] == 0:
                raise self._error(
                    f"the range of '{one.removeprefix(f'{self.set_name}.')}' begins at 0, and nothing is divided by 0",
                    f"{section}.over",
                    "correct the range of the parameter",
                )
        statuses = {status, *(self.parameters[one].status for one, _ in figures)}
        weakest: Status = next((one for one in ("recalled", "quoted") if one in statuses), status)
        return value, (), tuple(figures), weakest, None

    def _cases(self, entry: dict[str, Any], section: str) -> tuple[tuple[Mapping[str, tuple[str, ...]], float], ...]:
        """Read a factor that differs by columns of the activity data: grid and year, province, and the like."""
        given = entry["cases"]
        if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
            raise self._error(
                "cases is no list of cases", f"{section}.cases", "write cases = [{ year = 2021, value = 0.5568 }, …]"
            )
        found: list[tuple[Mapping[str, tuple[str, ...]], float]] = []
        seen: set[tuple[str, ...]] = set()
        for at, one in enumerate(given, start=1):
            where = f"{section}.cases, case {at}"
            columns = {key: self._words_of(value, where) for key, value in one.items() if key != "value"}
            if not columns or list(columns) != list(found[0][0] if found else columns):
                raise self._error(
                    "the case does not name the columns of the first", where, "name the same in each case"
                )
            for combination in product(*(map(plain_word, words) for words in columns.values())):
                if combination in seen:
                    raise self._error(f"two cases are for {', '.join(combination)}", where, "keep one")
                seen.add(combination)
            found.append((columns, self._number(one, "value", where)))
        return tuple(found)

    def _words_of(self, value: Any, where: str) -> tuple[str, ...]:
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str | int) and not isinstance(one, bool) for one in values):
            raise self._error(
                f"{value!r} is neither a word nor a whole number", where, 'write province = "新疆" or a list'
            )
        return tuple(str(one).strip() for one in values)

    def _compare(self, activity: str, process: str, value: float, unit: str, section: str) -> None:
        """Refuse a factor far from what is usual, and say what it may be instead."""
        where = f"{self.path}, {section}"
        found = explain_unusual(activity, process, value, unit, self.density, where)
        if found is not None:
            what, remedy = found
            raise self._error(what, section, remedy)

    def _is_sink(self, name: str, entry: dict[str, Any], process: str, section: str) -> bool:
        given = entry.get("sink", process == "growth")
        if given is True and process != "growth" and split_source(name) is not None:
            raise self._error(
                f"'{name}' takes up nothing",
                f"{section}.sink",
                "leave sink out; a sink that is none of the harvests is a source of your own, with a label",
            )
        if not isinstance(given, bool) or (process == "growth" and not given):
            raise self._error(f"sink is {given!r}", f"{section}.sink", "write sink = true for what takes up carbon")
        return given
