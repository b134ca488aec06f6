"""What a product table is turned into once per call, before panels are built from it."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.transpose import SIDE, piece, transpose

CODES = 256


@dataclass(frozen=True)
class PreparedTable:
    """A table by weight code.

    Attributes:
        table: the flat int32 table [a][w].
        columns: int16 [w][a], the products modulo 2**16.
        low, high: int32 [w], least and greatest error `M(a, w) - a * w` over a.
        least, most: int32 [w], least and greatest product over a.
    """

    table: Buffer
    columns: Buffer
    low: Buffer
    high: Buffer
    least: Buffer
    most: Buffer


def emit_prepared(table: Buffer, signed: bool, width: int) -> PreparedTable:
    """Prepare the flat [65536] int32 table.

    Args:
        width: int16 lanes of a vector register, a multiple of 8.
    """
    columns = emit.scratch(CODES * CODES, "int16")
    extremes = [emit.scratch(CODES, "int32") for _ in range(4)]
    with emit.parallel(emit.i64(CODES // width)) as part:
        first = emit.opaque(emit.i32(part) * width)
        weights = emit.let(
            emit.code_value(emit.iota(width) + emit.splat(first, width), signed)
        )
        found = [emit.registers(width, "int32") for _ in range(4)]
        for place, start in zip(found, (1 << 30, -(1 << 30)) * 2, strict=True):
            emit.store(place, emit.i32(0), emit.splat(emit.i32(start), width))
        with emit.serial(CODES // SIDE) as block:
            rows = []
            for i in range(SIDE):
                a = emit.let(block * SIDE + i)
                value = emit.splat(emit.let(emit.code_value(a, signed)), width)
                products = emit.let(emit.load(table, a * CODES + first, width))
                rows.append(emit.let(emit.convert(products, "int16")))
                error = emit.let(products - value * weights)
                for index, place in enumerate(found):
                    pick = T.max if index % 2 else T.min
                    so_far = emit.load(place, emit.i32(0), width)
                    new = error if index < 2 else products
                    emit.store(place, emit.i32(0), pick(so_far, new))
            for j, column in enumerate(transpose(rows)):
                for lane in range(0, width, SIDE):
                    to = (first + (lane + j)) * CODES + block * SIDE
                    emit.store(columns, to, piece(column, lane, SIDE))
        for place, extreme in zip(found, extremes, strict=True):
            emit.store(extreme, first, emit.load(place, emit.i32(0), width))
    return PreparedTable(table, columns, *extremes)


@dataclass(frozen=True)
class BytePlanes:
    """A table as bytes, for look-ups in vector registers.

    Attributes:
        planes: uint8 [w][low or high byte][a] of `M(a, w) - base`.
        base: int32, 0 or -32768.
        fits: whether every product minus the base is within 16 bits.
    """

    planes: Buffer
    base: Expr
    fits: Expr


def emit_byte_planes(prepared: PreparedTable) -> BytePlanes:
    """Split the columns of a prepared table into bytes."""
    least, most = emit.variable(1 << 30), emit.variable(-(1 << 30))
    with emit.serial(CODES) as w:
        emit.store(least, emit.i32(0), T.min(least[0], prepared.least[w]))
        emit.store(most, emit.i32(0), T.max(most[0], prepared.most[w]))
    base = emit.let(T.Select(least[0] < 0, emit.i32(-32768), emit.i32(0)))
    fits = emit.let(T.And(least[0] >= base, most[0] - base <= 65535))
    flip = emit.let(T.cast(base, "int16"))
    planes = emit.scratch(2 * CODES * CODES, "uint8")
    lanes = 64
    with emit.serial(CODES * CODES // lanes) as i:
        products = emit.load(prepared.columns, i * lanes, lanes) ^ emit.splat(flip, lanes)
        words = emit.let(T.reinterpret(emit.typed("uint16", lanes), products))
        to = emit.let(i * lanes // CODES * (2 * CODES) + i * lanes % CODES)
        emit.store(planes, to, emit.convert(words, "uint8"))
        upper = words >> emit.splat(T.uint16(8), lanes)
        emit.store(planes, to + CODES, emit.convert(upper, "uint8"))
    return BytePlanes(planes, base, fits)
