"""Evidence: the estimates, findings and manifest of one run of a study; and Writer, a rule from it to files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from evalkit.catalogue import LANGUAGES, Labels, Message, message
from evalkit.claims.claim import Judged
from evalkit.designs.indicators import Indicators
from evalkit.designs.sample import draw_sample
from evalkit.numerics.arrays import Flags, Floats, Ints
from evalkit.panels.panel import Dropped, Panel
from evalkit.results.estimation import Estimate, Specification, describe_member
from evalkit.results.filing import require_file_name
from evalkit.results.finding import Finding
from evalkit.results.withholding import is_safe, lists_persons, person_columns, shows_persons
from evalkit.tables.contents import in_short, same_content
from evalkit.tables.protection import LEAST
from evalkit.tables.table import Table

ESTIMATE_COLUMNS = (
    "specification estimator inference term estimate std_error statistic p_value conf_low conf_high event_time cohort period "
    "subgroup outcome n_obs n_units n_clusters n_treated_clusters n_control_clusters effective_clusters df smallest_p "
    "correlation expected_size supported unit synthetic"
).split()
FINDING_COLUMNS = "check specification null statistic p_value bound verdict sentence_en sentence_zh".split()
DESCRIPTIVE_COLUMNS = "variable group n_obs mean sd min max".split()
ALTERNATIVE_COLUMNS = (
    "specification effect method level estimand headline estimate std_error df p_value conf_low conf_high supported smallest_p "
    "remark_en remark_zh sentence_en sentence_zh"
).split()
LEDGER_COLUMNS = "step reason rows units".split()
CLAIM_COLUMNS = (
    "id claim claim_zh where printed printed_zh computed verdict sentence_en sentence_zh basis_en basis_zh".split()
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """One run of a study. `estimates` by the specification's name; `findings` with the name of what they challenge.

    `manifest` records inputs with their SHA-256, versions, seeds and the hash of the configuration. `labels` gives columns,
    subgroups and specifications their readers' words: name → language → words. `claims` are the judged claims of others;
    `references` the tables that no estimate rests on (published figures, truths of a simulation), by name.
    """

    study: str
    estimates: Mapping[str, Estimate]
    findings: tuple[tuple[str, Finding], ...]
    manifest: Mapping[str, Any]
    labels: Labels = field(default_factory=dict)
    claims: tuple[Judged, ...] = ()
    references: Mapping[str, Table] = field(default_factory=dict)

    __eq__ = same_content
    __repr__ = in_short

    def __post_init__(self) -> None:
        """Refuse names that cannot become a file's."""
        require_file_name(self.study, "study")
        for family, names in (("estimate", [*self.estimates]), ("reference table", [*self.references])):
            for i, name in enumerate(names):
                require_file_name(name, f"{family} {i + 1}", taken=names[:i])

    @property
    def synthetic(self) -> bool:
        """Say whether anything that an estimate rests on is synthetic; of an account, anything that its tables rest on."""
        panels = [one.spec.panel.provenance for one in self.estimates.values()]
        tables = [one.provenance for one in self.references.values()]
        return any(source.synthetic for provenance in panels or tables for source in provenance)

    @property
    def recalled(self) -> tuple[str, ...]:
        """Name the figures, in what it rests on, that were not checked against their publication: "file: what"."""
        panels = [one.spec.panel.provenance for one in self.estimates.values()]
        tables = [one.provenance for one in self.references.values()]
        found = {
            f"{Path(source.path).stem}: {', '.join(source.recalled)}"
            for provenance in (*panels, *tables)
            for source in provenance
            if source.recalled
        }
        return tuple(sorted(found))

    def estimates_table(self) -> pd.DataFrame:
        """One row per specification and effect, and per gap between the two subgroups of a split.

        Observations, units, clusters, df and smallest p are those of the subgroup; of the whole split, for the gap, which also
        has the correlation of the two estimates.
        """
        frames = []
        for name, one in self.estimates.items():
            table = pd.concat([one.tidy(), one.sizes().drop(columns="expected_size")], axis="columns")
            subgroups = [term.name for term in one.fit.terms if term.subgroup is not None and term.role == "effect"]
            if len(subgroups) == 2:
                gap = one.contrast(subgroups[1], subgroups[0])
                gap = gap.assign(**one.glance().iloc[0].drop("expected_size"))
                gap["df"] = table["df"].min()
                pair = one.vcov().loc[subgroups, subgroups].to_numpy(dtype=np.float64)
                gap["correlation"] = pair[0, 1] / np.sqrt(pair[0, 0] * pair[1, 1])
                table = pd.concat([table, gap], ignore_index=True)
            frames.append(
                table.assign(
                    specification=name,
                    estimator=describe_member(one.spec.estimator),
                    inference=describe_member(one.spec.inference),
                    unit=one.spec.panel.units.get(one.spec.design.outcome, ""),
                    synthetic=any(source.synthetic for source in one.spec.panel.provenance),
                )
            )
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        return joined.reindex(columns=ESTIMATE_COLUMNS)

    def findings_table(self) -> pd.DataFrame:
        """One row per finding, its sentence in both languages."""
        rows = [
            {
                "check": one.check,
                "specification": name,
                "null": "" if one.null is None else one.null.text("en", self.labels),
                "statistic": one.statistic,
                "p_value": one.p_value,
                "bound": one.bound,
                "verdict": one.verdict,
                "sentence_en": one.sentence.text("en", self.labels),
                "sentence_zh": one.sentence.text("zh", self.labels),
            }
            for name, one in self.findings
        ]
        return pd.DataFrame(rows, columns=FINDING_COLUMNS)

    def alternatives_table(self) -> pd.DataFrame:
        """One row per specification that the design judged (ByDesign), effect and method; what the design can show, in words."""
        frames = []
        for name, one in self.estimates.items():
            table, sentence = one.uncertainty.alternatives, one.uncertainty.sentence
            if table is None or sentence is None:
                continue
            said = {f"sentence_{language}": sentence.text(language, self.labels) for language in LANGUAGES}
            remarks = {
                f"remark_{language}": [_in_words(remark, language, self.labels) for remark in table["remark"]]
                for language in LANGUAGES
            }
            frames.append(table.assign(specification=name, **remarks, **said))
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        return joined.reindex(columns=ALTERNATIVE_COLUMNS)

    def finding_tables(self) -> dict[str, pd.DataFrame]:
        """The numbers behind each finding, by "finding_" + specification + "_" + check; a second of a kind gets a 2 behind it."""
        tables: dict[str, pd.DataFrame] = {}
        for on, one in self.findings:
            name = f"finding_{on}_{one.check}"
            numbered = (name if i == 1 else f"{name}{i}" for i in count(1))
            is_withheld = shows_persons(one, self.estimates[on].spec)
            tables[next(free for free in numbered if free not in tables)] = one.table[:0] if is_withheld else one.table
        return tables

    def reference_tables(self) -> dict[str, pd.DataFrame]:
        """The reference tables, but those that list persons."""
        return {name: one.frame for name, one in self.references.items() if not lists_persons(one)}

    def withheld(self) -> list[dict[str, str]]:
        """What the tables of a study of persons do not show, and why: `table` and `reason`. Estimates are not withheld."""
        told: dict[str, Message] = {}
        if any(person_columns(spec.panel) for spec in self._described().values()):
            told["descriptives"] = message("withheld.descriptives", least=LEAST)
        told |= {name: message("withheld.persons") for name, one in self.references.items() if lists_persons(one)}
        for on, one in self.findings:
            if shows_persons(one, self.estimates[on].spec):
                told[f"finding_{on}_{one.check}"] = message("withheld.persons")
        return [{"table": name, "reason": str(reason)} for name, reason in told.items()]

    def descriptives_table(self) -> pd.DataFrame:
        """Mean and spread of outcomes, covariates and splitting variables: all rows, treated units, comparison units.

        Of the rows of the first estimate; a row counts as often as it stands for rows. A category among the covariates has a line
        for each value, with its share. Other variables that are text are left out. Where rows are of persons (pseudonyms), no
        smallest and largest value is shown, nor a group of fewer than ten of them or with a dominant one, nor what would tell it.
        """
        rows = [row for name, spec in self._described().items() for row in _describe_by_group(name, spec)]
        return pd.DataFrame(rows, columns=DESCRIPTIVE_COLUMNS).astype({"n_obs": "Int64"})

    def _described(self) -> dict[str | Indicators, Specification]:
        """List the outcomes, covariates and splitting variables, each with the first specification whose panel has it."""
        specs = [one.spec.on_rows() for one in self.estimates.values()]
        covariates = dict.fromkeys(covariate for one in specs for covariate in one.design.covariates)
        splits = (column for one in specs for column in one.estimator.columns())
        plain = (one for one in covariates if isinstance(one, str))
        indicators = (one for one in covariates if isinstance(one, Indicators))
        found: dict[str | Indicators, Specification] = {}
        listed: list[str | Indicators] = [*(spec.design.outcome for spec in specs), *plain, *splits, *indicators]
        for one in dict.fromkeys(listed):
            column = one.of if isinstance(one, Indicators) else one
            found[one] = next(spec for spec in specs if column in spec.panel.frame.columns)
        return found

    def claims_table(self) -> pd.DataFrame:
        """One row per claim, in both languages: as printed, as computed, verdict, arithmetic, basis of outside figures."""
        rows = [
            {
                "id": one.claim.id,
                "claim": one.claim.text["en"],
                "claim_zh": one.claim.text["zh"],
                "where": one.claim.where,
                "printed": one.claim.printed["en"],
                "printed_zh": one.claim.printed["zh"],
                "computed": one.judgement.computed,
                "verdict": one.judgement.verdict,
                "sentence_en": _start(one.judgement.sentence.text("en", self.labels)),
                "sentence_zh": one.judgement.sentence.text("zh", self.labels),
                "basis_en": one.claim.basis.get("en", ""),
                "basis_zh": one.claim.basis.get("zh", ""),
            }
            for one in self.claims
        ]
        return pd.DataFrame(rows, columns=CLAIM_COLUMNS)

    def ledger_table(self) -> pd.DataFrame:
        """Rows and units left out, by step and reason, over all estimates."""
        lines: dict[Dropped, None] = {}
        for one in self.estimates.values():
            lines.update(dict.fromkeys(one.ledger))
        rows = [
            {"step": x.step, "reason": x.reason.text("en", self.labels), "rows": x.rows, "units": x.units}
            for x in lines
        ]
        return pd.DataFrame(rows, columns=LEDGER_COLUMNS)


@dataclass(frozen=True)
class Desk:
    """The folders of one run: the study's own, `home`, from which is read, and three to write into.

    What is in `processed` becomes data/processed/<study>/, what is in `figures` figures/<study>/, and each file in `documents`
    a file beside the study.toml; all at once, when every writer is done.
    """

    home: Path
    processed: Path
    figures: Path
    documents: Path


class Writer(Protocol):
    """A rule from evidence to files: a frozen value whose fields are its choices."""

    def write(self, evidence: Evidence, desk: Desk) -> tuple[Path, ...]:
        """Write files into the desk's folders and return their paths. The same evidence gives the same bytes."""
        ...


def _describe_by_group(variable: str | Indicators, spec: Specification) -> list[dict[str, object]]:
    """Describe a variable (each value of a category) in all rows, the treated and those of comparison; text is left out.

    Cells of a large panel have the mean of their rows' outcomes, not their spread, which stays empty.
    """
    sample = draw_sample(spec.panel, spec.design)
    frame = spec.panel.frame
    if isinstance(variable, Indicators):
        shown = variable.shares(spec.panel, sample.rows)
    elif pd.api.types.is_numeric_dtype(frame[variable]):
        shown = {variable: frame[variable].to_numpy(dtype=np.float64, na_value=np.nan)[sample.rows]}
    else:
        return []
    counts = np.ones(len(sample.rows)) if sample.counts is None else sample.counts
    treated = sample.adoption <= sample.period.max()
    is_mean = spec.panel.within is not None and variable == spec.design.outcome
    groups = {"all": np.ones(len(treated), bool), "treated": treated, "comparison": ~treated}
    hidden = _hide(spec.panel, sample.rows, list(groups.values()), list(shown.values()))
    rows: list[dict[str, object]] = []
    for column, values in shown.items():
        for (group, inside), is_hidden in zip(groups.items(), hidden, strict=True):
            chosen = inside & ~np.isnan(values)
            told: dict[str, object] = {**_describe(values[chosen], counts[chosen])}
            if is_mean:
                told |= dict.fromkeys(("sd", "min", "max"), float("nan"))
            if person_columns(spec.panel):
                told |= dict.fromkeys(("min", "max"), float("nan"))
            rows.append({"variable": column, "group": group, **({"n_obs": None} if is_hidden else told)})
    return rows


def _hide(panel: Panel, rows: Ints, groups: list[Flags], shown: list[Floats]) -> list[bool]:
    """Say of which groups (all, and the two that make it up) nothing may be shown: one alone would be told by the others.

    The shares of a category add up as well, so that it is shown whole or not.
    """
    if not person_columns(panel):
        return [False] * len(groups)
    safe = [is_safe(panel, rows, groups, values) for values in shown]
    whole, *parts = (all(one[k] for one in safe) for k in range(len(groups)))
    return [not whole, *(not (whole and all(parts)) for _ in parts)]


def _describe(values: Floats, counts: Floats) -> dict[str, float]:
    """Number, mean, standard deviation (n - 1) and range of values, each counted `counts` times."""
    number = float(counts.sum())
    if not number:
        return {"n_obs": 0}
    mean = float(counts @ values) / number
    spread = float(counts @ (values - mean) ** 2) / (number - 1) if number > 1 else float("nan")
    return {
        "n_obs": round(number),
        "mean": mean,
        "sd": spread**0.5,
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _in_words(remark: object, language: str, labels: Labels) -> str:
    """Say a remark, which is a Message or, of a method that refused, its English reason."""
    return remark.text(language, labels) if isinstance(remark, Message) else str(remark)


def _start(sentence: str) -> str:
    """Begin a sentence with a capital, where a label begins it."""
    return sentence[:1].upper() + sentence[1:]
