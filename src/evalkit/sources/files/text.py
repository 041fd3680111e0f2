"""Text with separators: decoding, finding the separator, and splitting it into columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from evalkit.errors import SourceError
from evalkit.sources.files.columns import strip_name, write_runs
from evalkit.sources.files.form import (
    ColumnHead,
    Ending,
    Form,
    count_notes,
    holds_words,
    quote_lines,
    read_unit_cell,
    refuse_number,
    refuse_unit_row,
)

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_LINES = 200
_MOST_ENDINGS = 100  # rows with one filled cell at the end; more are records
_CHUNK_ROWS = 1_000  # few enough that the lists of one chunk stay in the cache
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_-]+)""")
_OTHER_CHARSETS = ("big5", "big5-hkscs")
_SAVE_UTF8 = "open it in Excel and save it as CSV UTF-8"


@dataclass(frozen=True)
class TextTable:
    """A table as its headings, the lines on which its records start, and its columns as text; and what is to be noted."""

    headings: list[ColumnHead]
    lines: list[int]
    columns: list[pa.ChunkedArray]
    header_line: int
    remedy: str
    notes: list[str]


def read_text(content: str, where: str, form: Form) -> TextTable:
    """Split a text file into its header and columns, and say in notes what was left out.

    `lines` are those on which records start; a quoted field may run over several lines.
    """
    top = form.header[0] if form.header else 1
    separator = find_separator(content, where, top - 1)
    records = split_records(content, separator, where)
    head, titles = _read_head(records, form, where)
    width, bottom = len(head[-1][1]), head[-1][0]
    notes = [f"rows above the header were left out: {quote_lines(titles)}"] if titles else []
    below = (
        _read_units(records, form, bottom, width, where) if form.unit_row not in [line for line, _ in head] else None
    )
    columns: list[list[pa.Array]] = [[] for _ in range(width)]
    lines: list[int] = []
    blank: list[int] = []
    short: list[tuple[int, str]] = []  # lines with one field
    beyond = 0
    while chunk := list(islice(records, _CHUNK_ROWS)):
        kept = []
        for line, record in chunk:
            if form.last is not None and line > form.last:
                beyond += 1
            elif len(record) == 1 < width and form.last is None and holds_words(record[0]):
                short.append((line, record[0].strip()))
            elif width > 1 and not any(record):
                blank.append(line)
            elif len(record) != width or short:
                wrong, size = (line, len(record)) if not short else (short[0][0], 1)
                propose = _propose(content, separator, where, bottom)
                raise _ragged(wrong, size, width, separator, where, propose, lines[-1] if lines else None)
            else:
                lines.append(line)
                kept.append(record)
        # Arrow holds text in a tenth of the memory of Python's strings, which the garbage collector need not walk.
        for column, part in zip(columns, zip(*kept, strict=True), strict=False):
            column.append(pa.array(part, pa.string()))
    arrays = [pa.chunked_array(parts, pa.string()) for parts in columns]
    if not head[-1][1][0].strip() and width > 1 and len(head) == 1 and not form.columns:
        _refuse_pandas_index(columns[0], where)
    headings = _read_headings(head, form, below, where)
    propose = _propose(content, separator, where, bottom)
    remedy = f"if the names stand in row {propose}, below a title, pass header={propose}" if propose else ""
    if form.last is not None:
        _check_last(form.last, bottom, lines, where)
        notes += [f"{beyond} rows below row {form.last} were left out (last=)"] if beyond else []
    else:
        if not lines and short:
            raise _ragged(short[0][0], 1, width, separator, where, propose, None)
        said = _count_notes(arrays, lines, short, where, bottom)
        if said:
            notes.append(f"notes below the table were left out: {quote_lines(said)}")
            rows = len(said) - len(short)
            lines, arrays = lines[: len(lines) - rows], [one.slice(0, len(lines) - rows) for one in arrays]
    if blank:
        notes.append(f"rows without any value were left out: {write_runs(blank)}")
    return TextTable(headings, lines, arrays, bottom, remedy, notes)


def _read_head(
    records: Iterator[tuple[int, list[str]]], form: Form, where: str
) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """Return the records of the header, by line, and the titles above it."""
    head: list[tuple[int, list[str]]] = []
    titles: list[str] = []
    while not head or (form.header and head[-1][0] < form.header[1]):
        line, record = next(records, (0, [""]))
        if not line and form.header is None:
            raise SourceError("the file holds nothing but blank lines", where=where, remedy="export the data again")
        first, last = form.header or (line, line)
        if not line or line > last or (not head and line > first):
            next_row = f"; row {line} is the next that holds something" if line else ""
            raise SourceError(
                f"header= names row {last if head else first}, which is blank, within a quoted field, or not there",
                where=where,
                remedy=f"count the lines of the file from 1, blank ones too{next_row}",
            )
        if line >= first:
            head.append((line, record))
        elif any(record):
            titles.append(" ".join(cell.strip() for cell in record if cell.strip()))
    return head, titles


def _read_units(
    records: Iterator[tuple[int, list[str]]], form: Form, bottom: int, width: int, where: str
) -> list[str] | None:
    """Return the cells of the row of units, if there is one, which must be the next."""
    if form.unit_row is None:
        return None
    line, cells = next(records, (0, []))
    if line != form.unit_row:
        raise refuse_unit_row(form.unit_row, line, bottom, where)
    if len(cells) != width:
        remedy = "name the row that holds a unit, or nothing, for each column"
        raise SourceError(
            f"unit_row= names a row with {len(cells)} fields, and the header has {width}",
            where=f"{where}, row {line}",
            remedy=remedy,
        )
    return cells


def _read_headings(
    head: list[tuple[int, list[str]]], form: Form, below: list[str] | None, where: str
) -> list[ColumnHead]:
    """Join the levels of the header. An empty cell of an upper level takes the name to its left."""
    width, lowest = len(head[-1][1]), max(line for line, _ in head if line != form.unit_row)
    levels: list[list[str]] = []
    for line, cells in head:
        names = [strip_name(cell) for cell in cells]
        if len(names) > width:
            raise SourceError(
                f"the row has {len(names)} fields, and the last row of the header {width}",
                where=f"{where}, row {line}",
                remedy="name the rows of the header by header=(first, last)",
            )
        names += [""] * (width - len(names))
        if line == form.unit_row:
            below = names
            continue
        if line != lowest:
            for at in range(1, width):
                names[at] = names[at] or names[at - 1]
        levels.append(names)
    headings = []
    for at in range(width):
        stack = [names[at] for names in levels if names[at]]
        place = f"column {at + 1}"
        heading = ColumnHead(place, tuple(stack))
        if below is not None:
            unit = read_unit_cell(below[at], heading, f"{where}, row {form.unit_row}")
            refuse_number(below[at], f"{where}, row {form.unit_row}, {place}")
            heading = ColumnHead(place, tuple(stack), unit)
        headings.append(heading)
    return headings


def _count_notes(
    arrays: list[pa.ChunkedArray], lines: list[int], short: list[tuple[int, str]], where: str, bottom: int
) -> list[str]:
    """Return the notes below the table, from the top."""
    endings: list[Ending] = [Ending(line, text, None) for line, text in short]
    for i in range(len(lines) - 1, -1, -1) if len(arrays) > 1 else ():
        filled = [at for at, array in enumerate(arrays) if array[i].as_py().strip()]
        text = arrays[filled[0]][i].as_py().strip() if filled else ""
        if len(filled) != 1 or not holds_words(text):
            break
        if len(endings) - len(short) >= _MOST_ENDINGS:
            endings = endings[len(endings) - len(short) :]
            break
        others = [one.as_py() for one in arrays[filled[0]].slice(0, min(i, _SAMPLE_LINES))]
        endings.insert(0, Ending(lines[i], text, others))
    known = [line for line in lines if not endings or line < endings[0].row]
    count = count_notes(endings, where, known[-1] if known else bottom)
    return [one.text for one in endings[len(endings) - count :]]


def _check_last(last: int, bottom: int, lines: list[int], where: str) -> None:
    if last not in lines:
        known = f"the data stand in rows {lines[0]} to {lines[-1]}" if lines else f"the header ends in row {bottom}"
        raise SourceError(
            f"last= names row {last}, which is no row of the data",
            where=where,
            remedy=f"name the last row of the data by its line in the file; up to there, {known}",
        )


def _propose(content: str, separator: str, where: str, header_line: int) -> int | None:
    """Return the line that looks more like a header than the first one: as wide as most, with names over nearly all columns."""
    sample = list(islice(split_records(content, separator, where), _SAMPLE_LINES))
    widths = [len(record) for _, record in sample]
    common = max(set(widths), key=widths.count)
    filled = [(line, sum(map(bool, map(str.strip, record)))) for line, record in sample if len(record) == common]
    most = max((count for _, count in filled), default=0)
    first = next((one for line, one in filled if line == header_line), 0)
    return next(
        (line for line, count in filled if count >= max(most - 1, 2) and line > header_line and count > first), None
    )


def is_web(content: str) -> bool:
    """Tell HTML or XML from other text."""
    return content.lstrip("\ufeff \t\r\n").startswith("<")


def decode_any(data: bytes, where: str) -> tuple[str, list[str]]:
    """Decode by the byte order mark, else as UTF-8, else by the charset that a web page names, else as GB18030.

    GB18030 is noted, as nothing proves it; so is a charset that is neither. What a page says of itself goes last because
    pages in UTF-8 often call themselves gb2312, while text that is valid as UTF-8 is hardly ever anything else.
    """
    notes = []
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            content = data.decode("utf-16")
        elif data.startswith(codecs.BOM_UTF8):
            content = data.decode("utf-8-sig")
        else:
            try:
                content = data.decode("utf-8")
            except UnicodeDecodeError:
                if _is_damaged_utf8(data):
                    raise
                encoding = _named_charset(data) or "gb18030"
                content = data.decode(encoding)
                notes.append(f"the text was read as {encoding.upper()}")
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(error.encoding, "replace").count("\n") + 1
        raise SourceError(
            f"byte {error.start + 1} is not text in {error.encoding.upper()}",
            where=f"{where}, line {line}",
            remedy=f"correct that line, or {_SAVE_UTF8}; if it is not a text file, export it as one",
        ) from error
    if (at := content.find("\0")) >= 0:
        line = content.count("\n", 0, at) + 1
        raise SourceError(
            "there is a NUL character, so this is not plain text", where=f"{where}, line {line}", remedy=_SAVE_UTF8
        )
    return content, notes


def _named_charset(data: bytes) -> str | None:
    """Return the charset that a web page names, if it is one of traditional characters."""
    found = _CHARSET.search(data[:4_000]) if data.lstrip().startswith(b"<") else None
    name = found[1].decode("ascii").lower() if found else ""
    if name in _OTHER_CHARSETS:
        return name
    return None


def find_separator(content: str, where: str, skip: int = 0) -> str:
    """Choose the separator whose fields in the first lines are as many as in the header; raise SourceError on a tie.

    The header stands below `skip` lines.

    A text in which no separator occurs has one column. Where none fits, the likeliest is returned, and reading the
    records will name the line that does not fit.
    """
    head = list(islice(io.StringIO(content, newline=""), skip, skip + _SAMPLE_LINES))
    found: dict[str, tuple[int, float, int]] = {}
    for separator in SEPARATORS:
        widths: list[int] = []
        with suppress(csv.Error):  # the wrong separator beside a quote, or a quoted field that outruns the sample
            widths.extend(len(r) for r in csv.reader(head, delimiter=separator, strict=True) if not _is_blank(r))
        if widths:
            fits = sum(width == widths[0] for width in widths) / len(widths)
            found[separator] = (widths[0] if fits >= 0.5 else 0, fits, max(widths))
    if not found:
        return ","
    best = max(found, key=lambda separator: found[separator])
    tied = [separator for separator in found if found[separator][:2] == found[best][:2]]
    if found[best][0] > 1 and len(tied) > 1:
        named = " or the ".join(SEPARATORS[separator] for separator in tied)
        raise SourceError(
            f"the columns could be separated by the {named}",
            where=where,
            remedy="put quotes around the names and values that hold one of these characters",
        )
    if found[best][0] > 1:
        return best
    return max(found, key=lambda separator: found[separator][2])


def split_records(content: str, separator: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Give each record that is not blank, with the line on which it starts."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for record in reader:
            if not _is_blank(record):
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"the quotes do not match ({error})",
            where=f"{where}, row {line}",
            remedy='close the quote, and write a quote inside a quoted field twice ("")',
        ) from error


def _is_blank(record: list[str]) -> bool:
    return not record or (len(record) == 1 and record[0].isspace())


def _is_damaged_utf8(data: bytes) -> bool:
    """Tell UTF-8 with a few wrong bytes from GB18030, which would accept nearly all of it as other words.

    Chinese in UTF-8 has three bytes a character, which GB18030 rarely resembles; two bytes it often does.
    """
    content = data.decode("utf-8", "replace")
    return len(re.findall("[\u0800-\ufffc]", content)) > content.count("\ufffd")


def _ragged(
    line: int, width: int, expected: int, separator: str, where: str, header: int | None, last: int | None
) -> SourceError:
    """Make the error for a row of another width; `header` may be the row of the header, and `last` that of the last data."""
    fields = "1 field" if width == 1 else f"{width} fields"
    remedy = f"put quotes around a value that holds a {SEPARATORS[separator]}; delete titles above and notes below"
    if header is not None:
        remedy = (
            f"if the names of the columns stand in row {header}, below titles, pass header={header}; otherwise {remedy}"
        )
    elif last is not None:
        remedy += f", or, where the data end above, pass last={last}"
    return SourceError(
        f"the row has {fields} and the header {expected}, separated by the {SEPARATORS[separator]}",
        where=f"{where}, row {line}",
        remedy=remedy,
    )


def _refuse_pandas_index(column: list[pa.Array], where: str) -> None:
    cells = [cell for part in column for cell in part.to_pylist()]
    if cells and cells == [str(row) for row in range(len(cells))]:
        raise SourceError(
            "column 1 has no name and counts 0, 1, 2, …: it is the row number that pandas writes",
            where=where,
            remedy="delete the column or give it a name; in pandas, write the file with index=False",
        )
