"""Figures of estimates: the event study and the coefficient plot, and what figures of effects share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from evalkit.numerics.arrays import Flags
from evalkit.reporting._canvas import ACCENT, RULE, SERIES, Reader, finish, set_number_axis, write_minus
from evalkit.results.estimation import Estimate

LineStyle = str | tuple[int, tuple[int, int]]
MAX_TICKS = 16


def draw_event_study(ax: Axes, estimate: Estimate, reader: Reader) -> None:
    """Effects by event time: a line at zero, a dashed one at adoption, the base hollow, bars for the intervals."""
    table = tabulate_estimate(estimate)
    table = table[table["event_time"].notna()]
    groups = list(table.groupby(["subgroup", "cohort"], dropna=False, sort=False))
    for i, (key, rows) in enumerate(groups):
        color, marker = SERIES[i % len(SERIES)]
        shift = 0.0 if len(groups) == 1 else 0.12 * (i - (len(groups) - 1) / 2)
        x = rows["event_time"].to_numpy(float) + shift
        y, low, high = (rows[name].to_numpy(float) for name in ("estimate", "conf_low", "conf_high"))
        label = ", ".join(reader.word(name) for name in key if isinstance(name, str))
        ax.plot(x, y, color=color, lw=1.1, zorder=3, marker=marker, ms=4.2, label=label)
        base = rows["base"].to_numpy(bool)
        ax.plot(x[base], y[base], ls="", marker=marker, ms=4.6, mfc="white", mec=color, mew=1.0, zorder=4)
        for shown, style in _bars(rows):
            ax.vlines(x[shown], low[shown], high[shown], color=color, lw=1.0, ls=style, zorder=2)
    frame_event_times(ax, estimate, reader)
    legend_rows = 0
    if len(groups) > 1:
        lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
        legend_rows = legend_above(ax, lines, columns=2)
    notes = [reader.say("figure.base"), *interval_notes(estimate, reader)]
    finish(ax, reader, reader.say("figure.title_event_study"), notes, legend_rows)


def draw_coefficients(ax: Axes, estimate: Estimate, reader: Reader) -> None:
    """One dot for each effect, with its interval; dashed where the design does not support it."""
    table = tabulate_estimate(estimate)
    table = table[~table["base"]]
    y = np.arange(len(table))[::-1]
    values, low, high = (table[name].to_numpy(float) for name in ("estimate", "conf_low", "conf_high"))
    ax.axvline(0, color=RULE, lw=0.6, zorder=1)
    for shown, style in _bars(table):
        ax.hlines(y[shown], low[shown], high[shown], color=ACCENT, lw=1.1, ls=style, zorder=2)
    ax.plot(values, y, ls="", marker="o", ms=5, color=ACCENT, zorder=3)
    ax.set_yticks(y, [_effect_name(row, reader) for _, row in table.iterrows()])
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.tick_params(axis="y", length=0)
    effect_axis(ax, "x", estimate, reader)
    finish(ax, reader, reader.say("figure.title_effects"), interval_notes(estimate, reader))


def frame_event_times(ax: Axes, estimate: Estimate, reader: Reader) -> None:
    """Draw the zero line and adoption, and label both axes of a path."""
    ax.axhline(0, color=RULE, lw=0.6, zorder=1)
    ax.axvline(-0.5, color=RULE, lw=0.8, ls=(0, (4, 3)), zorder=1)
    times = sorted({term.event_time for term in estimate.fit.terms if term.event_time is not None})
    binned = binned_ends(estimate)
    if len(times) <= MAX_TICKS:
        ax.set_xticks(times, [_tick(e, times, binned) for e in times])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=MAX_TICKS // 2, integer=True))
        ax.xaxis.set_major_formatter(lambda value, _: write_minus(value))
    ax.set_xlabel(reader.say(f"figure.since_{_period_name(estimate)}"))
    effect_axis(ax, "y", estimate, reader)


def effect_axis(ax: Axes, axis: str, estimate: Estimate, reader: Reader) -> None:
    """Label an axis of effects with the outcome and its unit, and tick it at round numbers."""
    outcome = estimate.spec.design.outcome
    label = reader.effect_label(outcome, estimate.spec.panel.units.get(outcome, ""))
    (ax.set_xlabel if axis == "x" else ax.set_ylabel)(label)
    set_number_axis(ax, axis)


def interval_notes(estimate: Estimate, reader: Reader) -> list[str]:
    """Say what the bars are, or that there are none, and which of them the design does not support."""
    table = tabulate_estimate(estimate)
    known = table["conf_low"].notna()
    if not known.any():
        return [reader.say("figure.no_uncertainty")]
    notes = [reader.say("figure.intervals", method=estimate.uncertainty.method)]
    if (known & ~table["supported"]).any():
        notes.append(reader.say("figure.dashed"))
    return notes


def _bars(table: pd.DataFrame) -> list[tuple[Flags, LineStyle]]:
    """The rows with an interval that the design supports, and those with one that it does not, each with its style, if any."""
    known = np.isfinite(table["conf_low"].to_numpy(float)) & np.isfinite(table["conf_high"].to_numpy(float))
    supported = table["supported"].to_numpy(bool)
    styles: list[tuple[Flags, LineStyle]] = [(known & supported, "-"), (known & ~supported, (0, (2, 2)))]
    return [(rows, style) for rows, style in styles if rows.any()]


def legend_above(ax: Axes, handles: Sequence[Artist], columns: int = 1) -> int:
    """Put the legend above the axes, where it covers nothing; return its number of rows."""
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        borderaxespad=0.1,
        borderpad=0.2,
        handlelength=1.8,
        columnspacing=1.2,
    )
    return -(-len(handles) // columns)


def _period_name(estimate: Estimate) -> str:
    periods = estimate.spec.panel.periods
    if periods.frequency == "integer":
        years = periods.step == 1 and 1000 <= periods.first <= 2999
        return "years" if years else "periods"
    return f"{periods.frequency}s" if periods.step == 1 else "periods"


def _tick(event_time: int, times: list[int], binned: set[int]) -> str:
    end = {times[0]: "\N{LESS-THAN OR EQUAL TO}", times[-1]: "\N{GREATER-THAN OR EQUAL TO}"}
    return (end.get(event_time, "") if event_time in binned else "") + write_minus(event_time)


def _effect_name(row: pd.Series, reader: Reader) -> str:
    parts = [row[name] for name in ("subgroup", "cohort", "period")]
    words = ", ".join(reader.word(part) for part in parts if isinstance(part, str))
    return words or (reader.say("figure.att") if row["term"] == "ATT" else reader.word(str(row["term"])))


def is_synthetic(estimate: Estimate) -> bool:
    """Say whether any input of an estimate is synthetic."""
    return any(source.synthetic for source in estimate.spec.panel.provenance)


def has_event_times(estimate: Estimate) -> bool:
    """Say whether an estimate is a path over event times."""
    return any(term.event_time is not None for term in estimate.fit.terms)


def path_terms(estimate: Estimate) -> list[int]:
    """Positions of the terms of one path over event times, in order; empty where there is none, or several."""
    terms = estimate.fit.terms
    at = [i for i, term in enumerate(terms) if term.event_time is not None]
    times = [terms[i].event_time for i in at]
    return sorted(at, key=lambda i: terms[i].event_time or 0) if len(set(times)) == len(times) else []


def tabulate_estimate(estimate: Estimate) -> pd.DataFrame:
    """The numbers drawn for an estimate, one row per effect, and whether the design supports the interval."""
    table = estimate.tidy()
    table["base"] = table["term"].isin({term.name for term in estimate.fit.terms if term.role == "base"})
    columns = "term event_time cohort period subgroup base estimate conf_low conf_high supported".split()
    return table[columns]


def binned_ends(estimate: Estimate) -> set[int]:
    """Event times into which rows beyond the window were binned."""
    return {term.event_time for term in estimate.fit.terms if term.binned and term.event_time is not None}
