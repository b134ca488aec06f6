"""float32 convolution, NHWC activations and HWIO weights: the float path used for calibration.

Register tiling: `pixels` neighbouring output pixels times `lanes` output channels are accumulated
in vector registers; each tap is one weight vector and one broadcast activation per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.cpu.padding import emit_padded
from alwann_c.ir.spec import ConvSpec


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
    """Largest tile that leaves registers for weights and broadcasts."""
    machine = Machine.of(target)
    vector = machine.vector_bytes // 4
    per_group = spec.out_channels if is_depthwise(spec) else spec.out_channels // spec.groups
    fitting = [v for v in (4, 3, 2, 1) if per_group % (v * vector) == 0]
    if fitting:
        lanes = fitting[0] * vector
    else:
        lanes = min(vector, 1 << (per_group.bit_length() - 1))
    room = machine.vectors * 3 // 4 // -(-lanes // vector)
    width = spec.out_width
    pixels = min(width, room, 16)
    even = [p for p in range(pixels, max(pixels // 2, 1) - 1, -1) if width % p == 0]
    return FloatTile(lanes, even[0] if even else pixels)


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
            with emit.serial(last - first) as count:
                line = emit.opaque(first + count)
                image = line // emit.i64(spec.out_height) * emit.i64(geometry.image)
                top = line % emit.i64(spec.out_height) * emit.i64(spec.strides[0])
                start = image + top * emit.i64(geometry.padded_width * spec.in_channels)
                start = emit.opaque(start + emit.i64(group * geometry.group_in))
                target = emit.opaque(line * emit.i64(spec.out_width * spec.out_channels))

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
            if geometry.row_runs:
                offset = run * geometry.row_step
            else:
                kw = spec.kernel[1]
                offset = run // kw * geometry.row_step + run % kw * geometry.column_step
            begin = emit.opaque(corner + emit.i64(offset))
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
