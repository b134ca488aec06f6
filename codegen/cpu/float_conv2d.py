"""float32 convolution, NHWC activations and HWIO weights: the float path used for calibration.

Register tiling: `pixels` neighbouring output pixels times `lanes` output channels are accumulated
in vector registers; each tap is one weight vector and one broadcast activation per pixel.

Where the weights of a block of channels do not fit the cache, they are copied together section by
section of taps, each of which goes over all pixels of the task and adds to the output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry, TapGroups
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.cpu.padding import emit_padded
from alwann_c.ir.spec import ConvSpec

LATENCY = 8
"""Sums a machine has under way at once."""

SECTION = 1 << 16
"""Bytes of weights that stay in the cache."""


@dataclass(frozen=True)
class FloatTile:
    """Register tile of the float kernel.

    Attributes:
        lanes: output channels computed together.
        pixels: neighbouring output pixels computed together.
    """

    lanes: int
    pixels: int


def choose_float_tile(spec: ConvSpec, target: tvm.target.Target) -> FloatTile:
    """Tile that takes the fewest cycles a row, two loads and two sums each, in registers."""
    machine = Machine.of(target)
    vector = machine.vector_bytes // 4
    per_group = spec.out_channels if is_depthwise(spec) else spec.out_channels // spec.groups
    fitting = [v for v in (4, 3, 2, 1) if per_group % (v * vector) == 0]
    lanes = [v * vector for v in fitting] or [min(vector, 1 << (per_group.bit_length() - 1))]
    room = machine.vectors * 3 // 4

    def cost(tile: FloatTile) -> tuple[int, int]:
        vectors = -(-tile.lanes // vector)
        loads, sums = vectors + tile.pixels, vectors * tile.pixels
        tiles = -(-per_group // tile.lanes) * -(-spec.out_width // tile.pixels)
        return tiles * max(loads, sums, LATENCY), tiles * loads

    tiles = [
        FloatTile(n, pixels)
        for n in lanes
        for pixels in range(1, min(spec.out_width, room // -(-n // vector), 16) + 1)
    ]
    return min(tiles, key=cost)


def is_depthwise(spec: ConvSpec) -> bool:
    """Whether each channel is convolved with one filter of its own."""
    return spec.groups == spec.in_channels == spec.out_channels


def float_conv2d_primfunc(
    spec: ConvSpec,
    target: tvm.target.Target,
    *,
    tile: FloatTile | None = None,
    name: str = "float_conv2d",
) -> tvm.tirx.PrimFunc:
    """(x [B, h, w, c], weight [kh, kw, c/groups, n], y [B, ho, wo, n]), all float32; B dynamic.

    Sums are not rounded in a defined order and use fused multiply-add. Of `spec`, the integer
    fields (zero point, signedness, epilogue) are ignored.
    """
    chosen = choose_float_tile(spec, target) if tile is None else tile
    chosen = replace(chosen, pixels=min(chosen.pixels, spec.out_width))

    def body() -> None:
        batch, n = emit.symbol(), spec.out_channels
        filters = (*spec.kernel, spec.in_channels // spec.groups, n)
        image = (batch, spec.height, spec.width, spec.in_channels)
        result = (batch, spec.out_height, spec.out_width, n)
        shapes = {"x": image, "weight": filters, "y": result}
        buffers = [emit.argument(name, shape, "float32") for name, shape in shapes.items()]
        x, weight, y = (emit.flat(buffer, "float32") for buffer in buffers)
        geometry = Geometry(spec)
        padded = emit_padded(x, batch, geometry, T.float32(0))
        _Kernel(geometry, chosen, padded, weight, y).emit(batch)

    return emit.build(name, body)


@dataclass(frozen=True)
class _Section:
    """Neighbouring taps of a block of channels.

    Attributes:
        weights: float32 [tap][lane].
        offset: elements from a pixel's first input element to the section's.
        size: number of taps.
        first: whether the output holds nothing yet.
    """

    weights: Buffer
    offset: Expr
    size: Expr
    first: Expr


@dataclass(frozen=True)
class _Kernel:
    geometry: Geometry
    tile: FloatTile
    x: Buffer
    weight: Buffer
    y: Buffer

    def emit(self, batch: Expr) -> None:
        """A task is a block of channels and a range of output rows: its weights stay in the cache."""
        spec, geometry = self.geometry.spec, self.geometry
        depthwise = is_depthwise(spec)
        group_out = spec.out_channels if depthwise else geometry.group_out
        groups = 1 if depthwise else spec.groups
        full, tail = divmod(group_out, self.tile.lanes)
        blocks = full + (1 if tail else 0)
        lines, threads = batch * emit.i64(spec.out_height), emit.thread_count()
        with emit.parallel(emit.i64(groups * blocks) * threads) as task:
            index = emit.opaque(emit.i32(task // threads))
            group, block = emit.opaque(index // blocks), emit.opaque(index % blocks)
            channel = emit.opaque(group * group_out + block * self.tile.lanes)
            first = emit.opaque(lines * (task % threads) // threads)
            last = emit.opaque(lines * (task % threads + emit.i64(1)) // threads)
            if self._sections is not None:
                self._emit_sections(self._sections, group, channel, first, last)
                return
            with emit.serial(last - first) as count:
                start, target = self._line(emit.opaque(first + count), group)

                def whole(start: Expr = start, target: Expr = target) -> None:
                    self._row(start, target, channel, self.tile.lanes)

                def rest(start: Expr = start, target: Expr = target) -> None:
                    lane = 0
                    for bit in reversed(range(tail.bit_length())):
                        if tail >> bit & 1:
                            self._row(start, target, emit.opaque(channel + lane), 1 << bit)
                            lane += 1 << bit

                if not tail:
                    whole()
                elif not full:
                    rest()
                else:
                    emit.branch(block < full, whole, rest)

    def _line(self, line: Expr, group: Expr) -> tuple[Expr, Expr]:
        """First input element of an output row's first pixel, and the row's first output element."""
        spec, geometry = self.geometry.spec, self.geometry
        image = line // emit.i64(spec.out_height) * emit.i64(geometry.image)
        top = line % emit.i64(spec.out_height) * emit.i64(spec.strides[0])
        start = image + top * emit.i64(geometry.padded_width * spec.in_channels)
        start = emit.opaque(start + emit.i64(group * geometry.group_in))
        return start, emit.opaque(line * emit.i64(spec.out_width * spec.out_channels))

    @property
    def _sections(self) -> TapGroups | None:
        """Sections of a run of taps; None where all weights of a block fit the cache."""
        spec, lanes = self.geometry.spec, self.tile.lanes
        whole = self.geometry.group_out % lanes == 0 and not is_depthwise(spec)
        if not whole or spec.taps * lanes * 4 <= SECTION:
            return None
        return TapGroups.split(self.geometry.run, SECTION // (lanes * 4))

    def _emit_sections(
        self, sections: TapGroups, group: Expr, channel: Expr, first: Expr, last: Expr
    ) -> None:
        """Rows `first` to `last` - 1 of a block of channels, section by section."""
        spec, geometry, tile = self.geometry.spec, self.geometry, self.tile
        packed = emit.scratch(sections.largest * tile.lanes, "float32")
        full, rest = divmod(spec.out_width, tile.pixels)
        with emit.serial(geometry.runs * sections.per_run) as index:
            run = emit.opaque(index // sections.per_run)
            part = emit.opaque(index % sections.per_run)
            longer = T.min(part, emit.i32(sections.longer))
            position = emit.opaque(part * sections.size + longer)
            size = emit.opaque(
                sections.size + T.Select(part < sections.longer, emit.i32(1), emit.i32(0))
            )
            with emit.serial(size) as t:
                tap = emit.opaque(run * geometry.run + position + t)
                weights = emit.load(self.weight, tap * spec.out_channels + channel, tile.lanes)
                emit.store(packed, t * tile.lanes, weights)
            offset = emit.opaque(self._run_offset(run) + position)
            section = _Section(packed, offset, size, index == 0)
            with emit.serial(last - first) as count:
                start, target = self._line(emit.opaque(first + count), group)
                with emit.serial(full) as number:
                    column = emit.opaque(number * tile.pixels)
                    self._part(section, start, target, column, channel, tile.pixels)
                if rest:
                    column = emit.i32(full * tile.pixels)
                    self._part(section, start, target, column, channel, rest)

    def _part(
        self,
        section: _Section,
        start: Expr,
        target: Expr,
        column: Expr,
        first: Expr,
        pixels: int,
    ) -> None:
        """Add a section's taps to `pixels` pixels of a row from `column`."""
        spec, lanes = self.geometry.spec, self.tile.lanes
        step = spec.strides[1] * spec.in_channels
        begin = emit.opaque(start + emit.i64(column * step + section.offset))
        sums = emit.registers(pixels * lanes, "float32")
        places = [
            emit.let(target + emit.i64((column + p) * spec.out_channels + first))
            for p in range(pixels)
        ]

        def clear() -> None:
            for p in range(pixels):
                emit.store(sums, emit.i32(p * lanes), emit.f32(0.0, lanes))

        def resume() -> None:
            for p, place in enumerate(places):
                emit.store(sums, emit.i32(p * lanes), emit.load(self.y, place, lanes))

        emit.branch(section.first, clear, resume)
        with emit.serial(section.size) as t:
            weights = emit.let(emit.load(section.weights, t * lanes, lanes))
            for p in range(pixels):
                values = emit.splat(self.x[begin + emit.i64(t + p * step)], lanes)
                place = emit.i32(p * lanes)
                emit.store(sums, place, emit.load(sums, place, lanes) + weights * values)
        for p, place in enumerate(places):
            emit.store(self.y, place, emit.load(sums, emit.i32(p * lanes), lanes))

    def _run_offset(self, run: Expr) -> Expr:
        """Elements from a pixel's first input element to those of a run of taps."""
        geometry = self.geometry
        if geometry.row_runs:
            return run * geometry.row_step
        kw = geometry.spec.kernel[1]
        return run // kw * geometry.row_step + run % kw * geometry.column_step

    def _row(self, start: Expr, target: Expr, first: Expr, lanes: int) -> None:
        """One output row, `lanes` channels from `first`; the last tile may overlap the one before."""
        width, pixels = self.geometry.spec.out_width, self.tile.pixels
        with emit.serial(-(-width // pixels)) as index:
            column = emit.opaque(T.min(index * pixels, width - pixels))
            self._tile(start, target, column, first, lanes)

    def _tile(self, start: Expr, target: Expr, column: Expr, first: Expr, lanes: int) -> None:
        spec, geometry, pixels = self.geometry.spec, self.geometry, self.tile.pixels
        step = spec.strides[1] * spec.in_channels
        depthwise = is_depthwise(spec)
        corner = emit.opaque(start + emit.i64(column * step))
        sums = emit.registers(pixels * lanes, "float32")
        for p in range(pixels):
            emit.store(sums, emit.i32(p * lanes), emit.f32(0.0, lanes))
        with emit.serial(geometry.runs) as run:
            begin = emit.opaque(corner + emit.i64(self._run_offset(run)))
            with emit.serial(geometry.run) as t:
                tap = emit.opaque(run * geometry.run + t)
                weights = emit.load(self.weight, tap * spec.out_channels + first, lanes)
                weights = emit.let(weights)
                for p in range(pixels):
                    at = begin + emit.i64(t + p * step)
                    if depthwise:
                        values = emit.load(self.x, at + emit.i64(first), lanes)
                    else:
                        values = emit.splat(self.x[at], lanes)
                    place = emit.i32(p * lanes)
                    emit.store(sums, place, emit.load(sums, place, lanes) + weights * values)
        for p in range(pixels):
            place = target + emit.i64((column + p) * spec.out_channels + first)
            emit.store(self.y, place, emit.load(sums, emit.i32(p * lanes), lanes))
