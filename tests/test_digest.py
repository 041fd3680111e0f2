"""The digest of a specification sees all that numbers can come from: each column, whoever reads it, and each setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit.estimators
import evalkit.inference
from evalkit import Design, EvalkitError, Panel, Specification, collapse
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import (
    BiasReduced,
    ByDesign,
    Classical,
    Cluster,
    Conley,
    DriscollKraay,
    Jackknife,
    Multiplier,
    Permutation,
    PooledGroups,
    WildBootstrap,
)
from evalkit.results.estimation import no_columns
from test_conformance import ESTIMATORS, INFERENCES, SYNTHETIC, farms, is_plain

# Those that read columns of their own, beside the examples of the battery.
READERS: dict[str, Any] = {
    "Cluster by town": Cluster("town"),
    "BiasReduced by town": BiasReduced(by="town"),
    "Jackknife by town": Jackknife(by="town"),
    "Multiplier by town": Multiplier(draws=99, seed=1, by="town"),
    "WildBootstrap by town": WildBootstrap(draws=99, seed=1, by="town"),
    "Permutation in strata": Permutation(strata="region"),
    "PooledGroups by size": PooledGroups(sizes="people"),
    "PooledGroups by rows": PooledGroups(sizes="rows"),
}
EVERY_INFERENCE = {**INFERENCES, **READERS}


@cache
def panel(plain: bool) -> Panel:
    frame = farms("", "PooledGroups" if plain else "").assign(
        region=lambda f: f["county"] % 4, people=lambda f: 10.0 + f["county"], word=lambda f: f["large"].astype(str)
    )
    return Panel.from_frame(frame, unit="farm", time="year")


def specify(estimator: Any, inference: Any, *, plain: bool = False, **design: Any) -> Specification:
    settings = {"covariates": () if plain else ("income",), **design}
    if type(estimator).__name__ == "TripleDifference":
        settings["eligible"] = "large"
    named = Design(outcome="y", adoption="first", assigned_at="county", **settings)
    return Specification(panel(plain), named, estimator, inference)


def of_estimator(name: str) -> Specification:
    one = INFERENCES["Placebo"] if name in SYNTHETIC else Cluster()
    return specify(ESTIMATORS[name], one, plain=name in SYNTHETIC)


def of_inference(name: str) -> Specification:
    plain = is_plain("", name.split()[0])
    return specify(TwoWayFE(), EVERY_INFERENCE[name], plain=plain)


SPECIFIED: dict[str, Callable[[], Specification]] = {
    **{name: lambda name=name: of_estimator(name) for name in ESTIMATORS},
    **{name: lambda name=name: of_inference(name) for name in EVERY_INFERENCE},
    "ByDesign one level up": lambda: specify(TwoWayFE(), ByDesign(draws=99, seed=1), above="region"),
    "every field of the design": lambda: specify(
        TwoWayFE(), Cluster(), weights="area", absorb=("word*year",), covariates=("income", "people")
    ),
    "dose": lambda: specify(TwoWayFE(), Cluster(), dose="treated"),
}


def shuffle(spec: Specification, *columns: str) -> Specification:
    """Deal out the values of these columns anew among the rows of the panel."""
    changed = spec.panel
    for i, column in enumerate(columns):
        order = np.random.default_rng(i).permutation(len(changed))
        changed = changed.with_column(column, changed.frame[column].array[order])
    return replace(spec, panel=changed)


def unread(spec: Specification) -> list[str]:
    """The columns whose values the digest does not see."""
    known = spec.digest()
    return [column for column in spec.panel.frame if shuffle(spec, column).digest() == known]


def numbers(spec: Specification) -> str:
    """Every number of an estimate, to the last bit."""
    one = spec.run()
    told = [one.tidy(covariates=True), one.vcov(), one.sizes(), one.uncertainty.alternatives]
    return repr([None if table is None else [c.tolist() for _, c in table.items()] for table in told])


def changes(spec: Specification, known: str, *columns: str) -> bool:
    """Say whether dealing out these columns anew changes a number that is known, or leaves none."""
    try:
        return numbers(shuffle(spec, *columns)) != known
    except EvalkitError:
        return True


@pytest.mark.parametrize("name", SPECIFIED)
def test_the_digest_sees_the_columns_that_can_change_a_number_and_members_name_theirs(name: str) -> None:
    spec = SPECIFIED[name]()
    own = {*spec.estimator.columns(), *spec.inference.columns()} - (
        {"rows"} if name == "PooledGroups by rows" else set()
    )
    read = {"farm", "year", *spec.design.columns(), *own}
    rest = [column for column in spec.panel.frame if column not in read]
    digest, known = spec.digest(), numbers(spec)
    assert all(shuffle(spec, column).digest() != digest for column in read)  # a column that is not there is a KeyError
    assert shuffle(spec, *rest).digest() == digest
    assert not changes(spec, known, *rest)
    assert all(changes(spec, known, column) for column in own)


def test_every_member_of_both_families_is_tried() -> None:
    for module, names in ((evalkit.estimators, ESTIMATORS), (evalkit.inference, EVERY_INFERENCE)):
        assert {name.split()[0] for name in names} >= set(module.__all__)


@dataclass(frozen=True)
class Silent:
    """A member that reads what it does not name."""

    member: Any
    columns = no_columns

    def fit(self, *given: Any) -> Any:
        return self.member.fit(*given)

    def assess(self, *given: Any) -> Any:
        return self.member.assess(*given)


@pytest.mark.parametrize(
    ("estimator", "inference", "column"),
    [
        (Silent(Split(by="large", estimator=TwoWayFE())), Cluster(), "large"),
        (TwoWayFE(), Silent(Cluster(("county", "town"))), "town"),
        (TwoWayFE(), Silent(Conley(latitude="lat", longitude="lon", cutoff=150.0)), "lat"),
    ],
)
def test_a_member_that_reads_what_it_does_not_name_is_found_out(estimator: Any, inference: Any, column: str) -> None:
    spec = specify(estimator, inference)
    rest = unread(spec)
    assert column in rest
    assert changes(spec, numbers(spec), *rest)


def digest(frame: pd.DataFrame, **panel: Any) -> str:
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=("size",))
    return Specification(
        Panel.from_frame(frame, **{"unit": "farm", "time": "year", **panel}), design, TwoWayFE(), Cluster("town")
    ).digest()


STORED: dict[str, Callable[[pd.Series], Any]] = {
    "float": lambda s: s.astype(float),
    "nullable": lambda s: s.astype("Int64"),
    "nullable float": lambda s: s.astype("Float64"),
    "Arrow": lambda s: s.astype("int64[pyarrow]"),
    "categorical": lambda s: pd.Categorical(s, categories=range(60)),
    "objects": lambda s: s.astype(object),
    "Decimal": lambda s: s.map(Decimal),
}


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("column", ["farm", "county", "town"])
def test_how_values_are_stored_does_not_matter(column: str, kind: str) -> None:
    f = farms()
    assert digest(f.assign(**{column: STORED[kind](f[column])})) == digest(f)


def test_how_a_missing_value_is_written_does_not_matter() -> None:
    f = farms()
    first = f["first"]
    written = [first, first.astype("Int64"), first.astype(object).where(first.notna(), None)]
    assert len({digest(f.assign(first=one)) for one in written}) == 1
    none = f.assign(size=np.nan)
    assert digest(none) == digest(none.assign(size=None))


def test_text_numbers_and_truths_are_told_apart() -> None:
    f = farms().assign(town=lambda f: f["large"])
    kinds = [f, f.assign(town=f["town"].astype(str)), f.assign(town=f["town"].astype(bool)), f.assign(town=-f["town"])]
    assert len({digest(one) for one in kinds}) == len(kinds)
    moved = f.assign(town=f["town"].astype(str).replace("1", "1 "))
    assert digest(moved) != digest(kinds[1])
    large = f.assign(town=2**53 + f["farm"])  # whole numbers of which a float knows every second one
    assert digest(large) != digest(large.assign(town=large["town"] // 2 * 2))


@pytest.mark.parametrize("unit", ["farm", None])
def test_the_order_of_rows_and_columns_does_not_matter(unit: str | None) -> None:
    f = farms().assign(town=lambda f: f["town"].map("第{:02d}号".format))
    f["y"] = f["y"].round(0)  # ties
    other = f.sample(frac=1, random_state=3)[f.columns[::-1]].reset_index(drop=True)
    assert digest(f, unit=unit) == digest(other, unit=unit)
    swapped = f.assign(size=f["size"].to_numpy()[::-1])
    assert digest(swapped, unit=unit) != digest(f, unit=unit)
    assert digest(f, unit="farm") != digest(f, unit=None)


def test_the_time_axis_and_the_ledger_are_in_it() -> None:
    f = farms()
    even = f[f["year"] % 2 == 0]
    kept = Panel.from_frame(f.assign(even=f["year"] % 2 == 0), unit="farm", time="year").where("even", True)
    design = Design(outcome="y", adoption="first", assigned_at="county")
    one, other = (
        Specification(panel, design, TwoWayFE(), DriscollKraay(lags=1))
        for panel in (kept, Panel.from_frame(even, unit="farm", time="year"))
    )
    # A step of the one axis is a year, of the other two: periods one step apart are other periods.
    assert one.run().bse["ATT"] != other.run().bse["ATT"]
    assert one.digest() != other.digest()
    assert one.digest() != replace(one, panel=replace(kept, ledger=())).digest()


def test_squares_inside_collapsed_rows_are_in_it() -> None:
    f = farms(inference="PooledGroups")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    panel = collapse(f, design, unit="farm", time="year")
    one = Specification(panel, design, TwoWayFE(), Classical())
    wider = replace(one, panel=panel.with_column(str(panel.within), 2 * panel.frame[panel.within]))
    assert one.run().bse["ATT"] != wider.run().bse["ATT"]
    assert one.digest() != wider.digest()


def test_every_setting_is_in_it() -> None:
    spec = specify(Split(by="large", estimator=EventStudy(leads=2, lags=1)), Cluster("town"))
    others = [
        replace(spec, design=replace(spec.design, anticipation=1)),
        replace(spec, design=replace(spec.design, covariates=())),
        replace(spec, estimator=Split(by="large", estimator=EventStudy(leads=3, lags=1))),
        replace(spec, estimator=Split(by="large", threshold=1.0, estimator=EventStudy(leads=2, lags=1))),
        replace(spec, estimator=EventStudy(leads=2, lags=1)),
        replace(spec, inference=Cluster("town", correction="none")),
        replace(spec, inference=BiasReduced(by="town")),
    ]
    assert len({one.digest() for one in (spec, *others)}) == len(others) + 1


@dataclass(frozen=True)
class Weighted(Silent):
    """A member whose settings are an array too long to be printed whole, or a frame."""

    settings: Any = field(default=None)


@pytest.mark.parametrize("make", [np.array, lambda x: pd.DataFrame({"x": x}), pd.Series, list, lambda x: {"x": x}])
def test_settings_that_hold_data_are_in_it_to_the_last_number(make: Callable[[Any], Any]) -> None:
    values = np.arange(5000.0)
    other = np.where(values == 2500, 2500.001, values)
    spec, same, changed = (specify(TwoWayFE(), Weighted(Cluster(), make(v))) for v in (values, values.copy(), other))
    assert spec.digest() == same.digest() != changed.digest()


def test_a_column_that_a_setting_would_mean_is_in_it_once_it_is_there() -> None:
    spec = specify(TwoWayFE(), PooledGroups(sizes="rows"), plain=True)
    named = replace(spec, panel=spec.panel.with_column("rows", spec.panel.frame["people"]))
    assert spec.run().bse["ATT"] != named.run().bse["ATT"]
    assert spec.digest() != named.digest()
