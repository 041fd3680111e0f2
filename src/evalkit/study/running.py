"""Running: an evaluation that is data, carried out, and its results written whole or not at all."""

from __future__ import annotations

import json
import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evalkit.accounting import factor_set, intensity, inventory
from evalkit.claims.claim import judge_claims
from evalkit.errors import DataError, EvalkitError, SourceError
from evalkit.panels.assembly import assemble
from evalkit.panels.panel import Dropped, Panel
from evalkit.results.evidence import Evidence
from evalkit.study.config import StudyConfig, read_study
from evalkit.tables.table import Provenance, Table, file_sha256
from evalkit.verbs import check, estimate

RECORDED = ("evalkit", "numpy", "pandas", "pyarrow", "scipy", "pint", "matplotlib", "typst")
Say = Callable[[str], None]


def evaluate_study(config: StudyConfig, say: Say = lambda _: None) -> Evidence:
    """Load, assemble, estimate, check and judge claims, in memory."""
    tables = load_tables(config, say)
    panel = build_panel(config, tables)
    estimates = {}
    for name, planned in config.estimates.items():
        say(f"estimating {name}")
        with _naming(name, panel):
            estimates[name] = estimate(panel, planned.design, planned.estimator, inference=planned.inference)
    findings = []
    for on, challenge in config.checks:
        say(f"checking {on}: {type(challenge).__name__}")
        with _naming(f"{type(challenge).__name__} on {on}", panel):
            findings += [(on, finding) for finding in check(estimates[on], challenge)]
    if config.claims:
        say("judging claims")
    judged = judge_claims(config.claims, tables)
    references = {name: tables[name] for name in config.references}
    inputs = dict.fromkeys(one for table in tables.values() for one in table.provenance)
    dropped = dict.fromkeys(line for one in estimates.values() for line in one.ledger)
    manifest = _manifest(config, tuple(inputs), tuple(dropped))
    return Evidence(config.name, estimates, tuple(findings), manifest, config.labels, judged, references)


def load_tables(config: StudyConfig, say: Say = lambda _: None) -> dict[str, Table]:
    """Load every source of a study, and compute its intensities; by name."""
    tables: dict[str, Table] = {}
    for name, source in config.sources.items():
        say(f"reading {source.path.relative_to(config.root).as_posix()}")
        with _inside(config):
            table = source.load()
        tables[name] = _from_root(table, config.root)
    for name, asked in config.intensities.items():
        say(f"computing {name}")
        with _inside(config):
            activity = tables[asked.activity]
            emissions = inventory(
                activity, factor_set(asked.factors), keys=asked.keys, sources=asked.sources, leave_out=asked.leave_out
            )
            deflator = None if asked.deflator is None else tables[asked.deflator]
            found = intensity(emissions, output=activity, per=asked.per, deflator=deflator, name=name)
            tables[name] = _from_root(found, config.root)
    return tables


def _from_root(table: Table, root: Path) -> Table:
    """Name a table's files from the project's root, whoever runs the study and wherever the project lies."""
    paths = [Path(one.path) for one in table.provenance]
    names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix() for path in paths]
    renamed = (replace(one, path=name) for one, name in zip(table.provenance, names, strict=True))
    return replace(table, provenance=tuple(renamed))


def build_panel(config: StudyConfig, tables: Mapping[str, Table]) -> Panel:
    """Assemble the tables that the panel names."""
    settings = config.panel
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
    from evalkit.reporting import (  # matplotlib and typst load only where something is drawn
        compile_papers,
        list_exhibits,
        list_texts,
        write_exhibits,
    )

    config = read_study(Path(path))
    evidence = evaluate_study(config, say)
    processed = config.root / "data" / "processed" / config.name
    figures = config.root / "figures" / config.name
    processed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".evalkit-", dir=processed.parent) as folder:
        made = Path(folder)
        for name in ("processed", "figures", "papers"):
            (made / name).mkdir()
        say("writing tables")
        texts = write_tables(evidence, made / "processed")
        say("drawing figures")
        write_exhibits(evidence, made / "figures")
        home = config.file.resolve().parent
        papers = []
        if any(home.glob("paper*.typ")):
            say("setting the papers")
            texts |= {f"figures/{one.name}.csv": list_texts(one.table) for one in list_exhibits(evidence)}
            papers = compile_papers(
                home, processed=made / "processed", figures=made / "figures", target=made / "papers", texts=texts
            )
        places = [(made / "processed", processed), (made / "figures", figures), *((p, home / p.name) for p in papers)]
        _replace_all(places, made / "old")
    return evidence


def write_tables(evidence: Evidence, folder: Path) -> dict[str, list[str]]:
    """Write the tables of the run, the reference tables and manifest.json; return the columns of text in each file."""
    from evalkit.reporting import list_texts, write_csv

    texts = {}
    for name, table in (
        ("estimates", evidence.estimates_table()),
        ("alternatives", evidence.alternatives_table()),
        ("findings", evidence.findings_table()),
        ("ledger", evidence.ledger_table()),
        ("descriptives", evidence.descriptives_table()),
        ("claims", evidence.claims_table()),
        *((name, table.frame) for name, table in evidence.references.items()),
        *evidence.finding_tables().items(),
    ):
        write_csv(table, folder / f"{name}.csv")
        texts[f"{name}.csv"] = list_texts(table)
    text = json.dumps(evidence.manifest, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8", newline="\n")
    return texts


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
            for on, one in (*((name, planned.inference) for name, planned in config.estimates.items()), *config.checks)
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
