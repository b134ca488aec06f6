"""Table-aware coding: recoding is exact bookkeeping, the chosen coding is the cheapest of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tiny import Case, random_multiplier, truncated

from alwann_c.compensation import Compensator
from alwann_c.dataset import load_dataset
from alwann_c.model import Model
from alwann_c.passes.compensate import recode, table_aware_coding
from alwann_c.passes.compensate.coding import SHRINKS, ZERO_POINTS, slope_error
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.targets import Multiplier, exact_products

Array = npt.NDArray[Any]
ROUGH = truncated(10, power_mw=0.4)


@pytest.fixture(scope="module")
def layer(small: Case) -> LayerCodes:
    """The second convolution."""
    return small.quantized.layers["c2"]


@pytest.fixture(scope="module")
def histograms() -> Array:
    """Codes of a layer after ReLU: half zeros, then falling."""
    falling = np.exp(-np.arange(256) / 40)
    falling[0] = falling[1:].sum()
    return np.broadcast_to(falling / falling.sum(), (1, 54, 256))


def test_its_own_coding_changes_nothing(layer: LayerCodes) -> None:
    same = recode(layer, layer.weight_scale, layer.weight_zero_point)
    for name in ("weight", "weight_zero_point", "weight_scale", "bias"):
        np.testing.assert_array_equal(getattr(same, name), getattr(layer, name))


def test_recoded_weights_are_the_same_numbers(layer: LayerCodes) -> None:
    scale = layer.weight_scale * np.float32(1.25)
    zero_point = np.arange(110, 110 + len(scale), dtype=np.int32)
    made = recode(layer, scale, zero_point)
    before = (layer.weight - layer.weight_zero_point.astype(int)) * layer.weight_scale
    after = (made.weight - zero_point.astype(int)) * scale
    assert (np.abs(before - after) <= 0.501 * scale).all()
    unit = layer.input.scale * scale
    assert (np.abs(made.bias * unit - layer.bias * layer.scale) <= 0.501 * unit).all()


def test_exact_tables_have_no_error_on_whole_slopes() -> None:
    exact = Multiplier("exact", exact_products(False))
    histogram = np.full(256, 1 / 256)
    errors = slope_error(exact, histogram, np.array([3.0, 200.0, 3.5, 300.0]))
    variance = np.arange(256).var()
    expected = np.array([0, 0, 0.25 * variance, 45**2 * variance])
    np.testing.assert_allclose(errors, expected, atol=1e-3)


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_cheapest_coding_is_taken(
    layer: LayerCodes, histograms: Array, per_channel: bool
) -> None:
    multiplier = random_multiplier(5, error=2000)
    made = table_aware_coding(layer, multiplier, histograms, per_channel=per_channel)
    weight = (layer.weight - layer.weight_zero_point.astype(int)) * layer.weight_scale
    weight = weight.reshape(54, -1).astype(np.float64)
    peak = np.abs(weight).max(axis=0)
    peak = peak if per_channel else np.full_like(peak, peak.max())

    def cost(scale: Array, zero_point: Array) -> Array:
        wanted = weight / scale + zero_point
        errors = slope_error(multiplier, histograms[0, 0], wanted.reshape(-1))
        return np.asarray(errors.reshape(wanted.shape).sum(axis=0) * scale**2)

    grid = [
        cost(peak / 127 * shrink, np.full(len(peak), zero_point))
        for shrink in SHRINKS
        for zero_point in ZERO_POINTS
    ]
    least = np.min(grid, axis=0) if per_channel else np.min(np.sum(grid, axis=1))
    chosen = cost(made.weight_scale.astype(np.float64), made.weight_zero_point)
    np.testing.assert_allclose(chosen if per_channel else chosen.sum(), least, rtol=0.02)
    if not per_channel:
        assert len(set(made.weight_scale)) == len(set(made.weight_zero_point)) == 1


def test_signed_codes_keep_their_zero_point(small: Case) -> None:
    scheme = QuantizationScheme(signed=True)
    layer = quantize(small.quantized.model, load_dataset(small.calibration.path), scheme).layers[
        "c2"
    ]
    exact = Multiplier("exact", exact_products(True), signed=True)
    histograms = np.full((1, 54, 256), 1 / 256)
    made = table_aware_coding(layer, exact, histograms)
    assert not made.weight_zero_point.any()
    assert (made.weight_scale <= layer.weight_scale * 1.0001).all()


def test_per_tensor_weights_stay_per_tensor(small: Case) -> None:
    scheme = QuantizationScheme(weights="per-tensor")
    quantized = quantize(small.quantized.model, load_dataset(small.calibration.path), scheme)
    fitted = Compensator(quantized).network(dict.fromkeys(["c1", "c2"], ROUGH), "full")
    for made in fitted.values():
        assert len(set(made.layer.weight_scale)) == len(set(made.layer.weight_zero_point)) == 1


def test_given_codes_are_kept(small: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that brought its own scales and zero points is tuned within them."""
    monkeypatch.setattr(Model, "is_quantized", property(lambda _: True))
    quantized = small.quantized
    for name, made in Compensator(quantized).network({"c1": ROUGH, "c2": ROUGH}, "full").items():
        layer = quantized.layers[name]
        np.testing.assert_array_equal(made.layer.weight_scale, layer.weight_scale)
        np.testing.assert_array_equal(made.layer.weight_zero_point, layer.weight_zero_point)
