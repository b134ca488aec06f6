"""Quantize and dequantize: one parallel, vectorised pass over a flat tensor of any rank."""

from __future__ import annotations

from collections.abc import Callable

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Expr
from alwann_c.codegen.cpu.epilogue import Code
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.cpu.padding import SMALL
from alwann_c.ir.spec import Quantization

LANES = 64
"""Elements per loop iteration."""

TASK = 64
"""Iterations of a parallel task."""


def _elementwise(
    name: str, rank: int, source: str, result: str, operation: Callable[[Expr], Expr]
) -> tvm.tirx.PrimFunc:
    """PrimFunc (x, y) of one shape, every dimension dynamic: `y = operation(x)`."""

    def body() -> None:
        shape = [emit.symbol() for _ in range(rank)]
        given, wanted = emit.argument("x", shape, source), emit.argument("y", shape, result)
        x, y = emit.flat(given, source), emit.flat(wanted, result)
        size = emit.opaque(x.shape[0])
        vectors = emit.opaque(size // emit.i64(LANES))

        def part(task: Expr) -> None:
            first = emit.opaque(task * emit.i64(TASK))
            count = emit.opaque(emit.T.min(vectors - first, emit.i64(TASK)))
            with emit.serial(count) as i:
                at = emit.opaque((first + i) * emit.i64(LANES))
                emit.store(y, at, operation(emit.load(x, at, LANES)))

        tasks = emit.opaque((vectors + emit.i64(TASK - 1)) // emit.i64(TASK))
        emit.parallel_if(tasks > emit.i64(SMALL // (TASK * LANES)), tasks, part)
        with emit.serial(size % emit.i64(LANES)) as i:
            at = emit.opaque(vectors * emit.i64(LANES) + i)
            emit.store(y, at, operation(x[at]))

    return emit.build(name, body)


def quantize_primfunc(
    code: Quantization,
    rank: int,
    target: tvm.target.Target | None = None,
    name: str = "quantize",
) -> tvm.tirx.PrimFunc:
    """(x float32, y uint8), both of the same dynamic shape of `rank` axes; `reference.quantize`.

    Values are divided by the scale unless `target` has fused multiply-add (see `epilogue`).
    """
    chosen = Code.constant(code, target is not None and Machine.of(target).fma)
    quantized = lambda x: chosen.quantized(emit.let(x))  # noqa: E731
    return _elementwise(name, rank, "float32", "uint8", quantized)


def dequantize_primfunc(
    code: Quantization, rank: int, name: str = "dequantize"
) -> tvm.tirx.PrimFunc:
    """(x uint8, y float32), both of the same dynamic shape; `reference.dequantize`."""
    chosen = Code.constant(code, fma=False)
    dequantized = lambda x: chosen.dequantized(emit.let(x))  # noqa: E731
    return _elementwise(name, rank, "uint8", "float32", dequantized)
