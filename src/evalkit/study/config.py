"""Config: `study.toml` read strictly into the values it names."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

import evalkit.checks
import evalkit.claims
import evalkit.estimators
import evalkit.inference
import evalkit.sources
from evalkit.catalogue import LANGUAGES, Labels
from evalkit.claims.claim import Claim
from evalkit.designs.design import Design
from evalkit.errors import ConfigError, EvalkitError, nearest
from evalkit.panels.derivation import VERBS, Derivation
from evalkit.regions.codes import Area
from evalkit.results.estimation import Estimator, Inference
from evalkit.results.filing import fold_name, require_file_name
from evalkit.results.finding import Check

FAMILIES = {
    "source": evalkit.sources,
    "estimator": evalkit.estimators,
    "inference": evalkit.inference,
    "check": evalkit.checks,
    "claim": evalkit.claims,
}
# A run writes a file of this name; no source may be written over it.
_WRITTEN = ("estimates", "alternatives", "findings", "ledger", "descriptives", "claims", "manifest")
# Members take other members as arguments: a field of this type is a table with a kind of its own.
_MEMBER_OF = {Estimator: "estimator", Inference: "inference"}


def _members_in(hint: Any) -> tuple[str | None, bool]:
    """Say of which family a field takes a member (None: of no family), and whether it takes several."""
    if hint in _MEMBER_OF:
        return _MEMBER_OF[hint], False
    inside = [_MEMBER_OF[one] for one in get_args(hint) if one in _MEMBER_OF]
    return (inside[0] if inside else None), get_origin(hint) is tuple


@dataclass(frozen=True, kw_only=True)
class PanelConfig:
    """How the sources become a panel. `unit` may be left out only with `repeated_cross_sections = true`.

    `regions` says where the regions lie that a column names; tables are then joined on their codes (see `assemble`).
    """

    sources: tuple[str, ...]
    time: str
    unit: str | None = None
    repeated_cross_sections: bool = False
    counts: str | None = None
    where: dict[str, str | int | float | bool] = dataclasses.field(default_factory=dict)
    regions: dict[str, Area] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class IntensityConfig:
    """Emissions of a source's activity data by a factor set, per unit of its column `per`; see `evalkit.accounting`.

    `activity` and `deflator` name sources; `factors` is a set that ships with evalkit, or a file of the project.
    """

    activity: str
    factors: str
    keys: tuple[str, ...]
    per: str
    deflator: str | None = None
    sources: dict[str, str] | None = None
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """What one [[estimate]] asks for: the study's design, with the fields changed that it names, and how to estimate it.

    An [[estimate]] without an inference is judged by ByDesign().
    """

    design: Design
    estimator: Estimator
    inference: Inference


@dataclass(frozen=True)
class StudyConfig:
    """A study as data: what its `study.toml` says, and the claims in the `claims.toml` beside it, checked."""

    name: str
    file: Path
    root: Path
    sources: Mapping[str, Any]
    intensities: Mapping[str, IntensityConfig]
    panel: PanelConfig
    derive: Mapping[str, Derivation]
    design: Design
    estimates: Mapping[str, Planned]
    checks: tuple[tuple[str, Check], ...]
    claims: tuple[Claim, ...]
    labels: Labels

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the sources that no estimate rests on: published figures, and truths of a simulation."""
        used = {*self.panel.sources}
        for one in self.intensities.values():
            used |= {one.activity, one.deflator or ""}
        return tuple(name for name in self.sources if name not in used)


def read_study(path: Path) -> StudyConfig:
    """Read a study's folder or its `study.toml`.

    Raises ConfigError with file, key and the nearest valid key for anything unknown, missing or of the wrong type.
    """
    file = find_study(path)
    root, beside = project_root(file), file.with_name("claims.toml")
    claims = _Reader(beside, root).claims(_read_toml(beside)) if beside.is_file() else ()
    return _Reader(file, root).study(_read_toml(file), claims)


def find_study(path: Path) -> Path:
    """Return the `study.toml` that a path names: itself, or the one in the folder."""
    file = path / "study.toml" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError("there is no study.toml here", where=str(path), remedy="give the folder that holds it")
    return file


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not TOML: {error}", where=str(file), remedy="correct that line") from None
    except UnicodeDecodeError:
        raise ConfigError("the file is not UTF-8 text", where=str(file), remedy="save it as UTF-8") from None


def project_root(file: Path) -> Path:
    """Return the folder that paths may not leave: the nearest one above with a pyproject.toml, else the study's own."""
    home = file.resolve().parent
    return next((folder for folder in (home, *home.parents) if (folder / "pyproject.toml").is_file()), home)


@dataclass(frozen=True)
class _Reader:
    """Reads the sections of one file."""

    file: Path
    root: Path

    def study(self, content: dict[str, Any], claims: tuple[Claim, ...]) -> StudyConfig:
        sections = ("source", "intensity", "panel", "design", "estimate", "check", "labels")
        self._known(content, sections, "")
        for section in ("source", "panel", "design", "estimate"):
            if section not in content:
                mark = f"[[{section}]]" if section in ("source", "estimate") else f"[{section}]"
                raise ConfigError(f"the section {mark} is missing", where=str(self.file), remedy=f"add {mark}")
        sources = dict(self._named(content["source"], "source", self._source))
        for name in sources:
            if fold_name(name) in _WRITTEN or fold_name(name).startswith("finding_"):
                taken = f"the run writes a file of its own called {name}"
                raise self._error(f"a source cannot be called '{name}': {taken}", f"source '{name}'", "rename it")
        intensities = dict(self._named(content.get("intensity", []), "intensity", self._intensity(sources)))
        for name in intensities:
            if name in sources:
                raise self._error(f"'{name}' is also a source", f"intensity '{name}'", "give each its own name")
            require_file_name(name, self._place(f"intensity '{name}'"), taken=sources)
        panel, derive = self._panel(content["panel"], (*sources, *intensities))
        design = self._build(Design, content["design"], "design")
        estimates = dict(self._named(content["estimate"], "estimate", self._estimate(content["design"])))
        checks = tuple(
            self._check(one, f"check {i + 1}", estimates) for i, one in enumerate(self._tables(content, "check"))
        )
        labels = self._labels(content.get("labels", {}))
        name = require_file_name(self.file.resolve().parent.name, str(self.file))
        return StudyConfig(
            name,
            self.file,
            self.root,
            sources,
            intensities,
            panel,
            derive,
            design,
            estimates,
            checks,
            claims,
            labels,
        )

    def claims(self, content: dict[str, Any]) -> tuple[Claim, ...]:
        """Read the claims of a `claims.toml`, in its order."""
        self._known(content, ("claim",), "")
        read: list[Claim] = []
        for i, given in enumerate(self._tables(content, "claim")):
            where = f"claim {i + 1}"
            fields = {key: value for key, value in given.items() if key != "check"}
            if "check" not in given:
                raise self._error("'check' is missing", where, 'add check = { kind = "…" }')
            self._known(fields, tuple(f.name for f in dataclasses.fields(Claim) if f.name != "check"), where)
            built: Claim = self._build(
                Claim, fields, where, check=self._member("claim", given["check"], f"{where}.check")
            )
            if built.id in (one.id for one in read):
                raise self._error(f"the id '{built.id}' stands twice", where, "give each claim its own id")
            read.append(built)
        return tuple(read)

    def _panel(self, given: Any, tables: tuple[str, ...]) -> tuple[PanelConfig, dict[str, Derivation]]:
        rest = dict(given) if isinstance(given, dict) else given
        asked = rest.pop("derive", {}) if isinstance(rest, dict) else {}
        areas = rest.pop("regions", {}) if isinstance(rest, dict) else {}
        if not isinstance(areas, dict):
            raise self._error("regions is not a section", "panel.regions", "write [panel.regions]")
        placed = {column: self._build(Area, one, f"panel.regions.{column}") for column, one in areas.items()}
        panel = self._build(PanelConfig, rest, "panel", regions=placed)
        for name in panel.sources:
            if name not in tables:
                raise self._error(f"there is no source '{name}'", "panel.sources", nearest(name, tables))
        if (panel.unit is None) != panel.repeated_cross_sections:
            raise self._error(
                "give either unit or repeated_cross_sections = true", "panel", "name the column that identifies units"
            )
        if not isinstance(asked, dict):
            raise self._error("derive is not a section", "panel.derive", "write [panel.derive]")
        derive = {}
        for name, one in asked.items():
            where = f"panel.derive.{name}"
            verb = one.get("verb") if isinstance(one, dict) else None
            if verb not in VERBS:
                known = f"known are: {', '.join(VERBS)}"
                raise self._error(f"the verb is {verb!r}", where, f"write {name} = {{ verb = …, of = … }}; {known}")
            derive[name] = self._build(VERBS[verb], {k: v for k, v in one.items() if k != "verb"}, where)
        return panel, derive

    def _intensity(self, sources: Mapping[str, Any]) -> Callable[[dict[str, Any], str], IntensityConfig]:
        def read(given: dict[str, Any], where: str) -> IntensityConfig:
            one: IntensityConfig = self._build(IntensityConfig, given, where)
            for key, name in (("activity", one.activity), ("deflator", one.deflator)):
                if name is not None and name not in sources:
                    raise self._error(f"there is no source '{name}'", f"{where}.{key}", nearest(name, sources))
            if one.factors.endswith(".toml"):
                path = self._inside(Path(one.factors), f"{where}.factors")
                return dataclasses.replace(one, factors=str(path))
            return one

        return read

    def _named(self, tables: Any, section: str, read: Callable[[dict[str, Any], str], Any]) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for i, table in enumerate(self._tables({section: tables}, section)):
            given = dict(table)
            name = given.pop("name", None)
            if not isinstance(name, str) or not name:
                raise self._error("the name is missing", f"{section} {i + 1}", 'add name = "…"')
            if name in (known for known, _ in found):
                raise self._error(f"the name '{name}' stands twice", f"{section} {i + 1}", "give each its own name")
            require_file_name(name, self._place(f"{section} {i + 1}"), taken=[known for known, _ in found])
            found.append((name, read(given, f"{section} '{name}'")))
        return found

    def _tables(self, content: dict[str, Any], section: str) -> list[dict[str, Any]]:
        tables = content.get(section, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._error(f"{section} is not a list of sections", section, f"write [[{section}]]")
        return tables

    def _source(self, given: dict[str, Any], where: str) -> Any:
        source = self._member("source", given, where)
        paths = {key: getattr(source, key, None) for key in ("path", "key_file", "layout")}
        found = {key: self._inside(Path(path), f"{where}.{key}") for key, path in paths.items() if path is not None}
        return dataclasses.replace(source, **found)

    def _inside(self, path: Path, where: str) -> Path:
        """Find a path in the study's own folder, then in the project; it may not leave the project."""
        candidates = [(folder / path).resolve() for folder in (self.file.resolve().parent, self.root)]
        if path.is_absolute() or not all(found.is_relative_to(self.root) for found in candidates[1:]):
            raise self._error(f"the path {path} leaves the project", where, "copy the file into the project")
        found = next((one for one in candidates if one.exists() and one.is_relative_to(self.root)), candidates[-1])
        return found

    def _estimate(self, design: dict[str, Any]) -> Callable[[dict[str, Any], str], Planned]:
        def read(given: dict[str, Any], where: str) -> Planned:
            self._known(given, ("name", "design", "estimator", "inference"), where)
            if "estimator" not in given:
                raise self._error("'estimator' is missing", where, 'add estimator = { kind = "…" }')
            changed = given.get("design", {})
            if not isinstance(changed, dict):
                raise self._error("design is not a table", f"{where}.design", 'write design = { outcome = "…" }')
            return Planned(
                self._build(Design, {**design, **changed}, f"{where}.design"),
                self._member("estimator", given["estimator"], f"{where}.estimator"),
                self._member("inference", given.get("inference", {"kind": "ByDesign"}), f"{where}.inference"),
            )

        return read

    def _check(self, given: dict[str, Any], where: str, estimates: Mapping[str, Any]) -> tuple[str, Check]:
        rest = dict(given)
        on = rest.pop("on", None)
        if on not in estimates:
            raise self._error(f"'on' is {on!r}, which names no estimate", f"{where}.on", nearest(str(on), estimates))
        return on, self._member("check", rest, where)

    def _labels(self, given: Any) -> Labels:
        if not isinstance(given, dict):
            raise self._error("labels is not a section", "labels", "write [labels]")
        for name, words in given.items():
            if not isinstance(words, dict) or not all(isinstance(text, str) for text in words.values()):
                raise self._error(f"'{name}' is no label", f"labels.{name}", 'write name = { en = "…", zh = "…" }')
            self._known(words, LANGUAGES, f"labels.{name}")
        return given

    def _member(self, family: str, given: Any, where: str) -> Any:
        """Build a member of a family from a table with its kind and its fields."""
        if not isinstance(given, dict) or not isinstance(given.get("kind"), str):
            raise self._error(
                f"no kind of {family} is named", where, f'write {{ kind = "{FAMILIES[family].__all__[0]}" }}'
            )
        kinds = FAMILIES[family].__all__
        kind = given["kind"]
        if kind not in kinds:
            raise self._error(f"there is no {family} '{kind}'", f"{where}.kind", nearest(kind, kinds))
        fields = {key: value for key, value in given.items() if key != "kind"}
        return self._build(getattr(FAMILIES[family], kind), fields, where)

    def _members(self, family: str, given: Any, where: str, several: bool) -> Any:
        """Build one member of a family, or a tuple of them from a list of tables."""
        if not several:
            return self._member(family, given, where)
        if not isinstance(given, list):
            kind = FAMILIES[family].__all__[0]
            raise self._error(f"a list of kinds of {family} is expected", where, f'write [{{ kind = "{kind}" }}]')
        return tuple(self._member(family, one, f"{where}[{i + 1}]") for i, one in enumerate(given))

    def _build(self, cls: Any, given: Any, where: str, **made: Any) -> Any:
        """Make a dataclass from a table, each field checked against its type; `made` are fields that need no reading."""
        if not isinstance(given, dict):
            raise self._error("a section is expected here", where, f"write [{where}]")
        hints = get_type_hints(cls)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        self._known(given, tuple(fields), where)
        values = dict(made)
        for name, value in given.items():
            family, several = _members_in(hints[name])
            if family is not None:
                values[name] = self._members(family, value, f"{where}.{name}", several)
                continue
            try:
                values[name] = TypeAdapter(hints[name]).validate_json(json.dumps(value, default=str), strict=True)
            except ValidationError as error:
                words = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
                remedy = nearest(str(value), words) if words else "correct its type"
                what = f"{name} = {value!r}: {error.errors()[0]['msg']}"
                raise self._error(what, f"{where}.{name}", remedy) from None
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in values:
                raise self._error(f"'{name}' is missing", where, f"add {name} = …")
        try:
            return cls(**values)
        except EvalkitError as error:
            raise self._error(error.what, where, error.remedy) from None

    def _known(self, given: Mapping[str, Any], valid: tuple[str, ...], where: str) -> None:
        for key in given:
            if key not in valid:
                raise self._error(f"unknown key '{key}'", where or "top level", nearest(key, valid))

    def _error(self, what: str, where: str, remedy: str) -> ConfigError:
        return ConfigError(what, where=self._place(where), remedy=remedy)

    def _place(self, where: str) -> str:
        resolved = self.file.resolve()
        shown = resolved.relative_to(self.root).as_posix() if resolved.is_relative_to(self.root) else str(self.file)
        return f"{shown}, {where}"
