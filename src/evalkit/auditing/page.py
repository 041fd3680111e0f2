"""The page of an audit: what was read of each volume, what was checked, and what was found, for an editor to work through."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.auditing.remark import write
from evalkit.catalogue import checked_language, say
from evalkit.errors import ConfigError, nearest

_MOST = 500  # remarks of one severity that a page lists of a volume; the frame has all of them
_GUESSED = ("jump", "power_of_ten", "copied")  # kinds whose expected value is no sum or other printed number
_ENDINGS = (".html", ".md", ".txt")
_MARKS = re.compile(r"[\\`*\[\]<>|]|^#|(?<!\w)_|_(?!\w)")  # of Markdown, and of HTML inside it
_VALUES = ' class="v"'  # a row with its sentence below
_STYLE = (
    "body{font:15px/1.5 'Noto Sans SC','Microsoft YaHei','PingFang SC',sans-serif}"
    "body{max-width:72em;margin:2em auto;padding:0 1em;color:#222}"
    "h1{font-size:1.5em}h2{font-size:1.3em;margin-top:2em;border-top:2px solid #444;padding-top:.5em}h3{font-size:1.05em}"
    "table{border-collapse:collapse;width:100%;margin:.5em 0 1.5em}"
    "th,td{padding:.25em .6em;text-align:left;vertical-align:top;border-bottom:1px solid #ddd;overflow-wrap:break-word}"
    "th{border-bottom:1px solid #444;font-weight:600}.n{text-align:right}td.n{white-space:nowrap}"
    "tr.v td{border-bottom:0}tr.s td{padding-top:0;color:#555}tr{break-inside:avoid}"
    "@media print{body{max-width:none;margin:0;padding:0;font-size:9pt}th,td{padding:.2em .4em}}"
)


@dataclass(frozen=True)
class _Grid:
    """A table of a page: header, rows of words, which columns are numbers, and a sentence below each row if there is one."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    sentences: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True)
class AuditPage:
    """A summary page: printed, it is Markdown; in a notebook it shows itself; `html` is a whole page by itself."""

    text: str
    html: str = field(repr=False)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def write_page(page: AuditPage, path: Path) -> None:
    """Write a page in the form that the ending of the path names; raise ConfigError for another ending."""
    if path.suffix.lower() not in _ENDINGS:
        raise ConfigError(
            f"the ending '{path.suffix}' is not one of a page",
            where=path.as_posix(),
            remedy=nearest(path.suffix or ".", _ENDINGS),
        )
    content = page.html if path.suffix.lower() == ".html" else page.text
    path.write_text(content, encoding="utf-8", newline="\n")


def make_page(
    frame: pd.DataFrame, volumes: pd.DataFrame, checks: pd.DataFrame, unplaced: pd.DataFrame, language: str
) -> AuditPage:
    """Make the page of an audit from its tables (see `Audit`). What the files hold is data: it is escaped in both forms."""
    chosen = checked_language(language)
    title = say("audit.page_title", chosen)
    blocks: list[tuple[int, str] | str | _Grid] = [(1, title), _count(frame, chosen)]
    for volume in volumes.to_dict("records"):
        name = volume["file"]
        own = frame[_of_file(frame, name)]
        left = unplaced[_of_file(unplaced, name)]
        blocks += [(2, name), *_describe(volume, len(left), chosen), _count(own, chosen)]
        blocks += _list_checks(checks[checks["file"] == name], chosen)
        for severity in ("error", "warning"):
            blocks += _list_remarks(own[own["severity"] == severity], severity, chosen)
        blocks += _list_notes(own[own["severity"] == "note"], chosen)
        blocks += _list_unplaced(left, chosen)
    return AuditPage(_as_text(blocks), _as_html(blocks, title, chosen))


def _of_file(frame: pd.DataFrame, volume: str) -> pd.Series:
    """Tell the rows of a volume, which is named by its file, or by its path where files share a name."""
    return frame["file"] == volume


def _count(frame: pd.DataFrame, language: str) -> str:
    number = {severity: int((frame["severity"] == severity).sum()) for severity in ("error", "warning", "note")}
    return say("audit.page_counts", language, errors=number["error"], warnings=number["warning"], notes=number["note"])


def _describe(volume: dict[Any, Any], unplaced: int, language: str) -> list[str | _Grid]:
    said: list[str | _Grid] = []
    if source := ", ".join(filter(None, (volume["title"], volume["publisher"]))):
        said.append(source)
    if volume["synthetic"]:
        said.append(say("audit.page_synthetic", language))
    names = ("sheets", "indicators", "regions", "years", "values", "empty")
    header = (*(say(f"audit.read_{name}", language) for name in names), say("audit.read_unplaced", language))
    numbers = tuple(f"{int(volume[name]):,}" for name in names)
    said.append(_Grid(header, ((*numbers, f"{unplaced:,}"),), frozenset(range(len(header)))))
    return said


def _list_checks(checks: pd.DataFrame, language: str) -> list[tuple[int, str] | str | _Grid]:
    rows = tuple(
        (say(f"audit.kind_{kind}", language), f"{compared:,}", f"{compared - failed:,}", f"{failed:,}")
        for kind, compared, failed in checks[["kind", "compared", "failed"]].itertuples(index=False)
        if compared
    )
    if not rows:
        return [(3, say("audit.page_checks", language)), say("audit.page_unchecked", language)]
    header = tuple(say(f"audit.checks_{name}", language) for name in ("kind", "compared", "passed", "failed"))
    return [(3, say("audit.page_checks", language)), _Grid(header, rows, frozenset((1, 2, 3)))]


def _list_remarks(frame: pd.DataFrame, severity: str, language: str) -> list[tuple[int, str] | str | _Grid]:
    if not len(frame):
        return []
    names = ("cell", "region", "year", "indicator", "printed", "expected", "difference", "tolerance")
    header = tuple(say(f"audit.remark_{name}", language) for name in names)
    # The key columns are called as the caller called them; they stand at the same place.
    region, time = frame.columns[3], frame.columns[4]
    rows = []
    for line in frame.head(_MOST).to_dict("records"):
        of_all, is_guess = pd.isna(line[region]), line["kind"] in _GUESSED
        rows.append(
            (
                _address(line),
                say("audit.remark_all", language) if of_all else str(line[region]),
                str(line[time]),
                str(line["indicator"]),
                ""
                if of_all
                else f"{_figure(line['value'], 12)} {line['unit'] if pd.notna(line['unit']) else ''}".strip(),
                _figure(line["expected"], 4 if is_guess else 12),
                _figure(line["difference"], 4 if is_guess else 6),
                _figure(line["tolerance"], 3),
            )
        )
    sentences = tuple(str(one) for one in frame[f"sentence_{language}"].head(_MOST))
    grid = _Grid(header, tuple(rows), frozenset((4, 5, 6, 7)), sentences, say("audit.remark_said", language))
    return [(3, say(f"audit.page_{severity}s", language)), grid, *_say_rest(frame, language)]


def _list_notes(frame: pd.DataFrame, language: str) -> list[tuple[int, str] | str | _Grid]:
    if not len(frame):
        return []
    header = (say("audit.remark_cell", language), say("audit.remark_said", language))
    rows = tuple((_address(line), str(line[f"sentence_{language}"])) for line in frame.head(_MOST).to_dict("records"))
    return [(3, say("audit.page_notes", language)), _Grid(header, rows), *_say_rest(frame, language)]


def _list_unplaced(frame: pd.DataFrame, language: str) -> list[tuple[int, str] | str | _Grid]:
    if not len(frame):
        return []
    header = tuple(say(f"audit.remark_{name}", language) for name in ("cell", "text", "why"))
    rows = tuple((_address(line), str(line["text"]), str(line["why"])) for line in frame.head(_MOST).to_dict("records"))
    return [(3, say("audit.page_unplaced", language)), _Grid(header, rows), *_say_rest(frame, language)]


def _say_rest(frame: pd.DataFrame, language: str) -> list[str]:
    return [say("audit.page_rest", language, number=len(frame) - _MOST)] if len(frame) > _MOST else []


def _address(line: dict[Any, Any]) -> str:
    return str(line["cell"]) if pd.isna(line["sheet"]) or not line["sheet"] else f"{line['sheet']}!{line['cell']}"


def _figure(value: float, digits: int) -> str:
    """Write a number without exponent where it is no longer than that; nothing for what is missing."""
    if not math.isfinite(value):
        return ""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded.is_integer() and abs(rounded) < 1e15 else write(rounded, digits)


def _as_html(blocks: Sequence[tuple[int, str] | str | _Grid], title: str, language: str) -> str:
    lines = [f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">']
    lines += [f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"]
    for block in blocks:
        if isinstance(block, str):
            lines.append(f"<p>{html.escape(block)}</p>")
        elif isinstance(block, tuple):
            lines.append(f"<h{block[0]}>{html.escape(block[1])}</h{block[0]}>")
        else:
            lines += _grid_as_html(block)
    return "\n".join([*lines, "</body></html>"]) + "\n"


def _grid_as_html(grid: _Grid) -> list[str]:
    def cells(words: Sequence[str], tag: str) -> str:
        marked = ((' class="n"' if at in grid.numeric else "", html.escape(word)) for at, word in enumerate(words))
        return "".join(f"<{tag}{mark}>{word}</{tag}>" for mark, word in marked)

    lines = [f"<table><thead><tr>{cells(grid.header, 'th')}</tr></thead><tbody>"]
    for at, row in enumerate(grid.rows):
        has_sentence = at < len(grid.sentences)
        lines.append(f"<tr{_VALUES if has_sentence else ''}>{cells(row, 'td')}</tr>")
        if has_sentence:
            lines.append(f'<tr class="s"><td colspan="{len(row)}">{html.escape(grid.sentences[at])}</td></tr>')
    return [*lines, "</tbody></table>"]


def _as_text(blocks: Sequence[tuple[int, str] | str | _Grid]) -> str:
    parts = []
    for block in blocks:
        if isinstance(block, str):
            parts.append(_mark_down(block))
        elif isinstance(block, tuple):
            parts.append(f"{'#' * block[0]} {_mark_down(block[1])}")
        else:
            parts.append(_grid_as_text(block))
    return "\n\n".join(parts) + "\n"


def _grid_as_text(grid: _Grid) -> str:
    header = [*grid.header, grid.said] if grid.sentences else [*grid.header]
    rules = ["--:" if at in grid.numeric else "---" for at in range(len(header))]
    rows = [[*row, *grid.sentences[at : at + 1]] for at, row in enumerate(grid.rows)]
    lines = [header, rules, *rows]
    return "\n".join("| " + " | ".join(map(_mark_down, line)) + " |" for line in lines)


def _mark_down(words: str) -> str:
    """Write text of a file so that Markdown takes none of it for its own marks."""
    return _MARKS.sub(r"\\\g<0>", " ".join(words.split()))
