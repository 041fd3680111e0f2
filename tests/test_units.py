"""Units: Chinese and agricultural names, converted exactly or refused."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from evalkit.errors import DataError
from evalkit.tables.units import _UNITS, convert, kind_of_unit, unit_ratio

HERE = "sales.csv, column 'area'"


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (15.0, "mu", "ha", 1.0),
        (1.0, "亩", "m2", 10_000 / 15),
        (1.0, "千公顷", "ha", 1_000.0),
        (3.0, "万亩", "千公顷", 2.0),
        (1.0, "km2", "ha", 100.0),
        (1.0, "万吨", "kg", 1e7),
        (2.0, "吨", "公斤", 2_000.0),
        (3.0, "斤", "千克", 1.5),
        (1.0, "亿元", "万元", 1e4),
        (2.5, "万元", "yuan", 25_000.0),
        (1000.0, "升", "立方米", 1.0),
        (1.0, "度", "千瓦时", 1.0),
        (1.0, "千瓦时", "GJ", 0.0036),
        (3.0, "万人", "person", 30_000.0),
        (10.0, "万千瓦", "kW", 100_000.0),
        (24.0, "kg/mu", "公斤/公顷", 360.0),
        (1.5, "万元/ha", "元/亩", 1_000.0),
    ],
)
def test_conversions_by_hand_are_exact(value: float, unit: str, to: str, expected: float) -> None:
    assert convert(value, unit, to, where=HERE) == expected


@pytest.mark.parametrize(
    ("unit", "to", "expected"),
    [
        ("万吨", "吨", Fraction(10_000)),
        ("亩", "公顷", Fraction(1, 15)),
        ("公斤/亩", "吨/公顷", Fraction(15, 1000)),
        ("亿元", "元", Fraction(10**8)),
        ("万立方米", "立方米", Fraction(10_000)),
    ],
)
def test_ratios_are_exact_fractions(unit: str, to: str, expected: Fraction) -> None:
    assert unit_ratio(unit, to, where=HERE) == expected


def test_yearbook_spellings_are_the_same_unit() -> None:
    for written in ("10 000 tons", "万 吨", " 万吨 ", "10 000 t"):
        assert convert(1.0, written, "t", where=HERE) == 10_000
    assert convert(1.0, "㎏", "kg", where=HERE) == convert(1.0, "ｋｇ", "kg", where=HERE) == 1
    assert convert(1.0, "m³", "L", where=HERE) == 1_000
    assert convert(1.0, "hm²", "ha", where=HERE) == 1


def test_arrays_keep_missing_values_and_the_input() -> None:
    values = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(convert(values, "t", "kg", where=HERE), [1_000.0, np.nan, 3_000.0])
    np.testing.assert_array_equal(values, [1.0, np.nan, 3.0])


# What one of each is in the first unit of its line, written down apart from the code.
BY_HAND = {
    "kg": {1: "kg 千克 公斤", 1e3: "t 吨 公吨 tonne tonnes ton tons", 1e7: "万吨 10_000_t 10_000_tons", 1e-3: "g 克",
           0.5: "斤 市斤", 1e6: "千吨 kt", 1e11: "亿吨 100_million_tons",
           1e9: "百万吨 Mt", 50: "担 市担", 1e-6: "mg 毫克", 1e-9: "µg 微克"},
    "ha": {1: "ha 公顷 hm2 hectare hectares", 1 / 15: "mu 亩 市亩", 1e3: "千公顷 1_000_ha 1_000_hectares",
           1e4: "万公顷 10_000_hectares", 1e4 / 15: "万亩 10_000_mu", 1e-4: "m2 平方米", 100: "km2 平方公里 平方千米",
           0.40468564224: "acre acres 英亩"},
    "L": {1: "L 升 litre litres liter liters", 1e3: "m3 立方米 立方", 1e-3: "mL 毫升", 1e7: "万立方米 万立方",
          1e11: "亿立方米 亿立方"},
    "yuan": {1: "yuan 元 CNY RMB", 1e4: "万元 10_000_yuan", 1e8: "亿元 100_million_yuan", 1e3: "千元",
             1e6: "百万元 million_yuan"},
    "kWh": {1: "kWh 千瓦时 度", 1e4: "万千瓦时 万度 10_000_kWh", 1e8: "亿千瓦时 亿度 100_million_kWh", 1e3: "MWh",
            1e3 / 3.6: "GJ", 1e6 / 3.6: "TJ", 1 / 3.6: "MJ", 8.141: "kgce 千克标准煤 千克标煤",
            8141: "tce 吨标准煤 吨标煤", 8.141e7: "万吨标准煤 万吨标煤 10_000_tce"},
    "head": {1: "head heads 头 只 匹 羽", 1e4: "万头 万只 万匹 万羽 10_000_heads"},
    "kW": {1: "kW 千瓦", 1e4: "万千瓦 10_000_kW"},
    "person": {1: "person persons 人", 1e4: "万人 10_000_persons"},
}  # fmt: skip


def test_every_unit_by_hand() -> None:
    named = [
        (name.replace("_", " "), base, size)
        for base, sizes in BY_HAND.items()
        for size, names in sizes.items()
        for name in names.split()
    ]
    for name, base, size in named:
        assert convert(1.0, name, base, where=HERE) == pytest.approx(size, rel=1e-15), name
    known = [name for definitions in _UNITS.values() for names in definitions.values() for name in names]
    assert sorted(known) == sorted(name for name, _, _ in named)  # none twice, none untested


def test_kinds_of_units_and_of_quotients() -> None:
    assert kind_of_unit("亩", where=HERE) == "area"
    assert kind_of_unit("公斤/亩", where=HERE) == "mass/area"


@pytest.mark.parametrize(
    ("unit", "nearest"), [("Kg", "'kg'"), ("万顿", "'万吨'"), ("hectars", "'hectares'"), ("kwh", "'kWh'"), ("", "kg, ")]
)
def test_an_unknown_unit_names_the_nearest(unit: str, nearest: str) -> None:
    with pytest.raises(DataError, match="is unknown") as caught:
        convert(1.0, unit, "kg", where=HERE)
    assert caught.value.where == HERE
    assert nearest in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "kg*kg",
        "kg/ha/yuan",
        "kg/",
        "__import__('os').getcwd()",
        "1e4 * metric_ton",
        "kilogram",
        "x" * 10_000,
    ],
)
def test_text_of_a_file_never_reaches_the_parser(text: str) -> None:
    with pytest.raises(DataError, match="is unknown") as caught:
        convert(1.0, text, "kg", where=HERE)
    assert len(str(caught.value)) < 400


def test_kinds_do_not_mix() -> None:
    with pytest.raises(DataError) as caught:
        convert(1.0, "L", "kg", where=HERE)
    assert caught.value.what == "the unit 'L' measures volume, which cannot be expressed in 'kg' (mass)"
    assert "kg, 千克, 公斤, t" in caught.value.remedy
    with pytest.raises(DataError, match="measures mass/area"):
        convert(1.0, "kg/ha", "kg", where=HERE)


def test_the_library_of_units_loads_only_when_something_is_converted() -> None:
    code = (
        "import sys; from evalkit.tables.units import convert, kind_of_unit; "
        "kind_of_unit('mu', where=''); assert 'pint' not in sys.modules; "
        "convert(1.0, 'mu', 'ha', where=''); assert 'pint' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
