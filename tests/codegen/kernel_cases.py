"""Random operands for integer layers, and running a kernel beside its numpy reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from alwann_c.codegen.cpu.conv2d import conv2d_primfunc
from alwann_c.codegen.cpu.pipeline import TIR_PIPELINE
from alwann_c.codegen.cpu.strategy import Strategy
from alwann_c.codegen.cpu.table import prepare_table
from alwann_c.ir import reference
from alwann_c.ir.spec import ConvSpec

Array = npt.NDArray[Any]


def exact_table(signed: bool) -> Array:
    """a * w."""
    values = reference.code_values(np.arange(256, dtype=np.uint8), signed)
    return np.outer(values, values).astype(np.int32)


def _noisy(rng: np.random.Generator, signed: bool) -> Array:
    low, high = (-32768, 32767) if signed else (0, 65535)
    noise = rng.integers(-300, 300, (256, 256))
    return (exact_table(signed) + noise).clip(low, high).astype(np.int32)


def _low_rank(signed: bool) -> Array:
    """Some low partial products left out: rank 4."""
    bits = np.arange(256)
    return (
        exact_table(signed) - np.outer(bits & 3, bits & 6) - np.outer(bits & 4, bits & 1)
    ).astype(np.int32)


def _truncated(signed: bool) -> Array:
    """Products of truncated operands: rank 1, zero points need a term of their own."""
    values = reference.code_values(np.arange(256, dtype=np.uint8), signed)
    return np.outer(values // 4 * 4, values // 2 * 2).astype(np.int32)


TABLES: dict[str, Callable[[np.random.Generator, bool], Array]] = {
    "exact": lambda _, signed: exact_table(signed),
    "noisy": _noisy,
    "low rank": lambda _, signed: _low_rank(signed),
    "rank 1": lambda _, signed: _truncated(signed),
    "zero": lambda _, signed: np.zeros((256, 256), np.int32),
    "greatest": lambda _, signed: np.full((256, 256), 32767 if signed else 65535, np.int32),
    "int16": lambda rng, _: rng.integers(-32768, 32768, (256, 256)).astype(np.int32),
    "uint16": lambda rng, _: rng.integers(0, 65536, (256, 256)).astype(np.int32),
    "rows": lambda rng, _: np.repeat(rng.integers(0, 65536, (256, 1)), 256, 1).astype(np.int32),
}
"""Tables by name: exact, asymmetric with M(a, 0) != 0, constant, and wild ones."""


@dataclass(frozen=True)
class Operands:
    """Arguments of `reference.conv2d`, in its order."""

    x: Array
    weight: Array
    table: Array
    weight_zero_point: Array
    offset: Array
    scale: Array
    residual: Array | None


def random_operands(
    spec: ConvSpec, batch: int, rng: np.random.Generator, table: Array, spread: int = 256
) -> Operands:
    """Operands with weight codes at most `spread / 2` from the middle of their range."""
    n, epilogue = spec.out_channels, spec.epilogue
    middle = 0 if spec.signed else 128
    codes = rng.integers(
        -(spread // 2), spread // 2, (*spec.kernel, spec.in_channels // spec.groups, n)
    )
    low, high = (-128, 128) if spec.signed else (0, 256)
    zero_point = rng.integers(low, high, n) if rng.random() < 0.5 else np.full(n, middle)
    shape = (batch, spec.out_height, spec.out_width, n)
    residual: Array | None = None
    if epilogue.residual == "codes":
        residual = rng.integers(0, 256, shape).astype(np.uint8)
    elif epilogue.residual == "float":
        residual = rng.normal(0, 3, shape).astype(np.float32)
    return Operands(
        rng.integers(0, 256, (batch, spec.height, spec.width, spec.in_channels)).astype(np.uint8),
        (codes + middle).astype(np.uint8),
        table,
        zero_point.astype(np.int32),
        rng.integers(-100_000, 100_000, n).astype(np.int32),
        (10.0 ** rng.uniform(-6, -3, n)).astype(np.float32),
        residual,
    )


class Kernel:
    """A compiled convolution."""

    def __init__(
        self, spec: ConvSpec, target: tvm.target.Target, strategy: Strategy | None = None
    ) -> None:
        self.spec = spec
        func = conv2d_primfunc(spec, target, strategy=strategy)
        module = tvm.IRModule({"conv2d": func})
        self._run = tvm.compile(module, target, tir_pipeline=TIR_PIPELINE)["conv2d"]

    def __call__(self, operands: Operands) -> Array:
        """Output for the operands."""
        spec = self.spec
        shape = (len(operands.x), spec.out_height, spec.out_width, spec.out_channels)
        kind = np.float32 if spec.epilogue.output is None else np.uint8
        given = [value for value in vars(operands).values() if value is not None]
        given[2] = prepare_table(operands.table, spec.signed)
        tensors = [tvm.runtime.tensor(np.ascontiguousarray(value)) for value in given]
        output = tvm.runtime.tensor(np.zeros(shape, kind))
        self._run(*tensors, output)
        return np.asarray(output.numpy())

    def check(self, operands: Operands) -> None:
        """The output equals the reference, bit for bit."""
        expected = reference.conv2d(*vars(operands).values(), self.spec)
        found = self(operands)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
