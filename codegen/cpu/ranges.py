"""Least and greatest code of each input channel: which rows of a panel can occur at all."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.padding import SMALL

PARTS = 8
"""Parallel tasks of the search for extremes."""


@dataclass(frozen=True)
class CodeRanges:
    """int32 [c] code values (signed if the codes are), padding included."""

    low: Buffer
    high: Buffer


def emit_ranges(x: Buffer, batch: Expr, geometry: Geometry) -> CodeRanges:
    """Extremes of the flat [batch, height, width, c] codes over batch, height and width.

    Each of `PARTS` tasks folds whole image rows, element by element, which vectorises for any number of
    channels; the rows of extremes are folded by channel at the end.
    """
    spec = geometry.spec
    row, channels = spec.width * spec.in_channels, spec.in_channels
    kind = "int8" if spec.signed else "uint8"
    least, most = (emit.scratch(PARTS * row, kind) for _ in range(2))
    rows = emit.opaque(batch * emit.i64(spec.height))

    def fold(part: Expr) -> None:
        place = emit.opaque(part * emit.i64(row))
        first = emit.opaque(rows * part // emit.i64(PARTS))
        stop = emit.opaque(rows * (part + emit.i64(1)) // emit.i64(PARTS))
        pad = T.cast(emit.i32(spec.zero_point), kind)
        start = emit.opaque(T.min(first, rows - emit.i64(1)) * emit.i64(row))
        with emit.serial(row) as i:
            value = emit.let(T.cast(x[start + emit.i64(i)], kind))
            at = emit.let(place + emit.i64(i))
            emit.store(least, at, T.min(value, pad) if geometry.padded else value)
            emit.store(most, at, T.max(value, pad) if geometry.padded else value)
        with emit.serial(stop, first) as line:
            start = emit.opaque(line * emit.i64(row))
            with emit.serial(row) as i:
                value = emit.let(T.cast(x[start + emit.i64(i)], kind))
                at = emit.let(place + emit.i64(i))
                emit.store(least, at, T.min(least[at], value))
                emit.store(most, at, T.max(most[at], value))

    emit.parallel_if(rows > emit.i64(SMALL // row), emit.i64(PARTS), fold)
    low, high = emit.scratch(channels, "int32"), emit.scratch(channels, "int32")
    with emit.serial(channels) as c:
        emit.store(low, c, emit.i32(127 if spec.signed else 255))
        emit.store(high, c, emit.i32(-128 if spec.signed else 0))
    with emit.serial(PARTS * spec.width) as column, emit.serial(channels) as c:
        at = emit.let(column * channels + c)
        emit.store(low, c, T.min(low[c], emit.i32(least[at])))
        emit.store(high, c, T.max(high[c], emit.i32(most[at])))
    return CodeRanges(low, high)
