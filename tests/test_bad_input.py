"""Bad input is handled exactly, or refused by an EvalkitError naming what, where and the remedy; nothing is silent."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import oracles
from evalkit import Design, Estimate, EvalkitError, Panel, estimate
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import Classical, Cluster, Robust
from evalkit.results.estimation import Estimator, Inference
from sampling import inputs

YEARS = range(2011, 2017)


def farms() -> pd.DataFrame:
    """36 farms in 12 counties over 6 years; counties 0-4 adopt in 2014. The index is the row of the file."""
    rng = np.random.default_rng(11)
    farm = np.repeat(np.arange(36), len(YEARS))
    f = pd.DataFrame({"farm": farm, "year": np.tile(np.array(YEARS), 36), "county": farm // 3})
    f["first"] = np.where(f["county"] < 5, 2014.0, np.nan)
    f["treated"] = ((f["county"] < 5) & (f["year"] >= 2014)).astype(int)
    f["income"] = rng.normal(10.0, 1.0, len(f))
    f["area"] = np.exp(rng.normal(3.0, 0.5, 36))[farm]
    f["size"] = rng.uniform(0.5, 2.0, len(f))
    f["sector"] = np.where(farm % 2 == 0, "粮食", "棉花")
    f["province"] = np.where(f["county"] % 2 == 0, "north", "south")
    f["y"] = rng.normal(size=len(f)) + 0.1 * farm + 0.2 * (f["year"] - 2011) - 0.5 * f["treated"] + 0.3 * f["income"]
    f.index = pd.Index(range(2, len(f) + 2))
    return f


def run(
    frame: Any,
    estimator: Estimator | None = None,
    inference: Inference | None = None,
    *,
    unit: str | None = "farm",
    counts: str | None = None,
    **design: Any,
) -> Estimate:
    if "treated" not in design:
        design.setdefault("adoption", "first")
    panel = Panel.from_frame(frame, unit=unit, time="year", counts=counts)
    chosen = Design(**{"outcome": "y", "assigned_at": "county", **design})
    return estimate(panel, chosen, estimator or TwoWayFE(), inference=inference or Cluster())


def numbers_of(one: Estimate) -> Any:
    return one.tidy()[["estimate", "std_error", "p_value", "conf_low", "conf_high"]].to_numpy(float)


def at(f: pd.DataFrame, rows: Any, column: str, value: Any) -> pd.DataFrame:
    """Set cells by position, turning the column into objects where the value needs that."""
    out = f.copy()
    values = out[column].astype(object)
    values.iloc[rows] = value
    out[column] = values if isinstance(value, str | decimal.Decimal) or value is pd.NA else values.astype(float)
    return out


@dataclass(frozen=True)
class Refused:
    """What is fed in, and words that the error must say in its parts."""

    make: Callable[[], Any]
    what: tuple[str, ...]
    where: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()


def f_(change: Callable[[pd.DataFrame], Any], **settings_: Any) -> Callable[[], Any]:
    return lambda: run(change(farms()), **settings_)


REFUSED: dict[str, Refused] = {
    "covariate is -inf, from log(0)": Refused(
        f_(lambda f: at(f, 7, "income", -np.inf), covariates=("income",)),
        ("'income' is infinite in 1 rows",),
        ("row 9",),
        ("logarithm",),
    ),
    "outcome is inf": Refused(f_(lambda f: at(f, [0, 3], "y", np.inf)), ("'y' is infinite in 2 rows",), ("rows 2, 5",)),
    "outcome is text with a comma": Refused(
        f_(lambda f: at(f, 4, "y", "1,234.5")),
        ("'1,234.5' is not a number",),
        ("column 'y', row 6",),
        ("thousands separators",),
    ),
    "outcome holds numbers as text": Refused(
        f_(lambda f: f.assign(y=f["y"].astype(str))), ("is not a number", "216 of 216")
    ),
    "outcome is a category": Refused(
        f_(lambda f: f.assign(y=f["sector"].astype("category"))), ("'y' holds category",), ("'y'",), ("absorb",)
    ),
    "outcome is a date": Refused(f_(lambda f: f.assign(y=pd.Timestamp("2011-01-01"))), ("datetime64",), ("'y'",)),
    "outcome is missing everywhere": Refused(
        f_(lambda f: f.assign(y=np.nan)), ("no rows are left",), ("y is missing (216 rows)",)
    ),
    "outcome column is misspelt": Refused(
        f_(lambda f: f, outcome="yy"), ("no column 'yy'",), (), ("did you mean 'y'",)
    ),
    "covariate column is misspelt": Refused(f_(lambda f: f, covariates=("incme",)), ("'incme'",), (), ("'income'",)),
    "weight column is missing": Refused(f_(lambda f: f, weights="weight"), ("no column 'weight'",)),
    "everyone is treated at once": Refused(
        f_(lambda f: f.assign(first=2014)),
        ("everyone is treated at once, in 2014",),
        ("adoption = 'first'",),
        ("not treated",),
    ),
    "nobody is treated": Refused(
        f_(lambda f: f.assign(first=np.nan)), ("nobody is treated",), ("first",), ("adoption",)
    ),
    "nobody is treated yet": Refused(
        f_(lambda f: f.assign(first=f["first"] + 10)), ("nobody is treated", "first adoption is after 2016"), ("first",)
    ),
    "no period before adoption": Refused(
        f_(lambda f: f[f["year"] >= 2014]),
        ("no treated unit is observed before its adoption",),
        (),
        ("earlier periods",),
    ),
    "no period after adoption": Refused(
        f_(lambda f: f[f["year"] < 2014]), ("nobody is treated in the periods observed",)
    ),
    "treated x post is empty": Refused(
        f_(lambda f: f[(f["county"] >= 5) | (f["year"] < 2014)]), ("nobody is treated in the periods observed",)
    ),
    "treated x post is empty of outcomes": Refused(
        f_(lambda f: f.assign(y=f["y"].where(f["treated"] == 0))), ("nobody is treated in the periods observed",)
    ),
    "controls are never seen after adoption": Refused(
        f_(lambda f: f[(f["county"] < 5) | (f["year"] < 2014)]),
        ("ATT cannot be told from the fixed effects",),
        ("'y'",),
        ("never treated",),
    ),
    "one period": Refused(
        f_(lambda f: f[f["year"] == 2014]), ("only one period, 2014",), ("year",), ("before and one after",)
    ),
    "empty table": Refused(f_(lambda f: f[:0]), ("no rows",), (), ("filters",)),
    "one unit of assignment": Refused(
        f_(lambda f: f.assign(county=1)), ("'county' has only one value, 1",), ("assigned_at",)
    ),
    "one cluster": Refused(
        f_(lambda f: f.assign(nation="中国"), inference=Cluster("nation")),
        ("only one cluster in 'nation'",),
        ("Cluster",),
    ),
    "a subgroup with one cluster": Refused(
        f_(lambda f: f, estimator=Split(by="province", estimator=TwoWayFE()), inference=Cluster("province")),
        ("one cluster",),
    ),
    "missing cluster": Refused(
        f_(lambda f: at(f.assign(town=f["county"]), [5], "town", np.nan), inference=Cluster("town")),
        ("the cluster is missing in 1 rows",),
        ("'town'", "row 7"),
    ),
    "missing unit of assignment": Refused(
        f_(lambda f: at(f, [5], "county", np.nan)), ("unit of assignment is missing in 1 rows",), ("'county'", "row 7")
    ),
    "missing unit": Refused(
        f_(lambda f: at(f, [8, 9], "farm", np.nan)), ("the unit is missing in 2 rows",), ("'farm'", "rows 10, 11")
    ),
    "missing unit, nullable": Refused(
        f_(lambda f: f.assign(farm=f["farm"].astype("Int64").mask(f["farm"] == 3))),
        ("the unit is missing in 6 rows",),
        ("'farm'",),
    ),
    "missing unit, categorical": Refused(
        f_(lambda f: f.assign(farm=f["farm"].astype("category").mask(f["farm"] == 3))),
        ("the unit is missing in 6 rows",),
        ("'farm'",),
    ),
    "unit is inf": Refused(f_(lambda f: at(f, 8, "farm", np.inf)), ("inf",), ("'farm'", "row 10")),
    "units mix text and numbers": Refused(
        f_(lambda f: at(f, 8, "farm", "1")), ("mixes text and numbers",), ("'farm'",), ("all as numbers",)
    ),
    "missing period": Refused(
        f_(lambda f: at(f, 8, "year", np.nan)), ("the period is missing in 1 rows",), ("'year', row 10",)
    ),
    "unreadable period": Refused(
        f_(lambda f: at(f, 8, "year", "the year 2011")), ("'the year 2011' cannot be read",), ("row 10",), ("2011Q3",)
    ),
    "fractional period": Refused(
        f_(lambda f: at(f, 8, "year", 2011.5)), ("'2011.5' cannot be read as a period",), ("row 10",)
    ),
    "infinite period": Refused(
        f_(lambda f: at(f, 8, "year", np.inf)), ("'inf' cannot be read as a period",), ("row 10",)
    ),
    "month 13": Refused(f_(lambda f: f.assign(year="2011-13", first=None)), ("'2011-13' cannot be read",)),
    "period is true or false": Refused(
        f_(lambda f: f.assign(year=f["year"] > 2013)), ("true or false, not a period",), ("'year'",)
    ),
    "identical duplicates": Refused(
        f_(lambda f: pd.concat([f, f.iloc[[10]]])),
        ("1 rows repeat", "farm 1 in 2015", "identical"),
        ("rows 12 and 12",),
        ("unit=None",),
    ),
    "different duplicates": Refused(
        f_(lambda f: pd.concat([f, f.iloc[[10, 20]].assign(y=0.0)])),
        ("2 rows repeat", "different values"),
        ("rows",),
        ("keep one row",),
    ),
    "column stands twice": Refused(
        f_(lambda f: pd.concat([f, f[["y"]]], axis=1)), ("'y' stands twice",), (), ("rename",)
    ),
    "treatment switches off": Refused(
        f_(lambda f: f.assign(treated=f["treated"].where(f["year"] < 2016, 0)), treated="treated"),
        ("switches off", "farm 0 has 0 in 2016"),
        ("'treated'",),
        ("stays on",),
    ),
    "treatment differs inside a county": Refused(
        f_(lambda f: f.assign(treated=f["treated"].where(f["farm"] != 1, 0)), treated="treated"),
        ("differs inside", "farm 1"),
    ),
    "treatment is 1 or 2": Refused(
        f_(lambda f: f.assign(treated=f["treated"] + 1), treated="treated"),
        ("0 or 1", "found 2"),
        ("'treated'",),
        ("code",),
    ),
    "treatment is missing": Refused(
        f_(lambda f: at(f, 3, "treated", np.nan), treated="treated"), ("0 or 1", "nan"), ("row 5",)
    ),
    "treatment is infinite": Refused(
        f_(lambda f: at(f, 3, "treated", np.inf), treated="treated"), ("0 or 1", "inf"), ("row 5",)
    ),
    "adoption is missing in some rows of a unit": Refused(
        f_(lambda f: at(f, 3, "first", np.nan)),
        ("adoption varies within farm 0", "2014", "empty"),
        ("'first'", "row 5"),
        ("every row",),
    ),
    "adoption varies within a county": Refused(
        f_(lambda f: f.assign(first=f["first"].where(f["farm"] != 1, 2015))),
        ("adoption varies within county 0: 2014 and 2015",),
        (),
        ("assigned_at",),
    ),
    "adoption is minus infinity": Refused(
        f_(lambda f: f.assign(first=f["first"].fillna(-np.inf))), ("-inf",), ("'first'",)
    ),
    "adoption is text": Refused(
        f_(lambda f: f.assign(first="later")), ("'later' cannot be read as a period",), ("'first'",)
    ),
    "adoption by quarter in a yearly panel": Refused(
        f_(lambda f: f.assign(first="2014Q2")),
        ("adoption is given by quarter", "by integer"),
        ("'first'",),
        ("'year'",),
    ),
    "base year missing for all": Refused(
        f_(lambda f: f[f["year"] >= 2014], estimator=EventStudy(leads=2, lags=1)), ("before its adoption",)
    ),
    "all adopt in the end, event study without a second base": Refused(
        f_(lambda f: f.assign(first=np.where(f["county"] < 5, 2014, 2015)), estimator=EventStudy(leads=4, lags=2)),
        ("cannot be told from the fixed effects",),
        (),
        ("never treated",),
    ),
    "never treated asked for, none there": Refused(
        f_(lambda f: f.assign(first=np.where(f["county"] < 5, 2014, 2015)), comparison="never_treated"),
        ("never_treated",),
        (),
        ("not_yet_treated",),
    ),
    "negative weight": Refused(
        f_(lambda f: at(f, 3, "size", -1.0), weights="size"), ("a weight is negative",), ("'size', row 5",)
    ),
    "infinite weight": Refused(
        f_(lambda f: at(f, 3, "size", np.inf), weights="size"), ("'size' is infinite",), ("row 5",)
    ),
    "all weights zero": Refused(
        f_(lambda f: f.assign(size=0.0), weights="size"), ("no rows are left",), ("size is 0 (216 rows)",)
    ),
    "counts are zero": Refused(f_(lambda f: f.assign(n=0), counts="n"), ("'n' must be positive",), ("rows 2, 3, 4",)),
    "counts are infinite": Refused(
        f_(lambda f: f.assign(n=np.inf), counts="n"), ("'n' must be positive",), ("rows 2, 3, 4",)
    ),
    "counts change within a unit": Refused(
        f_(lambda f: f.assign(n=f["year"] - 2000), counts="n"), ("change within a unit",), ("'n'",)
    ),
    "anticipation swallows all leads": Refused(
        f_(lambda f: f, estimator=EventStudy(leads=2, lags=1), anticipation=2),
        ("no treated unit is observed at an event time",),
        (),
        ("more leads",),
    ),
    "effect is absorbed": Refused(
        f_(lambda f: f, absorb=("county*year",)), ("ATT cannot be told from the fixed effects",), (), ("absorb fewer",)
    ),
    "outcome is a covariate": Refused(
        f_(lambda f: f, covariates=("y",)), ("named twice, or is the outcome",), ("Design",)
    ),
    "covariates given as text": Refused(
        f_(lambda f: f, covariates="income"), ("covariates is the text 'income'",), (), ("('income',)",)
    ),
    "both treated and adoption": Refused(
        f_(lambda f: f, treated="treated", adoption="first"), ("either adoption or treated",)
    ),
    "comparison is misspelt": Refused(
        f_(lambda f: f, comparison="never"), ("'never' is unknown",), (), ("never_treated",)
    ),
    "anticipation is negative": Refused(f_(lambda f: f, anticipation=-1), ("anticipation is negative",)),
    "leads is a fraction": Refused(
        lambda: EventStudy(leads=1.5, lags=1), ("leads is 1.5",), ("EventStudy",), ("whole number",)
    ),
    "correction is misspelt": Refused(lambda: Cluster(correction="cr2"), ("'cr2' is unknown",), ("Cluster",), ("cr1",)),
    "three-way clusters": Refused(lambda: Cluster(("a", "b", "c")), ("3 columns",), ("Cluster",)),
    "estimator is a class": Refused(
        f_(lambda f: f, estimator=TwoWayFE), ("estimator is",), ("estimate",), ("TwoWayFE()",)
    ),
    "inference is a word": Refused(
        f_(lambda f: f, inference="cluster"), ("inference is 'cluster'",), (), ("Cluster()",)
    ),
    "panel is a frame": Refused(
        lambda: estimate(
            farms(), Design(outcome="y", adoption="first", assigned_at="county"), TwoWayFE(), inference=Cluster()
        ),
        ("panel is a DataFrame",),
        (),
        ("Panel.from_frame",),
    ),
    "table is a dictionary": Refused(lambda: run({"farm": [1]}), ("a dict is not a table",), (), ("pandas",)),
    "split by a column of many values": Refused(
        f_(lambda f: f, estimator=Split(by="income", estimator=TwoWayFE())),
        ("too many for subgroups",),
        (),
        ("threshold",),
    ),
    "split by a column without values": Refused(
        f_(lambda f: f.assign(large=np.nan), estimator=Split(by="large", estimator=TwoWayFE())),
        ("no subgroup of 'large'",),
    ),
    "a joint test of the base": Refused(
        lambda: run(farms(), EventStudy(leads=2, lags=1)).wald(["ATT(e=-1)"]), ("no standard error",), ("ATT(e=-1)",)
    ),
    "a joint test of terms whose clusters hold no variance": Refused(
        lambda: run(farms(), EventStudy(leads=3, lags=2), Cluster("year")).wald(["ATT(e=0)", "ATT(e=1)"]),
        ("no standard error",),
    ),
    "a joint test of nothing": Refused(lambda: run(farms()).wald([]), ("no terms",)),
    "a joint test of too many terms": Refused(
        lambda: run(farms()[lambda f: f["county"].isin([0, 1, 2, 7, 8, 9])], EventStudy(leads=3, lags=2)).wald(
            [f"ATT(e={e})" for e in (-3, -2, 0, 1, 2)]
        ),
        ("5 terms cannot be tested jointly with 5 degrees of freedom",),
        ("wald",),
        ("fewer terms",),
    ),
    "a contrast with an unknown term": Refused(lambda: run(farms()).contrast("ATT", "ATE"), ("ATE",), (), ("ATT",)),
    "a level of 95": Refused(lambda: run(farms()).conf_int(95), ("level is 95",), (), (".95",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str) -> None:
    refused = REFUSED[case]
    with pytest.raises(EvalkitError) as caught:
        refused.make()
    error = caught.value
    assert error.remedy
    for part, words in (("what", refused.what), ("where", refused.where), ("remedy", refused.remedy)):
        for word in words:
            assert word in getattr(error, part)
            assert word in str(error)


# The same numbers as on the plain frame, bit for bit: only the way of writing changes.
WRITTEN: dict[str, Callable[[pd.DataFrame], Any]] = {
    "units as Chinese text": lambda f: f.assign(
        farm=[f"农户{i:02d}" for i in f["farm"]], county=[f"县{i:02d}" for i in f["county"]]
    ),
    "units categorical with unused levels": lambda f: f.assign(farm=pd.Categorical(f["farm"], categories=range(50))),
    "units categorical text, levels out of order": lambda f: f.assign(
        county=pd.Categorical(
            [f"县{i:02d}" for i in f["county"]], categories=[f"县{i:02d}" for i in range(20, -1, -1)], ordered=True
        )
    ),
    "all nullable": lambda f: f.convert_dtypes(),
    "all Arrow": lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    "time as Timestamp": lambda f: f.assign(year=pd.to_datetime(f["year"].astype(str) + "-12-31")),
    "time as Timestamp with a zone": lambda f: f.assign(
        year=pd.to_datetime(f["year"].astype(str) + "-01-01").dt.tz_localize("Asia/Shanghai")
    ),
    "time as Period": lambda f: f.assign(year=pd.PeriodIndex(f["year"].astype(str), freq="Y")),
    "time as 2011年": lambda f: f.assign(
        year=f["year"].astype(str) + "年", first=f["first"].map(lambda v: None if np.isnan(v) else f"{v:.0f} 年")
    ),
    "time as full-width digits": lambda f: f.assign(
        year=f["year"].astype(str).str.translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    ),
    "time mixes 2011 and '2012'": lambda f: f.assign(year=[str(y) if y % 2 else y for y in f["year"]]),
    "time as float": lambda f: f.assign(year=f["year"].astype(float)),
    "time as dates of Python": lambda f: f.assign(year=pd.to_datetime(f["year"].astype(str)).dt.date),
    "time categorical": lambda f: f.assign(year=f["year"].astype(str).astype("category")),
    "adoption as dates": lambda f: f.assign(
        first=pd.to_datetime(f["first"].map(lambda v: None if np.isnan(v) else f"{v:.0f}-07-01"))
    ),
    "adoption 0 means never": lambda f: f.assign(first=f["first"].fillna(0).astype(int)),
    "adoption infinite means never": lambda f: f.assign(first=f["first"].fillna(np.inf)),
    "adoption infinite, nullable": lambda f: f.assign(first=f["first"].fillna(np.inf).astype("Float64")),
    "adoption infinite, objects": lambda f: f.assign(first=f["first"].fillna(np.inf).astype(object)),
    "adoption infinite, Arrow": lambda f: f.assign(first=f["first"].fillna(np.inf).astype("float64[pyarrow]")),
    "outcome as Decimal": lambda f: f.assign(y=[decimal.Decimal(float(v)) for v in f["y"]]),
    "outcome as objects": lambda f: f.assign(y=f["y"].astype(object)),
    "index not unique": lambda f: f.set_index(np.zeros(len(f), dtype=int)),
    "index of two levels": lambda f: f.set_index(["farm", "year"], drop=False).rename_axis([None, None]),
    "rows shuffled": lambda f: f.sample(frac=1, random_state=1),
    "polars": lambda f: pl.from_pandas(f),
    "polars, lazy": lambda f: pl.from_pandas(f).lazy(),
    "polars, categorical units": lambda f: (
        pl.from_pandas(f).with_columns(pl.col("county").cast(pl.String).cast(pl.Categorical)).with_columns()
    ),
    "Arrow table": lambda f: pa.Table.from_pandas(f),
    "DuckDB relation": lambda f: duckdb.from_arrow(pa.Table.from_pandas(f, preserve_index=False)),
}


@pytest.mark.parametrize("estimator", [TwoWayFE(), EventStudy(leads=3, lags=2)], ids=["TwoWayFE", "EventStudy"])
@pytest.mark.parametrize("writing", WRITTEN)
def test_written_differently(writing: str, estimator: Estimator) -> None:
    plain, other = run(farms(), estimator), run(WRITTEN[writing](farms()), estimator)
    if writing == "polars, categorical units":  # "10" sorts before "2": the sums over counties run in another order
        np.testing.assert_allclose(numbers_of(other), numbers_of(plain), rtol=1e-12)
    else:
        np.testing.assert_array_equal(numbers_of(other), numbers_of(plain))
    told, known = (one.glance().drop(columns="method") for one in (other, plain))
    pd.testing.assert_frame_equal(told, known, check_exact=writing != "polars, categorical units", rtol=1e-12)


@pytest.mark.parametrize("dtype", ["bool", "boolean", "Int8", "float32", "bool[pyarrow]"])
def test_treated_in_any_form_of_0_and_1(dtype: str) -> None:
    f = farms()
    np.testing.assert_array_equal(
        numbers_of(run(f.assign(treated=f["treated"].astype(dtype)), treated="treated")), numbers_of(run(f))
    )


def oracle(f: pd.DataFrame, covariates: tuple[str, ...] = (), weights: str | None = None) -> tuple[float, float]:
    """ATT and its CR1 standard error by dummies."""
    treated = (f["year"] >= f["first"]).to_numpy(float)
    X = np.column_stack([treated, *(f[c].to_numpy(float) for c in covariates)])
    r = oracles.dummy_regression(f["y"], X, [f["farm"], f["year"]], f[weights] if weights else None)
    V, _ = oracles.clustered(r, [f["county"]], "cr1")
    return float(r.b[0]), float(np.sqrt(V[0, 0]))


def assert_equals(one: Estimate, expected: tuple[float, float]) -> None:
    row = one.tidy().iloc[0]
    # Both in double precision; 1e-9 leaves room for nearly collinear columns in the oracle.
    assert (row["estimate"], row["std_error"]) == pytest.approx(expected, rel=1e-9)


def reasons(one: Estimate) -> dict[str, tuple[int, int]]:
    return {str(line.reason): (line.rows, line.units) for line in one.ledger}


@pytest.mark.parametrize(
    ("change", "column", "settings_"),
    [
        (lambda f: at(f, [4, 40, 41], "y", np.nan), "y", {}),
        (lambda f: f.assign(y=f["y"].astype("Float64").mask(f["farm"] == 7)), "y", {}),
        (lambda f: f.assign(y=f["y"].astype("float64[pyarrow]").mask(f["farm"] == 7)), "y", {}),
        (lambda f: at(f, [4, 40, 41], "y", pd.NA), "y", {}),
        (lambda f: at(f, [0, 100], "income", np.nan), "income", {"covariates": ("income",)}),
        (lambda f: at(f, [0, 100], "size", np.nan), "size", {"weights": "size"}),
        (lambda f: f.assign(y=f["y"].where(np.random.default_rng(3).random(len(f)) > 0.3)), "y", {}),
    ],
    ids=["NaN", "nullable", "Arrow", "NA", "covariate", "weight", "a third at random"],
)
def test_missing_values_leave_through_the_ledger(change: Any, column: str, settings_: dict[str, Any]) -> None:
    f = change(farms())
    clean = f[f[column].notna()]
    one = run(f, **settings_)
    assert_equals(
        one,
        oracle(
            clean.astype({"y": float, "income": float, "size": float}),
            settings_.get("covariates", ()),
            settings_.get("weights"),
        ),
    )
    whole = len(set(f["farm"]) - set(clean["farm"]))
    assert reasons(one) == {f"{column} is missing": (len(f) - len(clean), whole)}
    assert one.glance()["n_dropped"].iloc[0] == len(f) - len(clean)
    assert f"{column} is missing" in one.summary()


def test_rows_of_weight_zero_leave_through_the_ledger() -> None:
    f = farms()
    f.loc[f["farm"] == 3, "size"] = 0.0
    one = run(f, weights="size")
    assert_equals(one, oracle(f[f["size"] > 0], weights="size"))
    assert reasons(one) == {"weight size is 0": (6, 1)}


def test_missing_levels_of_an_absorbed_effect_leave_through_the_ledger() -> None:
    f = farms()
    f.loc[f["farm"] == 3, "sector"] = None
    one = run(f, absorb=("sector*year",))
    assert reasons(one) == {"sector*year is missing": (6, 1)}
    np.testing.assert_array_equal(numbers_of(one), numbers_of(run(f[f["farm"] != 3], absorb=("sector*year",))))


def test_absent_rows_need_no_word() -> None:
    f = farms().sample(frac=0.7, random_state=5)
    assert_equals(run(f), oracle(f))
    assert reasons(run(f)) == {}


@pytest.mark.parametrize(
    ("covariates", "dropped"),
    [
        (("income", "twice"), "twice"),
        (("area",), "area"),
        (("trend",), "trend"),
        (("one",), "one"),
        (("income", "sum"), "sum"),
        (("treated",), "treated"),
    ],
    ids=[
        "multiple",
        "constant within unit",
        "same for all in a year",
        "constant",
        "sum with unit effects",
        "the treatment itself",
    ],
)
def test_collinear_covariate_is_dropped_by_name(covariates: tuple[str, ...], dropped: str) -> None:
    f = farms().assign(twice=lambda f: 2 * f["income"] + 5, trend=lambda f: f["year"] ** 2, one=1.0)
    f["sum"] = f["income"] * 1e6 + f["area"]
    one = run(f, covariates=covariates)
    kept = tuple(c for c in covariates if c != dropped)
    assert_equals(one, oracle(f, kept))
    assert [str(note) for note in one.notes if dropped in str(note)] == [
        f"{dropped} is dropped: it is a combination of the fixed effects and the columns before it"
    ]
    assert dropped not in one.params.index


def test_nearly_collinear_covariate_is_kept_and_right() -> None:
    f = farms()
    f["near"] = f["income"] + 1e-6 * np.random.default_rng(2).normal(size=len(f))
    one = run(f, covariates=("income", "near"))
    difference = (f["near"] - f["income"]) * 1e6  # the same space, well-conditioned
    assert_equals(one, oracle(f.assign(near=difference), ("income", "near")))
    assert "near" in one.params.index


def test_constant_outcome_has_no_uncertainty() -> None:
    one = run(farms().assign(y=5.0))
    row = one.tidy().iloc[0]
    assert row["estimate"] == 0
    assert np.isnan(row[["std_error", "p_value", "conf_low", "conf_high"]].astype(float)).all()
    assert any("y is fitted without residual" in str(note) for note in one.notes)


@pytest.mark.parametrize("inference", [Classical(), Robust(), Cluster()])
def test_outcome_without_noise_has_no_uncertainty(inference: Inference) -> None:
    f = farms()
    one = run(f.assign(y=f["farm"] * 1.7 + (f["year"] - 2011) ** 2 - 0.3 * f["treated"]), inference=inference)
    row = one.tidy().iloc[0]
    assert row["estimate"] == pytest.approx(-0.3, abs=1e-12)  # rounding of an outcome of size 60
    assert np.isnan(row[["std_error", "p_value", "conf_low", "conf_high"]].astype(float)).all()
    assert any("without residual" in str(note) for note in one.notes)


@pytest.mark.parametrize(
    ("keep", "estimator", "inference", "why"),
    [
        ([0, 30], TwoWayFE(), Cluster(), "influence sums to zero within every cluster"),
        ([0, 30], EventStudy(leads=3, lags=2), Cluster(), "y is fitted without residual"),
        (range(36), EventStudy(leads=3, lags=2), Cluster("year"), "influence sums to zero within every cluster"),
    ],
    ids=["two units", "two units, event study", "clusters by year, an effect for each"],
)
def test_clusters_without_variance_give_no_standard_error(
    keep: Any, estimator: Estimator, inference: Inference, why: str
) -> None:
    # The influence sums to zero in each cluster: the sandwich is 0, and rounding must not pass for precision.
    one = run(farms()[lambda f: f["farm"].isin(keep)], estimator, inference)
    table = one.tidy()
    assert np.isfinite(table["estimate"]).all()
    assert table[["std_error", "statistic", "p_value", "conf_low", "conf_high"]].isna().all(axis=None)
    assert any(why in str(note) for note in one.notes)
    assert "no standard error" in one.summary()


def test_one_treated_cluster_is_said_to_be_no_evidence() -> None:
    f = farms()
    f["first"] = f["first"].where(f["county"] == 0)
    one = run(f)
    assert_equals(one, oracle(f))
    assert "shares that should be 5 %: ATT 54 %" in str(one.notes[0])
    assert "会被过度拒绝（名义 5%）：ATT 54 %" in one.summary("zh")
    assert one.glance()["smallest_p"].iloc[0] == 1 / 12
    assert np.isnan(one.wald(["ATT"]).p_value)
    assert one.wald(["ATT"]).reason is not None


def test_unit_with_one_row_is_noted() -> None:
    f = farms().iloc[5:]
    one = run(f)
    assert_equals(one, oracle(f))
    assert any("1 units are observed once" in str(note) for note in one.notes)


def test_staggered_until_everyone_is_treated() -> None:
    f = farms().assign(first=lambda f: 2013 + f["county"] % 3)
    one = run(f)
    assert_equals(one, oracle(f))
    assert any("3 cohorts adopt at different dates" in str(note) for note in one.notes)
    assert one.glance()[["n_treated_clusters", "n_control_clusters"]].to_numpy().tolist() == [[8, 4]]


def test_base_year_missing_moves_the_base_and_says_so() -> None:
    one = run(farms()[lambda f: f["year"] != 2013], EventStudy(leads=3, lags=2))
    table = one.tidy().set_index("event_time")
    assert table.index.tolist() == [-3, -2, 0, 1, 2]
    assert table.loc[-2, "estimate"] == 0
    assert np.isnan(table.loc[-2, "std_error"])
    assert {str(note) for note in one.notes} >= {
        "the base period is event time -2, because -1 is not observed",
        "no row is observed at event times -1",
    }


def test_units_that_move_stay_where_they_began() -> None:
    f = farms()
    moved = f.copy()
    moved.loc[(moved["farm"] == 30) & (moved["year"] >= 2014), "county"] = 11
    one = run(moved)
    np.testing.assert_array_equal(numbers_of(one), numbers_of(run(f)))
    assert any("1 units change county" in str(note) for note in one.notes)


def test_a_subgroup_that_cannot_be_estimated_is_named() -> None:
    f = farms().assign(group=lambda f: np.where(f["county"] < 8, "mixed", "never"))
    one = run(f, Split(by="group", estimator=TwoWayFE()))
    assert one.tidy()["term"].tolist() == ["ATT [group=mixed]"]
    assert any(
        "group=never cannot be estimated: " in str(note) and "nobody is treated" in str(note) for note in one.notes
    )


def test_rows_without_a_subgroup_are_counted() -> None:
    f = farms().assign(large=lambda f: (f["farm"] % 2).astype(float).where(f["farm"] != 4))
    one = run(f, Split(by="large", estimator=TwoWayFE()))
    assert any("6 rows have no value of large" in str(note) for note in one.notes)
    assert one.glance()["n_obs"].iloc[0] == len(f) - 6


@pytest.mark.parametrize("size", [1, 100])
def test_constant_weights_are_no_weights(size: float) -> None:
    np.testing.assert_array_equal(numbers_of(run(farms().assign(size=size), weights="size")), numbers_of(run(farms())))


def test_huge_integers_as_time_do_not_overflow() -> None:
    f = farms()
    scale = 2**55
    one = run(f.assign(year=(f["year"] - 2011) * scale, first=pd.array((f["first"] - 2011), dtype="Int64") * scale))
    np.testing.assert_array_equal(numbers_of(one), numbers_of(run(f)))


def test_many_units_of_assignment_need_no_factorials() -> None:
    f = pd.concat([farms().assign(farm=lambda f, i=i: f["farm"] + 36 * i) for i in range(60)], ignore_index=True)
    assert run(f, assigned_at="farm").glance()["smallest_p"].iloc[0] == 0.0  # 1 over the ways to choose 900 of 2,160


VALUES = st.one_of(
    st.floats(-100, 100, width=32),
    st.sampled_from([np.nan, None, pd.NA, np.inf, -np.inf, "", "x", "1,5", 0.0, 1e12, True, decimal.Decimal("1.5")]),
)


@st.composite
def small_frames(draw: st.DrawFn) -> pd.DataFrame:
    """A few units over a few years: rows missing, values wrong, keys repeated, adoption arbitrary by county."""
    units, years = draw(st.integers(2, 7)), draw(st.integers(2, 5))
    wild = draw(st.booleans())
    rows = []
    adoption = draw(st.lists(st.sampled_from([None, 2011, 2012, 2013, 2014, 2020, 0, np.inf]), min_size=4, max_size=4))
    for unit in range(units):
        for year in range(2011, 2011 + years):
            if draw(st.integers(0, 9)) == 7:
                continue
            value = draw(VALUES) if wild and not draw(st.integers(0, 9)) else draw(st.floats(-100, 100, width=32))
            rows.append({"farm": unit, "year": year, "county": unit % 4, "first": adoption[unit % 4], "y": value})
    frame = pd.DataFrame(rows, columns=["farm", "year", "county", "first", "y"])
    if wild and len(frame) and not draw(st.integers(0, 3)):
        column = draw(st.sampled_from(["farm", "year", "county", "first", "y"]))
        frame[column] = frame[column].astype(object)
        frame.loc[draw(st.integers(0, len(frame) - 1)), column] = draw(VALUES)
    if draw(st.integers(0, 9)) == 7:
        frame = pd.concat([frame, frame.head(1)], ignore_index=True)
    return frame


@given(frame=small_frames(), method=st.sampled_from([Cluster(), Classical(), Robust()]))
@inputs(80, 300, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_anything_small_is_right_or_refused(frame: pd.DataFrame, method: Inference) -> None:
    before = frame.copy()
    try:
        one = run(frame, inference=method)
        refusal = None
    except EvalkitError as error:
        refusal = error
    pd.testing.assert_frame_equal(frame, before)
    if refusal is not None:
        assert refusal.what
        assert refusal.remedy
        return
    clean = frame[frame["y"].notna()].astype({"y": float})
    assert sum(line.rows for line in one.ledger) == len(frame) - len(clean)
    first = pd.to_numeric(clean["first"].astype(object)).astype(float)
    treated = (clean["year"].astype(int) >= first.where(first > 0)).to_numpy(float)
    ids: dict[object, int] = {}
    farm = np.array(
        [ids.setdefault(value, len(ids)) for value in clean["farm"]]
    )  # 0 and 0.0 are one farm, as in Python
    r = oracles.dummy_regression(clean["y"], treated[:, None], [farm, clean["year"].astype(int)])
    assert (r.X**2).sum() > 1e-12  # the effect is identified
    scale = max(float(clean["y"].abs().max()), 1.0)
    assert one.params["ATT"] == pytest.approx(
        float(r.b[0]), abs=1e-9 * scale, rel=1e-9
    )  # rounding of the largest outcome
    row = one.tidy().iloc[0]
    uncertain = row[["std_error", "p_value", "conf_low", "conf_high"]].astype(float)
    if not np.isfinite(uncertain).all():
        assert uncertain.isna().all()
        assert one.notes
        return
    if isinstance(method, Cluster):
        V, df = oracles.clustered(r, [clean[column] for column in one.spec.inference.by or ("county",)], "cr1")
    else:
        V, df = (oracles.classical if isinstance(method, Classical) else oracles.robust)(r)
    assert one.glance()["df"].iloc[0] == df
    # Both round the residuals of outcomes of size `scale`, and divide by what the effects leave of the regressor.
    assert row["std_error"] == pytest.approx(float(np.sqrt(V[0, 0])), abs=1e-9 * scale, rel=1e-8)
