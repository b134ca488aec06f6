"""Speed of the CPU kernels: GMAC/s, and the ratio to ONNX Runtime float32 measured beside it.

    pytest tests/benchmarks/test_kernels.py --benchmark-only [--benchmark-json=kernels.json]

Every figure includes preparing the table and building panels. Activations are ReLU-like codes,
weights per-channel symmetric codes, both as networks have them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TVM_NUM_THREADS", "2")

import numpy as np
import pytest
import tvm
from kernels_ort import float_conv2d, interleaved, threads

from alwann_c.codegen.cpu.conv2d import conv2d_primfunc
from alwann_c.codegen.cpu.float_conv2d import float_conv2d_primfunc
from alwann_c.codegen.cpu.pipeline import TIR_PIPELINE
from alwann_c.codegen.cpu.strategy import Strategy, choose_strategy
from alwann_c.codegen.cpu.table import prepare_table
from alwann_c.codegen.machine import host_target, use_all_cores
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization

use_all_cores()
TARGET = host_target()
QUANTIZED = Epilogue("relu", output=Quantization(0.05, 0))


def conv(
    size: int, ins: int, outs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> ConvSpec:
    """A square convolution with 'same' padding, requantized output."""
    return ConvSpec(
        size,
        size,
        ins,
        outs,
        (kernel, kernel),
        (stride, stride),
        (kernel // 2,) * 4,
        groups=groups,
        epilogue=QUANTIZED,
    )


CASES: dict[str, tuple[ConvSpec, int]] = {
    "cifar 3-16": (conv(32, 3, 16), 200),
    "cifar 16-16": (conv(32, 16, 16), 200),
    "cifar 32-32": (conv(16, 32, 32), 200),
    "cifar 64-64": (conv(8, 64, 64), 200),
    "cifar 16-32/2": (conv(32, 16, 32, stride=2), 200),
    "cifar 32-64/2": (conv(16, 32, 64, stride=2), 200),
    "imagenet 56 64-64": (conv(56, 64, 64), 8),
    "imagenet 28 128-128": (conv(28, 128, 128), 8),
    "imagenet 14 256-256": (conv(14, 256, 256), 8),
    "imagenet 7 512-512": (conv(7, 512, 512), 8),
    "imagenet 56 256-64 1x1": (conv(56, 256, 64, 1), 8),
    "imagenet 56 64-256 1x1": (conv(56, 64, 256, 1), 8),
    "imagenet 14 1024-256 1x1": (conv(14, 1024, 256, 1), 8),
    "imagenet 7 2048-512 1x1": (conv(7, 2048, 512, 1), 8),
    "imagenet 56 256-512/2 1x1": (conv(56, 256, 512, 1, 2), 8),
    "depthwise 56 128": (conv(56, 128, 128, groups=128), 8),
    "depthwise 28 256/2": (conv(28, 256, 256, stride=2, groups=256), 8),
    "grouped 28 256 of 32": (conv(28, 256, 256, groups=32), 8),
    "batch 1, 16-16": (conv(32, 16, 16), 1),
    "batch 1, 32-32": (conv(16, 32, 32), 1),
    "batch 1, 64-64": (conv(8, 64, 64), 1),
}


def product_table(kind: str) -> np.ndarray[Any, Any]:
    """An asymmetric table: of high rank (low bits scrambled), of rank 4, or exact."""
    a, w = np.indices((256, 256))
    if kind == "exact":
        return (a * w).astype(np.int32)
    if kind == "rank 4":
        return (a * w - (a & 3) * (w & 6) - (a & 4) * (w & 1) - (a & 1) * (w & 8)).astype(np.int32)
    return (np.maximum(a * w - (a * 7 ^ w * 5) % 512, 0)).astype(np.int32)


def integer_call(
    spec: ConvSpec, batch: int, table: str, strategy: Strategy | None = None
) -> Callable[[], None]:
    """A call of the compiled integer convolution."""
    rng = np.random.default_rng(0)
    weight = rng.laplace(0, 1, (*spec.kernel, spec.in_channels // spec.groups, spec.out_channels))
    weight = np.rint(weight / np.abs(weight).max((0, 1, 2)) * 127) + 128
    x = rng.normal(0, 35, (batch, spec.height, spec.width, spec.in_channels)).clip(0, 255)
    n = spec.out_channels
    arrays = [
        x.astype(np.uint8),
        weight.astype(np.uint8),
        prepare_table(product_table(table), spec.signed),
        np.full(n, 128, np.int32),
        np.zeros(n, np.int32),
        np.full(n, 1e-3, np.float32),
        np.zeros((batch, spec.out_height, spec.out_width, n), np.uint8),
    ]
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    module = tvm.IRModule({"conv2d": conv2d_primfunc(spec, TARGET, strategy=strategy)})
    run = tvm.compile(module, TARGET, tir_pipeline=TIR_PIPELINE)["conv2d"]
    return lambda: run(*tensors)


def float_call(spec: ConvSpec, batch: int) -> Callable[[], None]:
    """A call of the compiled float convolution."""
    rng = np.random.default_rng(0)
    shapes = [
        (batch, spec.height, spec.width, spec.in_channels),
        (*spec.kernel, spec.in_channels // spec.groups, spec.out_channels),
        (batch, spec.out_height, spec.out_width, spec.out_channels),
    ]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    module = tvm.IRModule({"float_conv2d": float_conv2d_primfunc(spec, TARGET)})
    run = tvm.compile(module, TARGET, tir_pipeline=TIR_PIPELINE)["float_conv2d"]
    return lambda: run(*tensors)


def report(benchmark: Any, call: Callable[[], None], spec: ConvSpec, batch: int) -> None:
    """Benchmark `call`; GMAC/s and the ratio to ONNX Runtime go into `extra_info`."""
    pytest.importorskip("onnxruntime")
    work = spec.macs * batch / 1e9
    yardstick, ours = interleaved([float_conv2d(spec, batch), call])
    benchmark.extra_info.update(
        gmac_per_s=round(work / ours, 2),
        ort_gmac_per_s=round(work / yardstick, 2),
        ratio=round(yardstick / ours, 3),
        threads=threads(),
    )
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)
    print(f"\n{work / ours:8.1f} GMAC/s {yardstick / ours:6.2f} x ONNX Runtime", end=" ")


@pytest.mark.parametrize("table", ["any", "rank 4", "exact"])
@pytest.mark.parametrize("name", CASES)
def test_conv2d(benchmark: Any, name: str, table: str) -> None:
    """The integer convolution."""
    spec, batch = CASES[name]
    benchmark.extra_info["strategy"] = choose_strategy(spec, TARGET).name
    report(benchmark, integer_call(spec, batch, table), spec, batch)


@pytest.mark.parametrize("name", CASES)
def test_float_conv2d(benchmark: Any, name: str) -> None:
    """The float convolution."""
    spec, batch = CASES[name]
    report(benchmark, float_call(spec, batch), spec, batch)
