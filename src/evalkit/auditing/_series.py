"""Series: indicators in one unit, and whether they can be added up or compared over time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd

from evalkit.auditing._codes import Objects, row_codes
from evalkit.columns import Floats, Ints
from evalkit.errors import DataError
from evalkit.units import kind_of, ratio

_RATIO = re.compile("人均|平均|单产|单位面积|每|指数|增长|增速|比重|比例|构成|率|价格|密度|程度|水平|系数|占|名次|位次")
_COUNTED = re.compile("[十百千万亿]*(?:个|户|家|所|处|座|头|只|匹|羽|口|台|辆|部|架|艘|套|人次|件|张|册|株)")
_ADDED = ("mass", "area", "volume", "money", "energy", "power", "people")
_PER_HEAD = ("元", "yuan")  # amounts of money are printed in larger units
_RATES = re.compile("%|‰|百分点|倍|位|.*=100")
_CHANGES = re.compile("指数|增长|增速|名次|位次")
_GENERIC = frozenset("合计 总计 小计 计 总量 总数 数量 面积 产量 总产量 金额 男 女 绝对数 实绩 本年 城镇 乡村".split())


@dataclass(frozen=True)
class Series:
    """One indicator in one unit, to which other units in use were converted.

    `adds` says that regions and parts can be added up, `is_rate` that growth means nothing, `is_generic` that the name alone
    (合计, 产量) does not say what is counted, so that different sheets are not compared.
    """

    indicator: str
    unit: str
    adds: bool
    is_rate: bool
    is_generic: bool


def read_series(names: Objects, units: Objects, newness: Ints) -> tuple[Ints, tuple[Series, ...], Floats]:
    """Number indicators with units of one kind as one series, in the unit of the newest volume.

    Returns for each value (n,) its series and what turns it into the unit of the series.
    """
    pairs = row_codes(names, units)
    _, first = np.unique(pairs, return_index=True)
    newest = pd.Series(newness).groupby(pairs).max().to_numpy()
    kinds, by_name = list[Series](), dict[str, list[int]]()
    series, factors = np.zeros(len(first), dtype=np.int64), np.ones(len(first))
    for pair in np.lexsort([first, -newest]).tolist():
        name, unit = str(names[first[pair]]), str(units[first[pair]])
        same = [(k, found) for k in by_name.get(name, []) if (found := try_ratio(unit, kinds[k].unit)) is not None]
        if same:
            series[pair], factors[pair] = same[0][0], float(same[0][1])
            continue
        series[pair] = len(kinds)
        by_name.setdefault(name, []).append(len(kinds))
        is_rate = _RATES.fullmatch(unit) is not None or _CHANGES.search(name) is not None
        kinds.append(Series(name, unit, _adds(name, unit), is_rate, name in _GENERIC))
    return series[pairs], tuple(kinds), factors[pairs]


def try_ratio(unit: str, to: str) -> Fraction | None:
    """Return how many of `to` one `unit` is, None where that is not known."""
    if unit == to:
        return Fraction(1)
    try:
        return ratio(unit, to, where="audit")
    except DataError:
        return None


def _adds(indicator: str, unit: str) -> bool:
    """Tell amounts, which add up, from ratios, which do not; plain yuan are nearly always per head."""
    if _RATIO.search(indicator) or unit in _PER_HEAD:
        return False
    if _COUNTED.fullmatch(unit):
        return True
    try:
        return kind_of(unit, where="audit") in _ADDED
    except DataError:
        return False
