"""Config: `study.toml` read strictly into the values it names."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

import evalkit.checks
import evalkit.estimators
import evalkit.inference
import evalkit.sources
from evalkit.catalogue import LANGUAGES, Labels
from evalkit.design import Design
from evalkit.errors import ConfigError, EvalkitError, nearest
from evalkit.estimation import Estimator, Inference
from evalkit.finding import Check

FAMILIES = {
    "source": evalkit.sources,
    "estimator": evalkit.estimators,
    "inference": evalkit.inference,
    "check": evalkit.checks,
}
# Members take other members as arguments: a field of this type is a table with a kind of its own.
_MEMBER_OF = {Estimator: "estimator", Inference: "inference"}


@dataclass(frozen=True, kw_only=True)
class PanelConfig:
    """How the sources become a panel. `unit` may be left out only with `repeated_cross_sections = true`."""

    sources: tuple[str, ...]
    time: str
    unit: str | None = None
    repeated_cross_sections: bool = False
    counts: str | None = None
    where: dict[str, str | int | float | bool] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class StudyConfig:
    """A study as data: what its `study.toml` says, checked."""

    name: str
    file: Path
    root: Path
    sources: Mapping[str, Any]
    panel: PanelConfig
    design: Design
    estimates: Mapping[str, tuple[Estimator, Inference]]
    checks: tuple[tuple[str, Check], ...]
    labels: Labels


def read_study(path: Path) -> StudyConfig:
    """Read a study's folder or its `study.toml`.

    Raises ConfigError with file, key and the nearest valid key for anything unknown, missing or of the wrong type.
    """
    file = path / "study.toml" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError("there is no study.toml here", where=str(path), remedy="give the folder that holds it")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not TOML: {error}", where=str(file), remedy="correct that line") from None
    except UnicodeDecodeError:
        raise ConfigError("the file is not UTF-8 text", where=str(file), remedy="save it as UTF-8") from None
    return _Reader(file, project_root(file)).study(content)


def project_root(file: Path) -> Path:
    """Return the folder that paths may not leave: the nearest one above with a pyproject.toml, else the study's own."""
    home = file.resolve().parent
    return next((folder for folder in (home, *home.parents) if (folder / "pyproject.toml").is_file()), home)


@dataclass(frozen=True)
class _Reader:
    """Reads the sections of one file."""

    file: Path
    root: Path

    def study(self, content: dict[str, Any]) -> StudyConfig:
        sections = ("source", "panel", "design", "estimate", "check", "labels")
        self._known(content, sections, "")
        for section in ("source", "panel", "design", "estimate"):
            if section not in content:
                mark = f"[[{section}]]" if section in ("source", "estimate") else f"[{section}]"
                raise ConfigError(f"the section {mark} is missing", where=str(self.file), remedy=f"add {mark}")
        sources = dict(self._named(content["source"], "source", self._source))
        panel = self._build(PanelConfig, content["panel"], "panel")
        for name in panel.sources:
            if name not in sources:
                raise self._error(f"there is no source '{name}'", "panel.sources", nearest(name, sources))
        if (panel.unit is None) != panel.repeated_cross_sections:
            raise self._error(
                "give either unit or repeated_cross_sections = true", "panel", "name the column that identifies units"
            )
        estimates = dict(self._named(content["estimate"], "estimate", self._estimate))
        checks = tuple(
            self._check(one, f"check {i + 1}", estimates) for i, one in enumerate(self._tables(content, "check"))
        )
        labels = self._labels(content.get("labels", {}))
        design = self._build(Design, content["design"], "design")
        name = self.file.resolve().parent.name
        return StudyConfig(name, self.file, self.root, sources, panel, design, estimates, checks, labels)

    def _named(self, tables: Any, section: str, read: Callable[[dict[str, Any], str], Any]) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for i, table in enumerate(self._tables({section: tables}, section)):
            given = dict(table)
            name = given.pop("name", None)
            if not isinstance(name, str) or not name:
                raise self._error("the name is missing", f"{section} {i + 1}", 'add name = "…"')
            if name in (known for known, _ in found):
                raise self._error(f"the name '{name}' stands twice", f"{section} {i + 1}", "give each its own name")
            found.append((name, read(given, f"{section} '{name}'")))
        return found

    def _tables(self, content: dict[str, Any], section: str) -> list[dict[str, Any]]:
        tables = content.get(section, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._error(f"{section} is not a list of sections", section, f"write [[{section}]]")
        return tables

    def _source(self, given: dict[str, Any], where: str) -> Any:
        source = self._member("source", given, where)
        return dataclasses.replace(source, path=self._inside(Path(source.path), where))

    def _inside(self, path: Path, where: str) -> Path:
        """Find a path in the study's own folder, then in the project; it may not leave the project."""
        candidates = [(folder / path).resolve() for folder in (self.file.resolve().parent, self.root)]
        if path.is_absolute() or not all(found.is_relative_to(self.root) for found in candidates[1:]):
            raise self._error(f"the path {path} leaves the project", f"{where}.path", "copy the file into data/raw/")
        found = next((one for one in candidates if one.exists() and one.is_relative_to(self.root)), candidates[-1])
        return found

    def _estimate(self, given: dict[str, Any], where: str) -> tuple[Estimator, Inference]:
        self._known(given, ("name", "estimator", "inference"), where)
        for key in ("estimator", "inference"):
            if key not in given:
                raise self._error(f"'{key}' is missing", where, f'add {key} = {{ kind = "…" }}')
        return (
            self._member("estimator", given["estimator"], f"{where}.estimator"),
            self._member("inference", given["inference"], f"{where}.inference"),
        )

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

    def _build(self, cls: Any, given: Any, where: str) -> Any:
        """Make a dataclass from a table, each field checked against its type."""
        if not isinstance(given, dict):
            raise self._error("a section is expected here", where, f"write [{where}]")
        hints = get_type_hints(cls)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        self._known(given, tuple(fields), where)
        values = {}
        for name, value in given.items():
            if hints[name] in _MEMBER_OF:
                values[name] = self._member(_MEMBER_OF[hints[name]], value, f"{where}.{name}")
                continue
            try:
                values[name] = TypeAdapter(hints[name]).validate_json(json.dumps(value, default=str), strict=True)
            except ValidationError as error:
                problem = error.errors()[0]
                raise self._error(
                    f"{name} = {value!r}: {problem['msg']}", f"{where}.{name}", "correct its type"
                ) from None
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
        return ConfigError(what, where=f"{self.file}, {where}", remedy=remedy)
