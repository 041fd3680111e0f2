"""Exports that people download, as synthetic twins of each form: all numbers are invented.."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import evalkit as ek
from evalkit.sources import Yearbook
from evalkit.sources.files.cells import cell_name
from evalkit.sources.yearbook.exports.world_bank import split_series
from yearbook_files import Rows, book, load, notes, put, read, refused, says, unplaced

WDI = """\
"Data Source","World Development Indicators",

"Last Updated Date","2024-05-30",

"Country Name","Country Code","Indicator Name","Indicator Code","2019","2020","2021",
"Atlantis","ATL","GDP per capita (constant 2015 US$)","NY.GDP.PCAP.KD","1234.56789012345","","0.0123456789012345",
"Erewhon","ERE","GDP per capita (constant 2015 US$)","NY.GDP.PCAP.KD","17","18.5","-3.5E-05",
"Erewhon","ERE","Rural population (% of total population)","SP.RUR.TOTL.ZS","","61.5","60",
"""
DATABANK: Rows = [
    ["Series Name", "Series Code", "Country Name", "Country Code", "2010 [YR2010]", "2011 [YR2011]"],
    ["Population, total", "SP.POP.TOTL", "Atlantis", "ATL", 1200, ".."],
    ["GDP (current US$)", "NY.GDP.MKTP.CD", "Atlantis", "ATL", 5000.5, 6000],
    ["GDP (constant 2015 US$)", "NY.GDP.MKTP.KD", "Atlantis", "ATL", 4800, 5700],
    [None],
    ["Data from database: World Development Indicators"],
    ["Last Updated: 05/30/2024"],
]
EUROSTAT = """\
unit,na_item,geo\\time\t2014 \t2013 \t2012 \t2011 
EUR_HAB,B6N,XA1\t38500 \t38100 p\t: \t: u
EUR_HAB,B6N,XA2\t25.1 bu\t25.6 b u\t: c\t: z
MIO_EUR,B6N,XA1\t138500 b\t138100 \t-1.5 e\t0 n
MIO_EUR,B5N,XA1\t1 d\t2 f\t3 r\t4 s
"""
SIDRA = """\
\ufeff"Tabela 9999 - Área plantada e valor das lavouras"
"Variável - Área plantada (Hectares)"
"Cód.";"Município";"Ano x Produto das lavouras"
"Cód.";"Município";"2019";;"2020"
"Cód.";"Município";"Total";"Cana";"Total";"Cana"
"1100015";"Vila Um (RO)";"100";"-";"...";"X"
"1100023";"Vila Dois (RO)";"7,5";"..";"A";"12"
"Fonte: IBGE - Invenção"

"Tabela 9999 - Área plantada e valor das lavouras"
"Variável - Valor (Mil Reais)"
"Cód.";"Município";"Ano x Produto das lavouras"
"Cód.";"Município";"2019";;"2020"
"Cód.";"Município";"Total";"Cana";"Total";"Cana"
"1100015";"Vila Um (RO)";"1.000,25";"2";"3";"4"
"1100023";"Vila Dois (RO)";"5";"6";"7";"8"
"Fonte: IBGE - Invenção"

"Notas"
"1 - Os dados de 2020 são preliminares."
"Legenda"
"Símbolo";"Significado"
"-";"Zero absoluto"
"0";"Zero resultante de um cálculo"
"""
FAOSTAT = """\
Domain Code,Domain,Area Code (M49),Area,Element Code,Element,Item Code (CPC),Item,Year Code,Year,Unit,Value,Flag,Flag Description
"QCL","Crops","4","Atlantis","5510","Production","15","Cassava, fresh","1961","1961","t","350000","A","Official figure"
"QCL","Crops","4","Atlantis","5510","Production","15","Cassava, fresh","1962","1962","t","400000.5","E","Estimated value"
"QCL","Crops","4","Atlantis","5312","Area harvested","15","Cassava, fresh","1961","1961","ha","7","I","Imputed value"
"QCL","Crops","4","Atlantis","5312","Area harvested","15","Cassava, fresh","1962","1962","ha","0","M","Missing value"
"QCL","Crops","8","Erewhon","5510","Production","15","Cassava, fresh","1961","1961","t","","M","Missing value"
"QCL","Crops","8","Erewhon","5510","Production","15","Cassava, fresh","1962","1962","t","9","Zz","Something new"
"""
ESTAT = """\
"統計名：","発明調査"
id,表章項目,男女_時系列,地域_時系列,時間軸(調査年),unit,value
1,人口,総数,甲県,1920年,人,55963053
2,人口,総数,甲県,1925年,人,***
3,人口,総数,乙県,1920年,人,12
"""
SDMX = """\
DATAFLOW,LAST UPDATE,freq,unit,sex,geo,TIME_PERIOD,OBS_VALUE,OBS_FLAG
X:A(1.0),01/02/24 11:00:00,A,PC,F,XA,2019,1.5,
X:A(1.0),01/02/24 11:00:00,A,PC,M,XA,2019,2.5,bu
X:A(1.0),01/02/24 11:00:00,A,PC,M,XA,2020,:,c
"""
AGES: Rows = [
    ["表1-9 男女年齢5歳階級別人口"],
    ["年齢階級", "人　口（1,000人）", None, None, "性比¹)"],
    [None, "総　数", "男", "女"],
    ["(1)平成27(2015)年"],
    ["総　数", 100.5, 50.25, 50.25, 100],
    *([f"{age}～{age + 4:2}", age + 1.5, age + 0.5, 1, 90 + age] for age in range(0, 30, 5)),
    ["30+", 7, 3, 4, 75],
    ["(2)平成32(2020)年"],
    ["総　数", 200, 120, 80, 150],
    *([f"{age}～{age + 4:2}", 2 * age, age, age, 100] for age in range(0, 30, 5)),
    ["30+", 8, 4, 4, 100],
    ["1) 女100に対する男の数."],
]


def rows(path: Path, *columns: str, **options: Any) -> list[tuple[Any, ...]]:
    """Return some columns of what is read, None for what is missing."""
    frame = load(path, **options)[list(columns)].astype(object)
    return list(frame.where(frame.notna(), None).itertuples(index=False, name=None))


# --- the World Bank ---


def test_world_development_indicators(tmp_path: Path) -> None:
    path = put(tmp_path, WDI)
    gdp, rural = ("GDP per capita", "constant 2015 US$"), ("Rural population", "% of total population")
    assert rows(path, "region_code", "region", "year", "indicator", "unit", "value", "mark", "cell") == [
        ("ATL", "Atlantis", 2019, *gdp, 1234.56789012345, "", "E6"),
        ("ATL", "Atlantis", 2020, *gdp, None, "missing", "F6"),
        ("ATL", "Atlantis", 2021, *gdp, 0.0123456789012345, "", "G6"),
        ("ERE", "Erewhon", 2019, *gdp, 17, "", "E7"),
        ("ERE", "Erewhon", 2020, *gdp, 18.5, "", "F7"),
        ("ERE", "Erewhon", 2021, *gdp, -3.5e-05, "", "G7"),
        ("ERE", "Erewhon", 2019, *rural, None, "missing", "E8"),
        ("ERE", "Erewhon", 2020, *rural, 61.5, "", "F8"),
        ("ERE", "Erewhon", 2021, *rural, 60, "", "G8"),
    ]
    assert not unplaced(path)
    assert "A1: Data Source World Development Indicators" in notes(path)
    wide = Yearbook(path, {"gdp": "GDP per capita", "rural": "Rural population (% of total population)"}).load()
    assert wide.units == {"gdp": "constant 2015 US$", "rural": "% of total population"}
    assert list(wide.frame.loc["F7", ["gdp", "rural"]]) == [18.5, 61.5]


def test_databank_asks_for_a_unit_and_keeps_two_apart(tmp_path: Path) -> None:
    path = book(tmp_path, Data=DATABANK)
    assert 'units={"Population, total": "…"}' in refused(path).remedy
    units = {"Population, total": "persons"}
    assert rows(path, "year", "indicator", "unit", "value", "mark", units=units) == [
        (2010, "Population, total", "persons", 1200, ""),
        (2011, "Population, total", "persons", None, "missing"),
        (2010, "GDP", "current US$", 5000.5, ""),
        (2011, "GDP", "current US$", 6000, ""),
        (2010, "GDP", "constant 2015 US$", 4800, ""),
        (2011, "GDP", "constant 2015 US$", 5700, ""),
    ]
    assert "Last Updated: 05/30/2024" in notes(path, units=units)
    says(refused(path, columns={"gdp": "GDP"}), "is in current US$", "", 'columns={"x": "GDP (current US$)"}')
    table = Yearbook(path, {"gdp": "GDP (constant 2015 US$)"}).load()
    assert (table.frame["gdp"].tolist(), table.units) == ([4800, 5700], {"gdp": "constant 2015 US$"})


@pytest.mark.parametrize(
    ("name", "indicator", "unit"),
    [
        (
            "Fertilizer consumption (kg per hectare of arable land)",
            "Fertilizer consumption",
            "kg per hectare of arable land",
        ),
        (
            "Unemployment (% of labor force) (modeled ILO estimate)",
            "Unemployment (modeled ILO estimate)",
            "% of labor force",
        ),
        ("Gini index (World Bank estimate)", "Gini index (World Bank estimate)", None),
        ("Consumer price index (2010 = 100)", "Consumer price index", "2010 = 100"),
        ("School enrollment, primary (gross), gender parity index (GPI)",) * 2 + (None,),
        (
            "Official exchange rate (LCU per US$, period average)",
            "Official exchange rate",
            "LCU per US$, period average",
        ),
        ("Population, total", "Population, total", None),
    ],
)
def test_the_unit_is_the_last_bracket_that_is_one(name: str, indicator: str, unit: str | None) -> None:
    assert split_series(name) == (indicator, unit)


# --- Eurostat ---


def test_eurostat_sets_flags_beside_numbers(tmp_path: Path) -> None:
    path = put(tmp_path, EUROSTAT)
    found = rows(path, "region", "year", "indicator", "unit", "value", "mark", "cell")
    assert found == [
        ("XA1", 2014, "B6N", "EUR_HAB", 38500, "", "B2"),
        ("XA1", 2013, "B6N", "EUR_HAB", 38100, "provisional", "C2"),
        ("XA1", 2012, "B6N", "EUR_HAB", None, "missing", "D2"),
        ("XA1", 2011, "B6N", "EUR_HAB", None, "missing", "E2"),
        ("XA2", 2014, "B6N", "EUR_HAB", 25.1, "break low_reliability", "B3"),
        ("XA2", 2013, "B6N", "EUR_HAB", 25.6, "break low_reliability", "C3"),
        ("XA2", 2012, "B6N", "EUR_HAB", None, "suppressed", "D3"),
        ("XA2", 2011, "B6N", "EUR_HAB", None, "none", "E3"),
        ("XA1", 2014, "B6N", "MIO_EUR", 138500, "break", "B4"),
        ("XA1", 2013, "B6N", "MIO_EUR", 138100, "", "C4"),
        ("XA1", 2012, "B6N", "MIO_EUR", -1.5, "estimated", "D4"),
        ("XA1", 2011, "B6N", "MIO_EUR", 0, "not_significant", "E4"),
        ("XA1", 2014, "B5N", "MIO_EUR", 1, "definition", "B5"),
        ("XA1", 2013, "B5N", "MIO_EUR", 2, "forecast", "C5"),
        ("XA1", 2012, "B5N", "MIO_EUR", 3, "revised", "D5"),
        ("XA1", 2011, "B5N", "MIO_EUR", 4, "eurostat_estimate", "E5"),
    ]
    assert not unplaced(path)
    assert load(path).loc["E2", "note"] == "flagged low_reliability"
    assert "of which 2 missing, 1 suppressed" in notes(path).replace("1 not applicable, ", "")
    titled = rows(path, "indicator", indicator="Income")
    assert {one for (one,) in titled} == {"Income / B6N", "Income / B5N"}


def test_two_units_are_two_series(tmp_path: Path) -> None:
    path = put(tmp_path, EUROSTAT)
    says(refused(path, columns={"x": "B6N"}), "in EUR_HAB in B2 and in MIO_EUR in B4", "", '"B6N (EUR_HAB)"')
    table = Yearbook(path, {"x": "B6N (MIO_EUR)"}).load()
    assert table.units == {"x": "MIO_EUR"}
    says(refused(path, columns={"x": "B6N (PPS)"}), "no value of 'B6N' is in 'PPS'", "export.csv", "EUR_HAB")
    thousand = put(tmp_path, "地区,年份,指标,数值,单位,标记\n甲省,2019,粮食产量,1.5,万吨,E\n")
    assert rows(thousand, "value", "unit", "mark", "published_value", convert={"粮食产量": "吨"}) == [
        (15000, "吨", "estimated", 1.5)
    ]
    assert table.frame[["region", "year", "x"]].values.tolist() == [
        ["XA1", 2011, 0],
        ["XA1", 2012, -1.5],
        ["XA1", 2013, 138100],
        ["XA1", 2014, 138500],
    ]


def test_eurostat_without_a_dimension_asks_for_its_title(tmp_path: Path) -> None:
    path = put(tmp_path, "unit,geo\\time\t2014 \t2013 \nEUR,XA\t1 \t2 \nPC,XA\t3 \t: \n")
    says(refused(path), "names no dimension", "", 'indicator="…"')
    assert rows(path, "indicator", "unit", "value", indicator="Rent") == [
        ("Rent", "EUR", 1),
        ("Rent", "EUR", 2),
        ("Rent", "PC", 3),
        ("Rent", "PC", None),
    ]


def test_eurostat_with_regions_across_and_with_a_frequency(tmp_path: Path) -> None:
    across = put(tmp_path, "unit,sex,time\\geo\tXA \tXB \nPC,F,2014\t1 \t2 u\nPC,M,2014\t: \t4 \n")
    assert rows(across, "region_code", "region", "year", "indicator", "value", "mark") == [
        (None, "XA", 2014, "F", 1, ""),
        (None, "XB", 2014, "F", 2, "low_reliability"),
        (None, "XA", 2014, "M", None, "missing"),
        (None, "XB", 2014, "M", 4, ""),
    ]
    head = "freq,unit,na_item,geo\\TIME_PERIOD"
    mixed = put(tmp_path, f"{head}\t2014 \t2014-Q1 \nA,EUR,B6N,XA\t1 \t: \nQ,EUR,B6N,XA\t: \t2 \n")
    assert read(mixed) == {"B2": 1}
    assert unplaced(mixed) == {
        "C2": "'2014-Q1' is not a whole year",
        "B3": "its frequency is 'Q', and the tables of a yearbook are by year",
        "C3": "'2014-Q1' is not a whole year",
    }
    months = put(tmp_path, f"{head}\t2014M01 \t2014M02 \nM,EUR,B6N,XA\t1 \t2 \n")
    says(refused(months), "parts of years ('2014M01')", "row 1, column 2", "sum or average")


def test_what_is_not_understood_is_not_a_number(tmp_path: Path) -> None:
    path = put(tmp_path, "unit,sex,geo\\time\t2014 \t2013 \nPC,F,XA\t1 q\tx1 \nPC,F\t3 \t4 \nPC,M,XB\t5 \t6 \n")
    assert read(path) == {"B2": "unread", "C2": "unread", "B4": 5, "C4": 6}
    few = "2 codes stand in front of it, and the header names 3 dimensions"
    assert unplaced(path) == {
        "B2": "the flag 'q' is none that Eurostat uses",
        "C2": "it is neither a number nor a mark in place of one",
        "B3": few,
        "C3": few,
    }


# --- SIDRA ---


def test_sidra_in_blocks(tmp_path: Path) -> None:
    path = put(tmp_path, SIDRA)
    area, value = ("Hectares",), ("Mil Reais",)
    assert rows(path, "region_code", "region", "year", "indicator", "unit", "value", "mark", "cell") == [
        ("1100015", "Vila Um (RO)", 2019, "Área plantada / Total", *area, 100, "", "C6"),
        ("1100015", "Vila Um (RO)", 2019, "Área plantada / Cana", *area, None, "none", "D6"),
        ("1100015", "Vila Um (RO)", 2020, "Área plantada / Total", *area, None, "missing", "E6"),
        ("1100015", "Vila Um (RO)", 2020, "Área plantada / Cana", *area, None, "suppressed", "F6"),
        ("1100023", "Vila Dois (RO)", 2019, "Área plantada / Total", *area, 7.5, "", "C7"),
        ("1100023", "Vila Dois (RO)", 2019, "Área plantada / Cana", *area, None, "none", "D7"),
        ("1100023", "Vila Dois (RO)", 2020, "Área plantada / Total", *area, None, "unread", "E7"),
        ("1100023", "Vila Dois (RO)", 2020, "Área plantada / Cana", *area, 12, "", "F7"),
        ("1100015", "Vila Um (RO)", 2019, "Valor / Total", *value, 1000.25, "", "C15"),
        ("1100015", "Vila Um (RO)", 2019, "Valor / Cana", *value, 2, "", "D15"),
        ("1100015", "Vila Um (RO)", 2020, "Valor / Total", *value, 3, "", "E15"),
        ("1100015", "Vila Um (RO)", 2020, "Valor / Cana", *value, 4, "", "F15"),
        ("1100023", "Vila Dois (RO)", 2019, "Valor / Total", *value, 5, "", "C16"),
        ("1100023", "Vila Dois (RO)", 2019, "Valor / Cana", *value, 6, "", "D16"),
        ("1100023", "Vila Dois (RO)", 2020, "Valor / Total", *value, 7, "", "E16"),
        ("1100023", "Vila Dois (RO)", 2020, "Valor / Cana", *value, 8, "", "F16"),
    ]
    assert unplaced(path) == {"E7": "it is a range of values, which the legend calls 'A'"}
    assert "1 - Os dados de 2020 são preliminares." in notes(path)


def test_sidra_with_a_sheet_for_each_variable(tmp_path: Path) -> None:
    head = ["Cód.", "Município", "Ano x Grupo de produtos x Sexo"]
    title = "Tabela 99 - Área e valor"

    def sheet(variable: str, *numbers: float | str) -> Rows:
        above: Rows = [[title], [f"Variável - {variable}"], [*head], [None, None, 2021], [None, None, "Total"]]
        return [*above, [None, None, "Homens", "Mulheres"], ["11", "Vila Um (RO)", *numbers], ["Fonte: IBGE"]]

    merged = ("A3:A6", "B3:B6", "C3:D3", "C4:D4", "C5:D5", "A8:D8")
    path = book(
        tmp_path,
        {"Área": merged, "Valor": merged},
        Área=sheet("Área (Hectares)", 1, 2.5),
        Valor=sheet("Valor (Mil Reais)", 3, "-"),
        Notas=[["Notas"], ["1 - Uma nota."], ["Legenda"], ["Símbolo", "Significado"], ["0", "Zero"]],
    )
    assert rows(path, "year", "indicator", "unit", "value", "sheet") == [
        (2021, "Área / Total / Homens", "Hectares", 1, "Área"),
        (2021, "Área / Total / Mulheres", "Hectares", 2.5, "Área"),
        (2021, "Valor / Total / Homens", "Mil Reais", 3, "Valor"),
        (2021, "Valor / Total / Mulheres", "Mil Reais", None, "Valor"),
    ]
    assert not unplaced(path)


def test_sidra_with_years_and_classes_in_rows(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "Tabela 99 - Área\nVariável - Área (Hectares)\nMunicípio;Ano;Produto;Tipo\nMunicípio;Ano;Produto;Novo\n"
        "Vila Um (RO);2019;Cana;1\nVila Um (RO);2019;Milho;2\nVila Um (RO);2020;Cana;3\nNota: sem mais.\nFonte: IBGE\n",
    )
    assert rows(path, "region", "year", "indicator", "unit", "value") == [
        ("Vila Um (RO)", 2019, "Novo / Cana", "Hectares", 1),
        ("Vila Um (RO)", 2019, "Novo / Milho", "Hectares", 2),
        ("Vila Um (RO)", 2020, "Novo / Cana", "Hectares", 3),
    ]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"7,5"', '"1.234"', "decimals stand behind a comma"),
        ('"Município";"2019";;"2020"', '"Região";"2019";;"2020"', "the rows of the header disagree"),
        ('"2019";;"2020"', '"Cana";;"Milho"', "no row of years stands"),
        ('"Ano x Produto das lavouras"', '"Mês x Produto das lavouras"', "the table is by 'Mês'"),
    ],
)
def test_sidra_that_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str, what: str) -> None:
    text = SIDRA.replace(old, new).replace('"1.000,25"', '"1.5"' if old == '"7,5"' else '"1,25"')
    text = text.replace('"12"', '"12,5"')
    assert what in refused(put(tmp_path, text)).what


def test_a_thousand_or_three_decimals(tmp_path: Path) -> None:
    text = SIDRA.replace('"7,5"', '"1,234"').replace('"1.000,25"', '"3"')
    says(refused(put(tmp_path, text)), "a thousand or a number with three decimals", "row 7, column 3", "as .xlsx")


# --- the nation and its provinces ---


def test_the_nation_is_named_by_its_database(tmp_path: Path) -> None:
    table = "指标,2022年,2021年\n国民总收入(亿元),120,110\n人均收入(元),87,\n"
    nation = put(tmp_path, f"数据库：年度数据\n时间：最近2年\n{table}数据来源：国家统计局\n")
    assert rows(nation, "region", "year", "indicator", "unit", "value") == [
        ("全国", 2022, "国民总收入", "亿元", 120),
        ("全国", 2021, "国民总收入", "亿元", 110),
        ("全国", 2022, "人均收入", "元", 87),
        ("全国", 2021, "人均收入", "元", None),
    ]
    province = put(tmp_path, f"数据库：分省年度数据\n地区：甲省\n时间：最近2年\n{table}")
    assert set(load(province)["region"]) == {"甲省"}
    assert 'region="…"' in refused(put(tmp_path, f"数据库：分省年度数据\n时间：最近2年\n{table}")).remedy


# --- long tables ---


def test_faostat(tmp_path: Path) -> None:
    path = put(tmp_path, FAOSTAT)
    made, area = "Production / Cassava, fresh", "Area harvested / Cassava, fresh"
    assert rows(path, "region_code", "region", "year", "indicator", "unit", "value", "mark", "note") == [
        ("4", "Atlantis", 1961, made, "t", 350000, "", ""),
        ("4", "Atlantis", 1962, made, "t", 400000.5, "estimated", "Estimated value"),
        ("4", "Atlantis", 1961, area, "ha", 7, "imputed", "Imputed value"),
        ("4", "Atlantis", 1962, area, "ha", None, "missing", "0 is printed, flagged M: Missing value"),
        ("8", "Erewhon", 1961, made, "t", None, "missing", "Missing value"),
        ("8", "Erewhon", 1962, made, "t", 9, "flagged", "Zz: Something new"),
    ]
    assert "'Domain' is 'Crops' in all rows, and left out of the names of the indicators" in notes(path)
    assert not unplaced(path)


def test_e_stat(tmp_path: Path) -> None:
    path = put(tmp_path, ESTAT)
    assert rows(path, "region", "year", "indicator", "unit", "value", "mark") == [
        ("甲県", 1920, "人口", "人", 55963053, ""),
        ("甲県", 1925, "人口", "人", None, "unread"),
        ("乙県", 1920, "人口", "人", 12, ""),
    ]
    assert unplaced(path) == {"G4": "it is neither a number nor a mark in place of one"}
    assert "'男女_時系列' is '総数' in all rows" in notes(path)


def test_sdmx(tmp_path: Path) -> None:
    path = put(tmp_path, SDMX)
    assert rows(path, "region", "year", "indicator", "unit", "value", "mark") == [
        ("XA", 2019, "F", "PC", 1.5, ""),
        ("XA", 2019, "M", "PC", 2.5, "break low_reliability"),
        ("XA", 2020, "M", "PC", None, "suppressed"),
    ]
    quarters = put(tmp_path, SDMX.replace(",A,PC", ",Q,PC").replace("2019,", "2019-Q1,").replace("2020,", "2020-Q2,"))
    says(refused(quarters), "parts of years ('2019-Q1')", "row 2, column 7", "Delimited")


def test_a_chinese_database_and_a_power_of_ten(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "地区,地区代码,年份,指标,数值,单位\n甲省,110000,2019,粮食产量,12.5,万吨\n甲省,120000,2019,粮食产量,3,万吨\n",
    )
    assert rows(path, "region_code", "region", "value", "unit") == [
        ("110000", "甲省", 12.5, "万吨"),
        ("120000", "甲省", 3, "万吨"),
    ]
    says(refused(path, columns={"x": "粮食产量"}), "two regions are called 甲省", "", "region_code tells them apart")
    power = put(
        tmp_path,
        "REF_AREA,TIME_PERIOD,MEASURE,UNIT_MEASURE,UNIT_MULT,OBS_VALUE\nXA,2019,GDP,USD,6,1.5\nXB,2019,GDP,USD,0,2\n",
    )
    assert rows(power, "value", "unit") == [(1.5, "10^6 USD"), (2, "USD")]


def test_an_ordinary_table_stays_one(tmp_path: Path) -> None:
    assert set(load(put(tmp_path, "Dist,Year,NITROGEN (t)\nA,2019,1\nB,2019,3\n"))["indicator"]) == {"NITROGEN"}
    assert 'units={"value": "…"}' in refused(put(tmp_path, "province,year,value\n甲省,2019,1.5\n")).remedy  # as ever


def test_a_key_that_stands_twice_is_read_in_neither_place(tmp_path: Path) -> None:
    first = FAOSTAT.splitlines()[1]
    again = put(tmp_path, FAOSTAT + first + "\n")
    assert unplaced(again) == {
        "L8": "'Production / Cassava, fresh' of Atlantis in 1961 stands in L2 as well (the same value)"
    }
    differs = put(tmp_path, FAOSTAT + first.replace("350000", "1") + "\n")
    assert set(unplaced(differs)) == {"L2", "L8"}
    assert read(differs)["L2"] == "unread"


def test_a_second_column_of_numbers_is_not_lost(tmp_path: Path) -> None:
    path = put(tmp_path, "area,item,year,value,extra,unit\nA,rice,2019,1,7,t\nB,rice,2019,2,8,t\n")
    assert read(path) == {"D2": 1, "D3": 2}
    why = "it stands beside the column of values, and may be another one"
    assert unplaced(path) == {"E2": why, "E3": why}


# --- damaged files ---


@pytest.mark.parametrize(("text", "row"), [(FAOSTAT, 7), (WDI, 8), (EUROSTAT, 5)])
def test_a_download_that_broke_off_is_refused(tmp_path: Path, text: str, row: int) -> None:
    cut = text.rstrip("\n,")
    separator = "\t" if "\t" in cut else ","
    says(refused(put(tmp_path, cut.rpartition(separator)[0] + "\n")), "the file ends within it", f"row {row}", "again")


def test_a_second_header(tmp_path: Path) -> None:
    head, *body = FAOSTAT.splitlines()
    same = put(tmp_path, "\n".join([head, *body[:3], head.removeprefix("\ufeff"), *body[3:]]) + "\n")
    assert load(same)["value"].tolist()[:3] == load(put(tmp_path, FAOSTAT))["value"].tolist()[:3]
    other = head.removeprefix("\ufeff").replace("Item,", "Thing,")
    differs = put(tmp_path, "\n".join([head, *body[:3], other, *body[3:]]) + "\n")
    says(refused(differs), "the header in row 5 differs from the one in row 1", "row 5", "split the file")


# --- population by age ---


def test_ages_in_blocks_of_years(tmp_path: Path) -> None:
    path = book(tmp_path, {"s": ("B2:D2", "A2:A3", "E2:E3", "A1:E1")}, s=AGES)
    error = refused(path)
    assert 'region="…"' in error.remedy
    assert 'units={"性比": "…"}' in error.remedy  # many parts are asked for by their head
    units = {"性比": "女=100"}
    frame = load(path, region="日本", units=units)
    one = {**units, "性比 / 30+": "%"}
    assert load(path, region="日本", units=one).set_index("cell").loc[["E7", "E12"], "unit"].tolist() == ["女=100", "%"]
    assert "units= names indicator '性'" in refused(path, region="日本", units={"性": "%"}).what
    assert set(frame["region"]) == {"日本"}
    found = frame.set_index("cell")[["year", "indicator", "unit", "value"]]
    assert list(found.loc["B5"]) == [2015, "人口 / 総数 / 総数", "1,000人", 100.5]
    assert list(found.loc["C7"]) == [2015, "人口 / 男 / 5～9", "1,000人", 5.5]
    assert list(found.loc["E12"]) == [2015, "性比 / 30+", "女=100", 75]
    assert list(found.loc["D16"]) == [2020, "人口 / 女 / 5～9", "1,000人", 5]
    assert len(frame) == 4 * 16
    assert not unplaced(path, region="日本", units=units)


def test_ages_with_years_across(tmp_path: Path) -> None:
    page: Rows = [["人口ピラミッド"], ["総人口（千人）"], ["女性", 1965, 1970], ["総数", 50.5, 52.5]]
    page += [[f"{age}歳", age + 0.5, age + 1.5] for age in range(6)]
    path = book(tmp_path, F=page)
    assert 'region="…"' in refused(path).remedy
    assert rows(path, "region", "year", "indicator", "unit", "value", region="日本")[:4] == [
        ("日本", 1965, "総人口 / 女性 / 総数", "千人", 50.5),
        ("日本", 1970, "総人口 / 女性 / 総数", "千人", 52.5),
        ("日本", 1965, "総人口 / 女性 / 0歳", "千人", 0.5),
        ("日本", 1970, "総人口 / 女性 / 0歳", "千人", 1.5),
    ]


# --- large files ---


def test_of_a_large_file_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    years = "\t".join(f"{year} " for year in range(1980, 2020))
    regions = [f"X{i:03}" for i in range(256)]
    values = ["\t".join(f"{i}.{year % 100} p" for year in range(1980, 2020)) for i in range(256)]
    items = ("A", "B", "C", *(f"D{k}" for k in range(17)))
    lines = [f"EUR,{item},{geo}\t{said}" for item in items for geo, said in zip(regions, values, strict=True)]
    big = put(tmp_path, "\n".join([f"unit,item,geo\\time\t{years}", *lines[:-1]]) + "\n")
    says(
        refused(big),
        f"{40 * (20 * 256 - 1):,} values",
        "export.csv",
        'columns={"name_1": "A", "name_2": "B", "name_3": "C"}; indicator="…"',
    )
    table = Yearbook(big, {"b": "B", "d": "D3 (EUR)"}).load()
    assert table.units == {"b": "EUR", "d": "EUR"}
    assert len(table.frame) == 40 * 256
    assert list(table.frame.loc["AO260", ["region", "year", "b", "d"]]) == ["X002", 2019, 2.19, 2.19]
    assert "no table has the indicator 'Z'" in refused(big, columns={"z": "Z"}).what


# --- nothing is lost, and nothing that is flagged is missing ---


CODES = {("FAOSTAT", 2), ("FAOSTAT", 4), ("FAOSTAT", 6), ("FAOSTAT", 8), ("SIDRA", 0)}  # columns of codes by form


@pytest.mark.parametrize("name", ["WDI", "EUROSTAT", "SIDRA", "FAOSTAT", "SDMX", "AGES"])
def test_no_number_is_lost(tmp_path: Path, name: str) -> None:
    """Numbers are put at random places of each form; each is read, is listed as not placed, or the file is refused."""
    draw = random.Random(name)
    whole = {"WDI": WDI, "EUROSTAT": EUROSTAT, "SIDRA": SIDRA, "FAOSTAT": FAOSTAT, "SDMX": SDMX}.get(name)
    settings: dict[str, Any] = {} if whole else {"region": "日本"}
    refusals = 0
    for _ in range(25):
        number = float(draw.randrange(3_000_000, 9_000_000))
        if whole is None:
            row, column = draw.randrange(4, len(AGES)), draw.randrange(1, 7)
            if f"{'ABCDEFG'[column]}{row + 1}" == "A1":
                continue
            table = edited_at(AGES, row, column, number)
            path = book(tmp_path, {"s": ("B2:D2", "A2:A3", "E2:E3", "A1:E1")}, s=table)
        else:
            separator = "\t" if name == "EUROSTAT" else ";" if name == "SIDRA" else ","
            quoted = [split(line, separator) for line in whole.splitlines()]
            row = draw.randrange(len(quoted))
            while len(quoted[row]) < 4:
                row = draw.randrange(len(quoted))
            column = draw.choice(
                [i for i in range(len(quoted[row])) if as_number(quoted[row][i])] or [len(quoted[row])]
            )
            quoted[row][column : column + 1] = [f'"{number:.0f}"' if name != "EUROSTAT" else f"{number:.0f} "]
            path = put(tmp_path, "\n".join(separator.join(line) for line in quoted) + "\n")
        try:
            units = {"性比": "女=100"} if whole is None else {}
            table_read = Yearbook(path, units=units, **settings).load()
        except ek.EvalkitError:
            refusals += 1
            continue
        cell = cell_name(row + 1, column + 1)
        is_code = (name, column) in CODES
        placed = table_read.frame.set_index("cell")["value"].get(cell)
        listed = cell in set(table_read.unplaced["cell"])
        assert placed == number or listed or is_code, (cell, number)
    assert refusals < 20


def edited_at(table: Rows, row: int, column: int, value: float) -> Rows:
    copy = [list(one) for one in table]
    copy[row] += [None] * (column + 1 - len(copy[row]))
    copy[row][column] = value
    return copy


def split(line: str, separator: str) -> list[str]:
    """Split a line at separators outside quotes, which stay."""
    parts, inside = [""], False
    for letter in line:
        inside ^= letter == '"'
        if letter == separator and not inside:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def as_number(text: str) -> bool:
    return text.strip(' "').replace(".", "", 1).isdigit() and len(text.strip(' "')) != len("2019")


def test_the_audit_takes_a_flagged_number_for_a_number(tmp_path: Path) -> None:
    """A total that is 10 too large is found whether its parts are flagged or not."""
    head = "地区,年份,指标,数值,单位,标记\n"
    body = [f"{place},{year},粮食产量,{number},吨,{{}}\n" for year in (2019, 2020) for place, number in
            (("合计", 110 + year), ("昌吉市", 50), ("阜康市", 50 + year))]  # fmt: skip
    found = []
    for flag in ("", "E", "P"):
        table = Yearbook(put(tmp_path, head + "".join(body).format(*[flag] * 6))).load()
        assert set(table.frame["mark"]) == {{"": "", "E": "estimated", "P": "provisional"}[flag]}
        remarks = ek.audit(table).frame
        found.append(remarks[["kind", "severity", "cell", "difference"]])
    assert len(found[0]) > 0
    for one in found[1:]:
        pd.testing.assert_frame_equal(one, found[0])


def test_explain_says_what_stands_beside_the_values(tmp_path: Path) -> None:
    text = str(Yearbook(put(tmp_path, FAOSTAT)).explain())
    assert "names of indicators" in text
    assert "flags and remarks" in text
    assert "indicator?" not in text
    assert "指标名称" in str(Yearbook(put(tmp_path, FAOSTAT)).explain(language="zh"))
