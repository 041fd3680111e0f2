"""Estimation: a specification (panel, design, estimator, inference) and the estimate it makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from evalkit.catalogue import Labels, Message, message
from evalkit.designs.collapsing import cells_of
from evalkit.designs.design import Design
from evalkit.designs.sample import smallest_attainable_p
from evalkit.errors import CostError, DataError, EvalkitError, InferenceError, nearest
from evalkit.numerics.arrays import Flags, Floats
from evalkit.panels.panel import Dropped, Panel
from evalkit.results.fit import Fit, Part, headline_effects
from evalkit.results.summary import simultaneous_bands, write_summary
from evalkit.results.uncertainty import Clusters, ReferenceDistribution, StudentT, Uncertainty, Wald, require_level
from evalkit.tables.contents import cut_short, in_full, same_content

TIDY = (
    "term estimate std_error statistic p_value conf_low conf_high event_time cohort period subgroup outcome estimator "
    "expected_size supported"
).split()


OnCells = Literal["never", "always", "of_regressions", "with_squares"]
"""Whether an inference says the same of cells as of the rows that they stand for.

"always"; "of_regressions": where the estimator is a regression, since it asks how influence varies from row to row otherwise;
"with_squares": where the cells carry the squares inside them; "never".
"""


class Estimator(Protocol):
    """A rule from panel and design to effects; its fields are its tuning choices.

    `on_cells` says that it gives the same from cells of rows that share their part in the design (see `collapse`): it is linear
    in the outcome, and counts what rows stand for. Without that line an estimator gets the rows.
    """

    @property
    def on_cells(self) -> bool:
        """Say so."""
        ...

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        ...

    def columns(self) -> tuple[str, ...]:
        """List the panel's columns that it reads besides the design's; `columns = no_columns` where there are none."""
        ...


class Inference(Protocol):
    """A rule from fit to uncertainty. Without the line `on_cells` it is asked of rows only."""

    @property
    def on_cells(self) -> OnCells:
        """Say of which cells it says the same as of their rows."""
        ...

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """State the uncertainty of a fit."""
        ...

    def columns(self) -> tuple[str, ...]:
        """List the panel's columns that it reads besides the design's; `columns = no_columns` where there are none."""
        ...


def no_columns(member: object) -> tuple[str, ...]:
    """Say that an estimator or inference reads no column but the design's: its line `columns = no_columns`."""
    return ()


@dataclass(frozen=True, eq=False)
class Specification:
    """Everything that determines an estimate: copy it with one field changed (`dataclasses.replace`) and run it again."""

    panel: Panel
    design: Design
    estimator: Estimator
    inference: Inference

    __eq__ = same_content

    def __repr__(self) -> str:
        members = ", ".join(map(describe_member, (self.estimator, self.inference)))
        return cut_short(f"Specification({members}, {self.design!r}, {self.panel!r})")

    def run(self) -> Estimate:
        """Estimate it on the panel as it is."""
        fit = self.estimator.fit(self.panel, self.design)
        return Estimate(fit, self.inference.assess(fit, self), self)

    def estimate(self) -> Estimate:
        """Estimate it, on cells of a large panel's rows where these give the same, and else on the panel as it is.

        The estimate's specification is then that on cells; `spec.panel.rows` are the rows.
        """
        cells = self.on_cells()
        if cells.panel.rows is not None:
            try:
                fit = cells.estimator.fit(cells.panel, cells.design)
                if cells.holds(fit):
                    return Estimate(fit, cells.inference.assess(fit, cells), cells)
            except CostError:
                raise
            except EvalkitError:
                pass  # the rows say what is wrong with which of them
        return self.on_rows().run()

    def on_cells(self) -> Specification:
        """Return the specification on cells of its rows; on the rows where these are few, or cells would not give the same."""
        need = _need(self.inference)
        if need == "never" or not getattr(self.estimator, "on_cells", False):
            return self.on_rows()
        constant, within = self.inference.columns(), need == "with_squares"
        rows = self.panel.rows or self.panel
        try:
            cells = cells_of(rows, self.design, by=self.estimator.columns(), constant=constant, within=within)
        except EvalkitError:
            return self.on_rows()
        return self.on_rows() if cells is None else replace(self, panel=cells)

    def on_rows(self) -> Specification:
        """Return the specification on the rows, where it is on cells of them."""
        return self if self.panel.rows is None else replace(self, panel=self.panel.rows)

    def holds(self, fit: Fit) -> bool:
        """Say whether a fit of cells, and its inference, are those of the rows.

        They are not where nothing is left of the cells, or where an inference needs more than cells know.
        """
        if any(_is_without_residual(part) for part in fit.parts):
            return False
        regressions = [part.regression for part in fit.parts]
        need = _need(self.inference)
        if need == "with_squares":
            squares = [None if one is None else one.within for one in regressions]
            return all(one is not None and not np.isnan(one).any() for one in squares)
        return need == "always" or (need == "of_regressions" and None not in regressions)

    def digest(self) -> str:
        """Hash every setting, and all of the panel that design, estimator and inference read (SHA-256, hexadecimal).

        Where numbers differ, digests do. The order of the rows and the types that hold the values change no digest, nor does what
        only describes: units of measurement, provenance, columns that are not read.
        """
        read = (*self.design.columns(), *self.estimator.columns(), *self.inference.columns())
        settings = in_full((self.design, self.estimator, self.inference))
        return hashlib.sha256(f"{settings} {self.panel.fingerprint(read)}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Estimate:
    """A fit, its uncertainty, and the specification that made both; what a paper cites.

    `beside` is the inference whose p a summary shows where the own one is no guide.
    """

    fit: Fit
    uncertainty: Uncertainty
    spec: Specification
    beside: Inference | None = field(default=None, repr=False, compare=False)

    __eq__ = same_content

    def __repr__(self) -> str:
        effects = [i for i, term in enumerate(self.fit.terms) if term.role == "effect"]
        told = [f"{self._names[i]} = {self.fit.coefficients[i]:.6g}" for i in effects[:3]]
        more = [f"… {len(effects)} effects"] if len(effects) > 3 else []
        members = f"{describe_member(self.spec.estimator)}, {describe_member(self.spec.inference)}"
        return cut_short(f"Estimate({', '.join([*told, *more])}; {members}, {self.spec.design!r})")

    @cached_property
    def distribution(self) -> ReferenceDistribution:
        """How combinations of the coefficients are judged."""
        of = self.uncertainty
        return of.distribution or StudentT(self.fit.coefficients, of.covariance, of.df)

    @property
    def params(self) -> pd.Series:
        """Coefficients by term, covariates included."""
        return self._by_term(self.fit.coefficients, "estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors by term; NaN for a reference term."""
        return self._by_term(
            [self._judged(i, self.distribution.std_error) for i in range(len(self.fit.terms))], "std_error"
        )

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values by term, by the distribution of the inference."""
        return self._by_term(
            [self._judged(i, self.distribution.p_value) for i in range(len(self.fit.terms))], "p_value"
        )

    @property
    def notes(self) -> tuple[Message, ...]:
        """Say what was dropped, binned or doubtful, and why; `str()` of each is English, `.text("zh")` Chinese."""
        first = () if self.uncertainty.doubt is None else self.uncertainty.doubt.tell()
        sentence = self.uncertainty.sentence
        said = () if sentence is None else (sentence,)
        return tuple(dict.fromkeys((*first, *self.fit.notes, *said, *self.uncertainty.notes)))

    @property
    def ledger(self) -> tuple[Dropped, ...]:
        """Rows left out on the way: by the panel's steps, then by the design."""
        lines = dict.fromkeys(line for part in self.fit.parts for line in part.sample.ledger)
        return (*self.spec.panel.ledger, *lines)

    @property
    def _names(self) -> list[str]:
        return [term.name for term in self.fit.terms]

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Intervals by term at a level between 0 and 1: columns conf_low, conf_high."""
        return self._table(level).set_index("term")[["conf_low", "conf_high"]]

    def bands(self, terms: Sequence[str] | None = None, level: float = 0.95) -> pd.DataFrame:
        """Intervals that hold for all of these terms (by default the effects) at once, by draws that the inference shares.

        Columns term, estimate, conf_low, conf_high, critical (in standard errors), event_time; a base has estimate 0 and no
        interval. Draws are around the estimates, also where tests impose the null. Infinite where they are too few for the level;
        InferenceError where the inference has none (WildBootstrap and Multiplier have).
        """
        effects = [term.name for term in self.fit.terms if term.role != "covariate"]
        return simultaneous_bands(
            self.fit, self.distribution, [self._position(term) for term in (effects if terms is None else terms)], level
        )

    def under(self, inference: Inference) -> Estimate:
        """Judge the same fit by another inference; estimate anew where that needs rows, or other cells, than the fit has."""
        require_member(inference, "assess", "inference", "Cluster()")
        spec = replace(self.spec, inference=inference)
        if spec.panel.rows is not None and not (spec.on_cells().panel is spec.panel and spec.holds(self.fit)):
            return replace(spec.on_rows().estimate(), beside=self.beside)
        return Estimate(self.fit, inference.assess(self.fit, spec), spec, self.beside)

    def doubt(self, weights: Floats) -> Message | None:
        """Say why the p of a combination of the coefficients (k,) comes from a distribution that the design cannot support."""
        of = self.uncertainty.doubt
        return None if of is None else of.of(weights)

    def vcov(self) -> pd.DataFrame:
        """Covariance of all coefficients, by term."""
        return pd.DataFrame(self.uncertainty.covariance, index=self._names, columns=self._names)

    def tidy(self, *, covariates: bool = False, level: float = 0.95) -> pd.DataFrame:
        """One row per effect (then per covariate, if asked for), with the columns of `TIDY`."""
        table = self._table(level)
        roles = np.array([term.role for term in self.fit.terms])
        order = [*np.flatnonzero(roles != "covariate"), *(np.flatnonzero(roles == "covariate") if covariates else ())]
        return table.iloc[order].reset_index(drop=True)

    def glance(self) -> pd.DataFrame:
        """One row: sizes, clusters, what the average effect after adoption rests on, method, smallest attainable p.

        effective_clusters is the number of equal clusters on which that effect (of the first subgroup) rests as much, and
        expected_size how often clustered errors with t(G-1) would reject a true null of it at 5 %; df are those of its p.
        """
        clusters = self.uncertainty.clusters
        weights = headline_effects(self.fit)[0][1] if headline_effects(self.fit) else self._alone(self._first_effect())
        if self.uncertainty.choice is not None:
            weights = self.uncertainty.choice.weights()
        row = {
            "n_obs": round(sum(part.sample.n_obs for part in self.fit.parts)),
            "n_units": self._n_units(),
            **self._cluster_columns(clusters, weights),
            "df": self.distribution.df(weights),
            "method": str(self.uncertainty.method),
            "smallest_p": self.uncertainty.smallest_p,
            "n_dropped": sum(line.rows for line in self.ledger),
        }
        return pd.DataFrame([row])

    def sizes(self) -> pd.DataFrame:
        """One row per effect, as in `tidy()`: observations, units, clusters and smallest p of the part that estimated it."""
        rows = []
        for i, term in enumerate(self.fit.terms):
            if term.role == "covariate":
                continue
            of = [other.subgroup == term.subgroup and other.role != "base" for other in self.fit.terms]
            position = i if term.role == "effect" else of.index(True)
            at = next(k for k, part in enumerate(self.fit.parts) if position in part.positions)
            sample, clusters = self.fit.parts[at].sample, self.uncertainty.part_clusters[at]
            rows.append(
                {
                    "n_obs": round(sample.n_obs),
                    "n_units": sample.n_units if self.spec.panel.unit is not None else round(sample.n_obs),
                    **self._cluster_columns(clusters, self._alone(position)),
                    "df": float(self.uncertainty.df[position]),
                    "smallest_p": smallest_attainable_p(sample),
                }
            )
        return pd.DataFrame(rows)

    def contrast(self, a: str, b: str, level: float = 0.95) -> pd.DataFrame:
        """The difference a - b with its covariance counted: one row with the columns of `tidy()`."""
        weights = {a: 1.0}
        weights[b] = weights.get(b, 0.0) - 1.0
        return self.combination(weights, f"{a} - {b}", level)

    def combination(self, weights: Mapping[str, float], name: str, level: float = 0.95) -> pd.DataFrame:
        """The sum of terms times weights, its covariance counted: one row called `name` with the columns of `tidy()`.

        Weights of 1 make a cumulative effect. The distribution of the inference judges the sum itself.
        """
        at, given = [self._position(term) for term in weights], np.array(list(weights.values()), dtype=np.float64)
        if not len(at) or not np.isfinite(given).all():
            raise InferenceError(
                f"the weights are {dict(weights)}", where="combination", remedy="give each term a finite number"
            )
        w = np.zeros(len(self.fit.terms))
        w[at] = given
        row: dict[str, object] = {"term": name, **self._tell(w, level)}
        blank = {column: None for column in TIDY if column not in row}
        return pd.DataFrame([{**row, **blank, **self._labels()}])[TIDY]

    def average(self, of: Sequence[str] | Sequence[int], level: float = 0.95) -> pd.DataFrame:
        """The plain mean of terms, or of the effects at event times such as [1, 2, 3]: one row, as of `combination`."""
        terms = [one if isinstance(one, str) else self._at_event_time(one) for one in of]
        if len(set(terms)) < len(terms):
            raise InferenceError("a term is named twice", where="average", remedy="name each term once")
        return self.combination({term: 1 / len(terms) for term in terms}, f"average of {', '.join(terms)}", level)

    def wald(self, terms: list[str] | tuple[str, ...]) -> Wald:
        """Test jointly that these terms are zero, by the inference's reference distribution: F(q, degrees of freedom) by default.

        The p-value is NaN, with the reason, where that is known to reject true nulls too often (few clusters). Raises
        InferenceError when there are as many terms as clusters allow, or a term has no standard error.
        """
        at = [self._position(term) for term in terms]
        if not at:
            raise InferenceError("no terms are given", where="wald", remedy="name at least one term of .params")
        weights = np.eye(len(self.fit.terms))[at]
        joint_doubt = self.uncertainty.joint_doubt
        reason = self.doubt(weights[0]) if len(at) == 1 else None if joint_doubt is None else joint_doubt.of(weights)
        try:
            joint = self.distribution.judge_jointly(weights)
        except InferenceError as error:
            raise InferenceError(error.what, where=f"wald: {', '.join(terms)}", remedy=error.remedy) from None
        return Wald(tuple(terms), joint.statistic, joint.df, joint.p_value if reason is None else float("nan"), reason)

    def summary(self, language: str = "en", labels: Labels | None = None) -> str:
        """Say the estimate in words and figures, in English ("en") or Chinese ("zh"), with the study's labels if given."""
        design, estimator = self.spec.design, type(self.spec.estimator).__name__
        return write_summary(
            message("summary.head", outcome=design.outcome, estimator=estimator, method=self.uncertainty.method),
            self.tidy(),
            bases={term.name for term in self.fit.terms if term.role == "base"},
            sizes={str(name): value for name, value in self.glance().iloc[0].items()},
            ledger=self.ledger,
            notes=self.notes,
            doubts=0 if self.uncertainty.doubt is None else len(self.uncertainty.doubt.tell()),
            rests=self._rests(),
            beside=self._beside(),
            language=language,
            labels=labels,
        )

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{_escape(str(note))}</li>" for note in self.notes)
        return f"{self.tidy().to_html(index=False, na_rep='')}<ul>{notes}</ul>"

    def _by_term(self, values: Any, name: str) -> pd.Series:
        return pd.Series(values, index=pd.Index(self._names, name="term"), name=name)

    def _judged(self, position: int, judge: Callable[[Floats], float]) -> float:
        """Judge one coefficient; NaN for a reference term."""
        if self.fit.terms[position].role == "base":
            return float("nan")
        return judge(np.eye(len(self.fit.terms))[position])

    def _alone(self, position: int) -> Floats:
        alone: Floats = np.eye(len(self.fit.terms))[position]
        return alone

    def _rests(self) -> dict[str, float]:
        """Say on how many treated and untreated clusters the average effect after adoption rests."""
        effects = headline_effects(self.fit)
        if not effects or self.uncertainty.choice is not None:  # whose sentence says so, too
            return {}
        treated, control = self.uncertainty.reliance.sides(effects[0][1])
        return {"treated_effective": treated, "control_effective": control}

    def _beside(self) -> Mapping[str, float]:
        """The p of terms without support by the inference beside, where that has one."""
        if self.beside is None:
            return {}
        table = self.tidy()
        lacking = table.term[~table.supported & (table.std_error > 0)]
        if lacking.empty:
            return {}
        try:
            found = self.under(self.beside).tidy().set_index("term")
        except EvalkitError:
            return {}
        return {term: float(found.p_value[term]) for term in lacking if found.supported[term]}

    def _tell(self, weights: Floats, level: float) -> dict[str, float | bool]:
        """Say of a combination (k,) its value, standard error, statistic, p, interval, and whether p is a guide."""
        require_level(level, "conf_int")
        value, error = float(weights @ self.fit.coefficients), float("nan")
        p, (low, high) = error, (error, error)
        if any(self.fit.terms[i].role != "base" for i in np.flatnonzero(weights)):
            error, p = self.distribution.std_error(weights), self.distribution.p_value(weights)
            low, high = self.distribution.interval(weights, level)
        told = {"estimate": value, "std_error": error, "statistic": value / error}
        effect = any(self.fit.terms[i].role == "effect" for i in np.flatnonzero(weights))
        size = self.uncertainty.reliance.expected_size(weights) if effect else float("nan")
        supported = not np.isnan(error) and self.doubt(weights) is None
        told |= {"p_value": p, "conf_low": low, "conf_high": high}
        return {**told, "expected_size": size, "supported": supported}

    def _position(self, term: str) -> int:
        if term not in self._names:
            raise DataError(f"there is no term '{term}'", where="estimate", remedy=nearest(term, self._names))
        return self._names.index(term)

    def _at_event_time(self, event_time: int) -> str:
        found = [term.name for term in self.fit.terms if term.event_time == event_time]
        if len(found) != 1:
            there = sorted({term.event_time for term in self.fit.terms if term.event_time is not None})
            raise DataError(
                f"{len(found) or 'no'} terms have event time {event_time}",
                where="average",
                remedy=f"name terms of .params; event times are: {', '.join(map(str, there)) or 'none'}",
            )
        return found[0]

    def _first_effect(self) -> int:
        return next(i for i, term in enumerate(self.fit.terms) if term.role == "effect")

    def _n_units(self) -> int:
        """Count distinct units over all parts; rows, for repeated cross-sections."""
        if self.spec.panel.unit_codes is None:
            return int(sum(part.sample.n_obs for part in self.fit.parts))
        times = np.zeros(len(self.spec.panel.unit_codes.labels))
        for part in self.fit.parts:
            times[self.spec.panel.unit_codes.values[part.sample.rows]] = (
                1 if part.sample.counts is None else part.sample.counts
            )
        return round(float(times.sum()))

    def _cluster_columns(self, clusters: Clusters, weights: Floats) -> dict[str, float]:
        return {
            "n_clusters": clusters.total,
            "n_treated_clusters": clusters.treated,
            "n_control_clusters": clusters.control,
            "effective_clusters": self.uncertainty.reliance.effective(weights),
            "expected_size": self.uncertainty.reliance.expected_size(weights),
        }

    def _labels(self) -> dict[str, str]:
        return {"outcome": self.spec.design.outcome, "estimator": type(self.spec.estimator).__name__}

    def _table(self, level: float) -> pd.DataFrame:
        each = np.eye(len(self.fit.terms))
        rows = []
        for term, weights in zip(self.fit.terms, each, strict=True):
            where = {name: getattr(term, name) for name in ("event_time", "cohort", "period", "subgroup")}
            rows.append({"term": term.name, **self._tell(weights, level), **where, **self._labels()})
        table = pd.DataFrame(rows, columns=TIDY)
        return table.astype({"event_time": "Int64"})


def describe_member(value: Any) -> str:
    """Write a specification's member with the fields that say something: "Split(by='older', estimator=TwoWayFE())"."""
    if not is_dataclass(value):
        return repr(value)
    shown = []
    for item in fields(value):
        content = getattr(value, item.name)
        if content is not None and content != item.default:
            shown.append(
                f"{item.name}={describe_member(content) if hasattr(content, '__dataclass_fields__') else repr(content)}"
            )
    return f"{type(value).__name__}({', '.join(shown)})"


def require_member(value: object, method: str, role: str, example: str) -> None:
    """Raise InferenceError where a class, or anything without the method, is given in the place of a member of a family."""
    if isinstance(value, type) or not hasattr(value, method):
        raise InferenceError(f"{role} is {value!r}", where="estimate", remedy=f"pass a value such as {example}")


def _need(inference: Inference) -> OnCells:
    need: OnCells = getattr(inference, "on_cells", "never")
    return need


def _is_without_residual(part: Part) -> bool:
    if part.regression is not None:
        return not part.regression.residuals.any()
    return not part.influence.sum_within(part.sample.unit, len(part.sample.starts)).any()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
