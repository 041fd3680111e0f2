"""Exhibits of findings: for each kind of chart, the numbers that are drawn and how they are drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evalkit.catalogue import LANGUAGES, entries
from evalkit.reporting._canvas import (
    ACCENT,
    INK,
    NOTE,
    PALE,
    RULE,
    SMALL,
    Reader,
    finish,
    note_lines,
    set_number_axis,
    text_ems,
    write_minus,
)
from evalkit.reporting.estimate_figures import effect_axis, frame_event_times, legend_above, path_terms
from evalkit.results.estimation import Estimate
from evalkit.results.finding import Finding, weigh_after_adoption

MAX_DOTS = 40  # more assignments than this are drawn as a histogram
MAX_NAMED = 4
_WIDTH = 5.2
DASHED, DOTTED = (0, (5, 1.5)), (0, (1, 2))


@dataclass(frozen=True)
class Exhibit:
    """A kind of chart: the numbers drawn, the size in inches that suits them, and the drawing, of a finding and its estimate."""

    tabulate: Callable[[Finding, Estimate], pd.DataFrame]
    size: Callable[[Finding, Estimate], tuple[float, float]]
    draw: Callable[[Axes, Finding, Estimate, Reader], None]


def tabulate_chart(finding: Finding, estimate: Estimate) -> pd.DataFrame:
    """The columns of the finding's table that its chart names; intervals are missing where the table says `supported` no more."""
    chart, table = finding.chart, finding.table
    drawn = table[[name for name in (*chart.label, chart.value, chart.low, chart.high) if name]].copy()
    ends = [name for name in (chart.low, chart.high) if name]
    if "supported" in table.columns and ends:
        drawn[ends] = drawn[ends].where(table["supported"].astype(bool))
    return drawn


def draw_intervals(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """A row for each of the table's: a dot at its value, a bar for its interval, lines at zero and at what was stated."""
    chart, drawn = finding.chart, tabulate_chart(finding, estimate)
    y = np.arange(len(drawn))[::-1]
    ax.axvline(0, color=RULE, lw=0.6, zorder=1)
    for mark in chart.marks:
        ax.axvline(mark, color=RULE, lw=0.8, ls=DOTTED, zorder=1)
    if chart.low and chart.high:
        low, high = (drawn[name].to_numpy(float) for name in (chart.low, chart.high))
        shown = np.isfinite(low) & np.isfinite(high)
        ax.hlines(y[shown], low[shown], high[shown], color=ACCENT, lw=1.2, zorder=2)
        if not chart.value:  # ends that no dot would show
            ax.plot(np.r_[low[shown], high[shown]], np.r_[y[shown], y[shown]], ls="", marker="|", ms=7, color=ACCENT)
    if chart.value:
        ax.plot(drawn[chart.value].to_numpy(float), y, ls="", marker="o", ms=4.4, color=ACCENT, zorder=3)
    ax.set_yticks(y, _row_names(finding, reader))
    ax.set_ylim(-0.6, len(drawn) - 0.4)
    ax.tick_params(axis="y", length=0)
    _value_axis(ax, "x", finding, estimate, reader)
    finish(ax, reader, _title(finding, reader), [_told(finding, reader)])


def draw_curve(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """A value over numbers, with lines at what was stated."""
    chart, drawn = finding.chart, tabulate_chart(finding, estimate)
    x, y = (drawn[name].to_numpy(float) for name in (chart.label[0], chart.value))
    for mark in chart.marks:
        ax.axhline(mark, color=RULE, lw=0.8, ls=DOTTED, zorder=1)
    ax.plot(x, y, color=ACCENT, lw=1.4, marker="o", ms=3.2, zorder=2)
    if chart.label_axis is not None:
        ax.set_xlabel(chart.label_axis.text(reader.language, reader.labels))
    set_number_axis(ax, "x")
    _value_axis(ax, "y", finding, estimate, reader)
    finish(ax, reader, _title(finding, reader), [_told(finding, reader)])


def draw_counts(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """How often each value occurs, with lines at what was stated; of years, each has a bar."""
    chart = finding.chart
    values = tabulate_chart(finding, estimate)[chart.value].dropna().to_numpy(float)
    if chart.kind == "years":
        ax.bar(*np.unique(values, return_counts=True), width=0.7, color=PALE, zorder=2)
        shown = [*values, *chart.marks]
        ax.set_xlim(min(shown) - 1, max(shown) + 1)
    else:
        ax.hist(values, bins=20, color=PALE, zorder=2)
    for mark in chart.marks:
        ax.axvline(mark, color=ACCENT, lw=1.2, ls=DASHED, zorder=3)
    ax.set_ylabel(reader.say("chart.number"))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _value_axis(ax, "x", finding, estimate, reader)
    if chart.kind == "years":
        ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    finish(ax, reader, _title(finding, reader), [_told(finding, reader)])


def chart_size(finding: Finding, estimate: Estimate) -> tuple[float, float]:
    """Width and height that suit a chart: rows for intervals, and room for the sentence below, in the longer language."""
    lines = max(note_lines(finding.sentence.text(language), _WIDTH) for language in LANGUAGES)
    rows = 0.24 * len(finding.table) if finding.chart.kind == "intervals" else 1.7
    return _WIDTH, 1.25 + rows + 0.13 * lines


def _row_names(finding: Finding, reader: Reader) -> list[str]:
    """Name each row by its label columns, in the reader's words; numbers without needless digits, what is missing left out."""
    labels = finding.chart.label
    names = []
    for row in finding.table[list(labels)].to_dict("records"):
        said = []
        for label, one in row.items():
            if isinstance(one, str):
                said.append(_in_words(one, reader))
            elif pd.notna(one):
                said.append(("" if len(labels) == 1 else f"{label} = ") + write_minus(float(one)))
        names.append(", ".join(said))
    return names


def _in_words(name: str, reader: Reader) -> str:
    """Give a method its name, with the settings that tell two alike apart; any other name is the study's."""
    method, settings = name, ""
    if match := re.fullmatch(r"(\w+)\((.*)\)", name):
        method, settings = match[1], match[2]
    key = f"method-name.{method}"
    if key not in entries():
        return reader.word(name)
    told = ", ".join(one for one in settings.split(", ") if one and not one.startswith(("draws=", "seed=")))
    return reader.say(key) + (f" ({told})" if told else "")


def _value_axis(ax: Axes, axis: str, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """Label the axis of values: in the chart's words, or as effects in the unit of the outcome."""
    words = finding.chart.axis
    if words is None:
        effect_axis(ax, axis, estimate, reader)
        return
    (ax.set_xlabel if axis == "x" else ax.set_ylabel)(words.text(reader.language, reader.labels))
    set_number_axis(ax, axis)


def _told(finding: Finding, reader: Reader) -> str:
    return finding.sentence.text(reader.language, reader.labels)


def tabulate_placebos(finding: Finding, estimate: Estimate) -> pd.DataFrame:
    """The table of assignments, each with its rank; one that cannot be estimated counts as extreme, as in the check."""
    table = finding.table.copy()
    size = table["statistic"].abs().fillna(np.inf).to_numpy()
    rank = [1 + int((size > one * (1 + 1e-9)).sum()) for one in size]
    table.insert(list(table.columns).index("actual"), "rank", rank)
    return table


def tabulate_left_out(finding: Finding, estimate: Estimate) -> pd.DataFrame:
    """The effect without each unit, beside that of the full sample."""
    return finding.table[["left_out", "treated", "estimate", "why"]].assign(full_sample=_full_sample(estimate))


def _full_sample(estimate: Estimate) -> float:
    return float(weigh_after_adoption(estimate.fit.terms) @ estimate.fit.coefficients)


def draw_placebos(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """Paths where the estimate is one over event time, else effects."""
    (draw_placebo_paths if path_terms(estimate) else draw_placebo_effects)(ax, finding, estimate, reader)


def placebo_size(finding: Finding, estimate: Estimate) -> tuple[float, float]:
    """A path is wide; effects need a row each, up to the number from which they are a histogram."""
    return (5.2, 3.4) if path_terms(estimate) else _rows_size(finding, "treated")


def left_out_size(finding: Finding, estimate: Estimate) -> tuple[float, float]:
    """A row for each unit that was left out."""
    return _rows_size(finding, "left_out")


def _rows_size(finding: Finding, names: str) -> tuple[float, float]:
    if len(finding.table) > MAX_DOTS:
        return 3.4, 2.8
    longest = max(text_ems(str(name)) for name in finding.table[names])
    return 3.0 + longest * SMALL / 72, 1.75 + 0.165 * len(finding.table)


def draw_placebo_paths(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """The actual path in bold over those of all other assignments; those at least as extreme are dashed and named."""
    drawn = tabulate_placebos(finding, estimate)
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
    finish(ax, reader, _title(finding, reader), notes, rows)


def draw_placebo_effects(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """The effect under each assignment, sorted, the actual one marked; a histogram where there are many."""
    drawn = tabulate_placebos(finding, estimate)
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
    finish(ax, reader, _title(finding, reader), notes, rows)


def draw_leave_one_out(ax: Axes, finding: Finding, estimate: Estimate, reader: Reader) -> None:
    """The effect without each unit of assignment, the full-sample one as a line; what cannot be estimated is said."""
    drawn = tabulate_left_out(finding, estimate).sort_values("estimate", kind="stable", na_position="first")
    level = estimate.spec.design.assigned_at
    full, values, y = _full_sample(estimate), drawn["estimate"].to_numpy(float), np.arange(len(drawn))
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
    finish(ax, reader, _title(finding, reader), notes, rows)


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


def _title(finding: Finding, reader: Reader) -> str:
    return finding.chart.title.text(reader.language, reader.labels)


def _placebo_notes(finding: Finding, drawn: pd.DataFrame, reader: Reader, key: str) -> list[str]:
    actual = drawn["actual"].astype(bool)
    # Drawn at random, the actual assignment may not be among the rows; it then counts as one more.
    total = len(drawn) if actual.any() else len(drawn) + 1
    rank = 1 + int((drawn["statistic"].abs().fillna(np.inf) > abs(finding.statistic) * (1 + 1e-9)).sum())
    p, floor = f"{finding.p_value:.3f}", f"{finding.bound:.3f}"
    notes = [reader.say(key, rank=rank, total=total, p=p, floor=floor)]
    failed = int(drawn["statistic"].isna().sum())
    return notes + ([reader.say("figure.failed", number=failed)] if failed else [])


EXHIBITS = {
    "intervals": Exhibit(tabulate_chart, chart_size, draw_intervals),
    "curve": Exhibit(tabulate_chart, chart_size, draw_curve),
    "counts": Exhibit(tabulate_chart, chart_size, draw_counts),
    "years": Exhibit(tabulate_chart, chart_size, draw_counts),
    "placebo_assignment": Exhibit(tabulate_placebos, placebo_size, draw_placebos),
    "leave_one_out": Exhibit(tabulate_left_out, left_out_size, draw_leave_one_out),
}
"""Kind of chart → exhibit. A check needs no line here unless none of the general kinds can show it."""
