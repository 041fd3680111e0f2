"""Inventory: activity data × emission factors, by key and emission source."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.accounting._tables import DETAIL, EMISSIONS, located, require_columns, require_keys, unit_of, values_of
from evalkit.accounting.factors import Factor, FactorSet, plain_word
from evalkit.accounting.magnitudes import check_magnitudes
from evalkit.accounting.vocabulary import count_the_same, holds_emissions_of, vocabulary
from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Floats, Ints
from evalkit.tables.table import Provenance, Table
from evalkit.tables.units import kind_of_unit

_SOWN_AREA = "sown_area"


def inventory(
    activity: Table,
    factors: FactorSet,
    *,
    keys: tuple[str, ...],
    sources: Mapping[str, str] | None = None,
    leave_out: tuple[str, ...] = (),
    name: str = "inventory",
) -> Table:
    """Multiply activity data by emission factors: one row for each row of `activity` and emission source.

    `keys` identify the rows of `activity`. `sources` maps what is counted ("fertiliser", "dairy_cattle") to columns; by
    default they are the columns that bear such a name. One column may have several emission sources: cattle have enteric
    methane, and that of manure. Columns of the result: keys, source, activity, activity_unit (as declared), factor,
    factor_unit (kg CO2e per that unit; below 0 for a sink), emissions (kg CO2e, missing where the activity is). A row keeps
    the number it has in the file.

    What the set excludes, or `leave_out` names (a source, or all of a column), is left out; the provenance says so. Where the
    table has `sown_area`, magnitudes per hectare are checked. Raises DataError for repeated keys, a column without a unit or with
    a wrong one, negative values, implausible magnitudes, what the set has no value for, what would be counted twice or by half, a
    column that is named for another product, and a row for which a factor by cases has none.
    """
    for argument, given in (("keys", keys), ("leave_out", leave_out)):
        if isinstance(given, str):  # a string is a sequence of one-letter names, which nobody means
            raise DataError(
                f"{argument}= is one word, not a tuple", where=name, remedy=f'write {argument}=("{given}",)'
            )
    _check_table(activity, keys)
    columns = _find_columns(activity, factors, keys, sources)
    used, notes = _choose(activity, factors, columns, leave_out)
    _refuse_double(activity, used)
    _refuse_half(activity, factors, columns, used, leave_out)
    _refuse_doubted(activity, columns, used, keys, leave_out)
    values = {counted: _activity_values(activity, counted, column, used) for counted, column in columns.items()
              if any(one.activity == counted for one in used)}  # fmt: skip
    notes += check_magnitudes(activity, {one: columns[one] for one in values}, columns.get(_SOWN_AREA, _SOWN_AREA))
    notes += _note_own_beside(used)
    frame = _multiply(activity, factors, keys, columns, used, values)
    described = _describe(factors, activity, columns, used, notes)
    return Table(name=name, frame=frame, provenance=(*activity.provenance, *described), units={"emissions": EMISSIONS})


def _multiply(
    activity: Table,
    factors: FactorSet,
    keys: tuple[str, ...],
    columns: Mapping[str, str],
    used: Sequence[Factor],
    values: Mapping[str, Floats],
) -> pd.DataFrame:
    """Make the long table: the sources of a row stand one below the other."""
    rows, number = len(activity.frame), len(used)
    amounts, rates = np.empty((rows, number)), np.empty((rows, number))
    units = []
    for at, one in enumerate(used):
        column = columns[one.activity]
        unit, where = unit_of(activity, column), f"{activity.name}, column '{column}'"
        units.append(unit)
        amounts[:, at] = values[one.activity]
        rates[:, at] = _values_by_case(activity, one, values[one.activity]) * factors.weigh(one, unit, where=where)
    long = activity.frame[list(keys)]
    if number > 1:
        long = long.take(np.repeat(np.arange(rows), number))
    made = {
        "source": _tiled([one.name for one in used], rows),
        "activity": amounts.ravel(),
        "activity_unit": _tiled(units, rows),
        "factor": rates.ravel(),
        "factor_unit": _tiled([f"{EMISSIONS}/{unit}" for unit in units], rows),
        "emissions": (amounts * rates).ravel(),
    }
    return pd.concat([long, pd.DataFrame(made, index=long.index, copy=False)], axis=1)


def _tiled(words: Sequence[str], times: int) -> pd.Categorical:
    """Repeat a list of words so many times, held as codes: a column of twenty million rows has few words."""
    known = list(dict.fromkeys(words))
    codes = np.array([known.index(word) for word in words], dtype=np.int16)
    return pd.Categorical.from_codes(np.tile(codes, times), categories=pd.Index(known, dtype="str"))


def _values_by_case(activity: Table, factor: Factor, values: Floats) -> Floats | float:
    """Return the value of a factor; one for each row where it differs by columns of the activity data."""
    if factor.value is not None:
        return factor.value
    columns = list(factor.cases[0][0])
    require_columns(activity, columns)
    spoken = factor.by_words()
    codes, combinations = _distinct(activity.frame, columns)
    found = np.array([spoken.get(tuple(map(plain_word, one)), np.nan) for one in combinations])[codes]
    lacking = np.isnan(found) & ~np.isnan(values)  # of what is unknown no factor is asked
    if lacking.any():
        at = int(np.argmax(lacking))
        said = ", ".join(f"{column} = {activity.frame[column].iloc[at]}" for column in columns)
        raise DataError(
            f"{factor.name} has no factor for {said}, and {int(lacking.sum())} rows lack one",
            where=located(activity, lacking, columns[0]),
            remedy=f"{nearest(' '.join(map(plain_word, combinations[codes[at]])), map(' '.join, spoken))}; correct the rows, or "
            "add a case in a file of your own with its source",
        )
    return np.asarray(found, dtype=np.float64)


def _distinct(frame: pd.DataFrame, columns: list[str]) -> tuple[Ints, list[tuple[str, ...]]]:
    """Return for each row the number of its combination of words, and the combinations."""
    grouped = frame.groupby(columns, sort=False, dropna=False)
    codes = np.asarray(grouped.ngroup(), dtype=np.int64)
    _, first = np.unique(codes, return_index=True)
    rows = frame[columns].iloc[first].itertuples(index=False)
    return codes, [tuple(map(str, row)) for row in rows]


def _check_table(activity: Table, keys: tuple[str, ...]) -> None:
    if not keys:
        raise DataError("there are no keys", where=activity.name, remedy="name the columns that identify a row")
    if not len(activity.frame):
        raise DataError("the table has no rows", where=activity.name, remedy="check the source")
    require_keys(activity, keys)
    for key in keys:
        if key in DETAIL:
            raise DataError(
                f"the key '{key}' has the name of a column of the inventory",
                where=activity.name,
                remedy="rename the column",
            )


def _known_activities(factors: FactorSet) -> dict[str, None]:
    """List what may be counted: the vocabulary, then what the set adds."""
    return dict.fromkeys((*vocabulary().activities, *(one.activity for one in factors.factors.values())))


def _find_columns(
    activity: Table, factors: FactorSet, keys: tuple[str, ...], sources: Mapping[str, str] | None
) -> dict[str, str]:
    """Find the column of each thing that is counted, in the order of the vocabulary."""
    known = _known_activities(factors)
    present = [str(column) for column in activity.frame.columns if column not in keys]
    if sources is None:
        _refuse_misspelt(activity, present, known)
        sources = {one: one for one in known if one in present}
    for counted, column in sources.items():
        if counted not in known:
            what = f"'{counted}' is no emission source"
            raise DataError(what, where="sources=", remedy=nearest(counted, known))
        require_columns(activity, [column])
        if list(sources.values()).count(column) > 1:
            raise DataError(
                f"column '{column}' is named for several emission sources", where="sources=", remedy="name it for one"
            )
    if not sources:
        raise DataError(
            "no column bears the name of an emission source",
            where=activity.name,
            remedy='name the columns: sources={"fertiliser": "…"}; sources are ' + ", ".join(known),
        )
    return {counted: sources[counted] for counted in known if counted in sources}


def _refuse_misspelt(activity: Table, present: list[str], known: Mapping[str, None]) -> None:
    """Refuse a column that all but bears the name of a source: nobody would miss its emissions."""
    for column in present:
        close = difflib.get_close_matches(column.casefold(), known, n=1, cutoff=0.85)
        if close and close[0] not in present and column not in known:
            raise DataError(
                f"column '{column}' resembles the emission source '{close[0]}'",
                where=activity.name,
                remedy=f"rename it '{close[0]}' if that is meant, or name the columns that are: sources={{…}}",
            )


def _choose(
    activity: Table, factors: FactorSet, columns: Mapping[str, str], leave_out: tuple[str, ...]
) -> tuple[list[Factor], list[str]]:
    """Separate the emission sources that the inventory holds from those left out, which the notes name with the reason."""
    notes = _note_left_out(activity, factors, columns, leave_out)
    used: list[Factor] = []
    without: list[str] = []
    for counted, column in columns.items():
        entries = [one for one in factors.of_activity(counted) if one.name not in leave_out]
        if counted in leave_out or (not entries and factors.of_activity(counted)):
            continue
        valued = [one for one in entries if one.is_valued]
        excluded = [one for one in entries if one.status == "excluded"]
        group = vocabulary().activities[counted].group if counted in vocabulary().activities else ""
        if not valued and not excluded and (not entries and group in factors.excludes):
            notes.append(f"{counted} is excluded by the set: {factors.excludes[group]['en']}")
            continue
        notes += [f"{one.name} is excluded by the set: {one.reason['en']}" for one in excluded]
        if not entries:
            without.append(counted)
        for one in entries:
            if one.status == "unknown":
                hint = f"{one.source}; " if one.source else ""
                raise _without_factor(
                    activity, column, f"has no printed value for '{one.name}'", factors.name, one.name, hint
                )
        used += valued
    for counted in without:
        whole = next((one.activity for one in used if count_the_same(one.activity, counted)), None)
        if whole is None:
            raise _without_factor(
                activity,
                columns[counted],
                f"has no entry for '{counted}'",
                factors.name,
                counted,
                _part_of(counted, factors),
            )
        notes.append(f"{counted} is not counted beside {whole}")
    if not used:
        raise DataError("every source is left out", where=activity.name, remedy="use another factor set")
    counted_here = {one.activity for one in used}
    unlisted = [one.name for one in factors.factors.values() if one.is_valued and one.activity not in columns]
    unlisted = [
        one for one in unlisted if not any(count_the_same(factors.factors[one].activity, x) for x in counted_here)
    ]
    if unlisted:
        notes.append(f"the table has no {', '.join(unlisted)}")
    return used, notes


def _without_factor(activity: Table, column: str, why: str, name: str, source: str, hint: str = "") -> DataError:
    return DataError(
        f"the factor set '{name}' {why}",
        where=f"{activity.name}, column '{column}'",
        remedy=f'{hint}leave the source out knowingly (leave_out=("{source}",)), or use another set',
    )


def _part_of(counted: str, factors: FactorSet) -> str:
    """Say what the set counts that holds a thing without a factor: all nitrogen, where the table has straight nitrogen."""
    wholes = [one for one in factors.factors.values() if one.is_valued and count_the_same(one.activity, counted)]
    if not wholes:
        return ""
    return f"the set counts '{wholes[0].activity}', of which that is a part: give the column of the whole; or "


def _note_left_out(
    activity: Table, factors: FactorSet, columns: Mapping[str, str], leave_out: tuple[str, ...]
) -> list[str]:
    known = dict.fromkeys((*_known_activities(factors), *factors.factors))
    here = {*columns, *(one.name for one in factors.factors.values() if one.activity in columns)}
    for source in leave_out:
        if source not in known:
            what = f"'{source}' is no emission source"
            raise DataError(what, where="leave_out=", remedy=nearest(source, known))
        if source not in here and not _is_missed(source, columns):
            raise DataError(
                f"there is no source '{source}' to leave out", where=activity.name, remedy="take it from leave_out"
            )
    return [f"{source} was left out knowingly" for source in leave_out]


def _is_missed(source: str, columns: Mapping[str, str]) -> bool:
    """Tell whether a source that has no column belongs beside one that has: leaving it out is a decision, too."""
    known = vocabulary().activities
    return any(source in (*known[one].beside, *known[one].doubted_by) for one in columns if one in known)


def _refuse_double(activity: Table, used: Sequence[Factor]) -> None:
    """Refuse two sources that count the same by the same process, or one whose factor holds the other."""
    for at, one in enumerate(used):
        for other in used[:at]:
            same = one.process == other.process and count_the_same(one.activity, other.activity)
            if (
                same
                or holds_emissions_of(one.activity, other.activity)
                or holds_emissions_of(other.activity, one.activity)
            ):
                why = "is part of the other" if same else "is in the factor of the other"
                raise DataError(
                    f"'{other.name}' and '{one.name}' would be counted twice: the one {why}",
                    where=f"{activity.name}, columns '{other.activity}', '{one.activity}'",
                    remedy=f'leave one of them out: leave_out=("{one.name}",)',
                )


def _note_own_beside(used: Sequence[Factor]) -> list[str]:
    """Say where a source that a file adds counts a gas of an activity beside another: only its author knows whether twice."""
    known, found = vocabulary().processes, []
    for one in used:
        gas = one.read_unit().gas
        alike = [each.name for each in used if each.activity == one.activity and each.read_unit().gas == gas]
        if one.process not in known and len(alike) > 1:
            found.append(f"{' and '.join(alike)} are all {gas} of {one.activity}: check that they are not the same")
    return list(dict.fromkeys(found))


def _refuse_half(
    activity: Table,
    factors: FactorSet,
    columns: Mapping[str, str],
    used: Sequence[Factor],
    leave_out: tuple[str, ...],
) -> None:
    """Refuse what is only part of what it seems: straight nitrogen is not all nitrogen where compound fertiliser is used."""
    known = vocabulary().activities
    for one in used:
        for other in known[one.activity].beside if one.activity in known else ():
            whole = other in columns or any(
                each.process == one.process and each is not one and count_the_same(other, each.activity)
                for each in used
            )
            if not whole and other not in leave_out:
                raise DataError(
                    f"'{one.activity}' is counted without '{other}', which holds the same nutrient",
                    where=f"{activity.name}, column '{columns[one.activity]}'",
                    remedy=f"add the column '{other}', or leave it out knowingly: leave_out=(\"{other}\",)",
                )


def _refuse_doubted(
    activity: Table,
    columns: Mapping[str, str],
    used: Sequence[Factor],
    keys: tuple[str, ...],
    leave_out: tuple[str, ...],
) -> None:
    """Refuse "nitrogen in fertiliser" where the table has compound fertiliser: in yearbooks it is straight nitrogen then."""
    known = vocabulary().activities
    present = [str(column) for column in activity.frame.columns if column not in keys]
    for one in dict.fromkeys(factor.activity for factor in used):
        for other in known[one].doubted_by if one in known else ():
            words = (other.replace("_", " "), *known[other].words)
            found = [name for name in present if any(word in name.casefold().replace("_", " ") for word in words)]
            if found and other not in leave_out and all(factor.activity != other for factor in used):
                column, label = columns[one], known[one].label["en"]
                raise DataError(
                    f"the table has '{found[0]}' beside '{column}', which is counted as {label} and may be only a part of it",
                    where=f"{activity.name}, column '{column}'",
                    remedy=f"if '{column}' holds what compound fertiliser brings, too, say leave_out=(\"{other}\",); if it is "
                    "straight fertiliser, add what compound fertiliser holds, or count the kinds by a set that has them",
                )


def _activity_values(activity: Table, counted: str, column: str, used: Sequence[Factor]) -> Floats:
    values, unit = values_of(activity, column), unit_of(activity, column)
    kinds = tuple(dict.fromkeys(kind for one in used if one.activity == counted for kind in one.kinds))
    where = f"{activity.name}, column '{column}'"
    if (kind := kind_of_unit(unit, where=where)) not in kinds:
        raise DataError(
            f"'{unit}' measures {kind}; {counted} is measured as {' or '.join(kinds)}",
            where=where,
            remedy="correct the unit in the sidecar, or the column that is named for this source",
        )
    _refuse_other_product(activity, counted, column, kind)
    if (values < 0).any():
        raise DataError(
            f"{counted} is negative", where=located(activity, values < 0, column), remedy="correct these rows"
        )
    return values


def _refuse_other_product(activity: Table, counted: str, column: str, kind: str) -> None:
    """Refuse a column that is called, here or in its file, as another product is that is measured alike."""
    known = vocabulary().activities
    headers = [header for one in activity.provenance for name, header in one.headers if name == column]
    for called in (column, *headers) if counted in known else ():
        named = _products_named(called, counted, kind)
        if not named or counted in named:
            continue
        what = f"column '{called}' is called as {known[named[0]].label['en']} is, and is named for '{counted}'"
        if any(name in known[counted].contains for name in named):
            what += ", of which that is only a part"
        elif any(counted in known[name].contains for name in named):
            what += ", which is only a part of that"
        raise DataError(
            what,
            where=f"{activity.name}, column '{column}'",
            remedy=f'name it for that: sources={{"{named[0]}": "{column}"}}, or correct the header if it holds {counted}',
        )


def _products_named(called: str, counted: str, kind: str) -> list[str]:
    """List the products that a header names by the longest word in it; what is counted, where it says which part of them."""
    known, plain = vocabulary().activities, _plain_header(called)
    found = [
        (len(word), name)
        for name, one in known.items()
        for word in (*map(_plain_header, one.words), _plain_header(name))
        if _holds(plain, word) and kind in one.kinds
    ]
    longest = max((length for length, _ in found), default=0)
    named = [name for length, name in found if length == longest]
    for whole in named:
        if counted in known[whole].contains and _says_the_part(plain, whole, counted):
            return [counted]
    return named


def _says_the_part(plain: str, whole: str, part: str) -> bool:
    """Tell whether a header that names a whole says which part of it: 化肥（氮） is nitrogen, fertiliser_n_10kt as well."""
    known = vocabulary().activities
    of_whole = "".join(map(_plain_header, (*known[whole].words, whole)))
    of_part = " ".join(map(_plain_header, (*known[part].words, part)))
    # A Chinese character, or an English word, that is said of the part and not of the whole.
    own = [one for one in {*of_part.split(), *(x for x in of_part if not x.isascii())} if one not in of_whole]
    return any(_holds(plain, one) for one in own)


def _holds(plain: str, word: str) -> bool:
    """Tell whether a header holds a word: a Chinese one anywhere, an English one as a whole, one or several."""
    return re.search(rf"(?<![a-z]){re.escape(word)}s?(?![a-z])" if word.isascii() else word, plain) is not None


def _plain_header(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("_", " ")


def _describe(
    factors: FactorSet, activity: Table, columns: Mapping[str, str], used: Sequence[Factor], notes: list[str]
) -> tuple[Provenance, ...]:
    """Add to the provenance of the set which of its factors were used, and what was left out or not checked."""
    said = [_describe_factor(factors, one) for one in used]
    for counted, density in factors.density.items():
        entries = [one for one in used if one.activity == counted]
        if any(factors.needs_density(one, unit_of(activity, columns[counted]), where=activity.name) for one in entries):
            said.append(f"{counted} at {density.value:g} {density.unit} ({density.source})")
    if factors.gwp100:
        said.append(f"GWP100 {', '.join(f'{gas} {v:g}' for gas, v in factors.gwp100.items())} ({factors.gwp_source})")
    weighed = [one.name for one in used if one.read_unit().gas == "CO2e"]
    if weighed:
        said.append(f"weighed by their publishers, and not by these potentials: {', '.join(weighed)}")
    recalled = [one.name for one in used if one.status == "recalled"]
    quoted = [one.name for one in used if one.status == "quoted"]
    if quoted:
        said.append(f"read where others quote it, not in the publication: {', '.join(quoted)}")
    if recalled:
        said.append(f"NOT CHECKED against the publication (recalled): {', '.join(recalled)}")
    described = []
    for name, one in zip(factors.name.split(" + "), factors.provenance, strict=True):
        parts = {
            source: {part.partition(".")[0] for part, _ in factors.factors[source].parameters} for source in recalled
        }
        described.append(replace(one, recalled=tuple(source for source, sets in parts.items() if name in sets)))
    noted = "; ".join([factors.status, *said, *notes])
    return (*described[:-1], replace(described[-1], notes=noted))


def _describe_factor(factors: FactorSet, one: Factor) -> str:
    figure = f"by {' and '.join(one.cases[0][0])}" if one.cases else f"{one.value:g} {one.unit}"
    sources = [factors.parameters[name].source for name, _ in one.parameters if not one.source]
    said = f"{one.name} {figure}, {one.status} ({one.source or '; '.join(sources)})"
    return f"{said}; unusual: {one.unusual['en']}" if one.unusual else said
