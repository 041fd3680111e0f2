"""Disagreements: what volumes say otherwise of one another, one row each."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evalkit.auditing.published import Published, try_ratio
from evalkit.auditing.remark import Remark
from evalkit.auditing.volumes import check_volumes
from evalkit.catalogue import LANGUAGES, Message, message
from evalkit.sources.yearbook.volumes.choice import Splice, Taken

DISAGREEMENTS = (
    *("kind", "region", "year", "indicator", "value", "unit", "other", "change", "joined", "file", "sheet", "cell"),
    *("against", "sentence_en", "sentence_zh"),
)
LISTED = 5  # names that a sentence lists
_MOST_NAMES = 400  # indicators that are compared with one another by their words
_ALIKE = 0.6  # of two names of one thing, by difflib


def list_disagreements(own: pd.DataFrame, data: Published, choice: Taken) -> list[dict[str, object]]:
    """List revisions, slips by a power of ten, units and remarks on scope, and names that stand under several titles."""
    rows = []
    for one in check_volumes(data):
        if isinstance(one, Remark) and not (one.kind == "duplicate" and one.severity == "note"):
            other = one.expected
            change = other / data.value[one.row] - 1 if data.value[one.row] else math.nan
            row = _as_row(data, one.kind, one.row, one.said, change, of_all=one.is_table)
            rows.append(row | {"other": other, "against": one.against, "joined": bool(choice.is_joined[one.row])})
    titles = pd.DataFrame({"series": data.series, "title": own["table"].to_numpy()}).drop_duplicates()
    titled: dict[int, dict[str, int]] = {}
    for row, series, title in titles[titles["title"] != ""].itertuples(name=None):
        titled.setdefault(series, {})[title] = row
    for series, said in titled.items():
        if len(said) > 1:
            values = {"indicator": data.kinds[series].indicator, "number": len(said)}
            words = message("series.titles", **values, titles=", ".join([*said][:LISTED]))
            rows.append(_as_row(data, "scope", next(iter(said.values())), words, math.nan, of_all=True))
    return rows


def list_splices(data: Published, splices: Sequence[Splice]) -> list[dict[str, object]]:
    rows = []
    for one in splices:
        values = {
            "indicator": data.indicator(one.row),
            "region": data.region(one.row),
            "year": one.year,
            "newer": data.volumes[data.volume[one.row]],
            "older": data.volumes[data.volume[one.older]],
            "change": f"{100 * one.change:+.1f} %" if math.isfinite(one.change) else "?",
        }
        said = message("series.splice", **values)
        row = _as_row(data, "splice", one.row, said, one.change)
        rows.append(row | {"against": data.place_of(one.older)})
    return rows


def _as_row(
    data: Published, kind: str, row: int, said: Message, change: float, *, of_all: bool = False
) -> dict[str, object]:
    return {
        "kind": kind,
        "region": None if of_all else data.region(row),
        "year": int(data.year[row]),
        "indicator": data.indicator(row),
        "value": math.nan if of_all else float(data.value[row]),
        "unit": data.unit(row),
        "other": math.nan,
        "change": change,
        "joined": True,
        "file": data.volumes[data.volume[row]],
        "sheet": data.frame["sheet"].iloc[row],
        "cell": data.frame["cell"].iloc[row],
        "against": "",
        **{f"sentence_{language}": said.text(language) for language in LANGUAGES},
    }


def frame_rows(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=[*DISAGREEMENTS])
    texts = ("kind", "region", "indicator", "unit", "file", "sheet", "cell", "against", "sentence_en", "sentence_zh")
    kinds = dict.fromkeys(texts, "str") | {"year": "int64", "joined": "bool"}
    return frame.astype(kinds | dict.fromkeys(("value", "other", "change"), "float64"))


def list_renames(data: Published) -> list[dict[str, object]]:
    """Offer indicators that may be one thing under two names: in no volume together, each most like the other in its words, in
    units of one kind, and not against the values of years that both print.
    """
    volumes: dict[int, set[int]] = {}
    for series, volume in np.unique(np.column_stack([data.series, data.volume]), axis=0).tolist():
        volumes.setdefault(series, set()).add(volume)
    everywhere = set(np.unique(data.volume).tolist())
    partly = [series for series, found in volumes.items() if found != everywhere][:_MOST_NAMES]
    best: dict[int, tuple[float, int]] = {}
    for at, one in enumerate(partly):
        for other in partly[at + 1 :]:
            if not volumes[one] & volumes[other] and (likeness := _likeness(data, one, other)) >= _ALIKE:
                best[one] = max(best.get(one, (0.0, -1)), (likeness, other))
                best[other] = max(best.get(other, (0.0, -1)), (likeness, one))
    rows = []
    for one, (_, other) in best.items():
        if one < other and best[other][1] == one:
            older, newer = sorted((one, other), key=lambda series: max(data.newness[list(volumes[series])]))
            rows += _offer(data, older, newer)
    return rows


def _likeness(data: Published, one: int, other: int) -> float:
    """Say how alike the names of two series are, from 0 to 1; 0 for units of different kinds."""
    first, second = data.kinds[one], data.kinds[other]
    if first.indicator == second.indicator:
        return 0.0
    matcher = difflib.SequenceMatcher(None, first.indicator, second.indicator, autojunk=False)
    is_part = first.indicator in second.indicator or second.indicator in first.indicator
    if not is_part and min(matcher.real_quick_ratio(), matcher.quick_ratio()) < _ALIKE:
        return 0.0
    if try_ratio(first.unit, second.unit) is None:
        return 0.0
    return max(_ALIKE, matcher.ratio()) if is_part else matcher.ratio()


def _offer(data: Published, older: int, newer: int) -> list[dict[str, object]]:
    """Say that two indicators may be one, unless most values of the years that both print say no."""
    rows = [np.flatnonzero((data.series == series) & np.isfinite(data.value)) for series in (older, newer)]
    cells = [
        dict(zip(zip(data.place[r].tolist(), data.year[r].tolist(), strict=True), r.tolist(), strict=True))
        for r in rows
    ]
    both = sorted(cells[0].keys() & cells[1].keys())
    ratio = float(try_ratio(data.kinds[older].unit, data.kinds[newer].unit) or 1)
    alike = 0
    for cell in both:
        a, b = cells[0][cell], cells[1][cell]
        scale = data.factor[a] * ratio
        away = abs(data.value[a] * scale - data.value[b] * data.factor[b])
        alike += bool(away <= (data.half[a] * scale + data.half[b] * data.factor[b]) * (1 + 1e-9))
    if 2 * alike < len(both):
        return []
    row = int(rows[0][0]) if len(rows[0]) else int(np.flatnonzero(data.series == older)[0])
    old, new = data.kinds[older].indicator, data.kinds[newer].indicator
    tells = message("series.rename_values", both=len(both), alike=alike) if both else ""
    setting = f'renamed={{"{old}": "{new}"}}'
    said = message("series.rename", older=old, newer=new, tells=tells, setting=setting)
    return [_as_row(data, "rename", row, said, math.nan, of_all=True) | {"against": new, "joined": False}]
