"""The numpy definition of the integer operators against plain loops written from the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_table

from alwann_c.ir.reference import (
    accumulator_offset,
    code_values,
    conv2d,
    dequantize,
    im2col,
    quantize,
)
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.targets import exact_products

Array = npt.NDArray[Any]


def value(code: int, signed: bool) -> int:
    return code - 256 if signed and code > 127 else code


def loops(x: Array, weight: Array, tuned: Array, table: Array, z_w: Array, spec: ConvSpec) -> Array:
    """acc[n] of the contract, bias 0, one product at a time."""
    per_group_in = spec.in_channels // spec.groups
    per_group_out = spec.out_channels // spec.groups
    shape = (len(x), spec.out_height, spec.out_width, spec.out_channels)
    acc = np.zeros(shape, np.int64)
    pad_code = spec.zero_point % 256
    for b, row, col, n in np.ndindex(*shape):
        group = n // per_group_out
        products = sum_x = sum_w = taps = 0
        for i, j, c in np.ndindex(*spec.kernel, per_group_in):
            y = row * spec.strides[0] + i * spec.dilation[0] - spec.padding[0]
            z = col * spec.strides[1] + j * spec.dilation[1] - spec.padding[1]
            inside = 0 <= y < spec.height and 0 <= z < spec.width
            a = int(x[b, y, z, group * per_group_in + c]) if inside else pad_code
            products += int(table[a, tuned[i, j, c, n]])
            sum_x += value(a, spec.signed)
            sum_w += value(int(weight[i, j, c, n]), spec.signed)
            taps += 1
        z_x, zero = spec.zero_point, int(z_w[n])
        acc[b, row, col, n] = products - zero * sum_x - z_x * sum_w + taps * z_x * zero
    return acc


@st.composite
def problems(draw: st.DrawFn) -> tuple[ConvSpec, int]:
    """A small convolution and a seed for its data."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    groups = draw(st.sampled_from([1, 2, 3]))
    signed = draw(st.booleans())
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    spec = ConvSpec(
        height=draw(st.integers(max(1, span[0] - padding[0] - padding[2]), 5)),
        width=draw(st.integers(max(1, span[1] - padding[1] - padding[3]), 5)),
        in_channels=groups * draw(st.integers(1, 2)),
        out_channels=groups * draw(st.integers(1, 2)),
        kernel=kernel,
        strides=draw(st.tuples(st.integers(1, 3), st.integers(1, 2))),
        padding=padding,
        dilation=dilation,
        groups=groups,
        zero_point=draw(st.integers(-128, 127) if signed else st.integers(0, 255)),
        signed=signed,
    )
    return spec, draw(st.integers(0, 2**32 - 1))


def drawn(spec: ConvSpec, seed: int) -> tuple[Array, Array, Array, Array]:
    """Input codes, weight codes, other (tuned) codes, weight zero points."""
    random = np.random.default_rng(seed)
    shape = (*spec.kernel, spec.in_channels // spec.groups, spec.out_channels)
    low, high = (-128, 128) if spec.signed else (0, 256)
    return (
        random.integers(0, 256, (2, spec.height, spec.width, spec.in_channels), np.uint8),
        random.integers(0, 256, shape, np.uint8),
        random.integers(0, 256, shape, np.uint8),
        random.integers(low, high, spec.out_channels).astype(np.int32),
    )


def accumulators(
    spec: ConvSpec, x: Array, weight: Array, tuned: Array, table: Array, z_w: Array
) -> Array:
    """`reference.conv2d` with scale 1, so its float32 output is the (small) accumulator."""
    nothing = np.zeros(spec.out_channels, np.int32)
    offset = accumulator_offset(weight, spec.zero_point, z_w, nothing, spec.signed)
    one = np.ones(spec.out_channels, np.float32)
    return conv2d(x, tuned, table, z_w, offset, one, None, spec)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_conv2d_equals_loops(problem: tuple[ConvSpec, int]) -> None:
    spec, seed = problem
    x, weight, tuned, z_w = drawn(spec, seed)
    table = random_table(seed, signed=spec.signed)
    got = accumulators(spec, x, weight, tuned, table, z_w)
    expected = loops(x, weight, tuned, table, z_w, spec)
    assert np.abs(expected).max() < 2**24
    np.testing.assert_array_equal(got, expected.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_exact_table_is_plain_integer_convolution(problem: tuple[ConvSpec, int]) -> None:
    spec, seed = problem
    x, weight, _, z_w = drawn(spec, seed)
    table = exact_products(spec.signed)
    got = accumulators(spec, x, weight, weight, table, z_w)
    centred = code_values(x, spec.signed) - spec.zero_point
    top, left, bottom, right = spec.padding
    centred = np.pad(centred, ((0, 0), (top, bottom), (left, right), (0, 0)))
    values = code_values(weight, spec.signed) - z_w
    expected = np.zeros(got.shape, np.int64)
    ins, outs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    for n in range(spec.out_channels):
        first = n // outs * ins
        for i, j in np.ndindex(*spec.kernel):
            y, z = i * spec.dilation[0], j * spec.dilation[1]
            taken = centred[
                :,
                y : y + (spec.out_height - 1) * spec.strides[0] + 1 : spec.strides[0],
                z : z + (spec.out_width - 1) * spec.strides[1] + 1 : spec.strides[1],
                first : first + ins,
            ]
            expected[..., n] += (taken * values[i, j, :, n]).sum(axis=-1)
    np.testing.assert_array_equal(got, expected.astype(np.float32))


def test_padded_taps_go_through_the_multiplier() -> None:
    spec = ConvSpec(1, 1, 1, 1, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=7)
    table = np.zeros((256, 256), np.int32)
    table[7, 0] = 11  # M(z_x, 0), eight padded taps
    table[200, 0] = 500
    zeros = np.zeros((3, 3, 1, 1), np.uint8)
    x = np.full((1, 1, 1, 1), 200, np.uint8)
    nothing = np.zeros(1, np.int32)
    got = conv2d(x, zeros, table, nothing, nothing, np.ones(1, np.float32), None, spec)
    assert got.item() == 8 * 11 + 500


def test_the_table_row_is_the_activation_and_the_offset_has_original_codes() -> None:
    spec = ConvSpec(1, 1, 1, 1, zero_point=3)
    table = np.arange(65536, dtype=np.int32).reshape(256, 256)
    x, original, tuned = (np.full((1, 1, 1, 1), v, np.uint8) for v in (20, 5, 9))
    got = accumulators(spec, x, original, tuned, table, np.array([128], np.int32))
    assert got.item() == (20 * 256 + 9) - 128 * 20 - 3 * 5 + 3 * 128


@pytest.mark.parametrize("code", [Quantization(0.5, 3), Quantization(0.25, -4, True)])
def test_quantize_by_hand(code: Quantization) -> None:
    steps = np.array([-1e9, -1000, -2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.5, 1000, 1e9])
    x = (steps * code.scale).astype(np.float32)
    expected = []
    for step in steps:
        rounded = round(step)  # Python rounds half to even
        expected.append(min(max(rounded + code.zero_point, code.low), code.high))
    got = quantize(x, code)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(code_values(got, code.signed), expected)
    back = dequantize(got, code)
    np.testing.assert_array_equal(back, code.scale * (np.array(expected) - code.zero_point))


def test_epilogue_order() -> None:
    spec = ConvSpec(
        1,
        1,
        1,
        1,
        epilogue=Epilogue(
            activation="clip",
            clip_min=-1.0,
            clip_max=6.0,
            residual="codes",
            residual_code=Quantization(0.5, 10),
            output=Quantization(0.25, 4),
        ),
    )
    table = np.zeros((256, 256), np.int32)

    def run(offset: int, residual: int) -> int:
        zero = np.zeros((1, 1, 1, 1), np.uint8)
        offsets = np.array([offset], np.int32)
        scale = np.array([0.5], np.float32)
        held = np.full((1, 1, 1, 1), residual, np.uint8)
        got = conv2d(zero, zero, table, np.zeros(1, np.int32), offsets, scale, held, spec)
        return int(got.item())

    assert run(6, 14) == (3 + 2) / 0.25 + 4  # scale * acc + residual
    assert run(20, 14) == 6 / 0.25 + 4  # clipped after the addition
    assert run(-20, 12) == -1 / 0.25 + 4


def test_im2col_orders_taps_by_row_column_channel() -> None:
    spec = ConvSpec(3, 3, 2, 1, kernel=(2, 2), strides=(1, 1))
    x = np.arange(18, dtype=np.uint8).reshape(1, 3, 3, 2)
    patches = im2col(x, spec)
    assert patches.shape == (1, 2, 2, 1, 8)
    assert patches[0, 1, 0, 0].tolist() == [6, 7, 8, 9, 12, 13, 14, 15]
