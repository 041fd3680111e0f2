"""Whole: all tables of one file, of each page by the form that it has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from evalkit.errors import SourceError
from evalkit.sources.files.cells import MOST_ERRORS, combine_cells
from evalkit.sources.yearbook.captions import Caption
from evalkit.sources.yearbook.declared import Declarations
from evalkit.sources.yearbook.exports.registry import read_export
from evalkit.sources.yearbook.headings import Given
from evalkit.sources.yearbook.pages import Page, Pages
from evalkit.sources.yearbook.readings import PageRead, Readings, read_page
from evalkit.sources.yearbook.unplaced import Unplaced, refuse_unplaced


@dataclass(frozen=True)
class FileRead:
    """What was read of each page of a file, the hash of its bytes, and what is to be noted."""

    pages: list[tuple[Page, PageRead]]
    sha256: str
    notes: list[str]

    @property
    def tables(self) -> list[Readings]:
        return [table for _, found in self.pages for table in found.tables]

    @property
    def unplaced(self) -> list[Unplaced]:
        return [one for _, found in self.pages for one in found.unplaced]

    @property
    def indicators(self) -> list[str]:
        return list(dict.fromkeys(one for table in self.tables for one in names_of(table)))


def read_tables(pages: Pages, declared: Declarations, given: Given, wanted: Collection[str]) -> FileRead:
    """Read the tables of the pages; a page without one, and a part of one that is not understood, is noted."""
    read = FileRead([], pages.sha256, [*pages.notes, *declared.notes])
    declared.check([page.sheet for page in pages.pages])
    known: dict[str, Caption] = {}
    for published in pages.pages:
        page, corrected = declared.correct(published)
        read.notes.extend(f"{page.address(*at)} is {said}" for at, said in corrected.items())
        laid_out = declared.of(page.sheet)
        found = None if laid_out else read_export(page, given, wanted, corrected)
        found = found or read_page(page, known, laid_out, given, corrected)
        read.pages.append((page, found))
        read.notes.extend(f"{error.where}: {error.what}" for error in found.errors)
        if not (found.tables or found.errors):
            read.notes.append(f"sheet '{page.sheet}' was not read: {found.reason}")
    if given.of_name:
        read.notes.append(f"the year {given.year} is that of the file's name, where nothing else says one")
    return read


def refuse_nothing(read: FileRead, where: str, *, named: bool) -> None:
    """Raise SourceError where no value is read, or none of a sheet that was `named`."""
    for page, found in read.pages:
        if named and not (found.tables or found.errors):
            what = f"the sheet holds no table: {found.reason}"
            raise SourceError(what, where=page.where, remedy="leave it out of sheets=")
    if any(table.others for table in read.tables) or any(
        value.mark != "unread" for table in read.tables for value in table.values
    ):
        return
    if errors := [error for _, found in read.pages for error in found.errors]:
        raise combine_cells(errors)
    if unread := [one.refuse(page.where) for page, _ in read.pages for one in page.grid.unread]:
        raise combine_cells(unread[:MOST_ERRORS])
    if read.unplaced and read.tables:
        raise refuse_unplaced(read.unplaced, where, strict=False)
    said = [f"{'' if page.sheet is None else f'{page.sheet}: '}{found.reason}" for page, found in read.pages]
    raise SourceError(
        f"no table of a yearbook is found ({'; '.join(said[:5]) or 'no visible sheet holds any data'})",
        where=where,
        remedy='give the file of the yearbook\'s table, or say where it stands in a layout file (layout="…"); read an ordinary '
        "table, with one header row, with Delimited",
    )


def names_of(table: Readings) -> list[str]:
    return [*(value.indicator for value in table.values), *table.others]
