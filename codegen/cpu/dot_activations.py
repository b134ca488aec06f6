"""Left factors of the terms of a table, as dot product units want them (see `dot_operands`).

They are made of the codes of a padded image, row by row: either of the whole batch before the GEMM, or
by each task of the strip of rows it is about to use, which then stay in its second-level cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.dot import DotUnit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.padding import SMALL
from alwann_c.codegen.cpu.permute import LANES, pick
from alwann_c.codegen.cpu.table import CODES, PreparedTable
from alwann_c.codegen.low_rank import MAX_TERMS

COPIED = 32
"""Codes copied at once."""

SLACK = 64
"""Elements that may be read past the end of the activations."""


@dataclass(frozen=True)
class Activations:
    """Makes left factors of the codes of a layer's input.

    Attributes:
        permutes: whether the target looks bytes up in registers.
    """

    operands: Operands
    geometry: Geometry
    table: PreparedTable
    unit: DotUnit
    permutes: bool

    @property
    def row(self) -> int:
        """Elements of a row of the padded image."""
        return self.geometry.padded_width * self.geometry.spec.in_channels

    def scratch(self, size: Expr | int) -> Buffer:
        """Workspace for `size` elements of every term; untouched pages cost nothing."""
        return emit.scratch(size * MAX_TERMS + SLACK, self.unit.left)

    def emit_batch(self) -> Buffer:
        """Flat [term][batch, padded_height, padded_width, c] left factors, padding included."""
        height = emit.i64(self.geometry.padded_height)
        lines = emit.opaque(self.operands.batch * height)
        result = self.scratch(self.operands.batch * emit.i64(self.geometry.image))

        def line(index: Expr) -> None:
            column = emit.opaque(emit.i32(index // lines) * CODES)
            at = emit.opaque(index % lines)
            self.emit_row(result, index * emit.i64(self.row), column, at // height, at % height)

        total = emit.opaque(emit.i64(self.table.terms) * lines)
        emit.parallel_if(total > emit.i64(SMALL // self.row), total, line)
        return result

    def emit_strip(self, to: Buffer, size: int, image: Expr, top: Expr, rows: Expr) -> None:
        """Rows top..top+rows-1 of a padded image: flat to[term * size + ...]."""
        with emit.serial(self.table.terms) as term, emit.serial(rows) as line:
            start = emit.i64(term * size + line * self.row)
            self.emit_row(to, start, emit.opaque(term * CODES), image, top + emit.i64(line))

    def emit_row(self, to: Buffer, start: Expr, column: Expr, image: Expr, line: Expr) -> None:
        """A row of the padded image into to[start...].

        Args:
            column: int32 start of the term's factors in the table.
            image: int64 index of the image.
            line: int64 index of the row in the padded image.
        """
        spec = self.geometry.spec
        top, left, _, right = spec.padding
        channels, body = spec.in_channels, spec.width * spec.in_channels
        start = emit.opaque(start)
        y = emit.opaque(line - emit.i64(top))
        source = emit.opaque((image * emit.i64(spec.height) + y) * emit.i64(body))

        def inside() -> None:
            self._fill(to, start, left * channels, column)
            self.emit_run(to, start + emit.i64(left * channels), column, source, body)
            self._fill(to, start + emit.i64(left * channels + body), right * channels, column)

        if self.geometry.padded:
            within = T.And(y >= emit.i64(0), y < emit.i64(spec.height))
            emit.branch(within, inside, lambda: self._fill(to, start, self.row, column))
        else:
            inside()

    def _fill(self, to: Buffer, start: Expr, count: int, column: Expr) -> None:
        zero_point = self.geometry.spec.zero_point & (CODES - 1)
        pad = emit.let(T.cast(self.table.left[column + zero_point], self.unit.left))
        with emit.serial(count) as j:
            emit.store(to, start + emit.i64(j), pad)

    def emit_run(
        self, to: Buffer, start: Expr, column: Expr, source: Expr, count: Expr | int
    ) -> None:
        """The factors of `count` codes from `source`, into to[start...]."""
        linear = T.And(self.table.linear, column == 0)
        start = emit.opaque(start)
        emit.branch(
            linear,
            lambda: self._copy(to, start, source, count),
            lambda: self._look_up(to, start, column, source, count),
        )

    def _copy(self, to: Buffer, start: Expr, source: Expr, count: Expr | int) -> None:
        """Factors of the linear term: the codes' values above the least."""
        x, kind = self.operands.x, self.unit.left
        flip = T.uint8(128 if self.geometry.spec.signed else 0)
        done = count // COPIED * COPIED
        with emit.serial(count // COPIED) as part:
            skip = emit.let(emit.i64(part * COPIED))
            codes = emit.load(x, source + skip, COPIED) ^ emit.splat(flip, COPIED)
            emit.store(to, start + skip, emit.convert(codes, kind))
        with emit.serial(count - done) as j:
            skip = emit.let(emit.i64(j + done))
            emit.store(to, start + skip, T.cast(x[source + skip] ^ flip, kind))

    def _look_up(
        self, to: Buffer, start: Expr, column: Expr, source: Expr, count: Expr | int
    ) -> None:
        x, left, kind = self.operands.x, self.table.left, self.unit.left
        done: Expr | int = 0
        if self.permutes and kind == "uint8":
            done = count // LANES * LANES
            with emit.serial(count // LANES) as part:
                skip = emit.let(emit.i64(part * LANES))
                codes = emit.let(emit.load(x, source + skip, LANES))
                emit.store(to, start + skip, pick(left, column, codes, CODES))
        with emit.serial(count - done) as j:
            skip = emit.let(emit.i64(j + done))
            factor = left[column + emit.i32(x[source + skip])]
            emit.store(to, start + skip, T.cast(factor, kind))
