"""Padded copy of activations."""

from __future__ import annotations

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr
from alwann_c.codegen.cpu.geometry import Geometry

SMALL = 1 << 16
"""Elements that one thread copies before a second one would be awake."""


def emit_padded(
    x: Buffer, batch: Expr, geometry: Geometry, fill_value: Expr | None = None
) -> Buffer:
    """Flat [batch, padded_height, padded_width, c]; padding is `fill_value`, or the zero point.

    `x` is the flat [batch, height, width, c] input, returned as it is if nothing is padded.
    """
    if not geometry.padded:
        return x
    spec = geometry.spec
    top, left, _, right = spec.padding
    channels, height = spec.in_channels, geometry.padded_height
    row = geometry.padded_width * channels
    body, before, after = spec.width * channels, left * channels, right * channels
    code = emit.T.uint8(spec.zero_point & 255) if fill_value is None else fill_value
    padded = emit.scratch(batch * emit.i64(geometry.image), str(code.ty.dtype))

    def fill(start: Expr, count: int) -> None:
        with emit.serial(count) as j:
            emit.store(padded, start + emit.i64(j), code)

    def line(index: Expr) -> None:
        start = emit.opaque(index * emit.i64(row))
        y = emit.opaque(index % emit.i64(height) - emit.i64(top))
        source = emit.opaque(
            (index // emit.i64(height) * emit.i64(spec.height) + y) * emit.i64(body)
        )

        def copy() -> None:
            fill(start, before)
            with emit.serial(body) as j:
                emit.store(padded, start + emit.i64(before + j), x[source + emit.i64(j)])
            fill(start + emit.i64(before + body), after)

        inside = emit.T.And(y >= emit.i64(0), y < emit.i64(spec.height))
        emit.branch(inside, copy, lambda: fill(start, row))

    lines = batch * emit.i64(height)
    emit.parallel_if(lines > emit.i64(SMALL // row), lines, line)
    return padded
