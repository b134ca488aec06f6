"""A convolution by look-ups in vector registers (see `permute`): few pixels, or few channels a group.

A task computes a block of consecutive output channels. For small groups (depthwise convolutions) it
is a block of whole groups of one image, which makes planes of its own input channels; otherwise it
is part of a group, and all tasks share the planes of the whole batch.
"""

from __future__ import annotations

from dataclasses import replace

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.permute import LANES
from alwann_c.codegen.cpu.permute_block import PermuteBlock
from alwann_c.codegen.cpu.planes import BLOCK, PlaneLayout, Planes, emit_fill
from alwann_c.codegen.cpu.strategy import Permute
from alwann_c.codegen.cpu.table import PreparedTable


def _allocate(layout: PlaneLayout, images: Expr, channels: int) -> Planes:
    size = layout.channel(images) * channels + LANES
    return Planes(layout, images, emit.scratch(size, "uint8"), emit.scratch(channels, "int32"))


def emit_permute(
    operands: Operands,
    geometry: Geometry,
    strategy: Permute,
    table: PreparedTable,
    most_images: int | None = None,
) -> None:
    """Emit the convolution; `table` must fit. The batch is at most `most_images`."""
    if strategy.groups:
        _emit_by_image(operands, geometry, strategy, table)
    else:
        _emit_by_output(operands, geometry, strategy, table, most_images)


def _emit_by_image(
    operands: Operands, geometry: Geometry, strategy: Permute, table: PreparedTable
) -> None:
    """A task per image and block of groups."""
    spec, layout = geometry.spec, PlaneLayout(geometry, compact=False)
    blocks = -(-spec.groups // strategy.groups)
    tail = spec.groups % strategy.groups

    def block(image: Expr, first: Expr, groups: int) -> None:
        channels = groups * geometry.group_in
        start = emit.opaque(first * geometry.group_in)
        planes = _allocate(layout, emit.i32(1), channels)
        with emit.serial(-(-channels // BLOCK)) as part:
            place = emit.opaque(part * BLOCK)
            count = emit.opaque(T.min(emit.i32(BLOCK), channels - place))
            emit_fill(planes, operands.x, image, start + place, count, place)
        outputs = groups * geometry.group_out
        kernel = PermuteBlock.allocate(
            operands, table, planes, image, first * geometry.group_out, outputs
        )
        with emit.serial(groups) as g:
            kernel.emit_taps(g * geometry.group_in)
            with emit.serial(geometry.group_out) as n:
                kernel.emit_sums(g * geometry.group_out + n)
        kernel.emit_epilogue()

    with emit.parallel(operands.batch * emit.i64(blocks)) as task:
        image = emit.opaque(task // emit.i64(blocks))
        first = emit.opaque(emit.i32(task % emit.i64(blocks)) * strategy.groups)
        if not tail:
            block(image, first, strategy.groups)
        elif blocks == 1:
            block(image, first, tail)
        else:
            emit.branch(
                first + strategy.groups <= spec.groups,
                lambda: block(image, first, strategy.groups),
                lambda: block(image, first, tail),
            )


def _emit_by_output(
    operands: Operands,
    geometry: Geometry,
    strategy: Permute,
    table: PreparedTable,
    most_images: int | None,
) -> None:
    """A task per block of output channels, for the whole batch."""
    spec, layout = geometry.spec, PlaneLayout(geometry, compact=True)
    images = emit.i32(operands.batch)
    room = images if most_images is None else emit.i32(most_images)
    planes = replace(_allocate(layout, room, spec.in_channels), images=images)
    with emit.parallel(emit.i64(-(-spec.in_channels // BLOCK))) as part:
        first = emit.opaque(emit.i32(part) * BLOCK)
        count = emit.opaque(T.min(emit.i32(BLOCK), spec.in_channels - first))
        emit_fill(planes, operands.x, emit.i64(0), first, count, first)
    wide = strategy.outputs
    blocks, tail = -(-geometry.group_out // wide), geometry.group_out % wide

    def block(group: Expr, within: Expr, outputs: int) -> None:
        channel = emit.opaque(group * geometry.group_out + within)
        kernel = PermuteBlock.allocate(operands, table, planes, emit.i64(0), channel, outputs)
        kernel.emit_taps(group * geometry.group_in)
        with emit.serial(outputs) as n:
            kernel.emit_sums(n)
        kernel.emit_epilogue()

    with emit.parallel(emit.i64(spec.groups * blocks)) as task:
        group = emit.opaque(emit.i32(task) // blocks)
        within = emit.opaque(emit.i32(task) % blocks * wide)
        if not tail:
            block(group, within, wide)
        elif blocks == 1:
            block(group, within, tail)
        else:
            emit.branch(
                within + wide <= geometry.group_out,
                lambda: block(group, within, wide),
                lambda: block(group, within, tail),
            )
