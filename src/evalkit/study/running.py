"""Running: an evaluation that is data, carried out, and its results written whole or not at all."""

from __future__ import annotations

import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evalkit.claims.claim import judge_claims
from evalkit.errors import ConfigError, DataError, EvalkitError, SourceError
from evalkit.panels.assembly import assemble
from evalkit.panels.panel import Dropped, Panel
from evalkit.results.estimation import Estimate
from evalkit.results.evidence import Desk, Evidence, Writer
from evalkit.results.finding import Finding
from evalkit.study.config import StudyConfig, read_study, supply
from evalkit.study.kept import KeptSteps
from evalkit.tables.table import Provenance, Table, file_sha256
from evalkit.verbs import check, estimate

RECORDED = ("evalkit", "numpy", "pandas", "pyarrow", "scipy", "pint", "matplotlib", "typst")
Say = Callable[[str], None]


def evaluate_study(config: StudyConfig, say: Say = lambda _: None, kept: KeptSteps | None = None) -> Evidence:
    """Load, carry out steps, assemble, estimate, check and judge claims, in memory; `kept` spares steps done before."""
    tables = load_tables(config, say, kept)
    panel = None if config.panel is None else build_panel(config, tables)
    estimates = {} if panel is None else _estimate_all(config, panel, say)
    findings = [] if panel is None else _check_all(config, panel, tables, estimates, say)
    if config.claims:
        say("judging claims")
    judged = judge_claims(config.claims, tables)
    references = {name: tables[name] for name in config.references}
    inputs = dict.fromkeys(one for table in tables.values() for one in table.provenance)
    dropped = dict.fromkeys(line for one in estimates.values() for line in one.ledger)
    manifest = _manifest(config, tuple(inputs), tuple(dropped))
    return Evidence(config.name, estimates, tuple(findings), manifest, config.labels, judged, references)


def _estimate_all(config: StudyConfig, panel: Panel, say: Say) -> dict[str, Estimate]:
    estimates = {}
    for name, planned in config.estimates.items():
        say(f"estimating {name}")
        with _naming(name, panel):
            estimates[name] = estimate(panel, planned.design, planned.estimator, inference=planned.inference)
    return estimates


def _check_all(
    config: StudyConfig, panel: Panel, tables: Mapping[str, Table], estimates: Mapping[str, Estimate], say: Say
) -> list[tuple[str, Finding]]:
    findings: list[tuple[str, Finding]] = []
    for one in config.checks:
        kind = type(one.check).__name__
        say(f"checking {one.on}: {kind}")
        with _naming(f"{kind} on {one.on}", panel):
            findings += [(one.on, finding) for finding in check(estimates[one.on], supply(one.check, tables))]
    return findings


def load_tables(config: StudyConfig, say: Say = lambda _: None, kept: KeptSteps | None = None) -> dict[str, Table]:
    """Load every source of a study and carry out its steps; by name."""
    tables: dict[str, Table] = {}
    for name, source in config.sources.items():
        say(f"reading {_from_root_path(source.files()[0], config.root)}")
        with _inside(config):
            table = source.load()
        tables[name] = _from_root(table, config.root)
    for name, step in config.steps.items():
        say(f"computing {name}")
        with _inside(config):
            made = step.run(tables) if kept is None else kept.run(step, tables)
        tables[name] = replace(_from_root(made, config.root), name=name)
    return tables


def _from_root_path(path: Path, root: Path) -> str:
    """Write a path from the project's root, where it lies inside."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _from_root(table: Table, root: Path) -> Table:
    """Name a table's files from the project's root, whoever runs the study and wherever the project lies."""
    names = [_from_root_path(Path(one.path), root) for one in table.provenance]
    renamed = (replace(one, path=name) for one, name in zip(table.provenance, names, strict=True))
    return replace(table, provenance=tuple(renamed))


def build_panel(config: StudyConfig, tables: Mapping[str, Table]) -> Panel:
    """Assemble the tables that the panel names; ConfigError for an account, which has none."""
    settings = config.panel
    if settings is None:
        raise ConfigError(
            "this study is an account: it has no panel", where=config.name, remedy="add [panel], [design], [[estimate]]"
        )
    return assemble(
        *(tables[name] for name in settings.sources),
        unit=settings.unit,
        time=settings.time,
        where=dict(settings.where),
        counts=settings.counts,
        regions=settings.regions,
        derive=config.derive,
    )


@contextmanager
def _inside(config: StudyConfig) -> Iterator[None]:
    """Name files in an error from the project's root."""
    try:
        yield
    except EvalkitError as error:
        where = error.where.replace(f"{config.root.as_posix()}/", "")
        raise type(error)(error.what, where=where, remedy=error.remedy) from None


def run_study(path: str | Path, say: Say = lambda _: None) -> Evidence:
    """Run a study and write its results.

    `path` is the study's folder or its `study.toml`. Writes `data/processed/<study>/` (estimates.csv, alternatives.csv,
    findings.csv and the table behind each finding, ledger.csv, descriptives.csv, claims.csv, manifest.json), `figures/<study>/`
    and, for each `paper*.typ` beside the study.toml, its PDF. Everything is made in a temporary folder and moved into place at
    the end, so that an error leaves the results of the last run as they were.
    """
    config = read_study(Path(path))
    processed = config.root / "data" / "processed" / config.name
    kept = KeptSteps(config.root / ".evalkit" / "steps" / config.name)
    evidence = evaluate_study(config, say, kept)
    kept.forget_others()
    processed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".evalkit-", dir=processed.parent) as folder:
        made, home = Path(folder), config.file.resolve().parent
        desk = Desk(home, made / "processed", made / "figures", made / "documents")
        for place in (desk.processed, desk.figures, desk.documents):
            place.mkdir()
        for writer in _writers(config):
            say(f"writing: {type(writer).__name__}")
            writer.write(evidence, desk)
        places = [(desk.processed, processed), (desk.figures, config.root / "figures" / config.name)]
        places += [(path, home / path.name) for path in sorted(desk.documents.iterdir())]
        _replace_all(places, made / "old")
    return evidence


def _writers(config: StudyConfig) -> tuple[Writer, ...]:
    """What every run writes, and what the study asks for besides; papers last, which read what the others wrote."""
    from evalkit.reporting import Figures, Papers, Tables  # matplotlib and typst load only where something is drawn

    return (Tables(), Figures(), *config.writers, Papers())


def _manifest(config: StudyConfig, inputs: tuple[Provenance, ...], dropped: tuple[Dropped, ...]) -> dict[str, Any]:
    claims = config.file.with_name("claims.toml")
    return {
        "study": config.name,
        "config_sha256": file_sha256(config.file),
        "claims_sha256": file_sha256(claims) if claims.is_file() else None,
        "inputs": [
            {
                name: getattr(one, name)
                for name in (
                    "path",
                    "sha256",
                    "title",
                    "publisher",
                    "vintage",
                    "licence",
                    "citation",
                    "notes",
                    "synthetic",
                )
            }
            for one in inputs
        ],
        "dropped": [
            {"step": line.step, "reason": str(line.reason), "rows": line.rows, "units": line.units} for line in dropped
        ],
        "seeds": [
            {
                "on": on,
                "by": type(one).__name__,
                "draws": getattr(one, "draws", None),
                "seed": getattr(one, "seed", None),
            }
            for on, one in (
                *((name, planned.inference) for name, planned in config.estimates.items()),
                *((one.on, one.check) for one in config.checks),
            )
        ],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED}},
    }


@contextmanager
def _naming(step: str, panel: Panel) -> Iterator[None]:
    """Say in an error in which specification or check it came up, and of which file column and rows are."""
    try:
        yield
    except EvalkitError as error:
        named = re.match(r"column '([^']*)'", error.where)
        first = panel.provenance[0].path  # rows are counted in the first source
        origin = panel.origins.get(named[1], first) if named else first
        joined = f" of {first}" if origin != first else ""
        where = f"{step}, {origin}, {error.where}{joined}" if isinstance(error, DataError) else f"{step}, {error.where}"
        raise type(error)(error.what, where=where, remedy=error.remedy) from None


def _replace_all(places: list[tuple[Path, Path]], attic: Path) -> None:
    """Put every new file or folder in its place, the old ones first into the attic; all of them, or none.

    Raises SourceError where an old one cannot be moved: on Windows, a program that has a file open holds it.
    """
    attic.mkdir()
    kept: list[tuple[Path, Path]] = []
    for i, (_, place) in enumerate(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            continue
        try:
            place.rename(attic / str(i))
        except OSError as error:
            for old, back in kept:
                old.rename(back)
            raise SourceError(
                f"the results of the last run cannot be replaced ({error.strerror})",
                where=str(place),
                remedy="close the programs that have a file in it open, such as Excel or a PDF reader, and run again",
            ) from None
        kept.append((attic / str(i), place))
    for new, place in places:
        new.rename(place)
