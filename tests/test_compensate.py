"""Compensation of layers and networks: better where it promises so, unbiased, deterministic."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from plain_residual import PlainResidual
from tiny import Case, random_multiplier, truncated

from alwann_c.codegen.tap_residual import TapKernels
from alwann_c.ir.reference import conv2d, im2col
from alwann_c.ir.spec import ConvSpec
from alwann_c.passes.approximate import LayerApproximation, uncompensated
from alwann_c.passes.compensate import (
    LayerData,
    Method,
    Rows,
    compensate_layer,
    draw_pixels,
    patches_at,
    targets_at,
)
from alwann_c.passes.compensate.data import output_gap, wanted_sums
from alwann_c.passes.compensate.fit import simple_tunings, with_weight
from alwann_c.passes.compensate.joint import feed_errors, reconstruct
from alwann_c.passes.compensate.tuning import alwann_map
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier, exact_products

Array = npt.NDArray[Any]
ROUGH = truncated(10, power_mw=0.4)
METHODS: list[Method] = ["none", "alwann", "full"]


class Seen:
    """A layer's input codes and wanted outputs: all output pixels of 28 and 12 images."""

    def __init__(self, layer: LayerCodes, codes: Array) -> None:
        self.layer, self.codes = layer, codes
        exact = Multiplier("exact", exact_products(False))
        noise = np.random.default_rng(0).normal(0, 0.01, (40, 4, 4, 6))
        output = self.run(uncompensated(layer, exact), slice(None)) + noise
        self.target = output.astype(np.float32)
        self.data = LayerData(self.rows(slice(0, 28)), self.rows(slice(28, 40)), PlainResidual)

    def rows(self, images: slice) -> Rows:
        patches = im2col(self.codes[images], self.layer.spec).reshape(-1, 1, 54)
        return Rows(patches, self.target[images].reshape(-1, 6))

    def run(self, approximation: LayerApproximation, images: slice) -> Array:
        """Outputs through the numpy reference."""
        return conv2d(
            self.codes[images],
            approximation.weight,
            approximation.multiplier.table,
            approximation.layer.weight_zero_point,
            approximation.offset,
            approximation.scale,
            None,
            self.layer.spec,
        )

    def gap(self, approximation: LayerApproximation, images: slice) -> Array:
        """Wanted minus produced outputs, [rows, n]."""
        gap = self.target[images].astype(np.float64) - self.run(approximation, images)
        return gap.reshape(-1, 6)


@pytest.fixture(scope="module")
def layer(small: Case) -> LayerCodes:
    """The second convolution."""
    return small.quantized.layers["c2"]


@pytest.fixture(scope="module")
def seen(small: Case, layer: LayerCodes) -> Seen:
    """What it sees on 40 images."""
    network = small.quantized.network
    return Seen(layer, network.run_probed(small.calibration.images[:40]).codes["c2"])


FIT, HELD_BACK = slice(0, 28), slice(28, 40)


def test_output_gap_is_that_of_the_reference(layer: LayerCodes, seen: Seen) -> None:
    random = np.random.default_rng(1)
    weight = random.integers(0, 256, layer.weight.shape, np.uint8)
    multiplier = random_multiplier(2, error=500)
    gap = seen.gap(with_weight(layer, multiplier, weight), FIT) / layer.scale
    for make in (PlainResidual, TapKernels().residual):
        found = output_gap(layer, weight, multiplier.table, seen.data.fit, make)
        np.testing.assert_allclose(found.mean, gap.mean(axis=0), rtol=1e-4, atol=0.5)
        np.testing.assert_allclose(found.variance, gap.var(axis=0), rtol=1e-3)
        wanted = seen.target[FIT].reshape(-1, 6) / layer.scale.astype(np.float64)
        produced = wanted - gap
        slope = found.slope()
        for n in range(6):
            fitted = np.polyfit(produced[:, n], wanted[:, n], 1)[0]
            assert slope[n] == pytest.approx(fitted if fitted > 0 else 1, rel=1e-3)
        left = (wanted - slope * produced).var(axis=0)
        np.testing.assert_allclose(found.scaled_variance(slope), left, rtol=1e-3)


def test_bias_correction_removes_the_mean_error(layer: LayerCodes, seen: Seen) -> None:
    plain = uncompensated(layer, ROUGH)
    before = seen.gap(plain, FIT).mean(axis=0)
    assert np.abs(before).min() > 5 * layer.scale.max()
    full = compensate_layer(layer, ROUGH, "full", seen.data).approximation
    after = seen.gap(full, FIT).mean(axis=0)
    assert (np.abs(after) <= 0.51 * full.scale + 1e-6).all()
    uncorrected = with_weight(full.layer, ROUGH, full.weight)
    assert np.abs(seen.gap(uncorrected, FIT).mean(axis=0)).max() > layer.scale.max()


def test_analytic_bias_leaves_the_mean_of_the_exact_layer(layer: LayerCodes, seen: Seen) -> None:
    """The taps' histograms tell the mean error of a sum of products exactly."""
    exact = uncompensated(layer, Multiplier("exact", exact_products(layer.signed)))
    wanted = seen.gap(exact, FIT).mean(axis=0)
    tuned = compensate_layer(layer, ROUGH, "variance", seen.data).approximation
    assert np.abs(seen.gap(tuned, FIT).mean(axis=0) - wanted).max() > 5 * layer.scale.max()
    made = compensate_layer(layer, ROUGH, "analytic", seen.data)
    np.testing.assert_array_equal(made.approximation.weight, tuned.weight)
    left = seen.gap(made.approximation, FIT).mean(axis=0)
    assert (np.abs(left - wanted) <= 0.51 * layer.scale).all()
    squares = seen.gap(made.approximation, HELD_BACK) ** 2
    variance = float(seen.target[HELD_BACK].var(dtype=np.float64))
    assert made.error == pytest.approx(float(squares.mean()) / variance, rel=1e-3)


@pytest.mark.parametrize(
    "multiplier",
    [ROUGH, random_multiplier(3, error=3000), truncated(7, power_mw=1)],
    ids=lambda m: m.name,
)
def test_full_is_the_best_candidate_on_held_back_images(
    layer: LayerCodes, seen: Seen, multiplier: Multiplier
) -> None:
    def spread(candidate: LayerApproximation) -> float:
        return float(seen.gap(candidate, HELD_BACK).var(axis=0).mean())

    variance = float(seen.target[HELD_BACK].var(dtype=np.float64))
    made = {m: compensate_layer(layer, multiplier, m, seen.data) for m in METHODS}
    full = spread(made["full"].approximation)
    for codes in simple_tunings(layer, multiplier, seen.data).values():
        assert full <= spread(with_weight(layer, multiplier, codes)) * (1 + 1e-4)
    assert made["full"].error == pytest.approx(full / variance, rel=1e-3)
    assert made["full"].error < min(made["none"].error, made["alwann"].error)
    for method in ("none", "alwann"):
        squares = seen.gap(made[method].approximation, HELD_BACK) ** 2
        assert made[method].error == pytest.approx(float(squares.mean()) / variance, rel=1e-3)
    squares = seen.gap(made["full"].approximation, HELD_BACK) ** 2
    assert squares.mean() / variance < min(made["none"].error, made["alwann"].error)


def test_none_and_alwann_are_what_they_say(layer: LayerCodes, seen: Seen) -> None:
    none = compensate_layer(layer, ROUGH, "none", seen.data).approximation
    alwann = compensate_layer(layer, ROUGH, "alwann", seen.data).approximation
    np.testing.assert_array_equal(none.weight, layer.weight)
    mapping = alwann_map(ROUGH.table, signed=False)
    np.testing.assert_array_equal(alwann.weight, mapping[layer.weight])
    assert (alwann.weight != layer.weight).any()
    for made in (none, alwann):
        np.testing.assert_array_equal(made.offset, layer.offset())
        np.testing.assert_array_equal(made.scale, layer.scale)
        assert made.multiplier is ROUGH


@pytest.mark.parametrize("method", METHODS)
def test_exact_multipliers_are_left_alone(layer: LayerCodes, seen: Seen, method: Method) -> None:
    exact = Multiplier("any", exact_products(False))
    made = compensate_layer(layer, exact, method, seen.data).approximation
    np.testing.assert_array_equal(made.weight, layer.weight)
    np.testing.assert_array_equal(made.offset, layer.offset())


def test_the_offset_keeps_the_original_codes(layer: LayerCodes, seen: Seen) -> None:
    """Tuned codes go to the multiplier alone; zero-point terms and bias see the original ones."""
    made = compensate_layer(layer, ROUGH, "full", seen.data).approximation
    assert (made.weight != layer.weight).any()
    coded = made.layer
    gap = output_gap(coded, made.weight, ROUGH.table, seen.data.fit, PlainResidual)
    slope = made.scale / coded.scale.astype(np.float64)
    correction = gap.wanted_mean / slope - (gap.wanted_mean - gap.mean)
    np.testing.assert_allclose(made.offset - coded.offset(), correction, atol=0.51, rtol=1e-6)


def test_scale_is_corrected_only_where_held_back_rows_gain(layer: LayerCodes, seen: Seen) -> None:
    """Products that are a fifth too small want a scale a quarter larger."""
    small = Multiplier("small", (exact_products(False) * 4) // 5)
    made = compensate_layer(layer, small, "full", seen.data).approximation
    slope = made.scale / made.layer.scale
    assert ((slope == 1) | (np.abs(slope - 1) < 0.5)).all()
    plain = dataclasses.replace(made, scale=made.layer.scale)
    chosen = seen.gap(made, HELD_BACK).var(axis=0)
    assert (chosen <= seen.gap(plain, HELD_BACK).var(axis=0) * (1 + 1e-5)).all()


def test_histograms_are_those_of_the_taps(layer: LayerCodes, seen: Seen) -> None:
    histograms = seen.rows(slice(None)).histograms
    assert histograms.shape == (1, 54, 256)
    np.testing.assert_allclose(histograms.sum(axis=2), 1)
    centre = (1 * 3 + 1) * 6 + 2  # row 1, column 1, channel 2: every pixel, never padding
    expected = np.bincount(seen.codes[..., 2].reshape(-1), minlength=256) / (40 * 16)
    np.testing.assert_allclose(histograms[0, centre], expected)
    corner = seen.codes[:, :3, :3, 0]  # tap (0, 0): the pixel up left, padding elsewhere
    padded = np.concatenate([corner.reshape(-1), np.full(40 * 7, layer.input.zero_point, np.uint8)])
    np.testing.assert_allclose(histograms[0, 0], np.bincount(padded, minlength=256) / (40 * 16))


@pytest.mark.parametrize(
    "spec",
    [
        ConvSpec(5, 6, 4, 3, (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), zero_point=9),
        ConvSpec(4, 4, 6, 6, (3, 3), padding=(1, 1, 1, 1), groups=3, zero_point=-4, signed=True),
        ConvSpec(1, 1, 7, 2, zero_point=3),
    ],
)
@pytest.mark.parametrize("limit", [1, 40, 10**9])
def test_sampled_patches_and_targets_belong_together(spec: ConvSpec, limit: int) -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (5, spec.height, spec.width, spec.in_channels), np.uint8)
    shape = (5, spec.out_height, spec.out_width, spec.out_channels)
    target = random.normal(size=shape).astype(np.float32)
    chosen = draw_pixels(5, spec, limit)
    total = spec.out_height * spec.out_width
    assert chosen.shape == (5, min(total, max(1, limit // 5)))
    for row in chosen:
        assert len(set(row.tolist())) == len(row)
    np.testing.assert_array_equal(chosen, draw_pixels(5, spec, limit))
    whole = im2col(codes, spec).reshape(5, total, spec.groups, spec.taps)
    patches, wanted = patches_at(codes, spec, chosen), targets_at(target, spec, chosen)
    picked = np.arange(5)[:, None]
    expected = whole[picked, chosen].reshape(-1, spec.groups, spec.taps)
    np.testing.assert_array_equal(patches, expected)
    flat = target.reshape(5, total, -1)
    np.testing.assert_array_equal(wanted, flat[picked, chosen].reshape(-1, spec.out_channels))


def test_reconstruction_lowers_the_error_it_is_fitted_to(layer: LayerCodes, seen: Seen) -> None:
    multiplier = random_multiplier(4, error=4000)

    def error(codes: Array) -> float:
        return float(seen.gap(with_weight(layer, multiplier, codes), FIT).var(axis=0).mean())

    errors = [error(layer.weight)]
    for sweeps in (1, 2, 3):
        tuned = reconstruct(layer, multiplier.table, seen.data, layer.weight, sweeps=sweeps)
        errors.append(error(tuned))
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < errors[1]
    assert errors[3] <= errors[2] * (1 + 1e-6)


def test_reconstruction_of_one_tap_is_the_best_of_all_codes(seen: Seen, layer: LayerCodes) -> None:
    """Coordinate descent by definition: the first tap of one sweep, every code tried."""
    multiplier = random_multiplier(4, error=4000)
    patches = seen.data.fit.patches[:, :, :1]
    spec = ConvSpec(1, 1, 1, 6, zero_point=layer.spec.zero_point)
    one = LayerCodes(
        "one",
        "conv2d",
        spec,
        layer.input,
        layer.weight[:1, :1, :1],
        layer.weight_zero_point,
        layer.weight_scale,
        layer.bias,
    )
    data = LayerData(Rows(patches, seen.data.fit.target), seen.data.choose, PlainResidual)
    tuned = reconstruct(one, multiplier.table, data, one.weight, sweeps=1)

    def variance(code: int) -> Array:
        weight = np.full((1, 1, 1, 6), code, np.uint8)
        return output_gap(one, weight, multiplier.table, data.fit, PlainResidual).variance

    every = np.array([variance(code) for code in range(256)])
    got = every[tuned[0, 0, 0], np.arange(6)]
    np.testing.assert_allclose(got, every.min(axis=0), rtol=1e-4)


def test_error_feeding_by_definition(seen: Seen, layer: LayerCodes) -> None:
    """Three taps in turn, every code tried, those after it exact."""
    table = random_multiplier(4, error=4000).table
    taps = dataclasses.replace(
        layer,
        spec=ConvSpec(1, 1, 3, 6, zero_point=layer.spec.zero_point),
        weight=np.ascontiguousarray(layer.weight.reshape(1, 1, -1, 6)[:, :, :3]),
    )
    rows = Rows(seen.data.fit.patches[:, :, :3], seen.data.fit.target)
    data = LayerData(rows, seen.data.choose, PlainResidual)
    fed = feed_errors(taps, table, data)[0, 0]
    wanted, _ = wanted_sums(taps, rows, 0)
    x = rows.patches[:, 0].astype(np.intp)
    exact = exact_products(False)
    for n in range(6):
        own = taps.weight[0, 0, :, n]
        for k in range(3):
            rest = wanted[:, n] - sum(table[x[:, j], fed[j, n]] for j in range(k))
            rest = rest - sum(exact[x[:, j], own[j]] for j in range(k + 1, 3))
            every = (rest[:, None] - table[x[:, k]]).var(axis=0)
            assert every[fed[k, n]] == pytest.approx(every.min(), rel=1e-4)
