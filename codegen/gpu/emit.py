"""Small vocabulary for emitting GPU kernels: threads, shared memory, exact float32 arithmetic.

float32 operations must round one by one. CUDA has intrinsics that are never contracted; in OpenCL
and C only operations of one expression may be contracted, so each goes to a variable of its own (C
is compiled with -ffp-contract=off as well).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tvm
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as I

from alwann_c.codegen.gpu.constants import constant
from alwann_c.ir.spec import Epilogue, Quantization

Expr = Any
Buffer = Any
Kind = Literal["cuda", "opencl", "c"]

FAR = 1024.0
"""Steps from zero beyond which every value saturates."""


def build(name: str, body: Callable[[], None]) -> tvm.tirx.PrimFunc:
    """Runs `body()` inside a fresh PrimFunc and returns it."""
    with IRBuilder() as builder, I.prim_func(s_tir=True):
        I.func_name(name)
        I.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, "global_symbol": name})
        body()
    return builder.get()


def i32(value: Expr | int) -> Expr:
    """Constant or cast to int32."""
    return T.int32(value) if isinstance(value, int) else T.cast(value, "int32")


def arguments(
    declared: Sequence[tuple[str, Sequence[Expr | int], str]],
) -> dict[str, Buffer]:
    """Declares the parameters (name, shape, type), in order; their one-dimensional views."""
    given = {
        name: I.match_buffer(I.arg(name, T.handle()), tuple(shape), dtype)
        for name, shape, dtype in declared
    }
    views = {}
    for name, shape, dtype in declared:
        size: Expr = T.int64(1)
        for extent in shape:
            size = size * extent
        views[name] = I.decl_buffer((size,), dtype, data=given[name].data)
    return views


def local(size: int, dtype: str) -> Buffer:
    """Registers of a thread."""
    return I.alloc_buffer((size,), dtype, scope="local")


def shared(size: int, dtype: str) -> Buffer:
    """Memory of a block of threads."""
    return I.alloc_buffer((size,), dtype, scope="shared")


def store(buffer: Buffer, index: Expr | int, value: Expr) -> None:
    """`buffer[index] = value`."""
    I.buffer_store(buffer, value, [i32(index) if isinstance(index, int) else index])


def named(value: Expr) -> Expr:
    """A value computed once, kept in a variable the simplifier does not look through."""
    place = local(1, str(value.ty.dtype))
    store(place, 0, value)
    return place[T.int32(0)]


def word(buffer: Buffer, index: Expr) -> Expr:
    """Four bytes of a uint8 buffer as an int32, the first one lowest; `index` is a multiple of 4."""
    four = I.decl_buffer((buffer.shape[0] // 4,), "int32", data=buffer.data)
    return four[index // 4]


def barrier() -> None:
    """All threads of the block wait for each other and see each other's shared memory."""
    I.evaluate(T.tvm_storage_sync("shared"))


def unrolled(count: int) -> Any:
    """Loop whose iterations are written out."""
    return I.unroll(0, count)


def serial(count: Expr | int) -> Any:
    """Plain loop."""
    return I.serial(0, count)


@contextmanager
def when(condition: Expr) -> Iterator[None]:
    """Statements executed if the condition holds."""
    with I.If(condition), I.Then():
        yield


@contextmanager
def threads(**extents: Expr | int) -> Iterator[list[Expr]]:
    """Thread indices; names like `blockIdx_x`."""
    with ExitStack() as stack:
        indices = []
        for name, extent in extents.items():
            tag = name.replace("_", ".")
            value = i32(extent) if isinstance(extent, int) else extent
            indices.append(stack.enter_context(I.launch_thread(tag, value)))
        yield indices


def code_value(index: Expr, signed: bool) -> Expr:
    """int32 value of a code given as int32 bit pattern 0..255."""
    return (index ^ T.int32(128)) - T.int32(128) if signed else index


@dataclass(frozen=True)
class Arithmetic:
    """float32 operations rounded to nearest even, one by one, on a kind of target."""

    kind: Kind

    def _call(self, name: str, *args: Expr) -> Expr:
        return T.call_pure_extern("float32", name, *args)

    def constant(self, value: float | np.float32) -> Expr:
        """Exactly this float32, computed once."""
        return named(constant(value, self.kind))

    def multiply(self, a: Expr, b: Expr) -> Expr:
        """a * b."""
        return named(self._call("__fmul_rn", a, b) if self.kind == "cuda" else a * b)

    def add(self, a: Expr, b: Expr) -> Expr:
        """a + b."""
        return named(self._call("__fadd_rn", a, b) if self.kind == "cuda" else a + b)

    def divide(self, value: Expr, scale: np.float32) -> Expr:
        """value / scale, clamped to +-1024 steps.

        OpenCL's division may be off by 2.5 units in the last place. There: the product with 1 / s,
        corrected twice with a fused multiply-add, which is correctly rounded (Markstein).
        """
        s = self.constant(scale)
        far = self.constant(np.float32(FAR) * scale)
        value = named(T.min(T.max(value, T.float32(0) - far), far))
        if self.kind == "cuda":
            return named(self._call("__fdiv_rn", value, s))
        if self.kind == "c":
            return named(value / s)
        inverse = self.constant(np.float32(1) / scale)
        quotient = named(value * inverse)
        for _ in range(2):
            rest = named(self._call("fma", T.float32(0) - quotient, s, value))
            quotient = named(self._call("fma", rest, inverse, quotient))
        return quotient

    def quantize(self, value: Expr, code: Quantization) -> Expr:
        """uint8 pattern of `clamp(round_half_even(value / scale) + zero_point)`."""
        steps = self.divide(value, np.float32(code.scale))
        rounded = named(self._call({"opencl": "rint"}.get(self.kind, "rintf"), steps))
        whole = named(i32(rounded) + T.int32(code.zero_point))
        whole = named(T.min(T.max(whole, T.int32(code.low)), T.int32(code.high)))
        return T.cast(whole & T.int32(255), "uint8")

    def dequantize(self, pattern: Expr, code: Quantization) -> Expr:
        """`scale * (code - zero_point)` of a uint8 pattern."""
        steps = code_value(i32(pattern), code.signed) - T.int32(code.zero_point)
        scale = self.constant(code.scale)
        return self.multiply(scale, T.cast(steps, "float32"))

    def finish(
        self, accumulator: Expr, scale: Expr, residual: Expr | None, epilogue: Epilogue
    ) -> Expr:
        """An output from its accumulator, offset included; see `Epilogue`."""
        y = self.multiply(T.cast(accumulator, "float32"), scale)
        if residual is not None:
            code = epilogue.residual_code
            y = self.add(y, residual if code is None else self.dequantize(residual, code))
        if epilogue.activation == "relu":
            y = named(T.max(y, T.float32(0)))
        elif epilogue.activation == "clip":
            low, high = self.constant(epilogue.clip_min), self.constant(epilogue.clip_max)
            y = named(T.min(T.max(y, low), high))
        return y if epilogue.output is None else self.quantize(y, epilogue.output)
