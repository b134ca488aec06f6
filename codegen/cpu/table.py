"""What a product table is turned into before layers look products up: by weight code, in small types.

Everything is kept in one int32 tensor, the *prepared table*, so that it can be made once for a table
and shared by all layers and calls that use it (`prepare_table_primfunc`), or by each call for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.cpu.transpose import SIDE, piece, transpose

CODES = 256
_COLUMNS = CODES * CODES
_PLANES = _COLUMNS + CODES * CODES // 2
_EXTREMES = _PLANES + CODES * CODES // 2
_BASE = _EXTREMES + 4 * CODES
PREPARED_SHAPE = (_BASE // CODES + 1, CODES)
"""Shape of a prepared table, int32."""


@dataclass(frozen=True)
class PreparedTable:
    """Views of a prepared table.

    Attributes:
        table: int32 [a][w], the products.
        columns: int16 [w][a], the products modulo 2**16.
        planes: uint8 [w][low or high byte][a] of `M(a, w) - base`.
        low, high: int32 [w], least and greatest error `M(a, w) - a * w` over a.
        base: int32, 0 or -32768.
        fits: whether every product minus the base is within 16 bits.
    """

    table: Buffer
    columns: Buffer
    planes: Buffer
    low: Buffer
    high: Buffer
    base: Expr
    fits: Expr


def prepared_views(blob: Buffer) -> PreparedTable:
    """Views of the flat int32 tensor of a prepared table."""

    def view(start: int, size: int, kind: str) -> Buffer:
        return emit.view(blob, emit.i32(start), size, kind)

    return PreparedTable(
        table=blob,
        columns=view(_COLUMNS, CODES * CODES, "int16"),
        planes=view(_PLANES, 2 * CODES * CODES, "uint8"),
        low=view(_EXTREMES, CODES, "int32"),
        high=view(_EXTREMES + CODES, CODES, "int32"),
        base=emit.let(blob[_BASE]),
        fits=blob[_BASE + 1] != 0,
    )


def prepare_table_primfunc(
    signed: bool, target: tvm.target.Target, name: str = "prepare_table"
) -> tvm.tirx.PrimFunc:
    """(table [256, 256] int32, prepared `PREPARED_SHAPE` int32), see `conv2d_primfunc`."""

    def body() -> None:
        shapes = {"table": (CODES, CODES), "prepared": PREPARED_SHAPE}
        buffers = [emit.argument(name, shape, "int32") for name, shape in shapes.items()]
        table, blob = (emit.flat(buffer, "int32") for buffer in buffers)
        emit_prepare(table, blob, signed, Machine.of(target).vector_bytes // 2)

    return emit.build(name, body)


def emit_prepare(table: Buffer, blob: Buffer, signed: bool, width: int) -> None:
    """Prepare the flat [65536] int32 table into a flat blob.

    Args:
        width: int16 lanes of a vector register, a multiple of 8.
    """
    with emit.parallel(emit.i64(CODES // width)) as part:
        _emit_columns(table, blob, emit.opaque(emit.i32(part) * width), signed, width)
    _emit_planes(blob)


def _emit_columns(table: Buffer, blob: Buffer, first: Expr, signed: bool, width: int) -> None:
    """The columns of `width` weight codes, their extremes of product and error."""
    columns = emit.view(blob, emit.i32(_COLUMNS), CODES * CODES, "int16")
    zero = emit.i32(0)
    weights = emit.let(emit.code_value(emit.iota(width) + emit.splat(first, width), signed))
    found = [emit.registers(width, "int32") for _ in range(4)]
    for place, start in zip(found, (1 << 30, -(1 << 30)) * 2, strict=True):
        emit.store(place, zero, emit.splat(emit.i32(start), width))
    with emit.serial(CODES // SIDE) as block:
        start = emit.let(emit.code_value(block * SIDE, signed))
        exact = emit.let(weights * emit.splat(start, width))
        rows = []
        for i in range(SIDE):
            products = emit.let(emit.load(table, (block * SIDE + i) * CODES + first, width))
            emit.store(blob, (block * SIDE + i) * CODES + first, products)
            rows.append(emit.let(emit.convert(products, "int16")))
            error = emit.let(products - exact)
            for index, place in enumerate(found):
                pick = T.max if index % 2 else T.min
                so_far = emit.load(place, zero, width)
                emit.store(place, zero, pick(so_far, error if index < 2 else products))
            exact = emit.let(exact + weights)
        for j, column in enumerate(transpose(rows)):
            for lane in range(0, width, SIDE):
                to = (first + (lane + j)) * CODES + block * SIDE
                emit.store(columns, to, piece(column, lane, SIDE))
    for index, place in enumerate(found):
        emit.store(blob, first + (_EXTREMES + index * CODES), emit.load(place, zero, width))


def _emit_planes(blob: Buffer) -> None:
    """Base, fit, and the columns split into bytes."""
    least, most = emit.variable(1 << 30), emit.variable(-(1 << 30))
    with emit.serial(CODES) as w:
        extremes = _EXTREMES + 2 * CODES
        emit.store(least, emit.i32(0), T.min(least[0], blob[w + extremes]))
        emit.store(most, emit.i32(0), T.max(most[0], blob[w + extremes + CODES]))
    base = emit.let(T.Select(least[0] < 0, emit.i32(-32768), emit.i32(0)))
    fits = T.And(least[0] >= base, most[0] - base <= 65535)
    emit.store(blob, emit.i32(_BASE), base)
    emit.store(blob, emit.i32(_BASE + 1), T.cast(fits, "int32"))
    flip = emit.let(T.cast(base, "int16"))
    columns = emit.view(blob, emit.i32(_COLUMNS), CODES * CODES, "int16")
    planes = emit.view(blob, emit.i32(_PLANES), 2 * CODES * CODES, "uint8")
    lanes = 64
    with emit.serial(CODES * CODES // lanes) as i:
        products = emit.load(columns, i * lanes, lanes) ^ emit.splat(flip, lanes)
        words = emit.let(T.reinterpret(emit.typed("uint16", lanes), products))
        to = emit.let(i * lanes // CODES * (2 * CODES) + i * lanes % CODES)
        emit.store(planes, to, emit.convert(words, "uint8"))
        upper = words >> emit.splat(T.uint16(8), lanes)
        emit.store(planes, to + CODES, emit.convert(upper, "uint8"))
