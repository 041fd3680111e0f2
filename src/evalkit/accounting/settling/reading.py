"""Schedules are read: those that come with the package, and an office's own TOML files, strictly."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.resources import files
from itertools import combinations, pairwise
from pathlib import Path

import pandas as pd

from evalkit.accounting.settling.entries import TOP, Entry
from evalkit.accounting.settling.kinds import read_payment, read_term
from evalkit.accounting.settling.rules import (
    CompensationIndex,
    FigureStatus,
    HowCompared,
    PrintedFigure,
    Schedule,
    ScheduleRound,
    Settled,
)
from evalkit.errors import ConfigError, DataError, SourceError, nearest
from evalkit.tables.periods import Frequency, read_periods
from evalkit.tables.table import Provenance

_TEXTS = ("name", "published_by", "source")
_TOP = (*_TEXTS, "status", "title", "settles", "leaves_out", "figures", "round")
_ROUND = ("name", "from", "to", "source", "status", "figures", "indices", "payments")
_FIGURE = ("status", "value", "unit", "source")
_INDEX = ("compare", "factor", "unit", "weights", "terms")
MONTHS: dict[Frequency, int] = {"integer": 12, "quarter": 3, "month": 1}
PERIODS: dict[str, Frequency] = {"year": "integer", "quarter": "quarter", "month": "month"}


def schedule(name_or_path: str | Path) -> Schedule:
    """Read a schedule of settlements: one of the package by its name, or an office's own TOML file by its path (*.toml).

    The package's schedules whose names end in "_recalled" hold figures that were not checked against a publication. Raises
    ConfigError for an unknown name, and SourceError for a file that cannot be read or has unknown, missing or impossible entries.
    """
    shipped = files("evalkit").joinpath("accounting", "schedules")
    names = sorted(item.name.removesuffix(".toml") for item in shipped.iterdir() if item.name.endswith(".toml"))
    if str(name_or_path) in names:
        data = shipped.joinpath(f"{name_or_path}.toml").read_bytes()
        return _read(data, f"evalkit/accounting/schedules/{name_or_path}.toml", ())
    path = Path(name_or_path).as_posix()
    if not path.endswith(".toml"):
        raise ConfigError(
            f"there is no schedule '{name_or_path}'",
            where="schedule",
            remedy=f"{nearest(str(name_or_path), names)}; or give the path of a file that ends in .toml",
        )
    try:
        data = Path(name_or_path).read_bytes()
    except OSError as error:
        remedy = f"check the path; the schedules of the package are {', '.join(names)}"
        raise SourceError(f"the schedule cannot be read ({error.strerror})", where=path, remedy=remedy) from None
    return _read(data, path, tuple(names))


def _read(data: bytes, path: str, taken: tuple[str, ...]) -> Schedule:
    """Read a schedule from the bytes of its file; `taken` are names that it may not have."""
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))  # Notepad puts a byte order mark in front
    except UnicodeDecodeError:
        raise SourceError("the schedule is not UTF-8", where=path, remedy="save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SourceError(f"this is not TOML: {error}", where=path, remedy="correct that line") from None
    try:
        return _schedule(Entry(content, path, TOP), hashlib.sha256(data).hexdigest(), taken)
    except DataError as error:  # a unit or a period: what is wrong with it stands in this file
        where = error.where if path in error.where else f"{path}, {error.where}"
        raise SourceError(error.what, where=where, remedy=error.remedy) from None


def _schedule(top: Entry, sha256: str, taken: tuple[str, ...]) -> Schedule:
    top.known(_TOP)
    texts = {key: top.text(key) for key in _TEXTS}
    if texts["name"] in taken:
        what = f"the name '{texts['name']}' belongs to a schedule of the package"
        raise top.error(what, "give the schedule a name of its own")
    title, status = top.words("title"), top.choice("status", FigureStatus)
    settles: Settled = top.choice("settles", Settled)
    shared = _figures(top, "")
    rounds = [_round(entry, shared, settles) for entry in top.tables("round")]
    if not rounds:
        raise top.error("there is no round", 'add [[round]] with name, from, to, source, status')  # fmt: skip
    for one, other in combinations(rounds, 2):
        if one.name == other.name:
            raise top.error(f"two rounds are called '{one.name}'", "give each a name of its own")
        if one.months[0] <= other.months[1] and other.months[0] <= one.months[1]:
            raise top.error(
                f"the rounds '{one.name}' ({one.first} to {one.last}) and '{other.name}' ({other.first} to {other.last}) overlap",
                "end one before the other begins",
            )
    provenance = Provenance(
        top.path, sha256, publisher=texts["published_by"], title=title["en"], citation=texts["source"]
    )
    leaves_out = top.words("leaves_out") if "leaves_out" in top.content else {}
    return Schedule(
        **texts,
        status=status,
        title=title,
        settles=settles,
        rounds=tuple(sorted(rounds, key=lambda one: one.months)),
        provenance=provenance,
        leaves_out=leaves_out,
    )


def _round(entry: Entry, shared: dict[str, PrintedFigure], settles: Settled) -> ScheduleRound:
    entry.known(_ROUND)
    name = entry.text("name")
    own = _figures(entry, name)
    for figure in own:
        if figure in shared:
            raise entry.error(f"the figure '{figure}' is also one of the whole schedule", "name it in one place")
    figures = {**shared, **own}
    first, last = _bound(entry, "from"), _bound(entry, "to")
    months = (_months(first, entry)[0], _months(last, entry)[1])
    length = MONTHS[PERIODS[settles]]
    if months[0] > months[1]:
        raise entry.error(f"the round ends ({last}) before it begins ({first})", "exchange from and to")
    if months[0] % length or (months[1] + 1) % length:
        raise entry.error(
            f"{first} to {last} are no whole {settles}s, by which the schedule settles",
            f'begin and end rounds with a {settles}, or settle by shorter periods: settles = "month"',
        )
    indices: dict[str, CompensationIndex] = {}
    for key in entry.table("indices").content:
        indices[key] = _index(entry.table("indices").table(key), key, figures, indices)
    payments = tuple(read_payment(one, figures, indices) for one in entry.tables("payments"))
    if not payments:
        raise entry.error("nothing is paid in this round", "add [[round.payments]]")
    years = months[0] // 12, months[1] // 12
    for one in payments:
        if one.years is not None and not years[0] <= one.years[0] <= one.years[1] <= years[1]:
            what = f"the years of '{one.item}', {one.years[0]} to {one.years[1]}, are not all of this round"
            raise entry.error(what, f"write years from {years[0]} to {years[1]}")
    items = [one.item for one in payments]
    for item in items:
        if items.count(item) > 1 and any(one.years is None for one in payments if one.item == item):
            raise entry.error(
                f"two payments are called '{item}'", "give each item a name of its own, or years of its own"
            )
    for one, other in pairwise(sorted((p for p in payments if p.years), key=lambda p: (p.item, p.years or (0, 0)))):
        if one.item == other.item and one.years and other.years and other.years[0] <= one.years[1]:
            raise entry.error(f"two payments of the same years are called '{one.item}'", "let their years not overlap")
    return ScheduleRound(
        name,
        first,
        last,
        months,
        entry.text("source"),
        entry.choice("status", FigureStatus),
        figures,
        indices,
        payments,
    )


def _bound(entry: Entry, key: str) -> str:
    given = entry.content.get(key)
    if isinstance(given, bool) or not isinstance(given, int | str) or not str(given).strip():
        raise entry.error(
            f"'{key}' is missing or not a period", f'write {key} = 2012, or {key} = "2012Q3" or "2012-07"'
        )
    return str(given)


def _months(text: str, entry: Entry) -> tuple[int, int]:
    """Count the first and the last month of a period from the year 0."""
    ordinals, _, frequency = read_periods(pd.Series([text], name="from, to"))
    if frequency not in MONTHS or (frequency == "integer" and not 1000 <= int(ordinals[0]) <= 2999):
        raise entry.error(f"'{text}' is no year, quarter or month", "write 2012, 2012Q3 or 2012-07")
    length = MONTHS[frequency]
    return int(ordinals[0]) * length, (int(ordinals[0]) + 1) * length - 1


def _figures(entry: Entry, of_round: str) -> dict[str, PrintedFigure]:
    found = {}
    for name in entry.table("figures").content:
        one = entry.table("figures").table(name)
        one.known(_FIGURE)
        status: FigureStatus = one.choice("status", FigureStatus)
        unit = one.text("unit", "")
        if status == "open":
            if "value" in one.content:
                raise one.error("an open figure has a value", "leave it out, or say where the value is from (status)")
            found[name] = PrintedFigure(name, status, None, unit, one.text("source", ""), of_round)
        else:
            found[name] = PrintedFigure(name, status, one.number("value"), unit, one.text("source"), of_round)
    return found


def _index(
    entry: Entry, name: str, figures: dict[str, PrintedFigure], before: dict[str, CompensationIndex]
) -> CompensationIndex:
    entry.known(_INDEX)
    compare: HowCompared = entry.choice("compare", HowCompared)
    weights = entry.text("weights", "sum to 1")
    if weights not in ("sum to 1", "free"):
        raise entry.error(
            f"weights = {weights!r}", 'write weights = "free" where they need not sum to 1, or leave it out'
        )
    terms = tuple(read_term(one, figures, before, compare) for one in entry.tables("terms"))
    if not terms:
        raise entry.error("the index has no terms", f"add [[{entry.section}.terms]]")
    read = CompensationIndex(
        name,
        entry.where,
        compare,
        terms,
        entry.quantity("factor", figures, "") if "factor" in entry.content else None,
        entry.text("unit", ""),
        weights == "free",
    )
    known = [1.0 if one.weight is None else one.weight.value for one in terms]
    known = [
        figures[one.weight.figure].value if one.weight is not None and one.weight.figure else value
        for one, value in zip(terms, known, strict=True)
    ]
    values = [value for value in known if value is not None]
    if compare != "product" and not read.weights_free and len(values) == len(terms):
        check_weights(sum(values), entry.where)
    return read


def check_weights(total: float, where: str) -> None:
    """Raise DataError unless weights sum to 1."""
    if abs(total - 1) > 1e-9:
        raise DataError(
            f"the weights sum to {total:.12g}, not to 1",
            where=where,
            remedy='correct them, or write weights = "free" where the agreement means it so',
        )
