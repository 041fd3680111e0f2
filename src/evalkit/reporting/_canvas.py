"""What every figure shares: fonts, style, the reader's language, and notes that fit the width."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evalkit.catalogue import Labels, Language, entries, say
from evalkit.errors import ConfigError

# Latin letters, figures and subscripts (CO₂) from the first family, Chinese from the second.
FAMILY = ["DejaVu Sans", "Noto Sans SC"]
# Colours of Okabe and Ito (2008): colour-blind readers tell them apart, and in grey print so does their darkness.
INK, ACCENT, PALE, RULE = "#1a1a1a", "#0072B2", "#b4b4b4", "#7a7a7a"
SERIES = ((ACCENT, "o"), ("#E69F00", "s"), (INK, "^"), ("#56B4E9", "D"))
TITLE, LABEL, SMALL, NOTE = 8.5, 8.0, 7.5, 6.8
_GROUPS = re.compile(r"(axes|errorbar|figure|font|hist|legend|lines|patch|path|savefig|svg|text|[xy]tick)\.")
# A space; one Chinese character or a word, each with the punctuation that may not start a line.
_TOKEN = re.compile(
    r" |(?:[⺀-鿿]|[^ ⺀-鿿、。，；：）％！？”]+)?[、。，；：）％！？”]+|[⺀-鿿]|[^ ⺀-鿿、。，；：）％！？”]+"
)
_STYLE: dict[Any, Any] = {
    "font.family": FAMILY,
    "font.size": 8.0,
    "axes.unicode_minus": False,
    "axes.titlesize": TITLE,
    "axes.titlelocation": "left",
    "axes.labelsize": LABEL,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "savefig.dpi": 300,
    "svg.hashsalt": "evalkit",
    "svg.fonttype": "path",
}


@cache
def _add_fonts() -> None:
    font_manager.fontManager.addfont(str(font_folder() / CHINESE))


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw and save inside this: Matplotlib's defaults, then ours; what the user has set comes back at the end."""
    _add_fonts()
    defaults: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if _GROUPS.match(k)}
    with matplotlib.rc_context({**defaults, **_STYLE}):
        yield
        interactive = matplotlib.is_interactive()
    # A notebook turns it on at its first figure; rc_context would turn it off again.
    matplotlib.interactive(interactive)


@dataclass(frozen=True)
class Reader:
    """Whom a figure is drawn for: the language, the study's words for its columns, and what must be declared."""

    language: Language
    labels: Labels = field(default_factory=dict)
    synthetic: bool = False
    titled: bool = True

    def say(self, key: str, **values: object) -> str:
        """Fill an entry of the catalogue with the study's words."""
        return say(key, self.language, self.labels, **values)

    def word(self, name: str) -> str:
        """Give a column, subgroup or unit of assignment its words."""
        return self.labels.get(name, {}).get(self.language, name)

    def effect_label(self, outcome: str, unit: str) -> str:
        """Name the axis of effects: the outcome and its unit, for which the catalogue may have other words."""
        if not unit:
            return self.say("figure.effect", outcome=outcome)
        key = f"unit.{unit}"
        words = self.word(unit)
        known = key in entries() and words == unit
        return self.say("figure.effect_unit", outcome=outcome, unit=self.say(key) if known else words)


def new_axes(width: float, height: float, *, shown: bool) -> Axes:
    """Make axes in a figure of this size in inches; `shown` registers it with pyplot: a notebook displays it."""
    size = (width, height)
    return (
        plt.figure(figsize=size, layout="constrained") if shown else Figure(figsize=size, layout="constrained")
    ).subplots()


def finish(ax: Axes, reader: Reader, title: str, notes: list[str], legend_rows: int = 0) -> None:
    """Set title and notes: the title above the legend, the notes below the label of the x axis, within the width."""
    ax.tick_params(labelfontfamily=FAMILY, labelsize=SMALL)  # ticks made later, outside the style, keep the fonts
    if reader.synthetic:
        title = reader.say("figure.synthetic", title=title) if reader.titled else reader.say("figure.synthetic_only")
    width, height = _inches(ax)
    if reader.titled or reader.synthetic:
        ax.set_title("\n".join(_balance(title, width * 72 / TITLE)), pad=6 + 12 * legend_rows)
    ax.set_xlabel("\n".join(_balance(ax.get_xlabel(), width * 72 / LABEL)))
    ax.set_ylabel("\n".join(_balance(ax.get_ylabel(), height * 72 / LABEL)))
    if not notes:
        return
    said = (" " if reader.language == "en" else "").join(notes).replace("(G-", "(G\N{MINUS SIGN}")
    text = "\n".join(wrap_text(said, width * 72 / NOTE))
    ax.annotate(
        text,
        (0, 0),
        xycoords=("axes fraction", ax.xaxis.label),
        xytext=(0, -5),
        textcoords="offset points",
        va="top",
        ha="left",
        fontsize=NOTE,
        color="#404040",
        linespacing=1.35,
    )


def _inches(ax: Axes) -> tuple[float, float]:
    """Estimate the width and height of the axes in inches, what stands around them taken off."""
    figure, place = ax.get_figure(root=True), ax.get_subplotspec()
    assert figure is not None
    rows, columns = (1, 1) if place is None else place.get_gridspec().get_geometry()
    ticks = max(
        (text_ems(label.get_text()) for label in ax.get_yticklabels()), default=0.0
    )  # empty before numbers are drawn
    beside = 0.42 + max(ticks, 3.0) * SMALL / 72  # the axis' own label, the ticks, and the margins
    return figure.get_figwidth() / columns - beside, figure.get_figheight() / rows * 0.62


def _balance(text: str, ems: float) -> list[str]:
    """Break a label into lines of about the same length."""
    lines = wrap_text(text, ems)
    while len(lines) > 1 and len(tighter := wrap_text(text, ems * 0.95)) == len(lines) and ems > 4:
        lines, ems = tighter, ems * 0.95
    return lines


def wrap_text(text: str, ems: float) -> list[str]:
    """Break text into lines of at most `ems` em: at spaces, and between Chinese characters, not before punctuation."""
    lines, line, length = list[str](), "", 0.0
    for token in _TOKEN.findall(text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")):
        width = text_ems(token)
        if line and length + width > ems and token != " ":
            lines.append(line.rstrip())
            line, length = "", 0.0
        if line or token != " ":
            line += token
            length += width
    return [*lines, line.rstrip()] if line else lines


def note_lines(text: str, width: float) -> int:
    """Estimate how many lines a note takes below axes in a figure of this width in inches."""
    return len(wrap_text(text, (width - 1.4) * 72 / NOTE))


def text_ems(text: str) -> float:
    """Estimate the width of text in em."""
    return sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.55 for char in text)


def write_minus(value: float, decimals: int | None = None) -> str:
    """Write a number with a true minus sign."""
    return (f"{value:g}" if decimals is None else f"{value:.{decimals}f}").replace("-", "\N{MINUS SIGN}")


def set_number_axis(ax: Axes, axis: str, bins: int = 6) -> None:
    """Tick an axis of effects at round numbers, all with the same decimals."""
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_major_locator(MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10]))

    def write(value: float, _: int | None = None) -> str:
        ticks = [round(float(t), 12) for t in chosen.get_majorticklocs()]
        decimals = max((len(f"{t:.10f}".rstrip("0").split(".")[1]) for t in ticks), default=0)
        return write_minus(round(value, 12) + 0.0, min(decimals, 6))

    chosen.set_major_formatter(FuncFormatter(write))


CHINESE = "NotoSansSC-Regular.ttf"


def font_folder() -> Path:
    """Find the folder with NotoSansSC-Regular.ttf without importing the package that carries it."""
    spec = find_spec("zhplot")
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(location) / "fonts"
        if (folder / CHINESE).is_file():
            return folder
    raise ConfigError(
        "no font with Chinese characters is installed", where="fonts", remedy="install the package zhplot"
    )
