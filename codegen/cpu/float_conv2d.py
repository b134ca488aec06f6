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
        """A parallel task per output row and block of channels."""
        spec, geometry = self.geometry.spec, self.geometry
        depthwise = is_depthwise(spec)
        group_out = spec.out_channels if depthwise else geometry.group_out
        groups = 1 if depthwise else spec.groups
        blocks, tail = divmod(group_out, self.tile.lanes)
        lines = batch * emit.i64(spec.out_height)
        with emit.parallel(lines) as task:
            image = emit.opaque(task // emit.i64(spec.out_height) * emit.i64(geometry.image))
            top = task % emit.i64(spec.out_height) * emit.i64(spec.strides[0])
            line = emit.opaque(image + top * emit.i64(geometry.padded_width * spec.in_channels))
            target = emit.opaque(task * emit.i64(spec.out_width * spec.out_channels))
            with emit.serial(groups) as group:
                start = emit.opaque(line + emit.i64(group * geometry.group_in))
                channel = emit.opaque(group * group_out)
                if blocks:
                    with emit.serial(blocks) as block:
                        first = emit.opaque(channel + block * self.tile.lanes)
                        self._row(start, target, first, self.tile.lanes)
                if tail:
                    first = emit.opaque(channel + blocks * self.tile.lanes)
                    for bit in reversed(range(tail.bit_length())):
                        if tail >> bit & 1:
                            self._row(start, target, first, 1 << bit)
                            first = emit.opaque(first + (1 << bit))

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
