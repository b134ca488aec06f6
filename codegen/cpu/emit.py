"""Small vocabulary for emitting TIR: flat vector loads and stores, lets, exact float32 arithmetic.

The kernels are emitted with TVM's IRBuilder from ordinary Python functions, so that a kernel is
composed of pieces which live in files of their own. Everything here appends to the PrimFunc under
construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as I

Expr = Any
Buffer = Any

ROUND_MAGIC = 12582912.0
"""1.5 * 2**23: adding it to |x| <= 2**22 rounds x to the nearest even integer (in the low bits)."""


def build(name: str, body: Any) -> tvm.tirx.PrimFunc:
    """Run `body()` inside a fresh PrimFunc and return it."""
    with IRBuilder() as builder, I.prim_func(s_tir=True):
        I.func_name(name)
        I.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, "global_symbol": name})
        body()
    return builder.get()


def symbol() -> Expr:
    """A fresh int64 symbol: a dimension known at run time only."""
    return T.int64()


def argument(name: str, shape: Sequence[Expr | int], dtype: str) -> Buffer:
    """Declare the next parameter of the PrimFunc, a tensor."""
    return I.match_buffer(I.arg(name, T.handle()), tuple(shape), dtype)


def flat(buffer: Buffer, dtype: str) -> Buffer:
    """One-dimensional int64-indexed view of a parameter."""
    size: Expr = i64(1)
    for dim in buffer.shape:
        size = size * dim
    return I.decl_buffer((size,), dtype, data=buffer.data)


def scratch(size: Expr | int, dtype: str) -> Buffer:
    """Workspace of `size` elements, freed at the end of the enclosing scope."""
    return I.alloc_buffer((size,), dtype)


def registers(size: int, dtype: str) -> Buffer:
    """Local variables, kept in registers when indexed by constants."""
    return I.alloc_buffer((size,), dtype, scope="local")


def view(buffer: Buffer, start: Expr, size: int, dtype: str) -> Buffer:
    """`size` elements of `dtype` in `buffer` from `start`, addressed by a pointer of its own."""
    address = T.address_of(buffer[start])
    if str(buffer.dtype) != dtype:
        address = T.reinterpret(T.ptr(dtype).ty, address)
    pointer = I.Bind(address, T.ptr(dtype))
    return I.decl_buffer((size,), dtype, data=pointer)


def variable(value: int) -> Buffer:
    """A local int32 variable (a buffer of one element) with its first value."""
    place = registers(1, "int32")
    I.buffer_store(place, i32(value), [i32(0)])
    return place


def i32(value: Expr | int) -> Expr:
    """Constant or cast to int32."""
    return T.int32(value) if isinstance(value, int) else T.cast(value, "int32")


def i64(value: Expr | int) -> Expr:
    """Constant or cast to int64."""
    return T.int64(value) if isinstance(value, int) else T.cast(value, "int64")


def let(value: Expr) -> Expr:
    """Name a value, computed once."""
    return I.Bind(value)


def opaque(value: Expr) -> Expr:
    """Name an integer, computed once, through a local variable.

    TVM's simplifier looks through `let` and takes minutes on nested divisions; it does not look
    into variables, and LLVM simplifies them anyway.
    """
    place = registers(1, str(value.ty.dtype))
    I.buffer_store(place, value, [i32(0)])
    return I.Bind(place[i32(0)])


def lanes_of(value: Expr) -> int:
    """Number of lanes of an expression."""
    return int(value.ty.dtype.lanes)


def typed(base: str, lanes: int) -> str:
    """Type name of a vector, or of the scalar when there is one lane."""
    return base if lanes == 1 else f"{base}x{lanes}"


def splat(value: Expr, lanes: int) -> Expr:
    """Scalar repeated in every lane."""
    return value if lanes == 1 else T.broadcast(value, lanes)


def iota(lanes: int) -> Expr:
    """int32 vector 0, 1, 2, ..."""
    return i32(0) if lanes == 1 else T.ramp(i32(0), i32(1), lanes)


def _span(start: Expr, lanes: int) -> Expr:
    return start if lanes == 1 else T.ramp(start, tvm.tirx.const(1, str(start.ty.dtype)), lanes)


def load(buffer: Buffer, start: Expr, lanes: int) -> Expr:
    """`lanes` consecutive elements."""
    return buffer[_span(start, lanes)]


def store(buffer: Buffer, start: Expr, value: Expr) -> None:
    """Store consecutive elements, as many as `value` has lanes."""
    I.buffer_store(buffer, value, [_span(start, lanes_of(value))])


def convert(value: Expr, base: str) -> Expr:
    """Cast keeping the number of lanes."""
    return T.cast(value, typed(base, lanes_of(value)))


def serial(stop: Expr | int, start: Expr | int = 0) -> Any:
    """Plain loop over start..stop-1."""
    return I.serial(start, stop)


def parallel(stop: Expr) -> Any:
    """Loop whose iterations are split evenly between the threads of TVM's pool."""
    return I.parallel(i64(0), stop)


def parallel_if(worthwhile: Expr, stop: Expr, body: Callable[[Expr], None]) -> None:
    """Loop over 0..stop-1: in parallel, or where that is not worth waking threads, in turn."""

    def shared() -> None:
        with parallel(stop) as index:
            body(index)

    def alone() -> None:
        with serial(stop, i64(0)) as index:
            body(index)

    branch(worthwhile, shared, alone)


@contextmanager
def when(condition: Expr) -> Iterator[None]:
    """Statements executed if the condition holds."""
    with I.If(condition), I.Then():
        yield


def branch(condition: Expr, then: Any, otherwise: Any) -> None:
    """Run `then()` or `otherwise()` depending on a run-time condition."""
    with I.If(condition):
        with I.Then():
            then()
        with I.Else():
            otherwise()


def thread_count() -> Expr:
    """Number of threads of TVM's pool, int64, asked at run time."""
    return let(i64(T.call_packed("runtime.NumThreads")))


def f32(value: float, lanes: int) -> Expr:
    """float32 constant in every lane."""
    return splat(T.float32(value), lanes)


def product(a: Expr, b: Expr) -> Expr:
    """Float product rounded on its own: never contracted with a later addition.

    LLVM contracts `a * b + c` to one fused multiply-add on targets that have it, which rounds once
    instead of twice; `llvm.arithmetic.fence` forbids it and costs nothing.
    """
    kind = typed("float32", lanes_of(a))
    return T.call_llvm_pure_intrin(kind, "llvm.arithmetic.fence", a * b)


def fused(a: Expr, b: Expr, c: Expr) -> Expr:
    """`a * b + c` rounded once."""
    kind = typed("float32", lanes_of(a))
    return T.call_llvm_pure_intrin(kind, "llvm.fma", a, b, c)


def code_value(index: Expr, signed: bool) -> Expr:
    """int32 value of a code given as int32 bit pattern 0..255."""
    if not signed:
        return index
    lanes = lanes_of(index)
    flip = splat(i32(128), lanes)
    return (index ^ flip) - flip


def pieces(count: int, widest: int) -> list[tuple[int, int]]:
    """Vectors (start, lanes) of powers of two lanes that make up `count` lanes."""
    found, lane = [], 0
    while lane < count:
        width = min(widest, 1 << ((count - lane).bit_length() - 1))
        found.append((lane, width))
        lane += width
    return found
