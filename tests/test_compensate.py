"""Compensation of layers and networks: better where it promises so, unbiased, deterministic."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tiny import Case, random_multiplier, truncated

from alwann_c.compensation import Compensator
from alwann_c.dataset import load_dataset
from alwann_c.ir.reference import conv2d
from alwann_c.passes.approximate import LayerApproximation, uncompensated
from alwann_c.passes.compensate import LayerData, Method, compensate_layer
from alwann_c.passes.compensate.data import sample_rows, tap_histograms
from alwann_c.passes.compensate.joint import reconstruct
from alwann_c.passes.compensate.ladder import (
    bias_corrected,
    output_error,
    simple_tunings,
    with_weight,
)
from alwann_c.passes.compensate.tuning import alwann_map
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import quantize
from alwann_c.targets import Multiplier, exact_products

Array = npt.NDArray[Any]
ROUGH = truncated(10, power_mw=0.4)


class PlainResidual:
    """`TapResidual` in numpy, straight from its definition."""

    def __init__(self, columns: Array, residual: Array) -> None:
        self.columns, self.residual = columns, residual.astype(np.float64)

    def step(self, previous: int, change: Array, following: int) -> Array:
        self.residual -= change[self.columns[previous]]
        sums = np.zeros((256, self.residual.shape[1]))
        np.add.at(sums, self.columns[following], self.residual)
        return sums.astype(np.float32)

    def center(self) -> None:
        self.residual -= self.residual.mean(axis=0)


def reference_run(layer: LayerCodes) -> Any:
    """`LayerData.run` through the numpy reference."""
    spec = layer.spec

    def run(codes: Array, approximation: LayerApproximation) -> Array:
        image = codes.reshape(-1, spec.height, spec.width, spec.in_channels)
        return conv2d(
            image,
            approximation.weight,
            approximation.multiplier.table,
            layer.weight_zero_point,
            approximation.offset,
            approximation.scale,
            None,
            spec,
        )

    return run


@pytest.fixture(scope="module")
def layer(small: Case) -> LayerCodes:
    """The second convolution."""
    return small.quantized.layers["c2"]


@pytest.fixture(scope="module")
def data(small: Case, layer: LayerCodes) -> LayerData:
    """What `layer` sees on 40 images, 12 of them held back; everything through the reference."""
    quantized = small.quantized
    codes = quantized.network.run_probed(small.calibration.images[:40]).codes["c2"]
    exact = Multiplier("exact", exact_products(False))
    run = reference_run(layer)
    noise = np.random.default_rng(0).normal(0, 0.01, (40, 4, 4, 6))
    target = (run(codes, uncompensated(layer, exact)) + noise).astype(np.float32)
    return LayerData(layer.spec, codes, target, run, PlainResidual, 12)  # type: ignore[arg-type]


def spread(candidate: LayerApproximation, data: LayerData) -> float:
    """Error left on the held-back images once every channel's mean is removed."""
    gap = data.target[data.choose] - data.run(data.codes[data.choose], candidate)
    return float(gap.reshape(-1, 6).astype(np.float64).var(axis=0).mean())


def test_bias_correction_removes_the_mean_error(layer: LayerCodes, data: LayerData) -> None:
    plain = uncompensated(layer, ROUGH)

    def mean_error(candidate: LayerApproximation) -> Array:
        gap = data.target[data.fit] - data.run(data.codes[data.fit], candidate)
        return gap.astype(np.float64).reshape(-1, 6).mean(axis=0)

    corrected = bias_corrected(layer, plain, data)
    assert np.abs(mean_error(plain)).min() > 5 * layer.scale.max()
    assert (np.abs(mean_error(corrected)) <= 0.51 * layer.scale).all()
    np.testing.assert_array_equal(corrected.weight, plain.weight)


def test_full_is_the_best_candidate_on_held_back_images(
    layer: LayerCodes, data: LayerData
) -> None:
    for multiplier in (ROUGH, random_multiplier(3, error=3000), truncated(7, power_mw=1)):
        full = compensate_layer(layer, multiplier, "full", data)
        chosen = spread(full.approximation, data)
        for name, codes in simple_tunings(layer, multiplier, data).items():
            candidate = with_weight(layer, multiplier, codes)
            assert chosen <= spread(candidate, data) * (1 + 1e-6), name
        none = compensate_layer(layer, multiplier, "none", data)
        alwann = compensate_layer(layer, multiplier, "alwann", data)
        assert full.error == pytest.approx(output_error(full.approximation, data))
        assert full.error < min(none.error, alwann.error)


def test_none_and_alwann_are_what_they_say(layer: LayerCodes, data: LayerData) -> None:
    none = compensate_layer(layer, ROUGH, "none", data).approximation
    alwann = compensate_layer(layer, ROUGH, "alwann", data).approximation
    np.testing.assert_array_equal(none.weight, layer.weight)
    mapping = alwann_map(ROUGH.table, signed=False)
    np.testing.assert_array_equal(alwann.weight, mapping[layer.weight])
    assert (alwann.weight != layer.weight).any()
    for made in (none, alwann):
        np.testing.assert_array_equal(made.offset, layer.offset())
        np.testing.assert_array_equal(made.scale, layer.scale)
        assert made.multiplier is ROUGH


@pytest.mark.parametrize("method", ["none", "alwann", "full"])
def test_exact_multipliers_are_left_alone(
    layer: LayerCodes, data: LayerData, method: Method
) -> None:
    exact = Multiplier("any", exact_products(False))
    made = compensate_layer(layer, exact, method, data).approximation
    np.testing.assert_array_equal(made.weight, layer.weight)
    np.testing.assert_array_equal(made.offset, layer.offset())


def test_the_original_codes_stay_in_the_offset(layer: LayerCodes, data: LayerData) -> None:
    """Tuned codes go to the multiplier alone; zero-point terms keep the original ones."""
    made = compensate_layer(layer, ROUGH, "full", data).approximation
    assert (made.weight != layer.weight).any()
    shift = (made.offset - layer.offset()).astype(np.int64)
    np.testing.assert_array_equal(layer.offset(shift.astype(np.int32)), made.offset)


def test_histograms_are_those_of_the_taps(layer: LayerCodes, data: LayerData) -> None:
    patches, targets = sample_rows(data.codes, data.target, layer.spec, 10**9)
    assert patches.shape == (40 * 16, 1, 54)
    assert targets.shape == (40 * 16, 6)
    histograms = tap_histograms(patches)
    np.testing.assert_allclose(histograms.sum(axis=2), 1)
    centre = (1 * 3 + 1) * 6 + 2  # row 1, column 1, channel 2: every pixel, never padding
    seen = np.bincount(data.codes[..., 2].reshape(-1), minlength=256) / (40 * 16)
    np.testing.assert_allclose(histograms[0, centre], seen)
    corner = data.codes[..., :3, :3, 0]  # tap (0, 0): the pixel up left, padding elsewhere
    padded = np.concatenate([corner.reshape(-1), np.full(40 * 7, layer.input.zero_point, np.uint8)])
    expected = np.bincount(padded, minlength=256) / (40 * 16)
    np.testing.assert_allclose(histograms[0, 0], expected)


def test_sampling_keeps_patches_with_their_targets(layer: LayerCodes, data: LayerData) -> None:
    rows = {
        patch.tobytes(): target
        for patch, target in zip(
            *sample_rows(data.codes, data.target, layer.spec, 10**9), strict=True
        )
    }
    patches, targets = sample_rows(data.codes, data.target, layer.spec, 120)
    assert len(patches) == 120
    for patch, target in zip(patches, targets, strict=True):
        np.testing.assert_array_equal(rows[patch.tobytes()], target)


def test_reconstruction_lowers_the_fit_error(layer: LayerCodes, data: LayerData) -> None:
    multiplier = random_multiplier(4, error=4000)
    fit = dataclasses.replace(data, held_back=1)

    def error(codes: Array) -> float:
        shown = dataclasses.replace(fit, codes=fit.codes[:-1], target=fit.target[:-1])
        gap = shown.target - shown.run(shown.codes, with_weight(layer, multiplier, codes))
        return float(gap.reshape(-1, 6).astype(np.float64).var(axis=0).mean())

    errors = [error(layer.weight)]
    for sweeps in (1, 2):
        tuned = reconstruct(layer, multiplier.table, fit, layer.weight, sweeps=sweeps)
        errors.append(error(tuned))
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] <= errors[1] * (1 + 1e-6)
    exact = reconstruct(layer, exact_products(False), fit, layer.weight, sweeps=1)
    assert error(layer.weight) > 0
    gap = np.abs(exact.astype(int) - layer.weight.astype(int))
    assert gap.mean() < 3  # with exact products little can be gained


@pytest.fixture(scope="module")
def compensator(small: Case) -> Compensator:
    """Of the whole small network."""
    return Compensator(small.quantized, fit=48, held_back=24)


def test_network_compensation_recovers_accuracy(small: Case, compensator: Compensator) -> None:
    quantized = small.quantized

    def error(method: Method) -> float:
        chosen = compensator.network(dict.fromkeys(small.convolutions, ROUGH), method)
        assert list(chosen) == small.convolutions
        store = compensator.store
        bound = {n: store.operands(quantized.layers[n], a) for n, a in chosen.items()}
        images = small.search.images
        gap = quantized.network.run(images, bound) - quantized.network.run(images)
        return float(np.mean(gap**2))

    assert error("full") < 0.5 * error("alwann") < 0.6 * error("none")


def test_deterministic(small: Case, compensator: Compensator) -> None:
    again = Compensator(small.quantized, fit=48, held_back=24)
    wanted = dict.fromkeys(small.convolutions, ROUGH)
    first, second = compensator.network(wanted, "full"), again.network(wanted, "full")
    for name in small.convolutions:
        np.testing.assert_array_equal(first[name].weight, second[name].weight)
        np.testing.assert_array_equal(first[name].offset, second[name].offset)


def test_later_layers_see_what_earlier_ones_produce(
    small: Case, compensator: Compensator
) -> None:
    """In order, the second layer's correction differs from that after an exact first layer."""
    wanted = dict.fromkeys(small.convolutions, ROUGH)
    chosen = compensator.network(wanted, "full")
    alone = compensator.cached("c2", ROUGH, "full").approximation
    assert (chosen["c2"].offset != alone.offset).any()
    only = compensator.network({"c2": ROUGH}, "full")
    np.testing.assert_array_equal(only["c2"].offset, alone.offset)


def test_relative_error_orders_multipliers(small: Case, compensator: Compensator) -> None:
    cuts = [truncated(bits, power_mw=1) for bits in (6, 9, 12)]
    errors = [compensator.relative_error("c2", m, "full") for m in cuts]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_equal_tables_of_two_names_keep_their_names(
    small: Case, compensator: Compensator
) -> None:
    """A plan names the circuit; another one with the same table has another energy."""
    twins = [Multiplier(name, ROUGH.table, power_mw=p) for name, p in (("p", 1.0), ("q", 2.0))]
    made = [compensator.cached("c1", twin, "alwann").approximation for twin in twins]
    assert [a.multiplier.name for a in made] == ["p", "q"]
    np.testing.assert_array_equal(made[0].weight, made[1].weight)


def test_one_calibration_image_is_enough(small: Case) -> None:
    images = load_dataset(small.calibration.path).limited(1)
    one = quantize(small.model, images)
    chosen = Compensator(one).network({"c2": ROUGH}, "full")
    assert chosen["c2"].weight.shape == one.layers["c2"].weight.shape
