"""What a product table is turned into once per call, before panels are built from it."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, T
from alwann_c.codegen.cpu.transpose import SIDE, select, transpose

CODES = 256


@dataclass(frozen=True)
class PreparedTable:
    """A table by weight code.

    Attributes:
        table: the flat int32 table [a][w].
        columns: int16 [w][a], the products modulo 2**16.
        low, high: int32 [w], least and greatest error `M(a, w) - a * w` over a.
    """

    table: Buffer
    columns: Buffer
    low: Buffer
    high: Buffer


def emit_prepared(table: Buffer, signed: bool, width: int) -> PreparedTable:
    """Prepare the flat [65536] int32 table.

    Args:
        width: int16 lanes of a vector register, a multiple of 8.
    """
    columns = emit.scratch(CODES * CODES, "int16")
    low, high = emit.scratch(CODES, "int32"), emit.scratch(CODES, "int32")
    with emit.parallel(emit.i64(CODES // width)) as part:
        first = emit.opaque(emit.i32(part) * width)
        weights = emit.let(
            emit.code_value(emit.iota(width) + emit.splat(first, width), signed)
        )
        least, most = emit.registers(width, "int32"), emit.registers(width, "int32")
        emit.store(least, emit.i32(0), emit.splat(emit.i32(1 << 30), width))
        emit.store(most, emit.i32(0), emit.splat(emit.i32(-(1 << 30)), width))
        with emit.serial(CODES // SIDE) as block:
            rows = []
            for i in range(SIDE):
                a = emit.let(block * SIDE + i)
                value = emit.splat(emit.let(emit.code_value(a, signed)), width)
                products = emit.let(emit.load(table, a * CODES + first, width))
                rows.append(emit.let(emit.convert(products, "int16")))
                error = emit.let(products - value * weights)
                for extreme, pick in ((least, T.min), (most, T.max)):
                    so_far = emit.load(extreme, emit.i32(0), width)
                    emit.store(extreme, emit.i32(0), pick(so_far, error))
            for j, column in enumerate(transpose(rows)):
                for lane in range(0, width, SIDE):
                    place = (first + (lane + j)) * CODES + block * SIDE
                    piece = column if width == SIDE else select(
                        [column], range(lane, lane + SIDE)
                    )
                    emit.store(columns, place, piece)
        emit.store(low, first, emit.load(least, emit.i32(0), width))
        emit.store(high, first, emit.load(most, emit.i32(0), width))
    return PreparedTable(table, columns, low, high)
