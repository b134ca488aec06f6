"""Quantize and dequantize: a thread per element, or a plain loop."""

from __future__ import annotations

from collections.abc import Callable

import tvm

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Arithmetic, Expr, Kind, T
from alwann_c.ir.spec import Quantization

THREADS = 256


def _elementwise(
    name: str, rank: int, kind: Kind, types: tuple[str, str], operation: Callable[[Expr], Expr]
) -> tvm.tirx.PrimFunc:
    """PrimFunc (x, y) of one shape, every dimension dynamic: `y = operation(x)`."""

    def body() -> None:
        shape = [T.int64() for _ in range(rank)]
        x, y = emit.arguments([("x", shape, types[0]), ("y", shape, types[1])]).values()
        count = emit.i32(x.shape[0])
        if kind == "c":
            with emit.serial(count) as at:
                emit.store(y, at, operation(x[at]))
            return
        blocks = (count + (THREADS - 1)) // THREADS
        with emit.threads(blockIdx_x=blocks, threadIdx_x=THREADS) as (block, thread):
            at = emit.named(block * THREADS + thread)
            with emit.when(at < count):
                emit.store(y, at, operation(x[at]))

    return emit.build(name, body)


def quantize_primfunc(code: Quantization, rank: int, kind: Kind) -> tvm.tirx.PrimFunc:
    """(x float32, y uint8), both of the same dynamic shape; `reference.quantize`."""
    quantize = lambda x: Arithmetic(kind).quantize(x, code)  # noqa: E731
    return _elementwise("quantize", rank, kind, ("float32", "uint8"), quantize)


def dequantize_primfunc(code: Quantization, rank: int, kind: Kind) -> tvm.tirx.PrimFunc:
    """(x uint8, y float32), both of the same dynamic shape; `reference.dequantize`."""
    dequantize = lambda x: Arithmetic(kind).dequantize(x, code)  # noqa: E731
    return _elementwise("dequantize", rank, kind, ("uint8", "float32"), dequantize)
