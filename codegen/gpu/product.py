"""`alwann.matmul`: a product of two activations by looking every product up; GPUs and C."""

from __future__ import annotations

import tvm

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Arithmetic, Buffer, Expr, Kind, T
from alwann_c.ir.spec import ConvSpec

THREADS = 256


def _one_output(spec: ConvSpec, kind: Kind, buffers: dict[str, Buffer], at: Expr) -> None:
    """The output at a flat position."""
    rows, taps, n = spec.height // spec.matrices, spec.in_channels, spec.out_channels
    line, column = emit.named(at // n), emit.named(at % n)
    matrix = emit.named(line // rows * (taps * n) + column)
    nothing = T.int32(0)
    point, zero = emit.named(buffers["other_zero_point"][nothing]), T.int32(spec.zero_point)
    sums = emit.local(1, "int32")
    emit.store(sums, 0, buffers["offset"][nothing] + zero * point * T.int32(taps))
    with emit.serial(taps) as k:
        code = emit.named(emit.i32(buffers["a"][line * taps + k]))
        other = emit.named(emit.i32(buffers["b"][matrix + k * n]))
        left = point * emit.code_value(code, spec.signed)
        right = zero * emit.code_value(other, spec.signed)
        product = buffers["products"][code * 256 + other]
        emit.store(sums, 0, sums[nothing] + product - left - right)
    value = T.cast(sums[nothing], "float32")
    emit.store(buffers["output"], at, Arithmetic(kind).multiply(value, buffers["scale"][nothing]))


def matmul_primfunc(
    spec: ConvSpec, rank: int, kind: Kind, name: str = "matmul"
) -> tvm.tirx.PrimFunc:
    """PrimFunc of `alwann.matmul` with its parameters in order, the leading `rank - 2` extents
    dynamic; a thread per output, or for `c` a plain loop. Equal to
    `alwann_c.ir.reference.matmul` bit for bit."""
    rows, taps, n = spec.height // spec.matrices, spec.in_channels, spec.out_channels

    def body() -> None:
        lead = [T.int64() for _ in range(rank - 2)]
        buffers = emit.arguments(
            [
                ("a", (*lead, rows, taps), "uint8"),
                ("weight", (1, 1, 1, 1), "uint8"),
                ("products", (256, 256), "int32"),
                ("other_zero_point", (1,), "int32"),
                ("offset", (1,), "int32"),
                ("scale", (1,), "float32"),
                ("b", (*lead, taps, n), "uint8"),
                ("output", (*lead, rows, n), "float32"),
            ]
        )
        count = emit.i32(buffers["output"].shape[0])
        if kind == "c":
            with emit.serial(count) as at:
                _one_output(spec, kind, buffers, at)
            return
        blocks = (count + (THREADS - 1)) // THREADS
        with emit.threads(blockIdx_x=blocks, threadIdx_x=THREADS) as (block, thread):
            at = emit.named(block * THREADS + thread)
            with emit.when(at < count):
                _one_output(spec, kind, buffers, at)

    return emit.build(name, body)
