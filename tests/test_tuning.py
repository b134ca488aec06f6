"""Weight tuning against brute force."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tiny import random_table, truncated

from alwann_c.passes.compensate.tuning import (
    absolute_error_map,
    alwann_map,
    apply_map,
    moment_codes,
)
from alwann_c.targets import exact_products, load_builtin_library

Array = npt.NDArray[Any]
SIGNED = pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])


def values(signed: bool) -> list[int]:
    return [code - 256 if signed and code > 127 else code for code in range(256)]


def naive_map(table: Array, histogram: Array, *, signed: bool, codes: range) -> list[int]:
    """argmin_c sum_a h(a) |M(a, c) - a w| in plain loops: first minimum, tie prefers w itself."""
    numbers, rows = values(signed), table.tolist()
    mapping = []
    for w in codes:
        costs = [
            sum(
                h * abs(rows[a][c] - numbers[a] * numbers[w])
                for a, h in enumerate(histogram.tolist())
                if h
            )
            for c in range(256)
        ]
        least = min(costs)
        mapping.append(w if costs[w] == least else costs.index(least))
    return mapping


@SIGNED
def test_alwann_map_equals_three_loops(signed: bool) -> None:
    table = random_table(5, signed=signed, error=2000)
    picked = range(0, 256, 37)
    expected = naive_map(table, np.ones(256, np.int64), signed=signed, codes=picked)
    got = alwann_map(table, signed=signed)
    assert got.dtype == np.uint8
    assert [int(got[w]) for w in picked] == expected
    assert expected != list(picked)


def test_alwann_map_of_a_shipped_circuit_stays_what_it_was(
    golden: Callable[[str, str], None],
) -> None:
    """Golden: computed once with integers, by the definition, for all codes."""
    table = load_builtin_library("classic").find("mul8u_bam_a2h4v8").table
    codes = alwann_map(table, signed=False).tobytes().hex()
    golden("alwann_map", "\n".join(textwrap.wrap(codes, 64)) + "\n")


def test_ties_prefer_the_original_code() -> None:
    """Truncation makes neighbouring codes equal columns; none of them may be moved."""
    table = exact_products(False).copy()
    table[:, 1::2] = table[:, 0::2]  # columns 2k and 2k + 1 alike
    mapping = alwann_map(table, signed=False)
    assert mapping.tolist() == list(range(256))


def test_of_other_codes_the_first_minimum_wins() -> None:
    table = exact_products(False).copy()
    table[:, 100] = 65535  # useless: 100 must move
    table[:, 99] = table[:, 101] = exact_products(False)[:, 100]  # two equally perfect stand-ins
    mapping = alwann_map(table, signed=False)
    assert mapping[100] == 99
    assert mapping[102] == 102


@SIGNED
def test_exact_table_maps_to_itself(signed: bool) -> None:
    assert alwann_map(exact_products(signed), signed=signed).tolist() == list(range(256))


@SIGNED
def test_histogram_map_weighs_by_the_histogram(signed: bool) -> None:
    table = random_table(6, signed=signed, error=2000)
    histogram = np.zeros(256)
    histogram[[3, 40, 200]] = [0.5, 0.375, 0.125]  # sums are exact in binary
    picked = range(1, 256, 51)
    expected = naive_map(table, histogram, signed=signed, codes=picked)
    got = absolute_error_map(table, histogram, signed=signed)
    assert [int(got[w]) for w in picked] == expected


@SIGNED
def test_moment_codes_equal_the_expectation(signed: bool) -> None:
    random = np.random.default_rng(7)
    table = random_table(8, signed=signed, error=1500)
    histograms = np.zeros((3, 256))
    for row in histograms:
        row[random.choice(256, 6, replace=False)] = random.dirichlet(np.ones(6))
    weight = random.integers(0, 256, (3, 4), np.uint8)
    squared, variance = moment_codes(weight, table, histograms, signed=signed)
    numbers = np.array(values(signed))
    for k, n in np.ndindex(3, 4):
        error = table - numbers[:, None] * numbers[weight[k, n]]  # [a, c]
        mean = histograms[k] @ error
        square = histograms[k] @ error.astype(np.float64) ** 2
        spread = histograms[k] @ (error - mean) ** 2
        assert square[squared[k, n]] == pytest.approx(square.min(), rel=1e-6)
        assert spread[variance[k, n]] == pytest.approx(spread.min(), rel=1e-6, abs=1e-3)
    assert (squared != weight).any()


def test_moment_codes_leave_an_exact_table_alone() -> None:
    random = np.random.default_rng(9)
    weight = random.integers(0, 256, (5, 3), np.uint8)
    histograms = random.dirichlet(np.ones(256), 5)
    for tuned in moment_codes(weight, exact_products(False), histograms, signed=False):
        np.testing.assert_array_equal(tuned, weight)


def test_apply_map_replaces_codes() -> None:
    mapping = np.arange(255, -1, -1, dtype=np.uint8)
    weight = np.array([[0, 1], [254, 255]], np.uint8)
    np.testing.assert_array_equal(apply_map(weight, mapping), 255 - weight)


def test_tuning_helps_a_truncated_multiplier() -> None:
    table = truncated(8, power_mw=1.0).table
    exact = exact_products(False)
    mapping = alwann_map(table, signed=False)
    before = np.abs(table - exact).sum(axis=0)
    after = np.abs(table[:, mapping] - exact).sum(axis=0)
    assert (after <= before).all()
    assert after.sum() < before.sum()
