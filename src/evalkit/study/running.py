"""Running: an evaluation that is data, carried out, and its results written whole or not at all."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evalkit.claims.claim import judge_claims
from evalkit.errors import ConfigError, DataError, EvalkitError
from evalkit.panels.assembly import assemble
from evalkit.panels.panel import Dropped, Panel
from evalkit.results.estimation import Estimate
from evalkit.results.evidence import Desk, Evidence, Writer
from evalkit.results.filing import require_file_name
from evalkit.results.finding import Finding
from evalkit.study.config import StudyConfig, find_study, project_root, read_study, supply
from evalkit.study.kept import KeptSteps
from evalkit.study.large import LargePanel, describe_large, large_source
from evalkit.study.storage import explain_failed_writes, open_staging, put_in_place, require_writable
from evalkit.study.volumes import find_disagreements
from evalkit.tables.table import Provenance, Table, file_sha256
from evalkit.verbs import check, estimate

RECORDED = ("evalkit", "numpy", "pandas", "pyarrow", "scipy", "pint", "matplotlib", "typst")
Say = Callable[[str], None]


def evaluate_study(config: StudyConfig, say: Say = lambda _: None, kept: KeptSteps | None = None) -> Evidence:
    """Load, carry out steps, assemble, estimate, check and judge claims, in memory; `kept` spares steps done before."""
    tables = load_tables(config, say, kept)
    estimates = {} if config.panel is None else _estimate_all(config, tables, say)
    findings = _check_all(config, tables, estimates, say) if estimates else []
    rested_on = [tables[name] for name in config.sources if name not in config.references]
    findings += find_disagreements(rested_on, estimates, config.derive) if estimates else []
    if config.claims:
        say("judging claims")
    judged = judge_claims(config.claims, tables)
    references = {name: tables[name] for name in config.references}
    inputs = dict.fromkeys(one for table in tables.values() for one in table.provenance)
    dropped = dict.fromkeys(line for one in estimates.values() for line in one.ledger)
    manifest = _manifest(config, tuple(inputs), tuple(dropped))
    return Evidence(config.name, estimates, tuple(findings), manifest, config.labels, judged, references)


def _estimate_all(config: StudyConfig, tables: Mapping[str, Table], say: Say) -> dict[str, Estimate]:
    estimates = {}
    panel = _whole_panel(config, tables)
    for name, planned in config.estimates.items():
        say(f"estimating {name}")
        estimator, inference = supply(planned.estimator, tables), supply(planned.inference, tables)
        here = panel
        if isinstance(here, LargePanel):
            squares = getattr(inference, "on_cells", "never") == "with_squares"
            here = here.of(planned.design, estimator.columns(), inference.columns(), squares)
        with _naming(name, here):
            estimates[name] = estimate(here, planned.design, estimator, inference=inference)
    return estimates


def _check_all(
    config: StudyConfig, tables: Mapping[str, Table], estimates: Mapping[str, Estimate], say: Say
) -> list[tuple[str, Finding]]:
    findings: list[tuple[str, Finding]] = []
    for one in config.checks:
        kind = type(one.check).__name__
        say(f"checking {one.on}: {kind}")
        with _naming(f"{kind} on {one.on}", estimates[one.on].spec.panel):
            findings += [(one.on, finding) for finding in check(estimates[one.on], supply(one.check, tables))]
    return findings


def load_tables(config: StudyConfig, say: Say = lambda _: None, kept: KeptSteps | None = None) -> dict[str, Table]:
    """Load every source of a study and carry out its steps; by name."""
    tables: dict[str, Table] = {}
    for name, source in config.sources.items():
        say(f"reading {_from_root_path(source.files()[0], config.root)}")
        with _inside(config):
            table = describe_large(config, name) if name == large_source(config) else source.load()
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
    """Assemble the tables that the panel names, with an engine as cells of the study's design; ConfigError for an account."""
    panel = _whole_panel(config, tables)
    if isinstance(panel, LargePanel):
        assert config.design is not None  # a study with a panel has one
        return panel.of(config.design)
    return panel


def _whole_panel(config: StudyConfig, tables: Mapping[str, Table]) -> Panel | LargePanel:
    settings = config.panel
    if settings is None:
        raise ConfigError(
            "this study is an account: it has no panel", where=config.name, remedy="add [panel], [design], [[estimate]]"
        )
    if settings.engine is not None:
        first, *others = (tables[name] for name in settings.sources)
        return LargePanel(config, first, tuple(others))
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
    and, for each `paper*.typ` beside the study.toml, its PDF. All take the place of the last results, or none does (see
    `evalkit.study.storage`); a second run of the study is refused while one is going on.
    """
    file = find_study(Path(path))
    root, home = project_root(file), file.resolve().parent
    with open_staging(root, require_file_name(home.name, str(file)), say) as made:
        config = read_study(file)
        processed, figures = root / "data" / "processed" / config.name, root / "figures" / config.name
        writes_beside = config.writers or any(home.glob("paper*.typ"))
        for folder in (figures.parent, *([home] if writes_beside else [])):
            require_writable(folder)
        kept = KeptSteps(root / ".evalkit" / "steps" / config.name)
        evidence = evaluate_study(config, say, kept)
        kept.forget_others()
        desk = Desk(home, made / "processed", made / "figures", made / "documents")
        with explain_failed_writes(processed.parent, (processed, figures)):
            for folder in (desk.processed, desk.figures, desk.documents):
                folder.mkdir()
            for writer in _writers(config):
                say(f"writing: {type(writer).__name__}")
                writer.write(evidence, desk)
            documents = {path: home / path.name for path in sorted(desk.documents.iterdir()) if path.is_file()}
            put_in_place(root, made, {desk.processed: processed, desk.figures: figures, **documents})
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
                    "recalled",
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
