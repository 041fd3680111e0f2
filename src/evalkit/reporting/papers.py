"""Papers: a study's Typst documents, set from the evidence of a run."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import typst

from evalkit.catalogue import entries
from evalkit.errors import ConfigError, nearest
from evalkit.reporting._canvas import font_folder
from evalkit.reporting.csv_files import list_texts
from evalkit.reporting.exhibits import list_pictures
from evalkit.reporting.tables import list_tables
from evalkit.results.evidence import Desk, Evidence

LIBRARY = "evalkit.typ"
TABLES = (
    "estimates.csv",
    "alternatives.csv",
    "findings.csv",
    "ledger.csv",
    "descriptives.csv",
    "claims.csv",
    "manifest.json",
)
FONTS = ("Libertinus Serif", "New Computer Modern", "DejaVu Sans Mono", "Noto Sans SC")
_PLACE = re.compile(r"┌─ (?P<file>.+?):(?P<line>\d+):\d+")
_MISSING_KEY = re.compile(r'dictionary does not contain key "(?P<key>[^"]*)"')


@dataclass(frozen=True)
class Papers:
    """Set every `paper*.typ` of a study's folder as a PDF.

    A paper finds beside it the other .typ and .bib files of its folder, the library `evalkit.typ`, the tables of the run
    (estimates.csv, findings.csv and so on, manifest.json, the study's reference tables) and `figures/`. Cells of a column of
    text stay text whatever they look like; others become numbers and truth values. Only fonts that ship with the package and
    with Typst are used, and no date is written: the same inputs give the same bytes.
    """

    def write(self, evidence: Evidence, desk: Desk) -> tuple[Path, ...]:
        """Write into `documents`, from what other writers put into `processed` and `figures`.

        Raises ConfigError with file and line for anything that stops Typst, among it a name that the evidence does not have.
        """
        papers = sorted(desk.home.glob("paper*.typ"))
        if not papers:
            return ()
        made = []
        with tempfile.TemporaryDirectory(dir=desk.documents.parent, ignore_cleanup_errors=True) as folder:
            table = Path(folder).resolve()
            texts = {f"{name}.csv": list_texts(one) for name, one in list_tables(evidence).items()}
            texts |= {f"figures/{one.name}.csv": list_texts(one.table) for one in list_pictures(evidence)}
            _lay_out(table, desk.home, desk.processed, desk.figures, texts)
            for paper in papers:
                content = _compile(table, paper.name, desk.home)
                path = desk.documents / f"{paper.stem}.pdf"
                path.write_bytes(content)
                made.append(path)
        return tuple(made)


def _lay_out(
    desk: Path, study_folder: Path, processed: Path, figures: Path, texts: Mapping[str, Collection[str]]
) -> None:
    """Put all that a paper can name into one folder."""
    for pattern in ("*.typ", "*.bib"):
        for path in study_folder.glob(pattern):
            shutil.copyfile(path, desk / path.name)
    for name in TABLES:
        if not (processed / name).is_file():
            raise ConfigError(f"there is no {name}", where=processed.as_posix(), remedy="run the study first")
    references = sorted({path.name for path in processed.glob("*.csv")} - set(TABLES))
    for name in (*TABLES, *references):
        shutil.copyfile(processed / name, desk / name)
    (desk / "figures").mkdir()
    for path in figures.iterdir() if figures.is_dir() else ():
        shutil.copyfile(path, desk / "figures" / path.name)
    exhibits = sorted(path.stem for path in (desk / "figures").glob("*.csv"))
    listed = [Path(name).stem for name in references]
    for name, content in (
        ("exhibits.json", exhibits),
        ("references.json", listed),
        ("catalogue.json", entries()),
        ("texts.json", {file: list(columns) for file, columns in texts.items()}),
    ):
        (desk / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (desk / LIBRARY).write_bytes(files("evalkit.reporting").joinpath(LIBRARY).read_bytes())


def _compile(desk: Path, name: str, study_folder: Path) -> bytes:
    try:
        content, warnings = typst.compile_with_warnings(
            desk / name, root=desk, font_paths=[font_folder()], ignore_system_fonts=True, format="pdf", timestamp=0
        )
    except typst.TypstError as error:
        raise _explain(error, desk, name, study_folder) from None
    for warning in warnings:
        if "unknown font family" in warning.message:
            raise ConfigError(
                warning.message,
                where=_where(warning.diagnostic, name, study_folder),
                remedy=f"use one of the fonts that ship with evalkit: {', '.join(FONTS)}",
            )
    return content


def _explain(error: typst.TypstError, desk: Path, name: str, study_folder: Path) -> ConfigError:
    """Say what stopped Typst in one sentence, with file and line, without the temporary folder."""
    what = re.sub(r"^panicked with: ", "", error.message).replace(str(desk) + "/", "").replace(str(desk), "")
    missing = _MISSING_KEY.search(what)
    remedy = "correct this line of the paper"
    if missing is not None:
        remedy = nearest(missing["key"], _columns(desk))
    elif "there are: " in what:
        remedy = "use one of these names, or add it to study.toml and run again"
    elif error.hints:
        remedy = "; ".join(error.hints)
    return ConfigError(what.rstrip("."), where=_where(error.diagnostic, name, study_folder), remedy=remedy)


def _where(diagnostic: str, name: str, study_folder: Path) -> str:
    """Name the paper's line: the first place outside the library, which only reports what the paper asked for."""
    places = [(match["file"].rsplit("/", 1)[-1], match["line"]) for match in _PLACE.finditer(diagnostic)]
    file, line = next((place for place in places if place[0] != LIBRARY), places[0] if places else (name, ""))
    return f"{study_folder.name}/{file}" + (f", line {line}" if line else "")


def _columns(desk: Path) -> list[str]:
    header = [path.read_text(encoding="utf-8").split("\n", 1)[0] for path in desk.glob("*.csv")]
    return sorted({column for line in header for column in line.split(",")})
