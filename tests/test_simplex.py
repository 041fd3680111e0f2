"""Least squares over the simplex: every support, SLSQP, the conditions of a minimum, and steps taken together or alone."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from evalkit.numerics.arrays import Floats
from evalkit.numerics.simplex import frank_wolfe_weights, nearest_weights


def objective(D: Floats, zeta: float, x: Floats) -> float:
    return float(np.sum((D @ x) ** 2) / len(D) + zeta**2 * (x @ x))


def by_every_support(D: Floats, zeta: float) -> tuple[float, Floats]:
    """The lowest objective, and its weights, among the minima on every set of columns whose weights are not negative."""
    n, k = D.shape
    best, weights = np.inf, np.zeros(k)
    for support in chain.from_iterable(combinations(range(k), size) for size in range(1, k + 1)):
        own = D[:, support]
        size = len(support)
        bordered = np.block(
            [[own.T @ own / n + zeta**2 * np.eye(size), np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]]
        )
        x = np.linalg.lstsq(bordered, np.append(np.zeros(size), 1.0), rcond=None)[0][:size]
        if x.min() >= -1e-12 and abs(x.sum() - 1) < 1e-9 and objective(own, zeta, x) < best - 1e-13:
            best, weights = objective(own, zeta, x), np.zeros(k)
            weights[list(support)] = x
    return best, weights


@pytest.mark.parametrize("zeta", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(8))
def test_the_minimum_is_that_of_the_best_support(seed: int, zeta: float) -> None:
    rng = np.random.default_rng(seed)
    n, k = [(3, 6), (9, 5), (2, 6), (6, 6)][seed % 4]
    D = rng.normal(size=(n, k)) + 1.5 * rng.normal(size=(n, 1))
    found = nearest_weights(differences=D, zeta=zeta)
    best, weights = by_every_support(D, zeta)
    assert objective(D, zeta, found.weights) == pytest.approx(best, rel=1e-10, abs=1e-20)
    if found.unique:
        np.testing.assert_allclose(found.weights, weights, atol=1e-8)


@pytest.mark.parametrize("size", [1e-150, 1e-9, 1.0, 1e12, 1e150])
@pytest.mark.parametrize(
    ("n", "k", "zeta"), [(19, 38, 0.0), (40, 12, 0.0), (8, 60, 0.3), (30, 20, 1e-6), (2, 300, 0.0)]
)
def test_no_slope_is_left(n: int, k: int, zeta: float, size: float) -> None:
    """Columns in use have the same slope, others no smaller one: to 1e-13 of the columns' mean square."""
    rng = np.random.default_rng(n)
    D = rng.normal(size=(n, k)) + rng.normal(size=(n, 1))
    x = nearest_weights(differences=D * size, zeta=zeta * size).weights
    slope = D.T @ (D @ x) + n * zeta**2 * x
    above = (slope - x @ slope) / np.mean(np.sum(D**2, axis=0))
    assert x.min() >= 0
    assert x.sum() == pytest.approx(1.0, abs=1e-14)
    assert above.min() > -1e-13
    assert np.abs(above[x > 0]).max() < 1e-13


@pytest.mark.parametrize("seed", range(6))
def test_of_several_minima_the_shortest_is_taken(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = [(3, 9), (5, 12), (2, 20)][seed % 3]
    D = rng.normal(size=(n, k)) * rng.uniform(0.1, 3.0, size=k)
    D[:, 0] = -D[:, 1:] @ rng.uniform(0.1, 1.0, size=k - 1)  # so that 0 lies inside, and many mixtures are 0
    found = nearest_weights(differences=D, zeta=0.0)
    assert not found.unique
    np.testing.assert_allclose(D @ found.weights, 0.0, atol=1e-12)
    A = np.vstack([D, np.ones(k)])
    sums = {"type": "eq", "fun": lambda x: A @ x - np.append(np.zeros(n), 1.0), "jac": lambda x: A}
    limits: Any = {"bounds": [(0, None)] * k, "constraints": sums, "options": {"ftol": 1e-15, "maxiter": 500}}
    solve: Any = minimize  # whose overloads want more than its documentation
    peer = solve(lambda x: x @ x, np.full(k, 1 / k), jac=lambda x: 2 * x, method="SLSQP", **limits)
    assert peer.success
    np.testing.assert_allclose(found.weights, peer.x, atol=1e-6)  # SLSQP's own accuracy
    assert found.weights @ found.weights <= peer.x @ peer.x + 1e-12
    order = rng.permutation(k)
    again = nearest_weights(differences=7.0 * D[:, order], zeta=0.0)
    np.testing.assert_allclose(again.weights, found.weights[order], atol=1e-12)


def test_columns_that_are_alike_share() -> None:
    D = np.array([[1.0, 1.0, -1.0, 5.0], [0.5, 0.5, 1.0, 9.0]])
    one, two = nearest_weights(differences=D, zeta=0.0), nearest_weights(differences=D[:, 1:], zeta=0.0)
    assert (one.unique, two.unique) == (False, True)
    assert one.weights == pytest.approx([two.weights[0] / 2, two.weights[0] / 2, two.weights[1], 0.0], abs=1e-12)
    nothing = nearest_weights(differences=np.zeros((3, 4)), zeta=0.0)
    assert (nothing.weights.tolist(), nothing.unique) == ([0.25] * 4, False)


def test_a_perfect_fit_that_nothing_else_reaches_is_unique() -> None:
    corner = np.array([[0.0, 1.0, 2.0, 1.0], [0.0, 3.0, -1.0, 1.0], [0.0, 1.0, 0.5, 0.3]])  # 0 is a vertex
    found = nearest_weights(differences=corner, zeta=0.0)
    assert (found.weights.tolist(), found.unique) == ([1.0, 0.0, 0.0, 0.0], True)
    edge = np.array([[-1.0, 3.0, 2.0, -4.0, 1.0], [0.0, 0.0, 1.0, 2.0, 0.5]])  # 0 lies on the edge of two columns
    found = nearest_weights(differences=edge, zeta=0.0)
    assert found.weights == pytest.approx([0.75, 0.25, 0, 0, 0], abs=1e-12)
    assert found.unique
    spare = np.column_stack([edge, [1.0, 0.0]])  # another column on that edge, which has weight in other mixtures
    assert not nearest_weights(differences=spare, zeta=0.0).unique


def problems(count: int, n: int, k: int) -> tuple[list[Floats], Floats, Floats]:
    rng = np.random.default_rng(k)
    D = [rng.normal(size=(n, k)) * rng.choice([0.01, 1.0, 50.0]) for _ in range(count)]
    noise = np.array([np.std(one) for one in D])
    return D, rng.choice([1e-6, 0.1, 1.0], size=count) * noise, 1e-3 * noise


def test_steps_taken_together_are_those_taken_alone() -> None:
    (D, zeta, least), (E, more, gain) = problems(30, 5, 8), problems(15, 12, 7)
    D += [*E, np.zeros((5, 8))]
    zeta, least = np.concatenate([zeta, more, [0.0]]), np.concatenate([least, gain, [0.0]])
    together = frank_wolfe_weights(differences=D, zeta=zeta, least_gain=least)
    for p, x in enumerate(together):
        (alone,) = frank_wolfe_weights(differences=[D[p]], zeta=zeta[[p]], least_gain=least[[p]])
        np.testing.assert_array_equal(x, alone)


def test_threads_change_no_bit() -> None:
    D, zeta, least = problems(1100, 3, 4)
    together = frank_wolfe_weights(differences=D, zeta=zeta, least_gain=30 * least)
    for p in range(0, 1100, 90):
        (alone,) = frank_wolfe_weights(differences=[D[p]], zeta=zeta[[p]], least_gain=30 * least[[p]])
        np.testing.assert_array_equal(together[p], alone)


def test_steps_are_those_of_the_source() -> None:
    """Literally as in sc.weight.fw of R synthdid: the gradient from scratch, the line search, and values subtracted."""
    D, zeta, least = problems(12, 9, 6)
    found = frank_wolfe_weights(differences=D, zeta=zeta, least_gain=least)

    def walk(A: Floats, x: Floats, z: float, gain: float, steps: int) -> Floats:
        n, values = len(A), [np.inf]
        for step in range(steps):
            gradient = A.T @ (A @ x) + n * z**2 * x
            i = int(np.argmin(gradient))
            move = -x
            move[i] += 1
            fall = float(np.sum((A @ move) ** 2) + n * z**2 * np.sum(move**2))
            x = x + min(1.0, max(0.0, float(-gradient @ move) / fall)) * move
            values.append(float(np.sum((A @ x) ** 2) / n + z**2 * np.sum(x**2)))
            if step > 0 and values[-2] - values[-1] <= gain**2:
                break
        return x

    for A, z, gain, x in zip(D, zeta, least, found, strict=True):
        rough = walk(A, np.full(6, 1 / 6), z, gain, 100)
        rough[rough <= rough.max() / 4] = 0
        np.testing.assert_allclose(x, walk(A, rough / rough.sum(), z, gain, 10_000), atol=1e-9)
