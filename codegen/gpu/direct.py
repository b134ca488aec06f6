"""A convolution by looking every product up in the table: any shape, groups, few pixels; and C."""

from __future__ import annotations

import tvm

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Expr, Kind, T
from alwann_c.codegen.gpu.operands import Operands, table_inputs
from alwann_c.ir.spec import ConvSpec

THREADS = 256


def _one_output(operands: Operands, at: Expr) -> None:
    """The output at a flat position."""
    spec = operands.spec
    n = spec.out_channels
    inputs, outputs = spec.in_channels // spec.groups, n // spec.groups
    pixel, channel = emit.named(at // n), emit.named(at % n)
    row, column, image = operands.corner(pixel)
    sums, codes = emit.local(1, "int32"), emit.local(1, "int32")
    zero = T.int32(0)
    emit.store(sums, 0, zero)
    emit.store(codes, 0, zero)
    first = emit.named(channel // outputs * inputs)
    kh, kw = spec.kernel
    with emit.serial(kh) as i, emit.serial(kw) as j, emit.serial(inputs) as c:
        y, x = row + i * spec.dilation[0], column + j * spec.dilation[1]
        code = emit.named(operands.code(y, x, image, first + c))
        weight = operands.inputs["weight"][((i * kw + j) * inputs + c) * n + channel]
        product = operands.inputs["products"][code * 256 + emit.i32(weight)]
        emit.store(sums, 0, sums[zero] + product)
        emit.store(codes, 0, codes[zero] + emit.code_value(code, spec.signed))
    operands.write(pixel, channel, sums[zero] + operands.correction(channel, codes[zero]))


def direct_primfunc(spec: ConvSpec, kind: Kind, name: str = "direct") -> tvm.tirx.PrimFunc:
    """PrimFunc of `alwann.conv2d` with its parameters in order; a thread per output, or for `c`
    a plain loop. Equal to `alwann_c.ir.reference.conv2d` bit for bit."""

    def body() -> None:
        operands = Operands.declare(spec, kind, table_inputs(spec))
        count = operands.pixels * spec.out_channels
        if kind == "c":
            with emit.serial(count) as at:
                _one_output(operands, at)
            return
        blocks = (count + (THREADS - 1)) // THREADS
        with emit.threads(blockIdx_x=blocks, threadIdx_x=THREADS) as (block, thread):
            at = emit.named(block * THREADS + thread)
            with emit.when(at < count):
                _one_output(operands, at)

    return emit.build(name, body)
