"""Config: `study.toml` read strictly into the values it names."""

from __future__ import annotations

import dataclasses
import glob
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from evalkit.catalogue import LANGUAGES, Labels
from evalkit.claims.claim import Claim
from evalkit.designs.design import Design
from evalkit.designs.indicators import Indicators
from evalkit.errors import ConfigError, EvalkitError, nearest
from evalkit.panels.derivation import VERBS, Derivation
from evalkit.regions.codes import Area
from evalkit.results.estimation import Estimator, Inference
from evalkit.results.evidence import Writer
from evalkit.results.filing import fold_name, require_file_name
from evalkit.results.finding import Check
from evalkit.tables.contents import in_short
from evalkit.tables.table import Source, Step, Table

# Family → the package whose exported classes are its members. Loaded when first asked for: figures and papers are slow to load.
FAMILIES = {
    "source": "sources",
    "step": "steps",
    "estimator": "estimators",
    "inference": "inference",
    "check": "checks",
    "claim": "claims",
    "writer": "reporting",
}
# A run writes a file of this name; no table may be written over it.
_WRITTEN = ("estimates", "alternatives", "findings", "ledger", "descriptives", "claims", "manifest")
_OF_ESTIMATES = ("panel", "design", "estimate", "check")
# Members take other members as arguments: a field of this type is a table with a kind of its own.
_MEMBER_OF = {Estimator: "estimator", Inference: "inference"}


@cache
def members(family: str) -> Mapping[str, Any]:
    """Return the members of a family by kind: what its package exports."""
    package = import_module(f"evalkit.{FAMILIES[family]}")
    exported = {name: getattr(package, name) for name in package.__all__}
    return {name: one for name, one in exported.items() if isinstance(one, type)}


def _members_in(hint: Any) -> tuple[str | None, bool]:
    """Say of which family a field takes a member (None: of no family), and whether it takes several."""
    if hint in _MEMBER_OF:
        return _MEMBER_OF[hint], False
    inside = [_MEMBER_OF[one] for one in get_args(hint) if one in _MEMBER_OF]
    return (inside[0] if inside else None), get_origin(hint) is tuple


def _takes(hint: Any, wanted: type) -> bool:
    """Say whether a field can hold a value of this type, by itself or in a tuple."""
    return hint is wanted or any(_takes(one, wanted) for one in get_args(hint))


@dataclass(frozen=True, kw_only=True)
class PanelConfig:
    """How the sources become a panel. `unit` may be left out only with `repeated_cross_sections = true`.

    `regions` says where the regions lie that a column names; tables are then joined on their codes (see `assemble`). With an
    `engine` the first source is read, joined and collapsed by DuckDB or Spark, and never in memory (see `study.large`).
    """

    sources: tuple[str, ...]
    time: str
    unit: str | None = None
    repeated_cross_sections: bool = False
    counts: str | None = None
    where: dict[str, str | int | float | bool] = dataclasses.field(default_factory=dict)
    regions: dict[str, Area] = dataclasses.field(default_factory=dict)
    engine: Literal["duckdb", "spark"] | None = None


@dataclass(frozen=True)
class Planned:
    """What one [[estimate]] asks for: the study's design, with the fields changed that it names, and how to estimate it.

    An [[estimate]] without an inference is judged by ByDesign().
    """

    design: Design
    estimator: Estimator
    inference: Inference


@dataclass(frozen=True)
class Challenge:
    """What one [[check]] asks for: the name of the estimate, and the check, whose tables are still empty ones (see `supply`)."""

    on: str
    check: Check


@dataclass(frozen=True)
class StudyConfig:
    """A study as data: what its `study.toml` says, and the claims in the `claims.toml` beside it, checked.

    An account is a study without estimates: it has no panel, no design and no checks.
    """

    name: str
    file: Path
    root: Path
    sources: Mapping[str, Source]
    steps: Mapping[str, Step]
    panel: PanelConfig | None
    derive: Mapping[str, Derivation]
    design: Design | None
    estimates: Mapping[str, Planned]
    checks: tuple[Challenge, ...]
    claims: tuple[Claim, ...]
    writers: tuple[Writer, ...]
    labels: Labels

    __repr__ = in_short

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the tables that a run writes as they are, because no estimate rests on them.

        Sources that neither panel nor step reads (published figures, truths of a simulation), and steps that do not lead to the
        panel: the results of an account.
        """
        rests = set(() if self.panel is None else self.panel.sources)
        for name in reversed(list(self.steps)):
            if name in rests:
                rests |= set(self.steps[name].reads())
        read = {name for one in self.steps.values() for name in one.reads()}
        return (
            *(name for name in self.sources if name not in rests | read),
            *(name for name in self.steps if name not in rests),
        )


def supply(member: Any, tables: Mapping[str, Table]) -> Any:
    """Return a member of a family with the study's tables in the place of those that its fields only name."""
    named = {field.name: getattr(member, field.name) for field in dataclasses.fields(member)}
    given = {name: tables[value.name] for name, value in named.items() if isinstance(value, Table)}
    return dataclasses.replace(member, **given) if given else member


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


def _is_there(path: Path) -> bool:
    """Tell a file, a folder, or a pattern that some file fits."""
    return path.exists() or bool(glob.glob(str(path), recursive=True))


@dataclass(frozen=True)
class _Reader:
    """Reads the sections of one file; `tables` are the names that a field of type Table may give."""

    file: Path
    root: Path
    tables: tuple[str, ...] = ()

    def study(self, content: dict[str, Any], claims: tuple[Claim, ...]) -> StudyConfig:
        self._known(content, ("source", "step", *_OF_ESTIMATES, "writer", "labels"), "")
        self._check_sections(content, claims)
        sources = dict(self._named(content.get("source", []), "source", self._source))
        steps = self._steps(content.get("step", []), tuple(sources))
        for section, named in (("source", sources), ("step", steps)):
            for name in named:
                self._require_table_name(name, section)
        within = dataclasses.replace(self, tables=(*sources, *steps))
        panel, derive, design, estimates = within._evaluation(content)
        return StudyConfig(
            name=require_file_name(self.file.resolve().parent.name, str(self.file)),
            file=self.file,
            root=self.root,
            sources=sources,
            steps=steps,
            panel=panel,
            derive=derive,
            design=design,
            estimates=estimates,
            checks=tuple(
                within._challenge(one, f"check {i + 1}", estimates)
                for i, one in enumerate(self._tables(content, "check"))
            ),
            claims=claims,
            writers=tuple(
                within._member("writer", one, f"writer {i + 1}")
                for i, one in enumerate(self._tables(content, "writer"))
            ),
            labels=self._labels(content.get("labels", {})),
        )

    def _require_table_name(self, name: str, section: str) -> None:
        """Refuse a name that its table could not be written under."""
        if fold_name(name) in _WRITTEN or fold_name(name).startswith("finding_"):
            taken = f"the run writes a file of its own called {name}"
            raise self._error(f"a {section} cannot be called '{name}': {taken}", f"{section} '{name}'", "rename it")

    def _check_sections(self, content: dict[str, Any], claims: tuple[Claim, ...]) -> None:
        """Refuse a study that neither estimates nor accounts, or that has only part of what estimates need."""
        asked = [section for section in _OF_ESTIMATES if section in content]
        needed = ["source", *(("panel", "design", "estimate") if asked else ())]
        for section in needed:
            if section not in content and (section != "source" or not claims):
                mark = f"[[{section}]]" if section in ("source", "estimate") else f"[{section}]"
                raise ConfigError(f"the section {mark} is missing", where=str(self.file), remedy=f"add {mark}")
        if not (asked or "step" in content or claims):
            raise ConfigError(
                "the study has sources, and nothing that is made of them",
                where=str(self.file),
                remedy="add [panel], [design] and [[estimate]] for an evaluation, or [[step]] for an account",
            )

    def _evaluation(
        self, content: dict[str, Any]
    ) -> tuple[PanelConfig | None, dict[str, Derivation], Design | None, dict[str, Planned]]:
        """Read the sections that estimates need; of an account, there are none."""
        if "panel" not in content:
            return None, {}, None, {}
        panel, derive = self._panel(content["panel"], self.tables)
        design: Design = self._build(Design, content["design"], "design")
        return (
            panel,
            derive,
            design,
            dict(self._named(content["estimate"], "estimate", self._estimate(content["design"]))),
        )

    def _steps(self, given: Any, sources: tuple[str, ...]) -> dict[str, Step]:
        """Read the steps in order; each may read the sources and the steps before it."""
        steps: dict[str, Step] = {}
        names = [one.get("name") for one in self._tables({"step": given}, "step")]

        def read(one: dict[str, Any], where: str) -> Step:
            step: Step = self._member("step", one, where)
            before = (*sources, *steps)
            for name in step.reads():
                if name not in before:
                    what = f"the step '{name}' comes later" if name in names else f"there is no table '{name}'"
                    remedy = "put that step first" if name in names else nearest(name, before)
                    raise self._error(what, where, remedy)
            self._check_files(step.files(), where)
            name = str(names[len(steps)])
            if name in sources:
                raise self._error(f"'{name}' is also a source", where, "give each its own name")
            require_file_name(name, self._place(where), taken=sources)
            steps[name] = step
            return step

        self._named(given, "step", read)
        return steps

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
                raise self._error(f"there is no source or step '{name}'", "panel.sources", nearest(name, tables))
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

    def _source(self, given: dict[str, Any], where: str) -> Source:
        source: Source = self._member("source", given, where)
        self._check_files(source.files(), where)
        return source

    def _check_files(self, files: tuple[Path, ...], where: str) -> None:
        """Refuse a member that would read a file outside the project."""
        for path in files:
            if not path.is_absolute() and not (
                path.exists() or path.suffix
            ):  # a bare name that names nothing, see _find
                what = f"there is no file or folder '{path}', in the folder of the study or the project"
                raise self._error(what, where, "correct the path")
            if not path.resolve().is_relative_to(self.root):
                raise self._error(f"the path {path} leaves the project", where, "copy the file into the project")

    def _find(self, given: Any, where: str) -> Any:
        """Find each path that a field gives; a bare name without an ending that names nothing here stays a name."""
        if isinstance(given, list):
            return [self._find(one, where) for one in given]
        if not isinstance(given, str):
            return given
        found = self._inside(Path(given), where)
        is_path = found.exists() or Path(given).suffix or len(Path(given).parts) != 1
        return str(found) if is_path else given

    def _find_outside(self, given: Any, where: str) -> Any:
        """Find a file that is meant to lie outside of the project, from the study's folder, else from the project's."""
        if not isinstance(given, str):
            return given
        if Path(given).is_absolute():
            raise self._error(f"the path {given} is of this machine", where, "write it from the study: ../…")
        candidates = [(folder / given).resolve() for folder in (self.file.resolve().parent, self.root)]
        return str(next((one for one in candidates if one.is_file()), candidates[0]))

    def _inside(self, path: Path, where: str) -> Path:
        """Find a path in the study's own folder, then in the project; it may not leave the project."""
        candidates = [(folder / path).resolve() for folder in (self.file.resolve().parent, self.root)]
        if path.is_absolute() or not all(found.is_relative_to(self.root) for found in candidates[1:]):
            raise self._error(f"the path {path} leaves the project", where, "copy the file into the project")
        found = next((one for one in candidates if _is_there(one) and one.is_relative_to(self.root)), candidates[-1])
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

    def _challenge(self, given: dict[str, Any], where: str, estimates: Mapping[str, Any]) -> Challenge:
        rest = dict(given)
        on = rest.pop("on", None)
        if on not in estimates:
            raise self._error(f"'on' is {on!r}, which names no estimate", f"{where}.on", nearest(str(on), estimates))
        return Challenge(on, self._member("check", rest, where))

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
        kinds = members(family)
        if not isinstance(given, dict) or not isinstance(given.get("kind"), str):
            raise self._error(f"no kind of {family} is named", where, f'write {{ kind = "{next(iter(kinds))}" }}')
        kind = given["kind"]
        if kind not in kinds:
            raise self._error(f"there is no {family} '{kind}'", f"{where}.kind", nearest(kind, kinds))
        fields = {key: value for key, value in given.items() if key != "kind"}
        return self._build(kinds[kind], fields, where)

    def _members(self, family: str, given: Any, where: str, several: bool) -> Any:
        """Build one member of a family, or a tuple of them from a list of tables."""
        if not several:
            return self._member(family, given, where)
        if not isinstance(given, list):
            kind = next(iter(members(family)))
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
            if _takes(hints[name], Table):
                values[name] = self._table(value, f"{where}.{name}")
                continue
            if _takes(hints[name], Indicators):
                if not isinstance(value, list):
                    shown = 'covariates = ["log_income", { verb = "indicators", of = "region" }]'
                    raise self._error(f"{name} = {value!r} is no list", f"{where}.{name}", f"write {shown}")
                values[name] = tuple(self._covariate(one, f"{where}.{name}") for one in value)
                continue
            if _takes(hints[name], Path):
                outside = name in getattr(cls, "outside", ())
                value = (self._find_outside if outside else self._find)(value, f"{where}.{name}")
            try:
                values[name] = TypeAdapter(hints[name]).validate_json(json.dumps(value, default=str), strict=True)
            except ValidationError as error:
                words = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
                remedy = nearest(value, words) if words else "correct its type"
                said = dict.fromkeys(one["msg"] for one in error.errors())
                what = f"{name} = {value!r}: {', or '.join(said)}"
                raise self._error(what, f"{where}.{name}", remedy) from None
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in values:
                raise self._error(f"'{name}' is missing", where, f"add {name} = …")
        try:
            return cls(**values)
        except EvalkitError as error:
            raise self._error(error.what, where, error.remedy) from None

    def _covariate(self, given: Any, where: str) -> str | Indicators:
        """Read a covariate: the name of a column, or a table with the verb that makes several columns of one."""
        if isinstance(given, str):
            return given
        if not isinstance(given, dict) or given.get("verb") != "indicators":
            remedy = 'name a column, or write { verb = "indicators", of = … } for a column of categories'
            raise self._error(f"{given!r} is no covariate", where, remedy)
        made: Indicators = self._build(Indicators, {k: v for k, v in given.items() if k != "verb"}, where)
        return made

    def _table(self, name: Any, where: str) -> Table:
        """Name a table of the study; its rows come when it has been read."""
        if name not in self.tables:
            raise self._error(f"there is no table {name!r}", where, nearest(str(name), self.tables))
        return Table(str(name), pd.DataFrame(), ())

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
