"""The form of a table in its file: what was declared of it, what stands in its header, and which columns are read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from evalkit.errors import SourceError, nearest
from evalkit.sources.files.columns import check_names, strip_name
from evalkit.tables.text_columns import MISSING, USUAL, Marks
from evalkit.tables.units import same_unit, unit_of_header

_BRACKETS = str.maketrans("【】〔〕［］[]", "()()()()")
_LAST_BRACKET = re.compile(r"(.*\S)\s*[(（\[［【〔]([^()（）\[\]［］【】〔〕]+)[)）\]］】〕]\s*", re.DOTALL)
_OF_UNIT = re.compile(r"^\s*(?:计量单位|单位|units?)\s*[:：]?\s*", re.IGNORECASE)
_NO_UNIT = ("", "-", "--", "—", "/", "无", "无单位", "没有单位", "none", "no unit", "n/a", "na")
_MARKED = re.compile(
    r"\s*(?:(?:(?:数据|资料)?来源|注(?:释|意)?\s*[0-9一二三四五①-⑳]*|备注|说明|附注|单位|出典|資料|注記|出所"
    r"|data\s*sources?|sources?|notes?|footnotes?|fontes?|fuentes?|quellen?|notas?|last\s*updated|data\s*from\s*database)\s*[:：.．、]"
    r"|[*＊†‡※①-⑳]+\s*\S|[(（\[]?[0-9]{1,2}[)）\]、]\s*\S)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"https?://|\bwww\.|[a-z0-9-]+\.(?:com|org|net|cn|gov|edu)\b", re.IGNORECASE)
_LONG_DIGITS = re.compile(r"[0-9０-９][0-9０-９ -]{9,}[0-9０-９Xx]")
_SHOWN, _LONGEST = 5, 120  # titles and notes that are shown, and letters of each


@dataclass(frozen=True)
class Form:
    """What was declared of a table. Rows are those of the file, from 1; `header` is its first and its last row.

    `columns` are those to read, by their names in the study; none says all, under their headers. `vet` refuses headers that may
    not be shown, before any error could show them.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    text: Collection[str] = ()
    sheets: tuple[str, ...] = ()
    header: tuple[int, int] | None = None
    unit_row: int | None = None
    last: int | None = None
    marks: Marks = USUAL
    vet: Callable[[Sequence[str], str], None] = lambda names, where: None

    def refuse_rows(self, what: str, where: str) -> None:
        """Raise SourceError where rows are declared of a file that has none."""
        for name, given in (("header", self.header), ("unit_row", self.unit_row), ("last", self.last)):
            if given is not None:
                raise SourceError(f"{name}= is given, but {what}", where=where, remedy=f"leave {name}= out")


@dataclass(frozen=True)
class ColumnHead:
    """What stands above a column: where, the cells of its levels from the top (no empty ones), its cell in the row of units."""

    place: str
    levels: tuple[str, ...]
    below: str = ""

    @property
    def name(self) -> str:
        """Return the levels as one name."""
        return " / ".join(self.levels)

    @property
    def unit(self) -> str | None:
        """Return the unit in the row of units, else in the last bracket of the lowest level that has one."""
        if self.below:
            return self.below
        return next((unit for level in reversed(self.levels) if (unit := strip_unit(level)[1])), None)

    @property
    def short(self) -> str:
        """Return the name without the unit in brackets."""
        return " / ".join(strip_unit(level)[0] for level in self.levels)


@dataclass(frozen=True)
class Chosen:
    """A column that is read: at which position, under which name, in which unit, and what its header says."""

    at: int
    name: str
    unit: str | None
    header: str


@dataclass(frozen=True)
class Selection:
    """The columns of a table that are read, the headers of those that are not, and what is to be noted."""

    read: list[Chosen]
    unread: list[str]
    notes: list[str]

    @property
    def units(self) -> dict[str, str]:
        """Return the units that the header gives, by column."""
        return {one.name: one.unit for one in self.read if one.unit}


def strip_unit(header: str) -> tuple[str, str | None]:
    """Return a header without the brackets behind it that hold a unit, and the unit in the last of them, None without one."""
    found = _LAST_BRACKET.fullmatch(header)
    unit = unit_of_header(_OF_UNIT.sub("", found[2])) if found else None
    if found is None or unit is None:
        return header, None
    return strip_unit(found[1])[0], unit


def read_unit_cell(cell: str, heading: ColumnHead, where: str) -> str:
    """Read a cell of the row of units, "" where it says that there is none; raise SourceError where the header says another."""
    inner = _OF_UNIT.sub("", cell.strip().strip("()（）[]［］【】")).strip()
    if inner.casefold() in _NO_UNIT:
        return ""
    unit, above = unit_of_header(inner) or inner, heading.unit
    if above is not None and not same_unit(above, unit):
        raise SourceError(
            f"the unit of {heading.place} is '{above}' in the header and '{unit}' in the row of units",
            where=where,
            remedy="correct the one that is wrong in the file",
        )
    return unit


def plain_header(header: str) -> str:
    """Write a header without spaces and line breaks, in half width, with round brackets."""
    return "".join(unicodedata.normalize("NFKC", strip_name(header)).translate(_BRACKETS).split())


def choose(
    headings: Sequence[ColumnHead], form: Form, where: str, is_empty: Callable[[int], bool], remedy: str = ""
) -> Selection:
    """Find the columns that are read; say in notes which are not. `is_empty` tells whether a column holds nothing.

    Raises SourceError where a header that is asked for is not there or stands twice, and, where all are read, on one without a
    name or with that of another.
    """
    for level in zip_longest(*(heading.levels for heading in headings), fillvalue=""):
        form.vet(level, where)
    if form.columns:
        return _choose_named(headings, form.columns, where)
    empty = [at for at, heading in enumerate(headings) if not heading.name and is_empty(at)]
    read = [at for at in range(len(headings)) if at not in empty]
    names = check_names([headings[at].name for at in read], [headings[at].place for at in read], where, remedy)
    notes = [f"{headings[at].place} has neither a name nor values and was left out" for at in empty]
    return Selection(
        [Chosen(at, name, headings[at].unit, name) for at, name in zip(read, names, strict=True)], [], notes
    )


def _choose_named(headings: Sequence[ColumnHead], columns: Mapping[str, str], where: str) -> Selection:
    known = [heading.name for heading in headings if heading.name]
    found: dict[str, int] = {}
    for name, header in columns.items():
        at = _match(header, headings)
        if not at:
            raise SourceError(
                f"columns= names header '{header}' (for '{name}'), which the file does not have",
                where=where,
                remedy=nearest_header(header, known),
            )
        if len(at) > 1:
            places = " and ".join(f"{headings[i].place} ('{headings[i].name}')" for i in at[:3])
            raise SourceError(
                f"columns= names header '{header}' (for '{name}'), which stands over {len(at)} columns: {places}",
                where=where,
                remedy="rename one of them in the file, or write the whole header, with its unit and its levels",
            )
        if at[0] in found.values():
            other = next(one for one, i in found.items() if i == at[0])
            raise SourceError(
                f"columns= calls {headings[at[0]].place} both '{other}' and '{name}'",
                where=where,
                remedy="leave one of them out; a copy is made by a step or in the panel",
            )
        found[name] = at[0]
    rest = [heading.name or heading.place for i, heading in enumerate(headings) if i not in found.values()]
    notes = [f"columns that were not read: {', '.join(rest)}"] if rest else []
    return Selection(
        [Chosen(at, name, headings[at].unit, headings[at].name) for name, at in found.items()], rest, notes
    )


def _match(header: str, headings: Sequence[ColumnHead]) -> list[int]:
    """Find a header by its whole name, else without its unit, else by one of its levels."""
    wanted = plain_header(header)
    spellings: tuple[Callable[[ColumnHead], list[str]], ...] = (
        lambda one: [one.name],
        lambda one: [one.short],
        lambda one: [*one.levels, *(strip_unit(level)[0] for level in one.levels)],
    )
    for spell in spellings:
        if at := [i for i, one in enumerate(headings) if wanted in map(plain_header, spell(one)) and wanted]:
            return at
    return []


def nearest_header(header: str, known: Sequence[str]) -> str:
    """Offer the headers that hold the words asked for, else the one spelt most alike."""
    holding = [one for one in known if plain_header(header).casefold() in plain_header(one).casefold()]
    if 0 < len(holding) <= _SHOWN:
        return f"did you mean {' or '.join(repr(one) for one in holding)}? Known are: {', '.join(known[:12])}" + (
            ", …" if len(known) > 12 else ""
        )
    return nearest(header, known)


def quote_lines(lines: Sequence[str]) -> str:
    """Quote titles or notes, in short; digits of numbers as long as a telephone's are not shown."""
    shown = [_LONG_DIGITS.sub("…", " ".join(line.split())) for line in lines[:_SHOWN]]
    quoted = "; ".join(f"'{one[:_LONGEST]}{'…' if len(one) > _LONGEST else ''}'" for one in shown)
    return quoted + (f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "")


@dataclass(frozen=True)
class Ending:
    """A row at the end of a file with one filled cell of words. `others` are the texts above it in its column, None for a line of
    text with fewer fields than the header, which is no row of the table."""

    row: int
    text: str
    others: Sequence[str] | None


def count_notes(endings: Sequence[Ending], where: str, last: int) -> int:
    """Return how many of the rows at the end are notes below the table; raise SourceError where a row may be one or a record.

    What begins as notes do (Source:, 注：, *, (1)), is a sentence with its full stop or has a web address, is one, unless other
    rows of its column are alike, and so is all below it. What is written in the column like others, not longer and without a
    colon, is a record with a name and no values.
    """
    for i, one in enumerate(endings):
        others = one.others or ()
        if _is_note(one.text):
            if not any(map(_is_note, others)):
                return len(endings) - i
        elif one.others is not None and _is_like(one.text, others):
            last = one.row
            continue
        raise SourceError(
            "the row may be a note below the table, or a record of which all but one value are missing",
            where=f"{where}, row {one.row}",
            remedy=f"name the last row of the data: last={last} leaves out this row and all below, last={one.row} reads it"
            if one.others is not None
            else f"name the last row of the data: last={last} leaves out this line and all below",
        )
    return 0


def _is_note(text: str) -> bool:
    return _MARKED.match(text) is not None or "。" in text or _ADDRESS.search(text) is not None


def _is_like(text: str, others: Sequence[str]) -> bool:
    return not others or (len(text) <= max(map(len, others)) and re.search("[:：。；;]", text) is None)


def holds_words(text: str) -> bool:
    """Tell words from numbers, dates and marks for a gap."""
    return any(letter.isalpha() for letter in text) and text not in MISSING and not _is_number(text)


def refuse_number(cell: str, where: str) -> None:
    """Raise SourceError where the row of units holds a number."""
    if cell.strip() and _is_number(cell):
        raise SourceError(
            "the row that unit_row= names holds numbers",
            where=where,
            remedy="name the row with the units, or leave unit_row= out",
        )


def refuse_unit_row(wanted: int, found: int, bottom: int, where: str) -> SourceError:
    """Make the error for a row of units that is not the first one below the header; `found` is that one, 0 without one."""
    if wanted <= bottom:
        what, remedy = (
            f"unit_row={wanted} stands above the end of the header in row {bottom}",
            "name the rows of the header by header=",
        )
    elif not found or found > wanted:
        what, remedy = (
            f"unit_row= names row {wanted}, which is blank or is not there",
            "count the rows of the file from 1",
        )
    else:
        what = f"row {found} stands between the header and the row of units, and is declared as neither"
        remedy = f"take it into the header: header=({bottom}, {found}), or begin the header there: header={found}"
    return SourceError(what, where=where, remedy=remedy)


def _is_number(text: str) -> bool:
    try:
        float(unicodedata.normalize("NFKC", text.strip()).replace(",", "").removesuffix("%"))
    except ValueError:
        return False
    return True
