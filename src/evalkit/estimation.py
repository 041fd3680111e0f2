"""Estimation: a specification (panel, design, estimator, inference) and the estimate it makes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import stats

from evalkit.catalogue import Labels, Message, say
from evalkit.columns import Flags
from evalkit.design import Design
from evalkit.errors import DataError, InferenceError, nearest
from evalkit.fit import Fit
from evalkit.panel import Dropped, Panel
from evalkit.sample import smallest_attainable_p
from evalkit.uncertainty import Clusters, Uncertainty
from evalkit.wald import Wald, judge_jointly

TIDY = (
    "term estimate std_error statistic p_value conf_low conf_high event_time cohort period subgroup outcome estimator"
).split()


class Estimator(Protocol):
    """A rule from panel and design to effects; its fields are its tuning choices."""

    def fit(self, panel: Panel, design: Design, keep: Flags | None = None) -> Fit:
        """Estimate on the panel's rows (those flagged in `keep`, if given)."""
        ...


class Inference(Protocol):
    """A rule from fit to uncertainty."""

    def assess(self, fit: Fit, spec: Specification) -> Uncertainty:
        """State the uncertainty of a fit."""
        ...


@dataclass(frozen=True)
class Specification:
    """Everything that determines an estimate: copy it with one field changed (`dataclasses.replace`) and run it again."""

    panel: Panel
    design: Design
    estimator: Estimator
    inference: Inference

    def run(self) -> Estimate:
        """Estimate it."""
        return estimate(self.panel, self.design, self.estimator, inference=self.inference)

    def digest(self) -> str:
        """Hash the settings and the values of every column the design reads (SHA-256, hexadecimal)."""
        used = [
            c for c in (self.panel.unit, self.panel.time, self.panel.counts, *self.design.columns()) if c is not None
        ]
        values = pd.util.hash_pandas_object(self.panel.frame[list(dict.fromkeys(used))], index=False).to_numpy()
        settings = repr((self.design, self.estimator, self.inference)).encode()
        return hashlib.sha256(settings + values.tobytes()).hexdigest()


@dataclass(frozen=True)
class Estimate:
    """A fit, its uncertainty, and the specification that made both; what a paper cites."""

    fit: Fit
    uncertainty: Uncertainty
    spec: Specification

    @property
    def params(self) -> pd.Series:
        """Coefficients by term, covariates included."""
        return pd.Series(self.fit.coefficients, index=self._names, name="estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors by term; NaN for a reference term."""
        return self._table(0.95).set_index("term")["std_error"]

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values by term, from t with the uncertainty's degrees of freedom."""
        return self._table(0.95).set_index("term")["p_value"]

    @property
    def notes(self) -> tuple[Message, ...]:
        """Say what was dropped, binned or doubtful, and why; `str()` of each is English, `.text("zh")` Chinese."""
        first = tuple(note for note in (self.uncertainty.unsupported,) if note is not None)
        return (*first, *self.fit.notes, *self.uncertainty.notes)

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
        """One row: sizes, clusters, degrees of freedom of the first effect, method, smallest attainable p."""
        clusters = self.uncertainty.clusters
        row = {
            "n_obs": round(sum(part.sample.n_obs for part in self.fit.parts)),
            "n_units": self._n_units(),
            **_cluster_columns(clusters),
            "df": float(self.uncertainty.df[self._first_effect()]),
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
                    **_cluster_columns(clusters),
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

        Weights of 1 make a cumulative effect. The smallest degrees of freedom of the terms are taken.
        """
        at, given = [self._position(term) for term in weights], np.array(list(weights.values()), dtype=np.float64)
        if not len(at) or not np.isfinite(given).all():
            raise InferenceError(
                f"the weights are {dict(weights)}", where="combination", remedy="give each term a finite number"
            )
        w = np.zeros(len(self.fit.terms))
        w[at] = given
        error = float(np.sqrt(max(float(w @ self.uncertainty.covariance @ w), 0.0)))
        known = self.uncertainty.df[at]
        df = float(min(known[~np.isnan(known)], default=np.inf))  # a base alone has none
        row = {"term": name, **_inference(float(w @ self.fit.coefficients), error, df, level)}
        blank = {column: None for column in TIDY if column not in row}
        return pd.DataFrame([{**row, **blank, **self._labels()}])[TIDY]

    def average(self, of: Sequence[str] | Sequence[int], level: float = 0.95) -> pd.DataFrame:
        """The plain mean of terms, or of the effects at event times such as [1, 2, 3]: one row, as of `combination`."""
        terms = [one if isinstance(one, str) else self._at_event_time(one) for one in of]
        if len(set(terms)) < len(terms):
            raise InferenceError("a term is named twice", where="average", remedy="name each term once")
        return self.combination({term: 1 / len(terms) for term in terms}, f"average of {', '.join(terms)}", level)

    def wald(self, terms: list[str] | tuple[str, ...]) -> Wald:
        """Test jointly that these terms are zero, by F(q, degrees of freedom).

        The p-value is NaN, with the reason, where the F distribution is known to reject true nulls too often (few clusters).
        Raises InferenceError when there are as many terms as clusters allow, or a term has no standard error.
        """
        at = [self._position(term) for term in terms]
        reason = self.uncertainty.joint_unsupported if len(at) > 1 else self.uncertainty.unsupported
        covariance, df = self.uncertainty.covariance[np.ix_(at, at)], self.uncertainty.df[at]
        return judge_jointly(tuple(terms), self.fit.coefficients[at], covariance, df, reason)

    def summary(self, language: str = "en", labels: Labels | None = None) -> str:
        """Say the estimate in words and figures, in English ("en") or Chinese ("zh"), with the study's labels if given."""
        glance = self.glance().iloc[0]
        table = self.tidy()
        width = max(len(term) for term in table.term)
        head = say(
            "summary.head",
            language,
            labels,
            outcome=self.spec.design.outcome,
            estimator=type(self.spec.estimator).__name__,
            method=self.uncertainty.method,
        )
        lines = [head, ""]
        bases = {term.name for term in self.fit.terms if term.role == "base"}
        for row in table.to_dict("records"):
            if np.isnan(row["std_error"]):
                why = say("summary.base" if row["term"] in bases else "summary.no_error", language)
                lines.append(f"  {row['term']:<{width}}  {row['estimate']:>12.6g}  {why}")
                continue
            mark = " †" if self.uncertainty.unsupported is not None else ""
            lines.append(
                f"  {row['term']:<{width}}  {row['estimate']:>12.6g}  ({row['std_error']:.6g})  p = {row['p_value']:.4f}{mark}  "
                f"[{row['conf_low']:.6g}, {row['conf_high']:.6g}]"
            )
        key = "summary.sizes" if glance["effective_clusters"] > 0 else "summary.sizes_plain"
        lines += ["", say(key, language, **{name: glance[name] for name in glance.index})]
        for line in self.ledger:
            lines.append(
                say(
                    "summary.dropped",
                    language,
                    rows=line.rows,
                    units=line.units,
                    reason=line.reason.text(language, labels),
                )
            )
        for i, note in enumerate(self.notes):
            lines.append(
                ("† " if i == 0 and note is self.uncertainty.unsupported else "- ") + note.text(language, labels)
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{_escape(str(note))}</li>" for note in self.notes)
        return f"{self.tidy().to_html(index=False, na_rep='')}<ul>{notes}</ul>"

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
        if self.spec.panel.counts is not None:
            return sum(part.sample.n_units for part in self.fit.parts)
        codes = self.spec.panel.unit_codes.values
        return len(np.unique(np.concatenate([codes[part.sample.rows] for part in self.fit.parts])))

    def _labels(self) -> dict[str, str]:
        return {"outcome": self.spec.design.outcome, "estimator": type(self.spec.estimator).__name__}

    def _table(self, level: float) -> pd.DataFrame:
        if not 0 < level < 1:
            raise InferenceError(
                f"level is {level}", where="conf_int", remedy="give a number between 0 and 1, such as .95"
            )
        errors = np.sqrt(np.maximum(np.diag(self.uncertainty.covariance), 0.0))
        rows = []
        for term, value, error, df in zip(
            self.fit.terms, self.fit.coefficients, errors, self.uncertainty.df, strict=True
        ):
            told = _inference(float(value), float("nan") if term.role == "base" else float(error), float(df), level)
            where = {name: getattr(term, name) for name in ("event_time", "cohort", "period", "subgroup")}
            rows.append({"term": term.name, **told, **where, **self._labels()})
        table = pd.DataFrame(rows, columns=TIDY)
        return table.astype({"event_time": "Int64"})


def estimate(panel: Panel, design: Design, estimator: Estimator, *, inference: Inference) -> Estimate:
    """Estimate a design on a panel. The inference must be written: there is no default statement of uncertainty."""
    for value, method, role, example in (
        (estimator, "fit", "estimator", "TwoWayFE()"),
        (inference, "assess", "inference", "Cluster()"),
    ):
        if isinstance(value, type) or not hasattr(value, method):
            raise InferenceError(f"{role} is {value!r}", where="estimate", remedy=f"pass a value such as {example}")
    if not isinstance(panel, Panel):
        raise DataError(
            f"panel is a {type(panel).__name__}", where="estimate", remedy="make one with Panel.from_frame(frame, …)"
        )
    spec = Specification(panel, design, estimator, inference)
    fit = estimator.fit(panel, design)
    return Estimate(fit, inference.assess(fit, spec), spec)


def describe(value: Any) -> str:
    """Write a specification's member with the fields that say something: "Split(by='older', estimator=TwoWayFE())"."""
    shown = []
    for item in fields(value):
        content = getattr(value, item.name)
        if content is not None and content != item.default:
            shown.append(
                f"{item.name}={describe(content) if hasattr(content, '__dataclass_fields__') else repr(content)}"
            )
    return f"{type(value).__name__}({', '.join(shown)})"


def _cluster_columns(clusters: Clusters) -> dict[str, float]:
    return {
        "n_clusters": clusters.total,
        "n_treated_clusters": clusters.treated,
        "n_control_clusters": clusters.control,
        "min_cohort_clusters": clusters.smallest_cohort,
        "effective_clusters": clusters.effective,
    }


def _inference(value: float, error: float, df: float, level: float) -> dict[str, float]:
    error = error if error > 0 else float("nan")  # a standard error of 0 is none: nothing was left to estimate it from
    statistic = value / error
    margin = float(stats.t.ppf((1 + level) / 2, df)) * error
    return {
        "estimate": value,
        "std_error": error,
        "statistic": statistic,
        "p_value": float(2 * stats.t.sf(abs(statistic), df)),
        "conf_low": value - margin,
        "conf_high": value + margin,
    }


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
