"""The claims ledger: every figure and verdict against hand arithmetic, inputs that turn a verdict, and refusals."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
import pytest
from pydantic import TypeAdapter

import evalkit.claims as kinds
from evalkit.claims import (
    CleanPeriod,
    GroupGap,
    GrowthStandsOut,
    PercentEffect,
    PooledMean,
    Product,
    Restated,
    RestOfMean,
    Stars,
    Within,
)
from evalkit.claims.claim import Claim, Judged, judge_claims
from evalkit.errors import ConfigError
from evalkit.sources import Delimited
from evalkit.tables.table import Table

LEDGER = Path(__file__).parents[1] / "analyses/changji/claims.toml"
WORDS = {"en": "a claim", "zh": "一项论断"}


def build(cls: Any, given: Mapping[str, Any]) -> Any:
    """Make a dataclass from a TOML table, each field checked strictly, as the reader of studies does."""
    hints = get_type_hints(cls)
    return cls(**{k: TypeAdapter(hints[k]).validate_json(json.dumps(v), strict=True) for k, v in given.items()})


def read_ledger() -> dict[str, Claim]:
    content = tomllib.loads(LEDGER.read_text(encoding="utf-8"))
    claims = {}
    for table in content["claim"]:
        kind = table["check"].pop("kind")
        claims[table["id"]] = Claim(**{**table, "check": build(getattr(kinds, kind), table["check"])})
    return claims


CLAIMS = read_ledger()
LABELS = {
    "full_sample": {"en": "full sample", "zh": "全样本"},
    "large_farms": {"en": "large farms", "zh": "规模户"},
    "small_farms": {"en": "small farms", "zh": "小农户"},
    "relending_2022": {"en": "re-lending in 2022", "zh": "2022 年再贷款"},
    "relending_2022_2024": {"en": "re-lending in 2022 to 2024", "zh": "2022-2024 年再贷款"},
    "coverage_ratio": {"en": "coverage of large to small farms", "zh": "规模户与小农户的覆盖率之比"},
    "finance_ratio": {"en": "chance of finance, large to small farms", "zh": "规模户与小农户获得贷款的概率之比"},
    "green_finance_zone": {"en": "green-finance pilot zone", "zh": "绿色金融试验区"},
    "昌吉州": {"en": "Changji Prefecture", "zh": "昌吉州"},
    "新疆": {"en": "Xinjiang", "zh": "新疆"},
}


def budget(**changed: float) -> dict[str, Table]:
    """The printed Table 1 and the yearbook's Xinjiang, 100 million yuan; `changji_2022=…` replaces a value."""
    rows = {
        f"changji_{2015 + i}": v for i, v in enumerate((216.4, 274.5, 264.7, 263.5, 261.80, 276.23, 297.69, 360.74))
    }
    rows |= {"xinjiang_2021": 5376.91, "xinjiang_2022": 6835.40} | changed
    names = {"changji": "昌吉州", "xinjiang": "新疆"}
    parts = [(names[key.split("_")[0]], int(key.split("_")[1]), value) for key, value in rows.items()]
    frame = pd.DataFrame(parts, columns=["region", "year", "expenditure"])
    return {"budget": Table("budget", frame, ())}


def judged(claim_id: str, tables: Mapping[str, Table] | None = None, **changed: Any) -> Judged:
    claim = CLAIMS[claim_id]
    claim = replace(claim, check=replace(claim.check, **changed))
    return judge_claims([claim], budget() if tables is None else tables)[0]


def judge_one(check: Any, tables: Mapping[str, Table] | None = None) -> Judged:
    return judge_claims([Claim(id="x", text=WORDS, printed=WORDS, check=check)], tables or {})[0]


# Verdict, figure by hand (a desk calculator), and what the sentence must show.
EXPECTED: dict[str, tuple[str, float, list[str]]] = {
    "1": (
        "consistent",
        -0.082 / 0.035,
        ["-4.92", "-4.94", "-2.34", "0.0027", "0.0026", "0.058, * where ** is printed"],
    ),
    "2": ("unsupported", -0.076, ["0.0474", "p = 0.109", "correlation of 0.12", "0.33 (normal)", "0.57 (t(6))"]),
    "3": ("consistent", -0.1234, ["-0.1234", "54 %", "-0.123 is printed"]),
    "4": ("ambiguous", -11.574, ["-11.6 %", "-14.6 %", "-7.9 %", "-12.3 is printed"]),
    "5": ("consistent", (3 * 12.3 - 15.6) / 2, ["= 10.65"]),
    "6": ("contradicted", 250, ["= 250", "6.25 times"]),
    "7": ("impossible", 427.5, ["= 427.5", "14,035 times"]),
    "8": ("consistent", 14e6, ["14,000,000"]),
    "9": ("unsupported", 2.8e6, ["2,800,000", "35.71 times"]),
    "10": ("contradicted", 3.284, ["3.284", "4.105 times"]),
    "11": ("contradicted", 0.8, ["1.826", "2.676", "2.282 to 3.346"]),
    "12": ("unsupported", 21.18, ["21.2 % in 2022", "26.8 % (2016)", "27.1 % in 2022"]),
    "13": ("ambiguous", 9.6, ["re-lending in 2022 (9.6)", "re-lending in 2022 to 2024 (9.6)"]),
    "14": ("consistent", 2.557, ["= 2.557", "2.46", "2.77"]),
    "15": ("consistent", 2.03, ["2.031", "2.3 is of another quantity"]),
    "16": ("unsupported", 3, ["3 of the 3 years 2019 to 2021", "since 2017"]),
    "17": ("contradicted", 0.83, ["5.3", "7.95", "6.386"]),
}


@pytest.mark.parametrize("claim_id", EXPECTED)
def test_each_claim_reaches_its_verdict_by_the_figures_of_the_hand_arithmetic(claim_id: str) -> None:
    verdict, computed, shown = EXPECTED[claim_id]
    found = judged(claim_id)
    assert found.judgement.verdict == verdict
    assert found.judgement.computed == pytest.approx(computed, rel=1e-3)
    sentence = found.judgement.sentence.text("en", LABELS)
    assert not [part for part in shown if part not in sentence], sentence


def test_the_ledger_holds_seventeen_claims_in_order_and_uses_every_kind() -> None:
    ledger = judge_claims(CLAIMS.values(), budget())
    assert [one.claim.id for one in ledger] == [str(i) for i in range(1, 18)] == list(EXPECTED)
    assert {type(one.claim.check).__name__ for one in ledger} == set(kinds.__all__)


@pytest.mark.parametrize("claim_id", EXPECTED)
def test_both_languages_show_the_same_numbers_and_no_name_of_the_file(claim_id: str) -> None:
    found = judged(claim_id)
    english, chinese = (found.summary(language, LABELS) for language in ("en", "zh"))
    figures = [sorted(set(re.findall(r"\d[\d,.]*\d|\d", text))) for text in (english, chinese)]
    assert figures[0] == figures[1]
    assert not re.search(r"[a-z]_[a-z0-9]", english + chinese)
    assert re.search(r"一致|矛盾|不可能|证据不足|含义不明", chinese)
    assert re.search(f": {found.judgement.verdict}\\. ", english)


@pytest.mark.parametrize(
    ("claim_id", "changed", "verdict"),
    [
        ("1", {"stars": ("***", "***", "***")}, "contradicted"),
        ("1", {"stars": ("***", "**", "**")}, "contradicted"),  # too few stars is an error too
        ("1", {"estimates": (-0.123, -0.158, -0.066)}, "contradicted"),  # .0665 / .0345 = 1.93 at most
        ("1", {"estimates": (-0.123, -0.158, -0.068)}, "consistent"),  # .0685 / .0345 = 1.99 at most
        ("2", {"estimates": (-0.200, -0.050)}, "consistent"),
        ("2", {"estimates": (-0.170, -0.082)}, "ambiguous"),  # p = .048; rounding reaches both sides of .05
        ("2", {"pooled_std_error": None, "estimates": (-0.180, -0.082)}, "consistent"),  # .098 / .0474 = 2.07
        ("2", {"pooled_std_error": None, "estimates": (-0.170, -0.082)}, "unsupported"),  # .088 / .0474 = 1.86
        ("3", {"printed": -0.130}, "contradicted"),
        ("3", {"printed": -0.120}, "contradicted"),
        ("3", {"printed": -0.125}, "consistent"),  # with errors .0315 and .0355 the mean is -.1245, unrounded -.1255
        ("3", {"printed": -0.126}, "contradicted"),
        ("4", {"printed": {"full_sample": -11.6}}, "consistent"),
        ("4", {"printed": {"full_sample": -20.0}}, "contradicted"),
        ("4", {"scale": "log"}, "contradicted"),
        ("4", {"printed": {"full_sample": -12.3, "large_farms": -40.0}}, "contradicted"),
        ("5", {"known": (40.0,)}, "contradicted"),  # the first two years would have to be negative
        ("5", {"known": (5.0,)}, "contradicted"),  # … or above the third: (36.9 - 5) / 2 = 15.95
        ("6", {"printed": 250}, "consistent"),
        ("7", {"printed": 600}, "consistent"),
        ("7", {"printed": 650}, "impossible"),  # 650 / 427.5 = 1.52, the tolerance is one half
        ("7", {"printed": 200}, "impossible"),
        ("8", {"printed": 15e6}, "contradicted"),
        ("9", {"printed": 2.9e6}, "consistent"),
        ("10", {"printed": 3.3}, "consistent"),
        ("11", {"times": (2.6,)}, "consistent"),
        ("11", {"times": (5.0,)}, "contradicted"),
        ("13", {"printed": 12.0}, "consistent"),
        ("13", {"printed_of": "relending_2022"}, "consistent"),
        ("14", {"over": (200000,)}, "contradicted"),
        ("15", {"printed_of": "coverage_ratio"}, "contradicted"),
        ("15", {"printed_of": "coverage_ratio", "printed": 2.0}, "consistent"),
        ("16", {"others": {"green_finance_zone": 2022}}, "consistent"),
        ("17", {"times": (6.0,)}, "consistent"),
    ],
)
def test_other_numbers_turn_the_verdict(claim_id: str, changed: dict[str, Any], verdict: str) -> None:
    assert judged(claim_id, **changed).judgement.verdict == verdict


def test_budget_growth_stands_out_only_above_every_earlier_year_and_the_other_unit() -> None:
    assert judged("12", budget(changji_2022=400.0)).judgement.verdict == "consistent"  # +34.4 %
    assert judged("12", budget(changji_2022=378.0)).judgement.verdict == "unsupported"  # +26.98 %, Xinjiang +27.13 %
    assert judged("12", budget(changji_2022=378.0), against=()).judgement.verdict == "consistent"  # 2016: +26.85 %
    assert judged("12", budget(changji_2022=375.0), against=()).judgement.verdict == "unsupported"  # +25.97 %
    # A later year is none to compare with: it may be an effect of the same policy.
    later = budget(changji_2022=400.0, changji_2023=4000.0)
    assert judged("12", later).judgement.verdict == "consistent"


def test_a_policy_that_starts_within_the_period_covers_the_rest_of_it() -> None:
    late = judged("16", others={"a": 2021, "b": 2024})
    assert late.judgement.computed == 1
    assert "1 of the 3 years" in str(late.judgement.sentence)
    assert judged("16", others={"a": 2022}).judgement.computed == 0


def test_distance_from_a_range_is_told_from_its_nearer_and_its_farther_end() -> None:
    """5 / (.0741 x 43 x .84) = 1.868 and 5 / (.5927 x 3.6667 x .84) = 2.739."""
    assert "above the range" in str(judged("11", times=(5.0,)).judgement.sentence)
    assert "by a factor of 1.868 to 2.739" in str(judged("11", times=(5.0,)).judgement.sentence)


def test_rounding_of_a_printed_gap_gives_the_range_of_p() -> None:
    """The extremes by hand: errors (.0315, .0345, .0245), gap .077 give p = .065; (.0325, .0355, .0255), .075 give .111."""
    sentence = str(judged("2").judgement.sentence)
    assert "0.065 to 0.111" in sentence
    assert "p = 0.087" in sentence


def test_stars_that_rounding_can_explain_are_not_held_against_the_source() -> None:
    """1.9 / 1.0 has one star, but 1.949 / 0.951 = 2.05 and (1.851 / 1.049) = 1.76 print alike."""
    one = Stars(rows=("a",), estimates=(1.9,), std_errors=(1.0,), stars=("**",), decimals=1, otherwise="contradicted")
    assert judge_one(one).judgement.verdict == "consistent"
    assert judge_one(replace(one, decimals=3)).judgement.verdict == "contradicted"
    # 2.0 / 1.0 has two stars, 1.951 / 1.049 = 1.86 only one.
    two = replace(one, estimates=(2.0,), stars=("*",))
    assert judge_one(two).judgement.verdict == "consistent"
    assert judge_one(replace(two, decimals=3)).judgement.verdict == "contradicted"
    three = replace(one, estimates=(3.0,), stars=("***",), decimals=3)  # p = .0027
    assert judge_one(three).judgement.verdict == "consistent"
    none = replace(one, estimates=(0.1,), stars=("",), decimals=3)
    assert judge_one(none).judgement.verdict == "consistent"
    assert "no star" in str(judge_one(none).judgement.sentence)


def test_tolerances_and_ends_of_ranges_count_as_inside_whatever_the_binary_fractions() -> None:
    assert 0.1 * 3 != 0.3
    exact = Product(times=(0.1, 3), printed=0.3, relative=0, otherwise="contradicted")
    assert judge_one(exact).judgement.verdict == "consistent"
    assert judge_one(replace(exact, printed=0.30001)).judgement.verdict == "contradicted"
    end = Within(times=(0.1, 3), low=(0.1,), high=(0.3,), otherwise="contradicted")
    assert judge_one(end).judgement.verdict == "consistent"
    part = RestOfMean(mean=0.1, number=3, known=(0.0, 0.0), low=0.0, high=0.3, otherwise="contradicted")
    assert judge_one(part).judgement.verdict == "consistent"
    assert "(3 × 0.1 - 0 - 0) / 1 = 0.3" in str(judge_one(part).judgement.sentence)


def test_a_gap_that_no_pooled_error_fits_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"claim 2, GroupGap: the printed errors imply a correlation of .*Remedy: leave"
    ):
        judged("2", pooled_std_error=0.2)


def drop(tables: dict[str, Table], **where: Any) -> dict[str, Table]:
    frame = tables["budget"].frame
    keep = ~pd.concat([frame[k] == v for k, v in where.items()], axis=1).all(axis=1)
    return {"budget": Table("budget", frame[keep], ())}


def edited(column: str, row: int, value: object) -> dict[str, Table]:
    frame = budget()["budget"].frame.astype(object)
    frame.loc[row, column] = value
    return {"budget": Table("budget", frame, ())}


@pytest.mark.parametrize(
    ("tables", "changed", "says"),
    [
        ({}, {}, "there is no table 'budget'"),
        ({"budgets": budget()["budget"]}, {}, "did you mean 'budgets'"),
        (budget(), {"of": "昌吉市"}, "column 'region' has no '昌吉市'.*did you mean '昌吉州'"),
        (budget(), {"value": "expenditur"}, "no column 'expenditur'.*did you mean 'expenditure'"),
        (budget(), {"year": 2024}, "has no value of '昌吉州' for 2023"),
        (drop(budget(), year=2021, region="新疆"), {}, "no value of '新疆' for 2021"),
        (drop(budget(), year=2021, region="昌吉州"), {}, "no value of '昌吉州' for 2021"),
        (edited("expenditure", 6, None), {}, "no value of '昌吉州' for 2021"),
        (edited("expenditure", 6, "297,69"), {}, "'297,69' is not a number"),
        (edited("expenditure", 0, 0.0), {}, "a value is not positive"),
        (edited("expenditure", 0, float("inf")), {}, "a value is not positive"),
        (edited("year", 0, 2016), {}, "'昌吉州' has a year twice"),
        (edited("year", 0, None), {}, "a year is missing"),
        (budget(), {"year": 2016, "against": ()}, "no earlier year and no other unit"),
    ],
)
def test_a_series_that_the_tables_lack_is_refused_with_the_claim(
    tables: dict[str, Table], changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        judged("12", tables, **changed)
    assert caught.value.where.startswith("claim 12")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (Product(times=(1e200, 1e200), printed=1, relative=1, otherwise="impossible"), "computes inf, no number"),
        (Product(times=(1e-200, 1e-200), printed=1, relative=1, otherwise="impossible"), "division by zero"),
        (Product(times=(1,), over=(1e-200, 1e-200), printed=1, relative=1, otherwise="impossible"), "division by zero"),
        (
            PercentEffect(
                coefficients={"a": 1e4}, printed={"a": 1}, scale="log", tolerance=1, otherwise="contradicted"
            ),
            "cannot be computed",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_with_the_claim(check: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        judge_one(check)
    assert caught.value.where == "claim x"


def test_claims_are_refused_without_id_words_or_check_and_when_an_id_stands_twice() -> None:
    check = CLAIMS["8"].check
    with pytest.raises(ConfigError, match="the id stands twice"):
        judge_claims([CLAIMS["8"], CLAIMS["8"]], {})
    with pytest.raises(ConfigError, match="no id"):
        Claim(id=" ", text=WORDS, printed="1", check=check)
    for words in ({"en": "a claim"}, {"en": "a", "zh": ""}, {"en": "a", "zh": "b", "fr": "c"}):
        with pytest.raises(ConfigError, match=r"claim 8: text is not given in every language.*en = "):
            replace(CLAIMS["8"], text=words)
    with pytest.raises(ConfigError, match="basis is not given in every language"):
        replace(CLAIMS["8"], basis={"en": "a source"})
    with pytest.raises(ConfigError, match="is not a check"):
        replace(CLAIMS["8"], check=Product)


NAN = float("nan")


@pytest.mark.parametrize(
    ("claim_id", "changed", "says"),
    [
        ("1", {"stars": ("***", "***")}, "stars 2"),
        ("1", {"stars": ("***", "***", "****")}, "stars holds"),
        ("1", {"std_errors": (0.025, 0.0, 0.035)}, "not above 0"),
        ("1", {"rows": "abc"}, "one word, not a list"),
        ("1", {"decimals": -1}, "decimals is -1"),
        ("1", {"clusters": 1}, "clusters is 1"),
        ("2", {"estimates": (1.0, 2.0, 3.0)}, "give 2 entries"),
        ("2", {"level": 1.0}, "level is 1.0"),
        ("2", {"pooled_std_error": 0.0}, "not above 0"),
        ("3", {"printed": NAN}, "no number"),
        ("3", {"rows": ("a",), "estimates": (1.0,), "std_errors": (1.0,)}, "1 groups are given"),
        ("4", {"printed": {"full": -12.3}}, "did you mean 'full_sample'"),
        ("4", {"printed": {}}, "printed is empty"),
        ("4", {"scale": "logs"}, "did you mean 'log'"),
        ("4", {"tolerance": -0.1}, "below 0"),
        ("5", {"known": (1.0, 2.0, 3.0)}, "none is left"),
        ("5", {"low": 20.0}, "exchange low and high"),
        ("7", {"times": ()}, "times is empty"),
        ("7", {"times": (750000, "0.57")}, "no number"),
        ("7", {"times": "12"}, "one word, not a list"),
        ("7", {"over": (0,)}, "not above 0"),
        ("7", {"printed": True}, "no number"),
        ("7", {"otherwise": "imposible"}, "did you mean 'impossible'"),
        ("7", {"otherwise": "consistent"}, "otherwise is 'consistent'"),
        ("11", {"low": (9.0,)}, "exchange low and high"),
        ("13", {"of": ""}, "no name"),
        ("12", {"against": ("昌吉州",)}, "against itself"),
        ("16", {"first": 2022}, "exchange first and last"),
        ("16", {"others": {}}, "others is empty"),
    ],
)
def test_checks_refuse_fields_that_say_nothing_certain(claim_id: str, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        replace(CLAIMS[claim_id].check, **changed)


@pytest.mark.parametrize("kind", kinds.__all__)
def test_members_are_frozen_hashable_values_that_name_what_a_mismatch_means(kind: str) -> None:
    member = next(one.check for one in CLAIMS.values() if type(one.check).__name__ == kind)
    assert hash(member) == hash(replace(member))
    with pytest.raises(AttributeError):
        member.otherwise = "consistent"
    hint: Callable[..., Any] = get_type_hints(type(member))["otherwise"]
    assert "consistent" not in str(hint)


def test_members_are_built_in_a_notebook_too() -> None:
    pooled = PooledMean(
        rows=("a", "b"), estimates=(1.0, 3.0), std_errors=(1.0, 1.0), printed=2.0, decimals=1, otherwise="contradicted"
    )
    gap = GroupGap(estimates=(1.0, 0.0), std_errors=(0.1, 0.1), decimals=2, otherwise="unsupported")
    twice = Restated(times=(1,), of="a", printed=2, printed_of="a", relative=0.1, otherwise="impossible")
    period = CleanPeriod(first=2000, last=2001, others={"a": 2005}, otherwise="unsupported")
    growth = GrowthStandsOut(
        table="budget", unit="region", time="year", value="expenditure", of="昌吉州", year=2016,
        against=("昌吉州2",), otherwise="unsupported",
    )  # fmt: skip
    assert [judge_one(one).judgement.verdict for one in (pooled, gap, twice, period)] == [
        "consistent", "consistent", "impossible", "consistent",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="claim x"):
        judge_one(growth, budget())


def test_the_projects_own_budget_file_gives_the_verdict_of_the_printed_series() -> None:
    table = Delimited(LEDGER.parents[2] / "data/raw/changji/budget.csv").load()
    assert judged("12", {"budget": table}).judgement == judged("12").judgement
