"""Quantize and dequantize kernels against the numpy reference, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st

from alwann_c.codegen.cpu.elementwise import dequantize_primfunc, quantize_primfunc
from alwann_c.codegen.machine import host_target
from alwann_c.ir import reference
from alwann_c.ir.spec import Quantization

TARGET = host_target()


def _run(func: tvm.tirx.PrimFunc, x: npt.NDArray[Any], kind: type) -> npt.NDArray[Any]:
    run = tvm.compile(func, TARGET)[str(func.attrs["global_symbol"])]
    y = tvm.runtime.tensor(np.zeros(x.shape, kind))
    run(tvm.runtime.tensor(x), y)
    return np.asarray(y.numpy())


@settings(max_examples=10, deadline=None)
@given(
    scale=st.floats(2.0**-20, 16.0, width=32),
    zero_point=st.integers(-128, 255),
    signed=st.booleans(),
    shape=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_reference(
    scale: float, zero_point: int, signed: bool, shape: list[int], seed: int
) -> None:
    """Random values, ties between two codes and their neighbours, far out of range."""
    code = Quantization(
        scale, min(max(zero_point, -128 if signed else 0), 127 if signed else 255), signed
    )
    rng = np.random.default_rng(seed)
    ties = (rng.integers(-300, 300, shape) + 0.5).astype(np.float32) * np.float32(scale)
    near = np.nextafter(ties, rng.choice([-np.inf, np.inf], shape).astype(np.float32))
    wide = rng.normal(0, 200 * scale, shape).astype(np.float32)
    far = (rng.choice([-1, 1], shape) * 10.0 ** rng.uniform(-30, 30, shape)).astype(np.float32)
    x = np.where(
        rng.random(shape) < 0.9, np.choose(rng.integers(0, 3, shape), [ties, near, wide]), far
    )
    x = x.astype(np.float32)
    found = _run(quantize_primfunc(code, len(shape)), x, np.uint8)
    np.testing.assert_array_equal(found, reference.quantize(x, code))
    values = _run(dequantize_primfunc(code, len(shape)), found, np.float32)
    np.testing.assert_array_equal(values, reference.dequantize(found, code))
