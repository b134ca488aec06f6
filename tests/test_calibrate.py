"""Ranges and codes: estimators against brute force on the values themselves."""

from __future__ import annotations

from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alwann_c.ir.reference import dequantize, quantize
from alwann_c.ir.spec import Quantization
from alwann_c.passes.calibrate import (
    BINS,
    NOISE,
    CodeFormat,
    Estimator,
    Observation,
    affine_code,
    estimate,
)

Float32 = npt.NDArray[np.float32]


def observed(values: Float32) -> Observation:
    """Seen in three batches, as calibration does."""
    observation = Observation()
    for part in np.array_split(values, 3):
        observation.see_range(part)
    for part in np.array_split(values, 3):
        observation.see_values(part)
    return observation


def heavy_tailed(signs: bool) -> Float32:
    values = np.random.default_rng(0).standard_t(3, 40_000).astype(np.float32)
    return values if signs else np.abs(values)


def test_observation_is_the_histogram() -> None:
    values = heavy_tailed(True)
    observation = observed(values)
    assert (observation.low, observation.high) == (values.min(), values.max())
    expected, _ = np.histogram(values, BINS, (float(values.min()), float(values.max())))
    np.testing.assert_array_equal(observation.counts, expected)
    assert observation.counts.sum() == len(values)


@pytest.mark.parametrize("signed", [False, True])
def test_minmax_is_the_range(signed: bool) -> None:
    values = heavy_tailed(True)
    code = estimate(observed(values), "minmax", CodeFormat(signed))
    span = 2 * np.abs(values).max() / 254 if signed else (values.max() - values.min()) / 255
    assert code.scale == pytest.approx(span, rel=1e-6)
    assert code.signed == signed
    error = np.abs(dequantize(quantize(values, code), code) - values)
    assert error.max() <= code.scale * 1.001  # nothing is clipped by more than the zero's rounding


@pytest.mark.parametrize("signs", [False, True])
def test_percentile_is_the_quantile(signs: bool) -> None:
    values = heavy_tailed(signs)
    code = estimate(observed(values), "percentile", CodeFormat())
    low, high = np.quantile(values, [0.00005, 0.99995])
    width = float(values.max() - values.min()) / BINS
    assert code.scale * 255 == pytest.approx(high - min(low, 0.0), abs=3 * width)


@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_mse_is_the_least_of_a_brute_force_scan(signs: bool, signed: bool) -> None:
    values = heavy_tailed(signs)

    def error(code: Quantization) -> float:
        gap = dequantize(quantize(values, code), code).astype(np.float64) - values
        return float(np.mean(gap * gap))

    low, high = float(values.min()), float(values.max())
    scan = [affine_code(k * low, k * high, CodeFormat(signed)) for k in np.linspace(0.3, 1, 141)]
    best = min(error(code) for code in scan)
    chosen = error(estimate(observed(values), "mse", CodeFormat(signed)))
    assert chosen <= 1.02 * best
    assert chosen < error(estimate(observed(values), "minmax", CodeFormat(signed)))


@pytest.mark.parametrize("signed", [False, True])
def test_noise_is_the_least_of_clipping_and_counted_rounding(signed: bool) -> None:
    values = heavy_tailed(signs=True)

    def error(code: Quantization) -> float:
        low, high = ((end - code.zero_point) * code.scale for end in (code.low, code.high))
        clipped = float(np.mean((np.clip(values, low, high) - values) ** 2))
        return clipped + NOISE * code.scale**2 / 12

    low, high = float(values.min()), float(values.max())
    scan = [affine_code(k * low, k * high, CodeFormat(signed)) for k in np.linspace(0.15, 1, 171)]
    chosen = estimate(observed(values), "noise", CodeFormat(signed))
    assert error(chosen) <= 1.02 * min(error(code) for code in scan)
    assert chosen.scale < estimate(observed(values), "mse", CodeFormat(signed)).scale


def test_kl_clips_rare_outliers_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    even = random.uniform(0, 1, 100_000).astype(np.float32)
    assert estimate(observed(even), "kl", CodeFormat()).scale == pytest.approx(1 / 255, rel=0.02)
    tailed = np.append(even, np.float32(8))
    assert estimate(observed(tailed), "kl", CodeFormat()).scale < 2 / 255


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(0, 1e3), st.booleans())
def test_zero_is_a_code(low: float, span: float, signed: bool) -> None:
    code = affine_code(low, low + span, CodeFormat(signed))
    assert code.scale > 0
    zero = quantize(np.zeros(1, np.float32), code)
    assert dequantize(zero, code).item() == 0.0
    if signed:
        assert code.zero_point == 0
    assert code.low <= code.zero_point <= code.high


@pytest.mark.parametrize("estimator", get_args(Estimator))
@pytest.mark.parametrize("level", [0.0, 2.5, -2.5])
def test_a_constant_tensor_has_a_code(estimator: Estimator, level: float) -> None:
    values = np.full(300, level, np.float32)
    code = estimate(observed(values), estimator, CodeFormat())
    assert code.scale > 0
    np.testing.assert_allclose(dequantize(quantize(values, code), code), values, rtol=1e-5)
