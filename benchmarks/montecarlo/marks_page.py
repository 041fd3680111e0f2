"""Tables of marks and headline, from the terms that were measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from evalkit.results.loadings import STANDS
from montecarlo.marks import POWERS, Term
from montecarlo.page import number, table
from montecarlo.panels import Flags, Ints
from montecarlo.worlds import INDEPENDENT, LASTING, LAWS, STRAINED

Terms = Sequence[Term]
GOOD, BAD = 0.055, STANDS
"""Up to the first a measured size is good; above the second, bad."""
FAMILY = 0.01
"""How often chance may name a mark that fails although none does, over all terms together."""
_RULE, _OTHERS = "named", "lot"
_SHOWN = {
    ("castle 1/13/4/2/1 + 29", "CallawaySantAnna"): ("ATT(e=4)", "ATT(e=5)", "ATT(g=8)", "ATT, dynamic"),
    ("tails 1/2/3/5/8/8 + 13 never", "CallawaySantAnna"): ("ATT(e=4)", "ATT(e=5)", "ATT(e=6)", "ATT(e=7)"),
}
_BINS = (2.0, 3.0, 4.0, 6.0, 10.0, 20.0, np.inf)
_RARELY = 0.01


def _rate(one: Term | None, method: str) -> str:
    share = None if one is None else one.rate(method)
    return "–" if share is None else number(share)


def _two(of: dict[str, Term], method: str) -> str:
    shown = [_rate(of.get(law), method) for law in (INDEPENDENT, LASTING)]
    return "–" if set(shown) == {"–"} else " / ".join(shown)


def _headline(of: dict[str, Term]) -> str:
    first = of[INDEPENDENT]
    found = (
        f"{first.takes} {_two(of, 'headline')}"
        if first.asked == first.draws
        else f"{first.takes} {_rate(first, 'headline')}"
    )
    return found + ("" if first.supported else "†")


def _number(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "–"


def marks(terms: Terms) -> str:
    """Each design by name: what is expected, what is printed, and what is measured under independent and lasting shocks."""
    found: dict[tuple[str, str, str], dict[str, Term]] = {}
    for one in terms:
        if one.group == _RULE and one.law in LAWS:
            found.setdefault((one.design, one.estimator, one.term), {})[one.law] = one
    body = []
    for (design, estimator, term), of in found.items():
        main = term in ("ATT", "gap") or (estimator == "Stacked" and term == "ATT(e=1)")
        if design.startswith("one date") and estimator != "TwoWayFE":
            continue
        if not main and term not in _SHOWN.get((design, estimator), ()):
            continue
        one = of[INDEPENDENT]
        body.append(
            [
                design,
                estimator if term in ("ATT", "gap") else f"{estimator}, {term}",
                f"{one.treated} ({one.smallest})",
                _number(one.treated_effective),
                _number(one.effective),
                number(one.size),
                _two(of, "cr1"),
                {"": "", "words": "in words", "†": "†"}[one.said],
                _two(of, "cr2"),
                _two(of, "cv3"),
                _headline(of),
            ]
        )
    head = [
        "design",
        "estimator, term",
        "treated (smallest cohort)",
        "G* of the treated",
        "G*",
        "s",
        "CR1",
        "CR1 prints",
    ]
    return table([*head, "CR2", "CV3", "ByDesign"], body)


def proven(events: Ints, draws: Ints, limit: float, *, above: bool) -> Flags:
    """Flag counts whose true share lies above (below) a limit: exact binomial, at FAMILY over all of them (Bonferroni)."""
    p = stats.binom.sf(events - 1, draws, limit) if above else stats.binom.cdf(events, draws, limit)
    return np.asarray(p < FAMILY / max(len(events), 1))


def _proven(terms: Terms, limit: float, *, above: bool) -> list[Term]:
    counted = [(one, one.cr1, one.draws) for one in terms if one.cr1 is not None]
    events, draws = (np.array([line[i] for line in counted], dtype=np.int64) for i in (1, 2))
    flags = proven(events, draws, limit, above=above)
    return [one for (one, *_), flag in zip(counted, flags, strict=True) if flag]


def misses(terms: Terms) -> list[Term]:
    """Terms whose CR1 prints without a word although its size is proven above .065."""
    return _proven([one for one in terms if not one.said], BAD, above=True)


def false_alarms(terms: Terms) -> list[Term]:
    """Terms whose CR1 is marked although its size is proven below .055."""
    return _proven([one for one in terms if one.said], GOOD, above=False)


def summary(terms: Terms) -> str:
    """Count false alarms and misses of the marks of CR1."""
    body = []
    for group, name in ((_RULE, "by name"), (_OTHERS, "by lot")):
        for law in LAWS:
            of = [one for one in terms if (one.group, one.law) == (group, law) and one.cr1 is not None]
            rates = np.array([one.rate("cr1") for one in of])
            said = np.array([one.said for one in of])
            good, bad, bare = rates <= GOOD, rates > BAD, said == ""
            body.append(
                [
                    name,
                    law,
                    f"{len(of):,}",
                    f"{good.sum():,}",
                    str((good & (said == "words")).sum()),
                    str((good & (said == "†")).sum()),
                    str(len(false_alarms(of))),
                    f"{bad.sum():,}",
                    str((bad & bare).sum()),
                    str(len(misses(of))),
                    number(float(max(rates[bare], default=float("nan")))),
                ]
            )
    head = ["designs", "shocks", "terms", f"size ≤ {number(GOOD)}", "in words", "†", "beyond chance"]
    head += [f"size > {number(BAD)}", "without a word", "beyond chance", "largest without a word"]
    return table(head, body)


def beyond(terms: Terms) -> str:
    """Worlds and designs that the rule does not know of: how headline and unmarked CR1 do there."""
    parts: list[tuple[str, Callable[[Term], bool]]] = []
    for law in (*LAWS, *STRAINED):
        parts.append((f"by name, averages; {law}", _picks(_RULE, law, averages=True)))
    for law in LAWS:
        parts.append((f"30 staggered designs by lot, all terms; {law}", _picks(_OTHERS, law)))
    for missing in ("10 %", "30 %"):
        parts.append((f"{missing} of cells missing", _picks("missing", INDEPENDENT, inside=f"{missing} missing")))
    parts.append(("covariates", _picks("covariates", INDEPENDENT)))
    for law in list(STRAINED)[-3:]:
        parts.append((f"one date 10/50, prefectures by lot; {law}", _picks("by lot", law)))
    for law in LAWS:
        parts.append((f"over 300 counties; {law}", _picks("many", law)))
    parts.append(("counts, Poisson", _picks("counts", "counts", estimator="ExtendedTWFE, Poisson")))
    parts.append(("counts, linear", _picks("counts", "counts", estimator="ExtendedTWFE, linear")))
    body = []
    for name, picks in parts:
        of = [one for one in terms if picks(one)]
        if not of:
            continue
        headline = np.array([share for one in of if one.supported and (share := one.rate("headline")) is not None])
        bare = np.array([one.rate("cr1") for one in of if not one.said])
        body.append(
            [
                name,
                str(len(of)),
                f"{of[0].draws:,}",
                *_spread(headline),
                *_spread(bare),
                f"{100 * np.mean([one.said != '' for one in of]):.0f} %",
            ]
        )
    head = ["world", "terms", "draws", "ByDesign: median", "largest", "above .065"]
    return table([*head, "CR1 without a word: median", "largest", "above .065", "CR1 marked"], body)


def _picks(
    group: str, law: str, *, inside: str = "", estimator: str = "", averages: bool = False
) -> Callable[[Term], bool]:
    def picks(one: Term) -> bool:
        same = (one.group, one.law) == (group, law) and inside in one.design and estimator in ("", one.estimator)
        return same and (not averages or one.term in ("ATT", "gap"))

    return picks


def _spread(rates: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    if not len(rates):
        return ["–", "–", "–"]
    return [number(float(np.median(rates))), number(float(rates.max())), f"{(rates > BAD).sum()} of {len(rates)}"]


def jointly(terms: Terms) -> str:
    """All leads at once."""
    body = [
        [
            one.design,
            one.term,
            _number(one.treated_effective),
            _number(one.control_effective),
            _rate(one, "cr1"),
            "p" if one.takes == "CR1" else "none",
            _rate(one, "cr2"),
            f"{one.draws:,}",
        ]
        for one in terms
        if one.group == "jointly"
    ]
    head = ["design", "tested", "G* of the treated, fewest", "of the others", "CR1 F", "CR1 prints", "HTZ", "draws"]
    return table(head, body)


def power(terms: Terms) -> str:
    """What the headline finds, by the effective clusters of the term; then only where it rejects under .01 of true nulls."""
    of = [one for one in terms if one.group in (_RULE, _OTHERS) and one.law == INDEPENDENT and one.power_3 is not None]
    body = []
    for low, high in itertools.pairwise(_BINS):
        inside = [one for one in of if low <= one.effective < high]
        name = f"{low:.0f} to {high:.0f}" if np.isfinite(high) else f"{low:.0f} and more"
        body.append(_powers(f"G* {name}", inside))
    rare = [one for one in of if (one.rate("headline") or 0.0) < _RARELY]
    body.append(_powers(f"size below {number(_RARELY)}", rare))
    head = ["terms with", "how many", "median size"]
    return table([*head, *[f"power at {at} standard errors (least)" for at in POWERS]], [row for row in body if row])


def _powers(name: str, of: Terms) -> list[str]:
    if not of:
        return []
    shown = []
    for at in POWERS:
        rates = np.array([one.rate(f"power_{at}") for one in of], dtype=np.float64)
        shown.append(f"{number(float(np.median(rates)))} ({number(float(rates.min()))})")
    sizes = np.array([one.rate("headline") for one in of], dtype=np.float64)
    return [name, str(len(of)), number(float(np.median(sizes))), *shown]


SECTIONS: dict[str, Callable[[Terms], str]] = {
    "marks summary": summary,
    "marks": marks,
    "beyond": beyond,
    "jointly": jointly,
    "power": power,
}


def render(terms: Terms) -> dict[str, str]:
    """The sections of the page by name."""
    return {name: write(terms) for name, write in SECTIONS.items()}
