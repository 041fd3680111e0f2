"""Titles: which names of indicators are one over many volumes."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evalkit.auditing.published import GENERIC, try_ratio
from evalkit.sources.yearbook.words import fold_words
from evalkit.tables.table import Table

_EMPTY_WORDS = re.compile("(?:19|20)[0-9]{2}年?|中国|全国|各地区|分地区|按地区|统计|情况|主要|数据|[0-9]")
_ALIKE_TITLES = 0.75  # of two titles of one table, by difflib; 申请受理数 and 申请授权数 are less alike
_ROUNDED, _MOSTLY = 0.01, 0.8  # how near values are that link two titles, and how many of those that both print


def qualify_names(
    tables: Sequence[Table], named: Collection[str], renamed: Mapping[str, str], region: str, time: str
) -> list[Table]:
    """Put the title before the name of an indicator that stands under titles of several tables, or that is `named` so.

    A name that does not say what is counted stands under several where the titles differ; any other, where they are unlike and no
    values link them (see `_link_titles`).
    """
    said = {fold_words(one) for one in named}
    whole = pd.concat([table.frame for table in tables], ignore_index=True)
    titles: dict[tuple[str, str], str] = {}
    for name, rows in whole[whole["table"] != ""].groupby("indicator", sort=False):
        own = [*dict.fromkeys(rows["table"])]
        groups = [[one] for one in own] if is_generic(str(name)) else _link_titles(own, rows, region, time)
        asked = {one for one in own if fold_words(f"{one} / {name}") in said}
        if len(groups) > 1 or asked:
            for group in groups:
                called = min(group, key=lambda one: (one not in asked, len(one)))
                if called != name:
                    titles |= {(str(name), one): called for one in group}
    if not titles:
        return list(tables)
    found = []
    for table in tables:
        frame = table.frame
        pairs = zip(frame["indicator"], frame["table"], strict=True)
        full = [f"{titles[pair]} / {pair[0]}" if pair in titles else pair[0] for pair in pairs]
        called = [renamed.get(fold_words(one), one) for one in full]
        found.append(replace(table, frame=frame.assign(indicator=pd.array(called, dtype="str"))))
    return found


def _link_titles(titles: Sequence[str], rows: pd.DataFrame, region: str, time: str) -> list[list[str]]:
    """Return the titles in groups: those whose words are alike, or under which the numbers of common years are the same."""
    groups = list[list[str]]()
    for title in titles:
        linked = [group for group in groups if any(_are_one(title, one, rows, region, time) for one in group)]
        groups = [group for group in groups if group not in linked] + [
            [title, *(one for group in linked for one in group)]
        ]
    return groups


def _are_one(title: str, other: str, rows: pd.DataFrame, region: str, time: str) -> bool:
    plain = [_EMPTY_WORDS.sub("", one) for one in (title, other)]
    if difflib.SequenceMatcher(None, plain[0], plain[1], autojunk=False).ratio() >= _ALIKE_TITLES:
        return True
    own = [rows[rows["table"] == words].dropna(subset=["value"]) for words in (title, other)]
    both = own[0].merge(own[1], on=[region, time])
    units = zip(both["unit_x"], both["unit_y"], strict=True)
    ratio = np.array([math.nan if (found := try_ratio(*pair)) is None else float(found) for pair in units])
    values, others = both["value_x"].to_numpy() * ratio, both["value_y"].to_numpy()
    known = np.isfinite(values)
    away = np.abs(values - others)[known] <= _ROUNDED * np.maximum(np.abs(values), np.abs(others))[known]
    return len(away) > 0 and bool(away.mean() >= _MOSTLY)


def spell_alike(tables: Sequence[Table]) -> list[Table]:
    """Call an indicator in all tables alike, however its spaces and brackets were typed: as it is typed with most spaces."""
    spelt: dict[str, str] = {}
    for name in sorted(
        {name for table in tables for name in table.frame["indicator"]}, key=lambda one: (len(one), one)
    ):
        spelt[fold_words(name)] = name
    return [
        replace(
            table, frame=table.frame.assign(indicator=table.frame["indicator"].map(lambda one: spelt[fold_words(one)]))
        )
        for table in tables
    ]


def is_generic(name: str) -> bool:
    """Tell names that do not say what is counted: 合计, 合计 / 发明."""
    return name.split(" / ")[0] in GENERIC
