"""Text with separators: decoding, finding the separator, and splitting it into columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice

import pandas as pd
import pyarrow as pa

from evalkit.errors import SourceError
from evalkit.sources.files.columns import check_names, parse_column, refuse_no_rows, write_runs

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_LINES = 200
_CHUNK_ROWS = 1_000  # few enough that the lists of one chunk stay in the cache
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_-]+)""")
_OTHER_CHARSETS = ("big5", "big5-hkscs")
_SAVE_UTF8 = "open it in Excel and save it as CSV UTF-8"


def read_text(data: bytes, where: str, text: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Read the columns of a text file, and say in notes what was assumed or left out.

    The index holds the line on which each record starts; a quoted field may run over several lines.
    """
    content, notes = decode(data, where)
    separator = find_separator(content, where)
    records = split_records(content, separator, where)
    header_line, header = next(records, (0, [""]))
    if not header_line:
        raise SourceError("the file holds nothing but blank lines", where=where, remedy="export the data again")
    width = len(header)
    columns: list[list[pa.Array]] = [[] for _ in header]
    lines: list[int] = []
    blank: list[int] = []
    while chunk := list(islice(records, _CHUNK_ROWS)):
        kept = []
        for line, record in chunk:
            if len(record) != width:
                raise _ragged(line, len(record), width, separator, where)
            if width > 1 and not any(record):
                blank.append(line)
            else:
                lines.append(line)
                kept.append(record)
        # Arrow holds text in a tenth of the memory of Python's strings, which the garbage collector need not walk.
        for column, part in zip(columns, zip(*kept, strict=True), strict=False):
            column.append(pa.array(part, pa.string()))
    if not header[0].strip() and width > 1:
        _refuse_pandas_index(columns[0], where)
    names = check_names(header, [f"column {i + 1}" for i in range(width)], f"{where}, row {header_line}")
    if not lines:
        raise refuse_no_rows(where)
    if blank:
        notes.append(f"rows without any value were left out: {write_runs(blank)}")
    values = {n: parse_column(pa.chunked_array(c), as_text=n in text) for n, c in zip(names, columns, strict=True)}
    return pd.DataFrame(values, index=pd.Index(lines, name="row", dtype="int64")), notes


def decode(data: bytes, where: str) -> tuple[str, list[str]]:
    """Decode as decode_any() does; raise SourceError on a web page."""
    content, notes = decode_any(data, where)
    if is_web(content):
        raise SourceError(
            "this is a web page (HTML or XML), whatever its name says",
            where=where,
            remedy="open it in Excel and save it as .xlsx or as CSV UTF-8",
        )
    return content, notes


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


def find_separator(content: str, where: str) -> str:
    """Choose the separator whose fields in the first lines are as many as in the header; raise SourceError on a tie.

    A text in which no separator occurs has one column. Where none fits, the likeliest is returned, and reading the
    records will name the line that does not fit.
    """
    head = list(islice(io.StringIO(content, newline=""), _SAMPLE_LINES))
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


def _ragged(line: int, width: int, expected: int, separator: str, where: str) -> SourceError:
    fields = "1 field" if width == 1 else f"{width} fields"
    return SourceError(
        f"the row has {fields} and the header {expected}, separated by the {SEPARATORS[separator]}",
        where=f"{where}, row {line}",
        remedy=f"put quotes around a value that holds a {SEPARATORS[separator]}; delete titles above and notes below",
    )


def _refuse_pandas_index(column: list[pa.Array], where: str) -> None:
    cells = [cell for part in column for cell in part.to_pylist()]
    if cells and cells == [str(row) for row in range(len(cells))]:
        raise SourceError(
            "column 1 has no name and counts 0, 1, 2, …: it is the row number that pandas writes",
            where=where,
            remedy="delete the column or give it a name; in pandas, write the file with index=False",
        )
