"""Public values are short to read, equal by content, and survive copying and another process."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalkit
import evalkit.accounting as accounting
import evalkit.checks
import evalkit.claims
import evalkit.estimators
import evalkit.inference
import evalkit.regions
import evalkit.sources
from evalkit import Area, Design, EvalkitError, Panel, Place, Provenance, Table, check, estimate, simulate
from evalkit.checks import LeaveOneOut
from evalkit.claims.claim import judge_claims
from evalkit.errors import DataError
from evalkit.estimators import EventStudy, Split, TwoWayFE
from evalkit.inference import ByDesign, Cluster, WildBootstrap
from evalkit.results.evidence import Evidence
from evalkit.sources import Delimited, LoanLedger, Yearbook
from test_claims import CLAIMS, budget
from test_conformance import CHECKS, ESTIMATORS, INFERENCES, SYNTHETIC, base, farms, is_plain
from test_simulation import world

SECRET = 31415.926535  # an outcome of the panel: a row of data that no repr may show
LONGEST = 500


@cache
def panel() -> Panel:
    frame = farms()
    frame.loc[100, "y"] = SECRET
    source = Provenance("farms.csv", "0" * 64, publisher="Office")
    return Panel.from_frame(frame, unit="farm", time="year", units={"y": "kg"}, provenance=(source,))


@cache
def estimates() -> dict[str, Any]:
    design = Design(outcome="y", adoption="first", assigned_at="county", covariates=("income",))
    return {
        "event study": estimate(panel(), design, EventStudy(leads=2, lags=1), inference=ByDesign()),
        "split": estimate(panel(), design, Split(by="large", estimator=TwoWayFE()), inference=WildBootstrap()),
    }


@cache
def values() -> dict[str, Any]:
    """One value, or several, of every class that a user gets in hand, by its name."""
    one, split = estimates()["event study"], estimates()["split"]
    (finding,) = check(one, LeaveOneOut())
    table = Table("farms", panel().frame, panel().provenance, {"y": "kg"}, {"size": 0.0})
    judged = judge_claims(CLAIMS.values(), budget())
    factors = accounting.factor_set("changji_2022")
    resolved = evalkit.regions.resolve_column(pd.Series(["昌吉州", "木垒县"]), 2015)
    lineage = evalkit.regions.lineage("652303", 2000, 2010)
    found: dict[str, Any] = {
        **{f"{name} (estimator)": one for name, one in ESTIMATORS.items()},
        **{f"{name} (inference)": one for name, one in INFERENCES.items()},
        **{f"{name} (check)": one for name, one in CHECKS.items()},
        **{f"{type(one.claim.check).__name__} {one.claim.id}": one.claim.check for one in judged},
        **{f"Claim {one.claim.id}": one.claim for one in judged},
        **{f"Judged {one.claim.id}": one for one in judged},
        **{f"Judgement {one.claim.id}": one.judgement for one in judged},
        "Panel": panel(),
        "Panel of cross-sections": Panel.from_frame(farms(), unit=None, time="year"),
        "Panel, simulated": simulate(world(), seed=1),
        "Design": one.spec.design,
        "Design with many covariates": replace(one.spec.design, covariates=tuple(f"covariate_{i}" for i in range(200))),
        "Specification": one.spec,
        "Specification of a split": split.spec,
        "Fit": one.fit,
        "Part": one.fit.parts[0],
        "Uncertainty": one.uncertainty,
        "Uncertainty, drawn": split.uncertainty,
        "Estimate": one,
        "Estimate of a split": split,
        "Wald": one.wald(["ATT(e=0)"]),
        "Finding": finding,
        "Evidence": Evidence("study", {"main": one}, (("main", finding),), {"a": 1}, {}, judged, {"farms": table}),
        "Provenance": panel().provenance[0],
        "Table": table,
        "Term": one.fit.terms[0],
        "World": world(),
        "Protected": evalkit.protect(
            pd.DataFrame({"county": ["a"] * 12, "farm": range(12), "loans": 1}),
            by="county",
            unit="farm",
            values="loans",
        ),
        "Place": Place(name="c", units={"small": 3}, effects={"small": (0.1, 0.2)}),
        "Derived columns": [evalkit.log("y"), evalkit.share("y", within="county"), evalkit.lag("y", 2)],
        "Area": Area(level="county", within="昌吉州"),
        "Region": lineage.start,
        "Succession": lineage.steps[0],
        "Lineage": lineage,
        "ResolvedColumn": resolved,
        "Factor": next(iter(factors.factors.values())),
        "FactorSet": factors,
        "Parameter": next(iter(factors.parameters.values())),
        "PrintedFigure": accounting.schedule("chishui_2018").figures()[0],
        "Schedule": accounting.schedule("chishui_2018"),
        "Schedule, proportional": accounting.schedule("shandong_air"),
        "Schedule, graded": accounting.schedule("xinanjiang_recalled"),
        "Delimited": Delimited("a.csv"),
        "LoanLedger": LoanLedger("a.csv", key_file="study.key"),
        "Yearbook": Yearbook("a.xls", columns={"income": "农村居民人均可支配收入"}),
    }
    return found


VALUES = list(values())


def test_every_exported_class_is_tried() -> None:
    families = ("accounting", "checks", "claims", "estimators", "inference", "regions", "sources")
    modules = [evalkit, *(importlib.import_module(f"evalkit.{family}") for family in families)]
    classes = {getattr(module, name) for module in modules for name in module.__all__ if name[0].isupper()}
    tried = {type(value) for value in values().values()} | {EvalkitError}
    assert classes <= tried


def reach(value: Any, known: set[int]) -> Iterator[Any]:
    """Yield a value and all that it is made of: what its public fields lead to, short of the arrays of numerics."""
    if id(value) in known:
        return
    known.add(id(value))
    if is_dataclass(value):
        if type(value).__module__.startswith("evalkit.numerics"):
            return
        yield value
        for one in fields(value):
            if not one.name.startswith("_"):
                yield from reach(getattr(value, one.name), known)
    elif isinstance(value, tuple | list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from reach(one, known)


@pytest.mark.parametrize("name", VALUES)
def test_a_repr_is_short_and_shows_no_row_of_data(name: str) -> None:
    for one in reach(values()[name], set()):
        shown = repr(one)
        assert shown.startswith(type(one).__name__)
        assert len(shown) <= LONGEST
        assert str(SECRET)[:6] not in shown
        assert "\n" not in shown


@pytest.mark.parametrize("name", VALUES)
def test_values_pickle_copy_and_are_equal_by_content(name: str) -> None:
    value = values()[name]
    for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert again == value
        assert repr(again) == repr(value)
    assert value != "a word"
    if is_dataclass(value):
        assert replace(value) == value


@pytest.mark.parametrize("name", VALUES)
def test_equal_values_have_equal_hashes_or_none(name: str) -> None:
    value = values()[name]
    assert hash_or_none(pickle.loads(pickle.dumps(value))) == hash_or_none(value)


def hash_or_none(value: Any) -> int | None:
    """The hash; None where Python says that the type is unhashable."""
    try:
        return hash(value)
    except TypeError:
        return None


def test_values_that_hold_data_say_that_they_have_no_hash() -> None:
    for name in ("Panel", "Table", "Fit", "Uncertainty", "Specification", "Estimate", "Finding", "Evidence"):
        with pytest.raises(TypeError, match=f"unhashable type: '{name}'"):
            hash(values()[name])


@pytest.mark.parametrize("name", [name for name in VALUES if is_dataclass(values()[name])])
def test_values_that_differ_in_one_field_are_not_equal(name: str) -> None:
    value = values()[name]
    for one in fields(value):
        if one.init and one.compare:
            changed = copy.copy(value)
            object.__setattr__(changed, one.name, "another")  # beside what __post_init__ would refuse
            assert changed != value


def test_data_are_compared_to_the_last_number_and_missing_is_missing() -> None:
    one = panel()
    frame = one.frame.copy()
    frame.loc[frame.index[3], "income"] = np.nan
    holed = replace(one, frame=frame)
    assert holed == replace(one, frame=frame.copy()) != one
    fit = estimates()["event study"].fit
    moved = fit.coefficients.copy()
    moved[0] = np.nextafter(moved[0], 9)
    assert replace(fit, coefficients=moved) != fit
    lost = replace(fit, coefficients=np.full(len(moved), np.nan))
    assert lost == replace(fit, coefficients=np.full(len(moved), np.nan)) != fit
    assert Panel.from_frame(farms().sample(frac=1, random_state=1), unit="farm", time="year") == Panel.from_frame(
        farms(), unit="farm", time="year"
    )


@pytest.mark.parametrize("inference", [name for name in INFERENCES if not is_plain("", name)])
def test_estimates_come_back_from_another_process_as_they_were(inference: str) -> None:
    one = base("TwoWayFE", inference)
    told = pickle.loads(pickle.dumps(one))
    pd.testing.assert_frame_equal(told.tidy(covariates=True), one.tidy(covariates=True), check_exact=True)
    assert [told.summary(language) for language in ("en", "zh")] == [one.summary(language) for language in ("en", "zh")]
    assert told.spec.digest() == one.spec.digest()
    assert told == one
    assert told.under(Cluster()) == one.under(Cluster())  # what one knows by identity is known anew
    if inference == "ByDesign":
        pd.testing.assert_frame_equal(told.uncertainty.alternatives, one.uncertainty.alternatives, check_exact=True)
        assert told.uncertainty.alternatives["headline"].sum() == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimates_by_every_estimator_do(estimator: str) -> None:
    one = base(estimator, "Placebo" if estimator in SYNTHETIC else "Cluster")
    told = pickle.loads(pickle.dumps(one))
    assert told == one
    assert all(len(repr(part)) <= LONGEST and part == copy.deepcopy(part) for part in reach(one, set()))
    pd.testing.assert_frame_equal(told.tidy(covariates=True), one.tidy(covariates=True), check_exact=True)


def test_errors_come_back_with_what_they_say() -> None:
    told = pickle.loads(pickle.dumps(DataError("a word", where="row 3", remedy="write a number")))
    assert (type(told), str(told), told.where) == (DataError, "row 3: a word. Remedy: write a number.", "row 3")


def test_a_panel_with_another_frame_keeps_nothing_that_was_read_of_the_old_one() -> None:
    one = Panel.from_frame(farms(), unit="farm", time="year")
    first = one.codes("town").labels
    other = replace(one, frame=one.frame.assign(town=lambda f: f["town"] + 100))
    assert other.codes("town").labels == tuple(label + 100 for label in first)
    assert one.codes("town").labels == first


def test_a_notebook_shows_a_table() -> None:
    assert "<table" in estimates()["event study"]._repr_html_()
