"""Write results into a page, between markers, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from montecarlo.beforehand import compare
from montecarlo.cells import band
from montecarlo.results import Result

Rows = Sequence[Result]
_NAMES = {
    "G": "counties",
    "ratio": "variance ratio",
    "rho": "autocorrelation",
    "cohort": "counties a cohort",
    "shared": "variance shared",
    "large": "the large county is",
    "noise": "noise of",
    "farms": "farms a county",
    "sd": "shock of a group in a county",
}
_QUALIFIER = "of"
_GRID = ("CR1", "CR2", "CV3", "pooled", "WCR", "WCU", "permutation", "ByDesign")


def number(share: float) -> str:
    """Write a share as .052."""
    return f"{share:.3f}".removeprefix("0")


def show(one: Result) -> str:
    """Write a share: bold above the band, italic below it, † where the method calls itself unsupported, – where it refuses."""
    if not one.judged:
        return "–"
    text = number(1 - one.rate if one.measure == "misses" else one.rate)
    text = {"above": f"**{text}**", "below": f"*{text}*"}.get(one.verdict, text)
    return text + ("†" if one.supported < one.judged else "")


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_cell(rows: Rows) -> str:
    """Write a row for each cell (and qualifier, the part of a method's name after a comma) and a column for each method."""
    found: dict[tuple[str, str], dict[str, Result]] = {}
    for one in rows:
        method, _, qualifier = one.method.partition(", ")
        found.setdefault((one.cell, qualifier), {})[method] = one
    methods = list(dict.fromkeys(method for line in found.values() for method in line))
    qualified, settings = any(qualifier for _, qualifier in found), list(rows[0].settings)
    uneven = len({one.judged for one in rows if one.judged}) > 1
    head = [_NAMES.get(name, name) for name in settings] + [_QUALIFIER] * qualified + methods + ["draws"] * uneven
    body = []
    for (_, qualifier), line in found.items():
        shown = [show(line[method]) if method in line else "" for method in methods]
        draws = " / ".join(dict.fromkeys(f"{one.judged:,}" for one in line.values() if one.judged))
        first = next(iter(line.values()))
        body.append([*first.settings.values(), *[qualifier] * qualified, *shown, *[draws] * uneven])
    return f"{table(head, body)}\n\n{caption(rows)}"


def caption(rows: Rows) -> str:
    """Say how many draws there were, and what chance alone can do."""
    sizes = sorted({one.judged for one in rows if one.judged}, reverse=True)
    misses = {one.measure for one in rows} == {"misses"}
    spans = []
    for size in sizes:
        low, high = band(size)
        low, high = (1 - high, 1 - low) if misses else (low, high)
        error = (0.05 * 0.95 / size) ** 0.5
        spans.append(f"with {size:,} draws {number(low)} to {number(high)} (Monte Carlo error {number(error)})")
    what = "Coverage of 95 % intervals" if misses else "Share of true nulls rejected at 5 %"
    return f"{what}. By chance alone a method that keeps its promise gives, in 999 of 1,000 runs: {'; '.join(spans)}."


def summary(rows: Rows) -> str:
    """Count by method the cells above, inside and below the band."""
    body = []
    for method in _GRID:
        of = [one for one in rows if one.experiment == "grid" and one.method == method]
        counts = [sum(one.verdict == word for one in of) for word in ("above", "inside", "below", "refuses")]
        ratios = [sum(one.verdict == "above" for one in of if one.settings["ratio"] == r) for r in ("1/4", "1", "4")]
        most = max((one.rate for one in of if one.judged), default=float("nan"))
        body.append([method, *map(str, (*counts, *ratios)), number(most)])
    head = ["method", "above", "inside", "below", "refuses", "above at ratio 1/4", "at 1", "at 4", "largest share"]
    return table(head, body)


def above(rows: Rows) -> str:
    """Name every cell of any experiment in which ByDesign's headline rejects (or misses) too often."""
    of = [one for one in rows if one.method.startswith("ByDesign") and one.verdict == "above"]
    lines = [f"- {one.experiment}: {one.cell}: {show(one)}" for one in of]
    total = sum(one.method.startswith("ByDesign") for one in rows)
    return "\n".join([f"ByDesign is above the band in {len(of)} of {total} cells:", "", *lines] if of else ["In none."])


def beforehand(rows: Rows) -> str:
    """Set the figures measured beforehand beside those of now; bold where they differ."""
    pairs = compare(rows)
    body = [
        [one.now.experiment, one.now.cell, one.now.method, number(one.before), f"**{now}**" if one.differs else now]
        for one in pairs
        for now in [number(one.now.rate)]
    ]
    differing = sum(one.differs for one in pairs)
    words = f"Of {len(pairs)} figures {differing} differ by more than chance explains (99.9 %)."
    return f"{words}\n\n{table(['experiment', 'cell', 'method', 'beforehand', 'now'], body)}"


def turning(rows: Rows) -> str:
    """Where the conclusion turns, and how many draws go as far there."""
    found: dict[str, dict[str, Result]] = {}
    for one in rows:
        if one.experiment == "turning":
            found.setdefault(one.cell, {})[one.method.partition(", ")[2]] = one
    body = []
    for of in found.values():
        first = next(iter(of.values()))
        shown = [_at(of.get(law)) for law in ("noise", "shared")]
        body.append(
            [*first.settings.values(), first.method.partition(", ")[0], *(text for pair in shown for text in pair)]
        )
    head = ["design", "estimator", "p of the effect", "judged by", "noise ratio", "go as far there", "shared share"]
    return table([*head, "go as far there"], body)


def _at(one: Result | None) -> tuple[str, str]:
    if one is None:
        return "", ""
    return one.why.removeprefix("at "), number(one.rate)


def _experiment(name: str) -> Callable[[Rows], str]:
    def render(rows: Rows) -> str:
        of = [one for one in rows if one.experiment == name]
        split = [[one for one in of if one.measure == measure] for measure in ("rejects", "misses")]
        return "\n\n".join(by_cell(part) for part in split if part)

    return render


_EXPERIMENTS = "grid serial rows unequal cohorts alone prefectures paths farms gaps".split()
SECTIONS: dict[str, Callable[[Rows], str]] = {
    "summary": summary,
    "above": above,
    "beforehand": beforehand,
    "turning": turning,
    **{name: _experiment(name) for name in _EXPERIMENTS},
}


def render(rows: Rows) -> dict[str, str]:
    """The sections of the page by name."""
    return {name: write(rows) for name, write in SECTIONS.items()}


def fill(text: str, sections: Mapping[str, str]) -> str:
    """Replace what stands between `<!-- begin name -->` and `<!-- end name -->` in a page by the section of that name."""
    for name, section in sections.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"the page needs one '{begin}' and one '{end}'")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{section}\n{end}{rest.partition(end)[2]}"
    return text
