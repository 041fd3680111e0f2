"""Explaining: what a study compares, what its design can show, and how large an effect it can find, outcomes unread."""

from __future__ import annotations

import dataclasses
import inspect
import math

import numpy as np

from evalkit.catalogue import checked_language, say
from evalkit.checks import Power
from evalkit.designs.design import Design
from evalkit.designs.sample import draw_sample, smallest_attainable_p
from evalkit.errors import ConfigError, nearest
from evalkit.panels.panel import Panel
from evalkit.results.estimation import Specification, describe_member
from evalkit.study.config import FAMILIES, Planned, StudyConfig, members
from evalkit.study.running import build_panel, load_tables


def explain_study(config: StudyConfig, language: str = "en") -> str:
    """Read the sources, carry out the steps, and describe panel, design, specifications and checks; no effect is estimated."""
    checked_language(language)
    tables = load_tables(config)
    lines = [say("explain.study", language, name=config.name), ""]
    panel = None if config.panel is None else build_panel(config, tables)
    read = [table.provenance for table in tables.values()] if panel is None else [panel.provenance]
    for one in dict.fromkeys(source for provenance in read for source in provenance):
        kind = say("explain.synthetic" if one.synthetic else "explain.real", language)
        lines.append(
            say("explain.source", language, path=one.path, title=one.title or "–", kind=kind, sha=one.sha256[:12])
        )
    if panel is None:
        lines += ["", say("explain.account", language)]
        for name in config.references:
            rows, columns = f"{len(tables[name].frame):,}", ", ".join(map(str, tables[name].frame.columns))
            lines.append("  " + say("explain.table", language, name=name, rows=rows, columns=columns))
    else:
        lines += _explain_design(config, panel, language)
    return "\n".join(lines)


def _explain_design(config: StudyConfig, panel: Panel, language: str) -> list[str]:
    """Say who is compared with whom, on which rows, and how."""
    design = config.design
    assert design is not None  # a study with a panel has one
    sample, labels, periods = draw_sample(panel, design), config.labels, panel.periods
    lines = [
        say(
            "explain.panel",
            language,
            rows=f"{sample.n_obs:,.0f}",
            units=f"{sample.n_units:,}",
            first=periods.label(sample.period.min()),
            last=periods.label(sample.period.max()),
        )
    ]
    for line in (*panel.ledger, *sample.ledger):
        reason = line.reason.text(language, labels)
        lines.append(say("summary.dropped", language, rows=line.rows, units=line.units, reason=reason))
    lines += ["- " + note.text(language, labels) for note in sample.notes]
    lines += ["", say("explain.outcome", language, labels, outcome=design.outcome, level=design.assigned_at)]
    if design.dose is not None:
        lines.append(say("explain.dose", language, labels, dose=design.dose))
    if design.eligible is not None:
        lines.append(say("explain.eligible", language, labels, eligible=design.eligible, level=design.assigned_at))
    adoption = sample.cluster_adoption()
    dates, sizes = np.unique(adoption[~np.isnan(adoption)], return_counts=True)
    for date, size in zip(dates, sizes, strict=True):
        named = [str(sample.clusters[c]) for c in np.flatnonzero(adoption == date)]
        shown = ", ".join(named[:12]) + (", …" if len(named) > 12 else "")
        key = "explain.cohort" if date <= sample.period.max() else "explain.never"
        when = periods.label(date) if np.isfinite(date) else ""
        lines.append(say(key, language, labels, date=when, number=size, level=design.assigned_at, names=shown))
    floor = smallest_attainable_p(sample)
    lines.append(say("explain.floor" if floor <= 0.05 else "explain.floor_high", language, floor=f"{floor:.3g}"))
    lines += ["", say("explain.estimates", language)]
    lines += [f"  {name}: {_describe(planned, design)}" for name, planned in config.estimates.items()]
    lines += [say("explain.checks", language)] + [f"  {one.on}: {describe_member(one.check)}" for one in config.checks]
    return lines


def _describe(planned: Planned, design: Design) -> str:
    """Write a specification's members, and where its design departs from the study's."""
    names = (field.name for field in dataclasses.fields(design))
    changed = [f"{n}={getattr(planned.design, n)!r}" for n in names if getattr(planned.design, n) != getattr(design, n)]
    return ", ".join([describe_member(planned.estimator), describe_member(planned.inference), *changed])


def list_families() -> str:
    """List every member of every family with its settings and what it does."""
    lines = []
    for family in FAMILIES:
        lines.append(f"{family}:")
        for kind, member in members(family).items():
            settings = ", ".join(
                field.name + ("" if field.default is dataclasses.MISSING else f" = {field.default!r}")
                for field in dataclasses.fields(member)
            )
            about = (inspect.getdoc(member) or "").split("\n\n")[0].replace("\n", " ")
            lines += [f"  {kind}({settings})", f"      {about}"]
    return "\n".join(lines)


_WIDTH = 40  # of a bar that stands for 100 %


def power_study(config: StudyConfig, power: Power, *, estimate: str | None = None, language: str = "en") -> str:
    """Say what one of a study's estimates (the first, unless named) can find, and its power by effect."""
    checked_language(language)
    name = next(iter(config.estimates), "") if estimate is None else estimate
    if not config.estimates:
        raise ConfigError(
            "this study is an account", where=config.name, remedy="power is of a study with an [[estimate]]"
        )
    if name not in config.estimates:
        raise ConfigError(f"there is no estimate '{name}'", where="--estimate", remedy=nearest(name, config.estimates))
    planned = config.estimates[name]
    panel = build_panel(config, load_tables(config))
    finding = power.run(Specification(panel, planned.design, planned.estimator, planned.inference))
    lines = [f"[{name}] {finding.sentence.text(language, config.labels)}"]
    if math.isnan(finding.statistic):
        return lines[0]
    lines += ["", say("power.curve", language)]
    for row in finding.table.to_dict("records"):
        bar = "#" * round(_WIDTH * row["power"])
        lines.append(f"{row['effect']:<10.4g}  {100 * row['power']:>4.0f} %  {bar}".rstrip())
    return "\n".join(lines)
