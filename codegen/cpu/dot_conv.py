"""A convolution on a table of few terms: a direct integer GEMM in registers (see `dot_operands`).

A tile is `pixels` output pixels of a line times `lanes` output channels, accumulated in registers
over all terms and taps; a tap group takes a vector of weights per register of channels and four bytes
of activations per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.dot import DotUnit
from alwann_c.codegen.cpu.dot_operands import DotLayout, DotWeights
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.strategy import Dot, is_flat
from alwann_c.codegen.cpu.table import PreparedTable

SEGMENT = 16
"""Tiles of a line, where lines are cut from the pixels of the whole batch."""


def emit_dot(
    operands: Operands,
    geometry: Geometry,
    strategy: Dot,
    unit: DotUnit,
    table: PreparedTable,
    codes: Buffer,
    weights: DotWeights,
) -> None:
    """Emit the convolution; the weights must fit."""
    layout = DotLayout(geometry, unit, strategy.lanes)
    kernel = _DotKernel(operands, layout, strategy.pixels, table, codes, weights)
    spec = geometry.spec
    if is_flat(spec):
        size = strategy.pixels * SEGMENT
        pixels = emit.opaque(operands.batch * emit.i64(geometry.pixels))
        lines = emit.opaque((pixels + emit.i64(size - 1)) // emit.i64(size))
    else:
        pixels = None
        lines = emit.opaque(operands.batch * emit.i64(spec.out_height))
    threads, blocks = emit.thread_count(), emit.i64(layout.blocks)
    parts = emit.opaque(T.Select(blocks % threads == 0, emit.i64(1), threads))
    with emit.parallel(blocks * parts) as task:
        block = emit.opaque(emit.i32(task // parts))
        first = emit.opaque(lines * (task % parts) // parts)
        last = emit.opaque(lines * (task % parts + emit.i64(1)) // parts)
        with emit.serial(last - first) as index:
            line = emit.opaque(first + index)
            if pixels is None:
                kernel.emit_line(block, line)
            else:
                kernel.emit_segment(block, line * emit.i64(size), pixels, size)


@dataclass(frozen=True)
class _DotKernel:
    operands: Operands
    layout: DotLayout
    pixels: int
    table: PreparedTable
    codes: Buffer
    weights: DotWeights

    def emit_line(self, block: Expr, line: Expr) -> None:
        """An output row; the last tile may overlap the one before."""
        geometry = self.layout.geometry
        spec, width = geometry.spec, geometry.spec.out_width
        image = line // emit.i64(spec.out_height) * emit.i64(geometry.image)
        top = line % emit.i64(spec.out_height) * emit.i64(spec.strides[0])
        start = emit.opaque(image + top * emit.i64(geometry.padded_width * spec.in_channels))
        target = emit.opaque(line * emit.i64(width))
        pixels = min(self.pixels, width)
        with emit.serial(-(-width // pixels)) as index:
            column = emit.opaque(emit.i64(T.min(index * pixels, width - pixels)))
            step = emit.i64(spec.strides[1] * spec.in_channels)
            self._tile(block, start + column * step, target + column, pixels)

    def emit_segment(self, block: Expr, first: Expr, pixels: Expr, size: int) -> None:
        """Up to `size` pixels of the batch from `first`; tiles, and the rest one by one."""
        channels = emit.i64(self.layout.geometry.spec.in_channels)
        count = emit.opaque(emit.i32(T.min(pixels - first, emit.i64(size))))
        tiles = emit.opaque(count // self.pixels)

        def at(skipped: Expr, tile: int) -> None:
            pixel = emit.opaque(first + emit.i64(skipped))
            self._tile(block, pixel * channels, pixel, tile)

        with emit.serial(tiles) as index:
            at(index * self.pixels, self.pixels)
        if self.pixels > 1:
            with emit.serial(count - tiles * self.pixels) as index:
                at(tiles * self.pixels + index, 1)

    def _tile(self, block: Expr, corner: Expr, pixel: Expr, pixels: int) -> None:
        """`pixels` pixels of a block.

        Args:
            corner: int64 first element of the first pixel's patch, in term 0.
            pixel: int64 index of the first output pixel.
        """
        layout, unit = self.layout, self.layout.unit
        geometry = layout.geometry
        spec = geometry.spec
        vectors = layout.lanes // unit.lanes
        step = spec.strides[1] * spec.in_channels
        group = block // layout.blocks_per_group * geometry.group_in
        corner = emit.opaque(corner + emit.i64(group))
        size = self.operands.batch * emit.i64(geometry.image)
        sums = emit.registers(pixels * layout.lanes, "int32")
        for p in range(pixels):
            for v in range(vectors):
                place = emit.i32(p * layout.lanes + v * unit.lanes)
                start = emit.i32(v * unit.lanes) + block * layout.lanes
                emit.store(sums, place, emit.load(self.weights.offset, start, unit.lanes))
        with emit.serial(self.table.terms) as r, emit.serial(geometry.runs) as run:
            if geometry.row_runs:
                offset = run * geometry.row_step
            else:
                kw = spec.kernel[1]
                offset = run // kw * geometry.row_step + run % kw * geometry.column_step
            begin = emit.opaque(corner + emit.i64(r) * size + emit.i64(offset))
            packed = (block * self.table.terms + r) * layout.term
            packed = emit.opaque(packed + run * (layout.steps * layout.step))
            with emit.serial(layout.steps) as s:
                at = emit.let(begin + emit.i64(s * unit.group))
                place = emit.let(packed + s * layout.step)
                loaded = [
                    emit.let(self._weights(place + v * unit.lanes * unit.group))
                    for v in range(vectors)
                ]
                for p in range(pixels):
                    few = emit.load(self.codes, at + emit.i64(p * step), unit.group)
                    activations = emit.let(T.reinterpret("int32", few))
                    for v in range(vectors):
                        to = emit.i32(p * layout.lanes + v * unit.lanes)
                        total = emit.load(sums, to, unit.lanes)
                        emit.store(sums, to, unit(total, activations, loaded[v]))
        self._output(block, sums, pixel, pixels)

    def _weights(self, start: Expr) -> Expr:
        return emit.load(
            self.weights.packed, start, self.layout.unit.lanes * self.layout.unit.group
        )

    def _output(self, block: Expr, sums: Buffer, pixel: Expr, pixels: int) -> None:
        layout, spec = self.layout, self.layout.geometry.spec
        first = emit.opaque(layout.first_channel(block))
        tail = layout.geometry.group_out % layout.lanes
        lane_step = layout.unit.lanes

        def finish(pieces: list[tuple[int, int]]) -> None:
            for p in range(pixels):
                start = (pixel + emit.i64(p)) * emit.i64(spec.out_channels) + emit.i64(first)
                start = emit.let(start)
                for lane, width in pieces:
                    total = emit.load(sums, emit.i32(p * layout.lanes + lane), width)
                    scale = emit.load(self.operands.scale, first + lane, width)
                    self.operands.emit_output(total, scale, start + emit.i64(lane))

        whole = [(lane, lane_step) for lane in range(0, layout.lanes, lane_step)]
        if not tail:
            finish(whole)
        elif layout.geometry.group_out < layout.lanes:
            finish(_pieces(tail, lane_step))
        else:
            emit.branch(
                layout.channels(block) == layout.lanes,
                lambda: finish(whole),
                lambda: finish(_pieces(tail, lane_step)),
            )


def _pieces(count: int, widest: int) -> list[tuple[int, int]]:
    """Vectors (start, lanes) of powers of two lanes that make up `count` lanes."""
    pieces, lane = [], 0
    while lane < count:
        width = min(widest, 1 << ((count - lane).bit_length() - 1))
        pieces.append((lane, width))
        lane += width
    return pieces
