"""Published values: the rows of yearbook tables, with what their digits, units and names of regions say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.errors import DataError, nearest
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.regions.registry import fold, gazetteer
from evalkit.tables.columns import numbers
from evalkit.tables.digits import decimals
from evalkit.tables.table import Table
from evalkit.tables.units import kind_of_unit, unit_ratio

_UNITS = 1 << 14  # pairs of units that are remembered: an unknown one takes a millisecond
_NEEDED = ("indicator", "value", "unit", "file", "sheet", "cell")


@dataclass(frozen=True)
class Published:
    """Values as printed, one per row of `frame`; arrays are (n,). `names` are the regions', `units` and `cells` (with the sheet)
    those of the values.

    `volume` and `sheet` number the files and their sheets; `place` the regions, by code where it is known, else by name.
    `code` is 0 where there is none. `half` is half a unit of the last digit published, as the column says, and `shown` of the
    last digit that the number itself shows, which is more where it ends in zeros; `is_rounder` says where its row is printed
    to fewer digits than the column. `factor` turns `value` into the unit of its series. `newness` (V,) ranks the volumes, equal
    where it is not known which one is newer.
    """

    frame: pd.DataFrame
    names: Objects
    units: Objects
    cells: Objects
    volumes: tuple[str, ...]
    newness: Ints
    volume: Ints
    sheet: Ints
    place: Ints
    code: Ints
    role: Ints
    year: Ints
    series: Ints
    kinds: tuple[Series, ...]
    value: Floats
    half: Floats
    shown: Floats
    is_rounder: Flags
    factor: Floats

    def __len__(self) -> int:
        return len(self.frame)

    def region(self, row: int) -> str:
        """Name the region of a row."""
        return str(self.names[row])

    def indicator(self, row: int) -> str:
        """Name the indicator of a row."""
        return self.kinds[int(self.series[row])].indicator

    def unit(self, row: int) -> str:
        """Return the unit in which a value is printed, "" where none is known."""
        return str(self.units[row])

    def address(self, row: int) -> str:
        """Name the cell of a row: sheet and cell, without the file."""
        return str(self.cells[row])

    def place_of(self, row: int) -> str:
        """Name the file and the cell of a row."""
        return f"{self.volumes[self.volume[row]]} {self.address(row)}"

    def half_of_totals(self, rows: Ints) -> Floats:
        """Return half a unit of the last digit published of totals, which may be rounder than their parts."""
        found: Floats = np.where(self.is_rounder[rows], self.shown[rows], self.half[rows])
        return found

    def pieces(self, rows: Ints) -> Floats:
        """Return how many pieces, or people, values count; NaN where their unit is none that counts."""
        each = np.array([one.pieces for one in self.kinds], dtype=np.float64)[self.series[rows]]
        found: Floats = np.where(each > 0, self.value[rows] * self.factor[rows] * each, np.nan)
        return found

    def flags(self, name: str) -> Flags:
        """Say for each row whether its series `adds`, `is_rate` or `is_generic`."""
        return np.array([getattr(one, name) for one in self.kinds], dtype=bool)[self.series]


def read_published(tables: Sequence[Table], region: str, time: str, *, by_name: bool = False) -> Published:
    """Join long tables of yearbooks and read what stands behind their numbers.

    A total of rows of which none has a code is that of its sheet alone, or, `by_name`, one with all that are called alike. Raises
    DataError for a table without the columns of the long form.
    """
    frame, volume, volumes = _stack(tables, region, time)
    texts = {name: frame[name].fillna("").to_numpy(dtype=object) for name in (region, "indicator", "unit", "sheet")}
    year, value = numbers(frame, time).astype(np.int64), numbers(frame, "value")
    sheet = row_codes(volume, texts["sheet"])
    role, code, place = read_places(texts[region], frame["region_code"], year, sheet, by_name=by_name)
    newness = _rank(volumes, volume, np.where(np.isfinite(value), year, 0))
    series, kinds, factor = read_series(texts["indicator"], texts["unit"], newness[volume])
    half, shorter = half_units(value, row_codes(sheet, series, year))
    shown = 0.5 * 10.0 ** -decimals(value).astype(np.float64)
    rounder = are_rounder(shorter, row_codes(sheet, place, series), row_codes(sheet, place, texts["unit"]))
    below = (frame["mark"] == "below_unit").to_numpy(dtype=bool)
    cells = frame["cell"].astype("str").where(texts["sheet"] == "", frame["sheet"] + "!" + frame["cell"])
    return Published(
        frame,
        texts[region],
        texts["unit"],
        cells.to_numpy(dtype=object),
        volumes,
        newness,
        volume,
        sheet,
        place,
        code,
        role,
        year,
        series,
        kinds,
        np.where(below, 0.0, value),
        np.where(below, 2 * half, half),
        np.maximum(shown, half),
        rounder & ~below,
        factor,
    )


def _stack(tables: Sequence[Table], region: str, time: str) -> tuple[pd.DataFrame, Ints, tuple[str, ...]]:
    """Put the rows of all tables below one another; number their files, and name each, by its path where names repeat."""
    parts, volume, names = list[pd.DataFrame](), list[Ints](), list[tuple[str, str]]()
    for table in tables:
        for column in (region, time, *_NEEDED):
            if column not in table.frame.columns:
                raise DataError(
                    f"there is no column '{column}': this is not the long table of a yearbook",
                    where=table.name,
                    remedy="load it without columns=, as Yearbook(path).load() does; "
                    + nearest(column, map(str, table.frame.columns)),
                )
        found = table.frame.reset_index(drop=True)
        # The digits are those of the page: a conversion adds some.
        printed = [(as_read, column) for as_read, column in (("published_value", "value"), ("published_unit", "unit"))]
        found = found.assign(**{column: found[as_read] for as_read, column in printed if as_read in found.columns})
        for column, missing in (("region_code", None), ("mark", ""), ("note", "")):
            if column not in found.columns:
                found[column] = pd.Series(missing, index=found.index, dtype="str")
        codes, files = pd.factorize(found["file"].fillna(table.name))
        path = table.provenance[0].path if len(files) == 1 and table.provenance else ""
        volume.append(codes.astype(np.int64) + len(names))
        names += [(str(file), path) for file in files]
        wanted = [region, time, "region_code", "mark", "note", *_NEEDED]
        parts.append(found[[*dict.fromkeys(wanted)]])
    plain = [name for name, _ in names]
    shown = tuple(path if plain.count(name) > 1 and path else name for name, path in names)
    return pd.concat(parts, ignore_index=True), np.concatenate(volume), shown


def _rank(volumes: tuple[str, ...], volume: Ints, year: Ints) -> Ints:
    """Rank volumes by their last year with a number, then by the last year in their names."""
    last = pd.Series(year).groupby(volume).max()
    named = [max([0, *map(int, re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", name))]) for name in volumes]
    keys = [(int(last.get(i, 0)), named[i]) for i in range(len(volumes))]
    order = sorted(set(keys))
    return np.array([order.index(key) for key in keys], dtype=np.int64)


# Zeros at the end, and the share of numbers that may have them if the digits are the same for all: some more than by chance.
_ZEROS = ((1, 0.25), (2, 0.03))
_FEW = 8  # values in a column: trailing zeros of fewer may be chance


def half_units(value: Floats, column: Ints) -> tuple[Floats, Floats]:
    """Return half a unit of the last digit published (n,), and how many digits each number shows less than its column (n,).

    A float does not keep the zeros of 12.30. Where a column is printed with so many digits throughout, one number in ten ends
    in a zero and one in a hundred in two; where more do, it is not, and each number has the digits that it shows. The second
    is NaN there, and for 0 and what is missing.
    """
    own = decimals(value)
    counted = np.isfinite(value) & (value != 0)
    grouped = pd.Series(np.where(counted, own, np.nan)).groupby(column)
    number = grouped.count().to_numpy()
    common = grouped.quantile(0.75, interpolation="lower").fillna(0).to_numpy(dtype=np.int64)
    common = np.where(number < _FEW, np.maximum(common, 0), common)
    shorter = [
        np.bincount(column[counted & (own <= common[column] - by)], minlength=len(common)) > 1 + share * number
        for by, share in _ZEROS
    ]
    shared = common[column]
    each = np.any(shorter, axis=0)[column]
    digits = np.where(counted, np.where(each, own, np.maximum(own, shared)), shared)
    half: Floats = 0.5 * 10.0 ** -digits.astype(np.float64)
    return half, np.where(counted & ~each, digits - own, np.nan)


_ZEROS_IN_ALL = 2  # that chance puts at the ends of all numbers of a row once in a hundred


def are_rounder(shorter: Floats, over_years: Ints, over_indicators: Ints) -> Flags:
    """Say which numbers are printed to fewer digits than their columns (n,): a total in whole numbers over parts with decimals.

    A float does not keep the zeros of 366.0, so that one number proves little. `shorter` says how many digits each shows less
    than its column (NaN for 0 and where there is none). The neighbours are its indicator in the other years of its row
    (`over_years` numbers them), or, where there is one year, what is in its unit in the row (`over_indicators`). If all
    k of them show at least m digits less, chance explains that once in 10**(m k): the row is rounder from 100 on, that is for
    two neighbours, or for a lone number with two zeros. One neighbour with all digits, and none is.
    """
    counted = np.isfinite(shorter)
    number, least = list[Floats](), list[Floats]()
    for group in (over_years, over_indicators):
        grouped = pd.Series(shorter).groupby(group)
        number.append(grouped.transform("count").to_numpy(dtype=np.float64))
        least.append(grouped.transform("min").to_numpy(dtype=np.float64))
    by_years = number[0] > 1
    zeros = np.where(by_years, number[0] * least[0], number[1] * least[1])
    found: Flags = counted & (np.nan_to_num(zeros) >= _ZEROS_IN_ALL)
    return found


REGION, TOTAL, SUBTOTAL, CORPS = range(4)
"""What a row of a table is: a region, the sum of the regions listed, a sum or mean of some of them, or the XPCC."""

_ROLES = (
    (TOTAL, re.compile("全[国省区市州县疆盟](?:总计|合计|总数)?|合计|总计|共计|总数")),
    (SUBTOTAL, re.compile("小计|地方合计|其中|.*平均|(?:东部|中部|西部|东北)(?:地区)?|[东南北]疆|市辖区|县级市")),
    (CORPS, re.compile("(?:新疆)?(?:生产建设)?兵团(?:合计|本级)?")),
)
_FIRST_CODE, _LAST_CODE = 110_000, 820_000
_OF_PROVINCES = 8  # a sheet that names so many provinces is a list of provinces, in which 吉林 is the province
_OF_NATION = 20  # the total of rows in so many provinces is that of the country: the West has 12


def read_places(
    names: Objects, given: pd.Series, year: Ints, sheet: Ints, *, by_name: bool = False
) -> tuple[Ints, Ints, Ints]:
    """Say what each row is, its code (0 where it has none) and the number of its region.

    `given` holds the codes of the table. Where it has none, the code is that of the only unit of the name in the year. A total
    is that of the area in which the coded regions of its sheet lie; where that is not known, see `read_published`.
    """
    text, labels = pd.factorize(np.array([fold(str(name)) for name in names], dtype=object))
    roles = [next((role for role, words in _ROLES if words.fullmatch(label)), REGION) for label in labels]
    role = np.array(roles, dtype=np.int64)[text]
    own = pd.to_numeric(given, errors="coerce").fillna(0).to_numpy(dtype=np.int64)
    is_ours = (own >= _FIRST_CODE) & (own <= _LAST_CODE)  # codes of other countries say nothing of what lies in what
    code = np.where(is_ours, own, _look_up(text, labels, year, sheet))
    code = np.where(role == REGION, code, 0)
    named = row_codes(text, np.where(is_ours, "", given.fillna("").to_numpy(dtype=object)))
    return role, code, _number(text, labels, code, role, sheet, named, by_name=by_name)


def _look_up(text: Ints, labels: Objects, year: Ints, sheet: Ints) -> Ints:
    """Return the codes of names (n,) in their years; 0 where there is none, or several and the sheet is no list of provinces."""
    lists, key = gazetteer(), row_codes(text, year)
    _, first = np.unique(key, return_index=True)
    one, of_province = np.zeros(len(first), dtype=np.int64), np.zeros(len(first), dtype=np.int64)
    for pair, row in enumerate(first.tolist()):
        name, at = str(labels[text[row]]), int(year[row])
        found = [unit for unit in lists.by_name.get(name, ()) if unit.is_valid(at)]
        one[pair] = int(found[0].code) if len(found) == 1 else 0
        of_province[pair] = next((int(unit.code) for unit in found if unit.level == "province"), 0)
    province = of_province[key]
    known = np.unique(np.column_stack([sheet, province])[province > 0], axis=0)
    is_list = np.bincount(known[:, 0], minlength=int(sheet.max(initial=0)) + 1)[sheet] >= _OF_PROVINCES
    found_codes: Ints = np.where(is_list & (province > 0), province, one[key])
    return found_codes


def _number(text: Ints, labels: Objects, code: Ints, role: Ints, sheet: Ints, named: Ints, *, by_name: bool) -> Ints:
    scope = -1 - np.arange(int(sheet.max(initial=0)) + 1)  # no area: the total is that of its sheet alone
    if by_name:
        scope[:] = -1
    provinces = pd.Series(code[code > 0] // 10_000).groupby(sheet[code > 0]).nunique()
    scope[provinces.index[provinces >= _OF_NATION].to_numpy(dtype=np.int64)] = 0
    for width in (10_000, 100):  # the smallest area that holds all coded regions: a province, or else a prefecture
        areas = pd.Series(code[code > 0] // width).groupby(sheet[code > 0])
        same = areas.min()[areas.nunique() == 1]
        scope[same.index.to_numpy(dtype=np.int64)] = same.to_numpy(dtype=np.int64)
    is_free = np.array([label.startswith("全国") for label in labels], dtype=bool)[text] | (role == REGION)
    return row_codes(np.where(code > 0, code, -1 - named), np.where(is_free, 0, scope[sheet]))


Objects = NDArray[np.object_]


def row_codes(*columns: Ints | Objects) -> Ints:
    """Number the combinations of values of columns (n,), from 0 in order of appearance."""
    first, *others = (pd.factorize(column)[0].astype(np.int64) for column in columns)
    for other in others:
        first = pd.factorize(first * (int(other.max(initial=0)) + 1) + other)[0].astype(np.int64)
    return first


_RATIO = re.compile("人均|平均|单产|单位面积|每|指数|增长|增速|比重|比例|构成|率|价格|密度|程度|水平|系数|占|名次|位次")
_COUNTED = re.compile(
    "([十百千万亿]*)(?:个|户|家|所|处|座|头|只|匹|羽|口|台|辆|部|架|艘|套|人次|件|张|册|株|项|枚|箱|份|篇|例|起|次|条|间|栋|幢|棵|人年)"
)
_TENS = {"十": 1e1, "百": 1e2, "千": 1e3, "万": 1e4, "亿": 1e8}
_ADDED = ("mass", "area", "volume", "money", "energy", "power", "people")
_PER_HEAD = ("元", "yuan")  # amounts of money are printed in larger units
_RATES = re.compile("%|‰|百分点|倍|位|.*=100")
_CHANGES = re.compile("指数|增长|增速|名次|位次")
GENERIC = frozenset("合计 总计 小计 计 总量 总数 数量 面积 产量 总产量 金额 男 女 绝对数 实绩 本年 城镇 乡村".split())


@dataclass(frozen=True)
class Series:
    """One indicator in one unit, to which other units in use were converted.

    `adds` says that regions and parts can be added up, `is_rate` that growth means nothing, `is_generic` that the name alone
    (合计, 产量, 合计 / 男) does not say what is counted, so that different sheets are not compared. `pieces` is how many pieces,
    or people, one unit is: 10,000 for 万台; 0 where it counts none.
    """

    indicator: str
    unit: str
    adds: bool
    is_rate: bool
    is_generic: bool
    pieces: float


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
        adds = _adds(name, unit)
        is_generic = name.split(" / ")[0] in GENERIC
        kinds.append(Series(name, unit, adds, is_rate, is_generic, _pieces(unit) if adds else 0.0))
    return series[pairs], tuple(kinds), factors[pairs]


@lru_cache(_UNITS)
def try_ratio(unit: str, to: str) -> Fraction | None:
    """Return how many of `to` one `unit` is, None where that is not known."""
    if unit == to:
        return Fraction(1)
    try:
        return unit_ratio(unit, to, where="audit")
    except DataError:
        return None


def _adds(indicator: str, unit: str) -> bool:
    """Tell amounts, which add up, from ratios, which do not; plain yuan are nearly always per head."""
    if _RATIO.search(indicator) or unit in _PER_HEAD:
        return False
    if _COUNTED.fullmatch(unit):
        return True
    try:
        return kind_of_unit(unit, where="audit") in _ADDED
    except DataError:
        return False


def _pieces(unit: str) -> float:
    """Return how many pieces or people one unit is, 0 where it counts neither."""
    if found := _COUNTED.fullmatch(unit):
        return math.prod(_TENS[letter] for letter in found[1])
    people = try_ratio(unit, "人")
    return 0.0 if people is None else float(people)
