"""Tables joined on the columns they share."""

from __future__ import annotations

import pandas as pd
import pytest

import evalkit as ek
from evalkit.errors import DataError
from evalkit.table import Provenance, Table


def table(name: str, units: dict[str, str] | None = None, **columns: list) -> Table:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="row")
    return Table(name, frame, (Provenance(name, "0" * 64),), units or {})


def farms(counties: list[str] | None = None) -> Table:
    return table(
        "farms.csv",
        {"y": "t"},
        farm=[1, 1, 2, 2],
        year=[2020, 2021, 2020, 2021],
        county=counties or ["昌吉市", "昌吉市", "玛纳斯县", "玛纳斯县"],
        y=[1.0, 2.0, 3.0, 4.0],
    )


def policy(counties: list[str]) -> Table:
    return table("policy.csv", county=counties, first_year=[2021.0] + [None] * (len(counties) - 1))


def test_policy_joins_on_county_and_keeps_rows_units_and_provenance() -> None:
    panel = ek.assemble(farms(), policy(["昌吉市", "玛纳斯县"]), unit="farm", time="year")
    assert panel.frame["first_year"].tolist()[:2] == [2021.0, 2021.0]
    assert panel.frame["first_year"].isna().tolist() == [False, False, True, True]
    assert panel.frame.index.tolist() == [2, 3, 4, 5]  # rows of the first file
    assert panel.units == {"y": "t"}
    assert [one.path for one in panel.provenance] == ["farms.csv", "policy.csv"]
    assert panel.notes == ()


def test_a_county_without_a_policy_line_is_noted_not_silent() -> None:
    panel = ek.assemble(farms(), policy(["昌吉市"]), unit="farm", time="year")
    assert "1 keys (county) of farms.csv match no row of policy.csv: 玛纳斯县" in str(panel.notes[0])
    assert "玛纳斯县" in panel.notes[0].text("zh")


def test_a_key_of_another_volume_is_noted() -> None:
    panel = ek.assemble(farms(), policy(["昌吉市", "玛纳斯县", "Urumqi"]), unit="farm", time="year")
    assert "of policy.csv match no row of farms.csv: Urumqi" in str(panel.notes[0])


def test_a_misspelt_county_is_refused_with_its_row_and_the_likely_name() -> None:
    with pytest.raises(DataError) as caught:
        ek.assemble(farms(), policy(["昌吉市", "玛纳县"]), unit="farm", time="year")
    assert caught.value.where == "policy.csv, row 3"
    assert "玛纳县" in caught.value.what
    assert "玛纳斯县" in caught.value.remedy


@pytest.mark.parametrize(
    ("other", "says", "where"),
    [
        (policy(["昌吉市", "昌吉市"]), "several rows for county = 昌吉市", "policy.csv, row 3"),
        (table("prices.csv", month=[1], price=[2.0]), "shares no column", "prices.csv"),
        (
            table("policy.csv", county=[652301, 652324], first_year=[2021, None]),
            "text in farms.csv and numbers",
            "county",
        ),
        (
            table("policy.csv", county=["昌吉市", None], first_year=[2021, None]),
            "'county' is missing in 1 rows",
            "row 3",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(other: Table, says: str, where: str) -> None:
    with pytest.raises(DataError) as caught:
        ek.assemble(farms(), other, unit="farm", time="year")
    assert says in caught.value.what
    assert where in caught.value.where
    assert caught.value.remedy


def test_where_enters_the_ledger() -> None:
    panel = ek.assemble(farms(), unit="farm", time="year", where={"county": "昌吉市"})
    (line,) = panel.ledger
    assert (line.step, line.rows, line.units) == ("panel", 2, 1)
    with pytest.raises(DataError, match="no row has county"):
        ek.assemble(farms(), unit="farm", time="year", where={"county": "昌吉"})
    with pytest.raises(DataError, match="did you mean 'county'"):
        ek.assemble(farms(), unit="farm", time="year", where={"conty": "昌吉"})
