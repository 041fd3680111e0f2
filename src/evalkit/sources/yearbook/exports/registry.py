"""Which form of an export a page has, if any."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from evalkit.sources.yearbook.exports.ages import find_ages
from evalkit.sources.yearbook.exports.eurostat import find_eurostat
from evalkit.sources.yearbook.exports.form import Export, lost_in_header, read_table, read_words
from evalkit.sources.yearbook.exports.long_table import find_long
from evalkit.sources.yearbook.exports.sidra import find_sidra
from evalkit.sources.yearbook.exports.world_bank import find_world_bank
from evalkit.sources.yearbook.headings import Given
from evalkit.sources.yearbook.pages import Page
from evalkit.sources.yearbook.readings import PageRead, set_repeated_aside

FORMS: tuple[Callable[[Page, Given], list[Export] | None], ...] = (
    find_world_bank,
    find_eurostat,
    find_sidra,
    find_long,
    find_ages,
)
"""Each returns the tables of a page that has its form for certain, and None for any other page. Raises SourceError for a page of
its form that is damaged, or says what a yearbook does not hold."""


def read_export(
    page: Page, given: Given, wanted: Collection[str], corrected: Mapping[tuple[int, int], str]
) -> PageRead | None:
    """Read a page that has the form of an export; None where it has none. Every number is in the values or not placed.

    Of more values than a page may hold, only the indicators `wanted` are made. Raises SourceError as the forms do.
    """
    for find in FORMS:
        forms = find(page, given)
        if forms is None:
            continue
        read = [read_table(form, wanted, corrected) for form in forms]
        unplaced = {(one.row, one.column): one for found in read for one in found.unplaced}
        tables = [found.readings for found in read]
        taken = {row for form in forms for row in (*form.rows, *form.layout.header, *form.legend)}
        taken |= {row for form in forms for row, _ in form.layout.blocks}
        words, lost = read_words(page, [row for row in page.rows if row not in taken])
        lost += [one for form in forms for one in lost_in_header(form)]
        unplaced |= {(one.row, one.column): one for one in lost}
        if not tables:
            return PageRead([], [], [], ["it holds words alone"])
        tables[0].notes.extend(words)
        set_repeated_aside(tables, unplaced, by_code=True)
        return PageRead(tables, [unplaced[at] for at in sorted(unplaced)], [], [])
    return None
