"""A convolution on a table of few terms: a direct integer GEMM in registers (see `dot_operands`).

A tile is `pixels` output pixels of a line times `lanes` output channels, accumulated in registers
over all terms and taps; a tap group takes a vector of weights per register of channels and four bytes
of activations per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.dot_activations import Activations
from alwann_c.codegen.cpu.dot_operands import DotLayout, DotWeights
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.strategy import Dot, is_flat
from alwann_c.codegen.cpu.table import CODES, PreparedTable

SEGMENT = 16
"""Tiles of a line, where lines are cut from the pixels of the whole batch."""

STRIP_BYTES = 1 << 16
"""Bytes of left factors of a term that a task makes at once: they stay in the second-level cache."""

RESIDENT_BYTES = 1 << 18
"""Bytes of a term's weights up to which a task goes through all of them for every strip."""


def emit_dot(
    operands: Operands,
    geometry: Geometry,
    strategy: Dot,
    activations: Activations,
    table: PreparedTable,
    weights: DotWeights,
) -> None:
    """Emit the convolution; the weights must fit."""
    layout = DotLayout(geometry, activations.unit, strategy.lanes)
    kernel = _DotKernel(operands, layout, strategy.pixels, table, weights)
    if layout.term * layout.blocks * layout.unit.element_bytes > RESIDENT_BYTES:
        _emit_by_blocks(kernel, activations)
    elif is_flat(geometry.spec):
        _emit_by_segments(kernel, activations)
    else:
        _emit_by_strips(kernel, activations)


def _emit_by_blocks(kernel: _DotKernel, activations: Activations) -> None:
    """Every task keeps the weights of a block and goes through lines of all images."""
    geometry, batch = kernel.layout.geometry, kernel.operands.batch
    spec = geometry.spec
    codes = activations.emit_batch()
    left = LeftFactors(codes, batch * emit.i64(geometry.image))
    pixels = emit.opaque(batch * emit.i64(geometry.pixels))
    if is_flat(spec):
        lines = emit.opaque((pixels + emit.i64(kernel.segment - 1)) // emit.i64(kernel.segment))
    else:
        lines = emit.opaque(batch * emit.i64(spec.out_height))
    threads, blocks = emit.thread_count(), emit.i64(kernel.layout.blocks)
    parts = emit.opaque(T.Select(blocks % threads == 0, emit.i64(1), threads))
    with emit.parallel(blocks * parts) as task:
        block = emit.opaque(emit.i32(task // parts))
        first = emit.opaque(lines * (task % parts) // parts)
        last = emit.opaque(lines * (task % parts + emit.i64(1)) // parts)
        with emit.serial(last - first) as index:
            line = emit.opaque(first + index)
            if is_flat(spec):
                start = emit.opaque(line * emit.i64(kernel.segment))
                corner = emit.opaque(start * emit.i64(spec.in_channels))
                count = T.min(pixels - start, emit.i64(kernel.segment))
                kernel.emit_segment(left, block, corner, start, count)
            else:
                image = line // emit.i64(spec.out_height) * emit.i64(geometry.image)
                top = line % emit.i64(spec.out_height) * emit.i64(spec.strides[0])
                corner = emit.opaque(image + top * emit.i64(activations.row))
                kernel.emit_line(left, block, corner, line)


def _emit_by_strips(kernel: _DotKernel, activations: Activations) -> None:
    """Every task makes the left factors of a strip of an image, and all of its outputs."""
    geometry, batch = kernel.layout.geometry, kernel.operands.batch
    spec = geometry.spec
    height, step = spec.out_height, spec.strides[0]
    below = spec.dilation[0] * (spec.kernel[0] - 1) + 1  # rows that an output row reads
    room = STRIP_BYTES // (activations.row * kernel.layout.unit.element_bytes)
    most = min(max((room - below) // step + 1, 1), height)
    size = ((most - 1) * step + below) * activations.row
    threads = emit.thread_count()
    share = (batch * emit.i64(height) + threads - emit.i64(1)) // threads
    tall = emit.opaque(emit.i32(T.min(share, emit.i64(most))))
    strips = emit.opaque(emit.i64((tall + height - 1) // tall))
    total = emit.opaque(batch * strips)
    with emit.parallel(threads) as task:
        first = emit.opaque(total * task // threads)
        last = emit.opaque(total * (task + emit.i64(1)) // threads)
        codes = activations.scratch(size)
        with emit.serial(last - first) as index:
            image = emit.opaque((first + index) // strips)
            top = emit.opaque(emit.i32((first + index) % strips) * tall)
            rows = emit.opaque(T.min(tall, height - top))
            read = emit.opaque((rows - 1) * step + below)
            activations.emit_strip(codes, size, image, emit.i64(top * step), read)
            line = emit.opaque(image * emit.i64(height) + emit.i64(top))
            with emit.serial(kernel.layout.blocks) as block, emit.serial(rows) as row:
                corner = emit.opaque(emit.i64(row * (step * activations.row)))
                left = LeftFactors(codes, emit.i64(size))
                kernel.emit_line(left, block, corner, emit.opaque(line + emit.i64(row)))


def _emit_by_segments(kernel: _DotKernel, activations: Activations) -> None:
    """As by strips, of pixels in a row: where output pixels are input pixels."""
    geometry, batch = kernel.layout.geometry, kernel.operands.batch
    channels = geometry.spec.in_channels
    pixels = emit.opaque(batch * emit.i64(geometry.pixels))
    size = kernel.segment * channels
    total = emit.opaque((pixels + emit.i64(kernel.segment - 1)) // emit.i64(kernel.segment))
    threads = emit.thread_count()
    with emit.parallel(threads) as task:
        first = emit.opaque(total * task // threads)
        last = emit.opaque(total * (task + emit.i64(1)) // threads)
        codes = activations.scratch(size)
        left = LeftFactors(codes, emit.i64(size))
        with emit.serial(last - first) as index:
            start = emit.opaque((first + index) * emit.i64(kernel.segment))
            count = emit.opaque(emit.i32(T.min(pixels - start, emit.i64(kernel.segment))))
            source = emit.opaque(start * emit.i64(channels))
            with emit.serial(kernel.table.terms) as term:
                column, place = emit.opaque(term * CODES), emit.i64(term * size)
                activations.emit_run(codes, place, column, source, count * channels)
            with emit.serial(kernel.layout.blocks) as block:
                kernel.emit_segment(left, block, emit.i64(0), start, emit.i64(count))


@dataclass(frozen=True)
class LeftFactors:
    """Flat left factors, and the number of elements from one term to the next (int64)."""

    codes: Buffer
    term: Expr


@dataclass(frozen=True)
class _DotKernel:
    operands: Operands
    layout: DotLayout
    pixels: int
    table: PreparedTable
    weights: DotWeights

    @property
    def segment(self) -> int:
        """Pixels of a line that is cut from the pixels of the whole batch."""
        return self.pixels * SEGMENT

    def emit_line(self, left: LeftFactors, block: Expr, corner: Expr, line: Expr) -> None:
        """An output row; the last tile may overlap the one before.

        Args:
            corner: int64 first element of the row's first patch, in term 0.
            line: int64 index of the output row in the batch.
        """
        spec = self.layout.geometry.spec
        width = spec.out_width
        target = emit.opaque(line * emit.i64(width))
        pixels = min(self.pixels, width)
        with emit.serial(-(-width // pixels)) as index:
            column = emit.opaque(emit.i64(T.min(index * pixels, width - pixels)))
            step = emit.i64(spec.strides[1] * spec.in_channels)
            self._tile(left, block, corner + column * step, target + column, pixels)

    def emit_segment(
        self, left: LeftFactors, block: Expr, corner: Expr, first: Expr, count: Expr
    ) -> None:
        """`count` pixels of the batch from `first`; tiles, and the rest one by one.

        Args:
            corner: int64 first element of the first pixel, in term 0.
        """
        channels = emit.i64(self.layout.geometry.spec.in_channels)
        count = emit.opaque(emit.i32(count))
        tiles = emit.opaque(count // self.pixels)

        def at(skipped: Expr, tile: int) -> None:
            skip = emit.opaque(emit.i64(skipped))
            self._tile(left, block, corner + skip * channels, emit.opaque(first + skip), tile)

        with emit.serial(tiles) as index:
            at(index * self.pixels, self.pixels)
        if self.pixels > 1:
            with emit.serial(count - tiles * self.pixels) as index:
                at(tiles * self.pixels + index, 1)

    def _tile(self, left: LeftFactors, block: Expr, corner: Expr, pixel: Expr, pixels: int) -> None:
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
            begin = emit.opaque(corner + emit.i64(r) * left.term + emit.i64(offset))
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
                    few = emit.load(left.codes, at + emit.i64(p * step), unit.group)
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
            finish(emit.pieces(tail, lane_step))
        else:
            emit.branch(
                layout.channels(block) == layout.lanes,
                lambda: finish(whole),
                lambda: finish(emit.pieces(tail, lane_step)),
            )
