"""The compiled residual is its definition. Numbers are small integers, which are exact in float32."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_residual import PlainResidual
from tiny import random_multiplier

from alwann_c.codegen.tap_residual import TapKernels
from alwann_c.passes.compensate.data import TapCosts

Array = npt.NDArray[Any]
KERNELS = TapKernels()


def _costs(columns: Array, table: Array, margin: float) -> TapCosts:
    """Of integers: means that are rounded, and the energy that belongs to them."""
    counts = np.stack([np.bincount(column, minlength=256) for column in columns]).astype(float)
    made = TapCosts.of(counts / columns.shape[1], table, columns.shape[1], margin)
    return dataclasses.replace(
        made,
        counts=counts,
        means=np.rint(made.means),
        energy=np.rint(made.energy),
        margins=np.full(len(columns), margin),
    )


@settings(max_examples=40, deadline=None)
@given(
    channels=st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16, 20, 32]),
    taps=st.integers(1, 5),
    rows=st.integers(1, 90),
    codes=st.sampled_from([3, 256]),
    margin=st.sampled_from([-np.inf, 0.0, 500.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_sweeps_equal_their_definition(
    channels: int, taps: int, rows: int, codes: int, margin: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    columns = random.integers(0, codes, (taps, rows), np.uint8)
    residual = random.integers(-200, 200, (rows, channels)).astype(np.float32)
    weight = random.integers(0, 256, (taps, channels), np.uint8)
    table = (random_multiplier(seed % 7).table & 63).astype(np.int32)
    assumed = random.integers(0, 64, (256, 256)).astype(np.float64)
    costs = _costs(columns, table, margin)
    compiled, plain = KERNELS.residual(columns, residual), PlainResidual(columns, residual)
    chosen, expected = weight, weight
    for _ in range(2):
        chosen, moved = compiled.sweep(costs, chosen, assumed)
        expected, expected_moved = plain.sweep(costs, expected, assumed)
        np.testing.assert_array_equal(chosen, expected)
        np.testing.assert_array_equal(compiled.values(), plain.values())
        assert moved == expected_moved
        if margin == -np.inf:
            assert moved == taps * channels


@pytest.mark.parametrize("channels", [3, 16, 20])
def test_what_else_it_does(channels: int) -> None:
    random = np.random.default_rng(0)
    columns = random.integers(0, 256, (4, 5000), np.uint8)
    start = random.integers(-50, 50, (5000, channels)).astype(np.float32)
    codes = random.integers(0, 256, (4, channels), np.uint8)
    table = random_multiplier(1).table & 1023
    compiled, plain = KERNELS.residual(columns, start), PlainResidual(columns, start)
    for residual in (compiled, plain):
        residual.subtract(codes, table)
    np.testing.assert_array_equal(compiled.values(), plain.values())
    for residual in (compiled, plain):
        residual.center()
    np.testing.assert_allclose(compiled.values(), plain.values(), atol=1e-3)
