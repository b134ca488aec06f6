"""Codes are the same however many threads work on parts of the channels, and split or whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tiny import Case, random_multiplier

from alwann_c import cores
from alwann_c.codegen.tap_residual import TapKernels
from alwann_c.ir.spec import ConvSpec
from alwann_c.passes.compensate import LayerData, Rows, joint
from alwann_c.passes.quantize import LayerCodes

TABLE = random_multiplier(4, error=4000).table
Codes = npt.NDArray[np.uint8]


def _layer(small: Case, channels: int, groups: int) -> LayerCodes:
    random = np.random.default_rng(channels)
    taps = 5
    return LayerCodes(
        "one",
        "conv2d",
        ConvSpec(1, 1, taps * groups, channels, groups=groups, zero_point=3),
        small.quantized.layers["c2"].input,
        random.integers(0, 256, (1, 1, taps, channels), np.uint8),
        random.integers(100, 140, channels).astype(np.int32),
        np.full(channels, 0.01, np.float32),
        np.zeros(channels, np.int32),
    )


def _rows(layer: LayerCodes, count: int) -> Rows:
    random = np.random.default_rng(1)
    spec = layer.spec
    patches = random.integers(0, 60, (count, spec.groups, spec.taps), np.uint8)
    return Rows(patches, random.normal(size=(count, spec.out_channels)).astype(np.float32))


def _both(layer: LayerCodes) -> tuple[Codes, Codes]:
    data = LayerData(_rows(layer, 300), _rows(layer, 80), TapKernels().residual)
    fed = joint.feed_errors(layer, TABLE, data)
    return fed, joint.reconstruct(layer, TABLE, data, fed, sweeps=2)


@pytest.mark.parametrize(
    ("channels", "groups", "parts"), [(16, 1, 2), (24, 1, 3), (12, 1, 1), (6, 6, 1), (32, 2, 2)]
)
def test_threads_and_parts_change_nothing(
    small: Case,
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    groups: int,
    parts: int,
) -> None:
    layer = _layer(small, channels, groups)
    assert len(joint._parts(channels // groups)) == parts
    monkeypatch.setenv("TVM_NUM_THREADS", "1")
    alone = _both(layer)
    monkeypatch.setenv("TVM_NUM_THREADS", "3")
    together = _both(layer)
    monkeypatch.setattr(joint, "_parts", lambda channels: [slice(0, channels)])
    whole = _both(layer)
    for one, other, unsplit in zip(alone, together, whole, strict=True):
        assert (one != layer.weight).any()
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, unsplit)


@pytest.mark.parametrize("threads", ["1", "4"])
def test_results_keep_their_order(monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", threads)
    assert cores.in_threads(lambda n: n * n, range(9)) == [n * n for n in range(9)]
    assert cores.in_threads(lambda n: n, []) == []


def test_what_a_thread_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "2")
    fails: Callable[[Any], Any] = [].index
    with pytest.raises(ValueError, match="not in list"):
        cores.in_threads(fails, [1, 2])
