"""`alwann.matmul` for CPUs: a product of two activations by looking every product up in the table."""

from __future__ import annotations

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.table import PREPARED_SHAPE
from alwann_c.ir.spec import ConvSpec


def matmul_primfunc(spec: ConvSpec, rank: int, name: str = "matmul") -> tvm.tirx.PrimFunc:
    """PrimFunc of `alwann.matmul`, equal to `alwann_c.ir.reference.matmul` bit for bit.

    Parameters, the leading `rank - 2` extents dynamic, m = height / matrices of `spec`:

        a [..., m, k] uint8, weight [1, 1, 1, 1] uint8 (not read), table `PREPARED_SHAPE` int32,
        zero point of b [1] int32, offset [1] int32, scale [1] float32, b [..., k, n] uint8,
        output [..., m, n] float32.

    A thread per row of a; its accumulators hold all n columns.
    """
    rows, taps, n = spec.height // spec.matrices, spec.in_channels, spec.out_channels

    def body() -> None:
        lead = [emit.symbol() for _ in range(rank - 2)]
        declared = {
            "a": ((*lead, rows, taps), "uint8"),
            "weight": ((1, 1, 1, 1), "uint8"),
            "table": (PREPARED_SHAPE, "int32"),
            "other_zero_point": ((1,), "int32"),
            "offset": ((1,), "int32"),
            "scale": ((1,), "float32"),
            "b": ((*lead, taps, n), "uint8"),
            "output": ((*lead, rows, n), "float32"),
        }
        given = {key: emit.argument(key, *how) for key, how in declared.items()}
        a, _, table, other, offset, scale, b, output = (
            emit.flat(buffer, declared[key][1]) for key, buffer in given.items()
        )
        lines = emit.opaque(output.shape[0] // emit.i64(n))
        point, zero = emit.let(other[emit.i32(0)]), emit.i32(spec.zero_point)
        constant = emit.let(offset[emit.i32(0)] + zero * point * emit.i32(taps))
        with emit.parallel(lines) as line:
            matrix = emit.opaque(line // emit.i64(rows) * emit.i64(taps * n))
            sums = emit.scratch(n, "int32")
            with emit.serial(n) as j:
                emit.store(sums, j, constant)
            with emit.serial(taps) as k:
                code = emit.let(emit.i32(a[line * emit.i64(taps) + emit.i64(k)]))
                left = emit.let(point * emit.code_value(code, spec.signed))
                start = emit.opaque(matrix + emit.i64(k) * emit.i64(n))
                with emit.serial(n) as j:
                    column = emit.let(emit.i32(b[start + emit.i64(j)]))
                    right = zero * emit.code_value(column, spec.signed)
                    product = table[code * 256 + column]
                    emit.store(sums, j, sums[j] + product - left - right)
            with emit.serial(n) as j:
                value = emit.T.cast(sums[j], "float32") * scale[emit.i32(0)]
                emit.store(output, line * emit.i64(n) + emit.i64(j), value)

    return emit.build(name, body)
