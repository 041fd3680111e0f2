"""Places: which rows are regions, totals or the XPCC, and which code a region has."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from evalkit.auditing._codes import Objects, row_codes
from evalkit.columns import Ints
from evalkit.gazetteer import fold, gazetteer

REGION, TOTAL, SUBTOTAL, CORPS = range(4)
"""What a row of a table is: a region, the sum of the regions listed, a sum or mean of some of them, or the XPCC."""

_ROLES = (
    (TOTAL, re.compile("全[国省区市州县疆盟](?:总计|合计|总数)?|合计|总计|共计|总数")),
    (SUBTOTAL, re.compile("小计|地方合计|其中|.*平均|(?:东部|中部|西部|东北)(?:地区)?|[东南北]疆|市辖区|县级市")),
    (CORPS, re.compile("(?:新疆)?(?:生产建设)?兵团(?:合计|本级)?")),
)
_OF_PROVINCES = 8  # a sheet that names so many provinces is a list of provinces, in which 吉林 is the province


def read_places(names: Objects, given: pd.Series, year: Ints, sheet: Ints) -> tuple[Ints, Ints, Ints]:
    """Say what each row is, its code (0 where it has none) and the number of its region.

    `given` holds the codes of the table. Where it has none, the code is that of the only unit of the name in the year. A total
    is that of the area in which the coded regions of its sheet lie.
    """
    text, labels = pd.factorize(np.array([fold(str(name)) for name in names], dtype=object))
    roles = [next((role for role, words in _ROLES if words.fullmatch(label)), REGION) for label in labels]
    role = np.array(roles, dtype=np.int64)[text]
    own = pd.to_numeric(given, errors="coerce").fillna(0).to_numpy(dtype=np.int64)
    code = np.where(own > 0, own, _look_up(text, labels, year, sheet))
    code = np.where(role == REGION, code, 0)
    return role, code, _number(text, labels, code, role, sheet)


def _look_up(text: Ints, labels: Objects, year: Ints, sheet: Ints) -> Ints:
    """Return the codes of names (n,) in their years; 0 where there is none, or several and the sheet is no list of provinces."""
    lists, key = gazetteer(), row_codes(text, year)
    _, first = np.unique(key, return_index=True)
    one, of_province = np.zeros(len(first), dtype=np.int64), np.zeros(len(first), dtype=np.int64)
    for pair, row in enumerate(first.tolist()):
        name, at = str(labels[text[row]]), int(year[row])
        found = [unit for unit in lists.by_name.get(name, ()) if unit.is_valid(at)]
        namesakes = any(unit.is_valid(at) for unit in lists.elsewhere.get(name, ()))
        one[pair] = int(found[0].code) if len(found) == 1 and not namesakes else 0
        of_province[pair] = next((int(unit.code) for unit in found if unit.level == "province"), 0)
    province = of_province[key]
    known = np.unique(np.column_stack([sheet, province])[province > 0], axis=0)
    is_list = np.bincount(known[:, 0], minlength=int(sheet.max(initial=0)) + 1)[sheet] >= _OF_PROVINCES
    found_codes: Ints = np.where(is_list & (province > 0), province, one[key])
    return found_codes


def _number(text: Ints, labels: Objects, code: Ints, role: Ints, sheet: Ints) -> Ints:
    scope = -1 - np.arange(int(sheet.max(initial=0)) + 1)  # no area: the total is that of its sheet alone
    for width in (10_000, 100):  # the smallest area that holds all coded regions: a province, or else a prefecture
        areas = pd.Series(code[code > 0] // width).groupby(sheet[code > 0])
        same = areas.min()[areas.nunique() == 1]
        scope[same.index.to_numpy(dtype=np.int64)] = same.to_numpy(dtype=np.int64)
    is_free = np.array([label.startswith("全国") for label in labels], dtype=bool)[text] | (role == REGION)
    return row_codes(np.where(code > 0, code, -1 - text), np.where(is_free, 0, scope[sheet]))
