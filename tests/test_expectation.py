"""Divergence and the drop it lets expect: against their definitions and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from alwann_c.divergence import Reference
from alwann_c.search.expectation import expected_drops
from alwann_c.statistics import Drop


def test_divergence_is_its_definition() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0, 3, (40, 7)).astype(np.float32)
    other = scores + random.normal(0, 0.5, (40, 7)).astype(np.float32)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    q = np.exp(other) / np.exp(other).sum(axis=1, keepdims=True)
    expected = (p * np.log(p / q)).sum(axis=1)
    reference = Reference(scores)
    np.testing.assert_allclose(reference.divergences(other), expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(Reference(p).divergences(q), expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(reference.divergences(scores), 0)
    np.testing.assert_allclose(reference.divergences(other + 5), expected, rtol=2e-3, atol=1e-6)
    np.testing.assert_array_equal(
        reference.divergences(other[11:30], 11), reference.divergences(other)[11:30]
    )


def test_certain_outputs_stay_finite() -> None:
    sure = np.array([[0.0, 1.0, 0.0]], np.float32)
    other = np.array([[1.0, 0.0, 0.0]], np.float32)
    assert np.isfinite(Reference(sure).divergences(other)).all()
    huge = np.array([[1e4, -1e4, 0.0]], np.float32)
    assert np.isfinite(Reference(huge).divergences(-huge)).all()


def test_a_single_plan_is_what_was_measured() -> None:
    own = Drop(0.004, 0.002, 5000)
    assert expected_drops([own], [0.01]) == [own]


def test_expectation_is_nearer_the_truth_than_the_measurement() -> None:
    """Plans whose drop is 0.4 times the divergence, up to a tenth; measured with noise."""
    random = np.random.default_rng(1)
    raw, steadied, covered = [], [], []
    for _ in range(300):
        distance = random.uniform(0.002, 0.06, 10)
        truth = 0.4 * distance * (1 + random.normal(0, 0.1, 10))
        measured = [Drop(m, 0.002, 5000) for m in truth + random.normal(0, 0.002, 10)]
        found = expected_drops(measured, list(distance))
        raw += [m.mean - t for m, t in zip(measured, truth, strict=True)]
        steadied += [f.mean - t for f, t in zip(found, truth, strict=True)]
        low = [f.ci95[0] <= t <= f.ci95[1] for f, t in zip(found, truth, strict=True)]
        covered += low
    assert np.std(steadied) < 0.75 * np.std(raw)
    assert np.mean(covered) > 0.93


def test_plans_far_off_do_not_bend_the_line() -> None:
    near = [Drop(0.4 * d, 0.0005, 5000) for d in (0.002, 0.004, 0.006)]
    far = Drop(0.5, 0.001, 5000)
    found = expected_drops([*near, far], [0.002, 0.004, 0.006, 0.2])
    for drop, own in zip(found, near, strict=False):
        assert drop.mean == pytest.approx(own.mean, abs=2e-4)


def test_the_exact_plan_is_what_was_measured() -> None:
    exact = Drop(0.0, 0.0002, 5000)
    others = [Drop(0.004, 0.002, 5000), Drop(0.01, 0.002, 5000)]
    found = expected_drops([exact, *others], [0.0, 0.01, 0.02])
    assert found[0] == exact
    assert all(np.isfinite([drop.mean, drop.standard_error]).all() for drop in found)


def test_no_rise_is_no_slope() -> None:
    """Plans that beat the exact network by chance do not promise more gain with more error."""
    gains = [Drop(-0.001, 0.001, 1000), Drop(-0.002, 0.001, 1000), Drop(-0.001, 0.001, 1000)]
    for drop in expected_drops(gains, [0.001, 0.002, 0.003]):
        assert -0.002 <= drop.mean <= 0.0
