"""The float32 convolution against a float64 sum of products."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st

from alwann_c.codegen.cpu.float_conv2d import FloatTile, float_conv2d_primfunc
from alwann_c.codegen.machine import host_target
from alwann_c.ir.spec import ConvSpec

TARGET = host_target()


def expected(x: npt.NDArray[Any], weight: npt.NDArray[Any], spec: ConvSpec) -> npt.NDArray[Any]:
    top, left, bottom, right = spec.padding
    padded = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    result = np.zeros((len(x), spec.out_height, spec.out_width, spec.out_channels))
    ins, outs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    for i, j, g in np.ndindex(*spec.kernel, spec.groups):
        rows = padded[:, i * spec.dilation[0] :: spec.strides[0]][:, : spec.out_height]
        part = rows[:, :, j * spec.dilation[1] :: spec.strides[1]][:, :, : spec.out_width]
        channels = slice(g * outs, (g + 1) * outs)
        result[..., channels] += part[..., g * ins : (g + 1) * ins] @ weight[i, j, :, channels]
    return result


@settings(max_examples=15, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 1, 2, 4]),
    per_group=st.tuples(st.integers(1, 5), st.integers(1, 70)),
    depthwise=st.booleans(),
    tile=st.none() | st.builds(FloatTile, st.sampled_from([1, 4, 16, 32]), st.integers(1, 4)),
)
def test_close_to_float64(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    per_group: tuple[int, int],
    depthwise: bool,
    tile: FloatTile | None,
) -> None:
    """Odd shapes, strides, dilation, groups and depthwise, chosen and given tiles."""
    ins, outs = (1, 1) if depthwise else per_group
    spec = ConvSpec(7, 6, groups * ins, groups * outs, kernel, strides, padding, dilation, groups)
    check(spec, tile)


@pytest.mark.parametrize("size", [1 << 12, 1 << 15, 1 << 30])
@pytest.mark.parametrize(
    "spec",
    [
        ConvSpec(7, 7, 64, 64, (3, 3), padding=(1, 1, 1, 1)),
        ConvSpec(9, 7, 50, 32, (3, 3), strides=(2, 2), dilation=(2, 1), padding=(2, 1, 0, 1)),
        ConvSpec(5, 7, 80, 64, (2, 1), groups=2, dilation=(1, 2)),
        ConvSpec(3, 3, 300, 128, (1, 1)),
    ],
)
def test_sections_of_taps(monkeypatch: pytest.MonkeyPatch, spec: ConvSpec, size: int) -> None:
    """Weights in one piece, in a section per run, in several of unequal sizes; incomplete tiles."""
    monkeypatch.setattr("alwann_c.codegen.cpu.float_conv2d.SECTION", size)
    check(spec, None)


def check(spec: ConvSpec, tile: FloatTile | None) -> None:
    """A kernel's output on random data is close to the sum of products in float64."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, spec.height, spec.width, spec.in_channels)).astype(np.float32)
    filters = (*spec.kernel, spec.in_channels // spec.groups, spec.out_channels)
    weight = rng.normal(size=filters).astype(np.float32)
    func = float_conv2d_primfunc(spec, TARGET, tile=tile)
    run = tvm.compile(tvm.IRModule({"float_conv2d": func}), TARGET)["float_conv2d"]
    shape = (2, spec.out_height, spec.out_width, spec.out_channels)
    y = tvm.runtime.tensor(np.zeros(shape, np.float32))
    run(tvm.runtime.tensor(x), tvm.runtime.tensor(weight), y)
    np.testing.assert_allclose(y.numpy(), expected(x, weight, spec), rtol=1e-4, atol=1e-4)
