"""Measure how often CR1 clustered tests reject a true null when few clusters are treated (the thresholds of `few_clusters`).

Balanced county panels, all treated adopting at once, independent normal errors, nominal size 5 %. There the regression is a
difference of means of county differences, which `check_shortcut` verifies against the public interface before it is used.
Prints the tables of docs/decisions/0004-joint-tests-with-few-clusters.md.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from evalkit import Design, Panel, estimate
from evalkit.estimators import EventStudy, TwoWayFE
from evalkit.inference import Cluster

Floats = NDArray[np.float64]
REPETITIONS, BATCH, AFTER = 20_000, 2_000, 3
SINGLE = (10, 12, 20, 40, 60, 100, 200)
TREATED = (2, 3, 4, 5, 6, 8, 10)
JOINT = (
    (20, 10),
    (40, 10),
    (40, 20),
    (60, 20),
    (60, 30),
    (100, 20),
    (100, 30),
    (100, 50),
    (200, 30),
    (200, 40),
    (200, 100),
)


def difference(d: Floats, treated: int, factor: float) -> tuple[Floats, Floats]:
    """Treated minus control means b (R, q) of county differences d (R, G, q), and their CR1 covariance V (R, q, q)."""
    ours, others = d[:, :treated], d[:, treated:]
    u = (ours - ours.mean(1, keepdims=True)) / treated
    v = (others - others.mean(1, keepdims=True)) / (d.shape[1] - treated)
    meat = np.einsum("rgi,rgj->rij", u, u) + np.einsum("rgi,rgj->rij", v, v)
    return ours.mean(1) - others.mean(1), factor * meat


def cr1(counties: int, periods: int, slopes: int) -> float:
    """G/(G-1) · (N-1)/(N-K), K counting slopes and period effects."""
    rows = counties * periods
    return counties / (counties - 1) * (rows - 1) / (rows - slopes - periods)


def size_of_t(counties: int, treated: int, rng: np.random.Generator) -> float:
    """Share of true nulls that t(G-1) rejects for one average effect over 3 + 3 periods."""
    rejected = 0
    for _ in range(REPETITIONS // BATCH):
        e = rng.standard_normal((BATCH, counties, 2 * AFTER))
        d = (e[:, :, AFTER:].mean(2) - e[:, :, :AFTER].mean(2))[..., None]
        b, V = difference(d, treated, cr1(counties, 2 * AFTER, 1))
        rejected += int((2 * stats.t.sf(np.abs(b[:, 0]) / np.sqrt(V[:, 0, 0]), counties - 1) < 0.05).sum())
    return rejected / REPETITIONS


def size_of_f(counties: int, treated: int, leads: int, rng: np.random.Generator) -> float:
    """Share of true nulls that F(q, G-1) rejects for q leads of an event study with 3 periods after adoption."""
    rejected, periods = 0, leads + 1 + AFTER
    for _ in range(REPETITIONS // BATCH):
        e = rng.standard_normal((BATCH, counties, leads + 1))
        b, V = difference(e[:, :, :leads] - e[:, :, [leads]], treated, cr1(counties, periods, periods - 1))
        F = np.einsum("ri,ri->r", b, np.linalg.solve(V, b[..., None])[..., 0]) / leads
        rejected += int((stats.f.sf(F, leads, counties - 1) < 0.05).sum())
    return rejected / REPETITIONS


def check_shortcut(rng: np.random.Generator) -> None:
    """Refuse to go on unless the differences of means equal evalkit's estimates."""
    counties, treated, leads = 20, 5, 3
    periods = leads + 1 + AFTER
    e = rng.standard_normal((1, counties, periods))
    county, year = np.repeat(np.arange(counties), periods), np.tile(np.arange(2000, 2000 + periods), counties)
    first = np.where(county < treated, 2000 + leads + 1, np.nan)
    frame = pd.DataFrame({"county": county, "year": year, "y": e.ravel(), "first": first})
    panel = Panel.from_frame(frame, unit="county", time="year")
    design = Design(outcome="y", adoption="first", assigned_at="county")
    path = estimate(panel, design, EventStudy(leads=leads + 1, lags=AFTER - 1), inference=Cluster())
    names = [f"ATT(e={k})" for k in range(-leads - 1, -1)]
    b, V = difference(e[:, :, :leads] - e[:, :, [leads]], treated, cr1(counties, periods, periods - 1))
    np.testing.assert_allclose(path.params[names], b[0], atol=1e-12)
    np.testing.assert_allclose(path.vcov().loc[names, names], V[0], atol=1e-12)
    one = estimate(panel, design, TwoWayFE(), inference=Cluster())
    d = (e[:, :, leads + 1 :].mean(2) - e[:, :, : leads + 1].mean(2))[..., None]
    b, V = difference(d, treated, cr1(counties, periods, 1))
    np.testing.assert_allclose([one.params["ATT"], one.bse["ATT"] ** 2], [b[0, 0], V[0, 0, 0]], atol=1e-12)


def main() -> int:
    """Print both tables."""
    rng = np.random.default_rng(20261121)
    check_shortcut(rng)
    error = np.sqrt(0.05 * 0.95 / REPETITIONS)
    print(f"Rejections of a true null at 5 %, {REPETITIONS} repetitions (Monte Carlo standard error {error:.4f})\n")
    print("t(G-1), one average effect\n| clusters | " + " | ".join(f"{n} treated" for n in TREATED) + " | half |")
    print("|---" * (len(TREATED) + 2) + "|")
    for counties in SINGLE:
        cells = [f"{size_of_t(counties, n, rng):.3f}" if n <= counties // 2 else "" for n in (*TREATED, counties // 2)]
        print(f"| {counties} | " + " | ".join(cells) + " |", flush=True)
    print("\nF(q, G-1), q leads jointly\n| clusters | treated | q = 2 | q = 3 | q = 4 |\n|---|---|---|---|---|")
    for counties, treated in JOINT:
        cells = [f"{size_of_f(counties, treated, q, rng):.3f}" for q in (2, 3, 4)]
        print(f"| {counties} | {treated} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
