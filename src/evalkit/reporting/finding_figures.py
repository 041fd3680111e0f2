"""Figures of findings: placebo assignments (as paths, dots or a histogram) and leaving one unit out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evalkit.reporting._canvas import ACCENT, INK, NOTE, PALE, RULE, Reader, finish
from evalkit.reporting._drawn import full_sample_effect, path_terms, tabulate_finding
from evalkit.reporting.estimate_figures import effect_axis, frame_event_times, legend_above
from evalkit.results.estimation import Estimate
from evalkit.results.finding import Finding

MAX_DOTS = 40  # more assignments than this are drawn as a histogram
MAX_NAMED = 4
DASHED, DOTTED = (0, (5, 1.5)), (0, (1, 2))


def draw_placebo_paths(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """The actual path in bold over those of all other assignments; those at least as extreme are dashed and named."""
    drawn = tabulate_finding(finding, estimate)
    at = path_terms(estimate)
    terms = [estimate.fit.terms[i] for i in at]
    x = np.array([term.event_time for term in terms], dtype=float)
    level = estimate.spec.design.assigned_at
    extreme = _as_extreme(drawn, finding) & ~drawn["actual"].astype(bool) & drawn["statistic"].notna()
    ordinary = drawn[~extreme & ~drawn["actual"].astype(bool) & drawn["statistic"].notna()]
    names = [term.name for term in terms]
    for y in ordinary[names].to_numpy(float):
        ax.plot(x, y, color=PALE, lw=0.8 if len(ordinary) <= MAX_DOTS else 0.4, zorder=2)
    for name, y in zip(drawn.loc[extreme, "treated"], drawn.loc[extreme, names].to_numpy(float), strict=True):
        ax.plot(x, y, color=RULE, lw=0.9, ls=DASHED, zorder=2)
        if extreme.sum() <= MAX_NAMED and np.isfinite(y[-1]):
            text = _unit_name(str(name), level, reader)
            ax.annotate(
                text, (x[-1], y[-1]), (4, 0), textcoords="offset points", va="center", fontsize=NOTE, color="#505050"
            )
    y = estimate.fit.coefficients[at]
    base = np.array([term.role == "base" for term in terms])
    ax.plot(x, y, color=ACCENT, lw=2.0, marker="o", ms=4.6, zorder=4)
    ax.plot(x[base], y[base], ls="", marker="o", ms=4.8, mfc="white", mec=ACCENT, mew=1.2, zorder=5)
    frame_event_times(ax, estimate, reader)
    handles = [
        Line2D([], [], color=ACCENT, lw=2.0, marker="o", ms=4.6, label=_actual_label(drawn, estimate, reader)),
        Line2D([], [], color=PALE, lw=0.8, label=reader.say("figure.placebos", number=len(ordinary))),
    ]
    if extreme.any():
        label = reader.say("figure.placebos_extreme", number=int(extreme.sum()))
        handles.append(Line2D([], [], color=RULE, lw=0.9, ls=DASHED, label=label))
    rows = legend_above(ax, handles, columns=2)
    notes = [reader.say("figure.base"), *_placebo_notes(finding, drawn, reader, "figure.rank_path")]
    finish(ax, reader, _placebo_title(estimate, reader), notes, rows)


def draw_placebo_effects(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """The effect under each assignment, sorted, the actual one marked; a histogram where there are many."""
    drawn = tabulate_finding(finding, estimate)
    level = estimate.spec.design.assigned_at
    ax.axvline(0, color=RULE, lw=0.6, zorder=1)
    for mark in (-abs(finding.statistic), abs(finding.statistic)):
        ax.axvline(mark, color=RULE, lw=0.8, ls=DOTTED, zorder=1)
    known = drawn[drawn["statistic"].notna()].sort_values("statistic", kind="stable")
    values = known["statistic"].to_numpy(float)
    label = _actual_label(drawn, estimate, reader)
    if len(drawn) > MAX_DOTS:
        ax.hist(values, bins=MAX_DOTS, color=PALE, zorder=2)
        handle = ax.axvline(finding.statistic, color=ACCENT, lw=1.8, zorder=3, label=label)
        ax.set_ylabel(reader.say("figure.assignments"))
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    else:
        y, actual = np.arange(len(known)), known["actual"].to_numpy(bool)
        ax.hlines(y, 0, values, color=PALE, lw=0.7, zorder=2)
        ax.plot(values[~actual], y[~actual], ls="", marker="o", ms=4, color=RULE, zorder=3)
        (handle,) = ax.plot(values[actual], y[actual], ls="", marker="D", ms=5.2, color=ACCENT, zorder=4, label=label)
        _name_rows(ax, known["treated"], reader)
        for mark, tick in zip(actual, ax.get_yticklabels(), strict=True):
            tick.set_color(ACCENT if mark else INK)
        ax.set_ylabel(reader.say("figure.placebo_level", level=level))
    effect_axis(ax, "x", estimate, reader)
    rows = legend_above(ax, [handle])
    notes = _placebo_notes(finding, drawn, reader, "figure.rank_effect")
    finish(ax, reader, _placebo_title(estimate, reader), notes, rows)


def draw_leave_one_out(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """The effect without each unit of assignment, the full-sample one as a line; what cannot be estimated is said."""
    drawn = tabulate_finding(finding, estimate).sort_values("estimate", kind="stable", na_position="first")
    level = estimate.spec.design.assigned_at
    full, values, y = full_sample_effect(estimate), drawn["estimate"].to_numpy(float), np.arange(len(drawn))
    ax.axvline(0, color=RULE, lw=0.6, zorder=1)
    line = ax.axvline(full, color=ACCENT, lw=1.2, ls=DASHED, zorder=2, label=reader.say("figure.full_sample"))
    ax.plot(values, y, ls="", marker="o", ms=4.2, color=INK, zorder=3)
    span = [v for v in (0.0, full, *values) if np.isfinite(v)]
    margin = 0.07 * ((max(span) - min(span)) or 1.0)
    ax.set_xlim(min(span) - margin, max(span) + margin)
    for at in y[np.isnan(values)]:
        ax.annotate(
            reader.say("figure.not_estimable"),
            (0.5, at),
            xycoords=("axes fraction", "data"),
            ha="center",
            va="center",
            fontsize=NOTE,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            zorder=5,
        )
    _name_rows(ax, drawn["left_out"], reader)
    ax.set_ylabel(reader.say("figure.left_out", level=level))
    effect_axis(ax, "x", estimate, reader)
    rows = legend_above(ax, [line])
    notes = [reader.say("figure.rest_on_one")] if np.isnan(values).any() else []
    finish(ax, reader, reader.say("figure.title_leave_one_out", level=level), notes, rows)


def _name_rows(ax: Axes, names: pd.Series, reader: Reader) -> None:
    ax.set_yticks(np.arange(len(names)), [reader.word(str(name)) for name in names])
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.tick_params(axis="y", length=0)


def _as_extreme(drawn: pd.DataFrame, finding: Finding) -> pd.Series:
    return drawn["statistic"].abs().fillna(np.inf) >= abs(finding.statistic) * (1 - 1e-9)


def _actual_label(drawn: pd.DataFrame, estimate: Estimate, reader: Reader) -> str:
    """Name the units actually treated where the assignment is in the table and names few; else only "actual"."""
    actual = drawn.loc[drawn["actual"].astype(bool), "treated"]
    if len(actual) and len(str(actual.iloc[0]).split(", ")) <= MAX_NAMED:
        name = _unit_name(str(actual.iloc[0]), estimate.spec.design.assigned_at, reader)
        return reader.say("figure.actual_named", name=name)
    return reader.say("figure.actual")


def _unit_name(treated: str, level: str, reader: Reader) -> str:
    """Name units of assignment: bare numbers with the level before them ("county 3"), names as they are."""
    names = treated.split(", ")
    text = ", ".join(reader.word(name) for name in names)
    return reader.say("figure.one_unit", level=level, name=text) if all(n.isdigit() for n in names) else text


def _placebo_title(estimate: Estimate, reader: Reader) -> str:
    key = "figure.title_placebo" if estimate.uncertainty.clusters.treated == 1 else "figure.title_placebo_many"
    return reader.say(key, level=estimate.spec.design.assigned_at)


def _placebo_notes(finding: Finding, drawn: pd.DataFrame, reader: Reader, key: str) -> list[str]:
    actual = drawn["actual"].astype(bool)
    # Drawn at random, the actual assignment may not be among the rows; it then counts as one more.
    total = len(drawn) if actual.any() else len(drawn) + 1
    rank = 1 + int((drawn["statistic"].abs().fillna(np.inf) > abs(finding.statistic) * (1 + 1e-9)).sum())
    p, floor = f"{finding.p_value:.3f}", f"{finding.bound:.3f}"
    notes = [reader.say(key, rank=rank, total=total, p=p, floor=floor)]
    failed = int(drawn["statistic"].isna().sum())
    return notes + ([reader.say("figure.failed", number=failed)] if failed else [])
