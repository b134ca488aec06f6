"""A convolution by product panels: tasks, chunks of taps, tiles of pixels."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.accumulate import Tile, emit_accumulate, totals
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry, TapGroups
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.padding import emit_padded
from alwann_c.codegen.cpu.panels import (
    Block,
    Group,
    PanelStore,
    emit_group,
)
from alwann_c.codegen.cpu.ranges import CodeRanges, emit_ranges
from alwann_c.codegen.cpu.strategy import Panels
from alwann_c.codegen.cpu.table import CODES, PreparedTable


@dataclass(frozen=True)
class Plan:
    """Sizes that follow from a convolution and a strategy."""

    geometry: Geometry
    strategy: Panels

    @property
    def groups(self) -> TapGroups:
        """Split of a run into groups of taps."""
        return TapGroups.split(self.geometry.run, self.strategy.taps)

    @property
    def total_groups(self) -> int:
        """Tap groups of the whole convolution."""
        return self.geometry.runs * self.groups.per_run

    @property
    def chunk_groups(self) -> int:
        """Tap groups whose panels are kept at once."""
        bytes_each = self.groups.largest * CODES * self.strategy.lanes * 2
        return max(1, min(self.total_groups, self.strategy.chunk // bytes_each))

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.total_groups // self.chunk_groups)

    @property
    def blocks_per_group(self) -> int:
        """Blocks of output channels of one convolution group."""
        return -(-self.geometry.group_out // self.strategy.lanes)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return self.geometry.spec.groups * self.blocks_per_group

    @property
    def task_pixels(self) -> int:
        """Most pixels of one task."""
        if self.chunks == 1:
            return 1 << 30
        pixels = self.strategy.task_bytes // (4 * self.strategy.lanes)
        return max(1, pixels // self.strategy.tile) * self.strategy.tile

    def first_tap(self, group: Expr) -> Expr:
        """First tap of a group."""
        run, j = group // self.groups.per_run, group % self.groups.per_run
        return run * self.geometry.run + self.position(j)

    def position(self, j: Expr) -> Expr:
        """Position within its run of the j-th group of a run."""
        return j * self.groups.size + T.min(j, self.groups.longer)

    def offset(self, group: Expr) -> Expr:
        """Position of a group's first code from the first byte of a pixel."""
        run, j = group // self.groups.per_run, group % self.groups.per_run
        if self.geometry.row_runs:
            start = run * self.geometry.row_step
        else:
            kw = self.geometry.spec.kernel[1]
            start = run // kw * self.geometry.row_step + run % kw * self.geometry.column_step
        return start + self.position(j)


def emit_panels(
    operands: Operands, geometry: Geometry, strategy: Panels, table: PreparedTable
) -> None:
    """Emit the body of the PrimFunc."""
    plan = Plan(geometry, strategy)
    codes = emit_padded(operands.x, operands.batch, geometry)
    ranges = emit_ranges(operands.x, operands.batch, geometry)
    threads = emit.thread_count()
    pixels = emit.opaque(operands.batch * emit.i64(geometry.pixels))
    blocks = emit.i64(plan.blocks)
    even = T.Select(threads % blocks == 0, threads // blocks, threads)
    least = emit.opaque(T.Select(blocks % threads == 0, emit.i64(1), even))
    most = emit.i64(plan.task_pixels)
    parts = emit.opaque(least * ((pixels + least * most - emit.i64(1)) // (least * most)))
    span = emit.opaque((pixels + parts - emit.i64(1)) // parts)
    with emit.parallel(blocks * parts) as task:
        start = emit.opaque(pixels * (task % parts) // parts)
        stop = emit.opaque(pixels * (task % parts + emit.i64(1)) // parts)
        with emit.when(start < stop):
            block = emit.opaque(emit.i32(task // parts))
            _Task(operands, plan, codes, table, ranges, span).emit(block, start, stop)


@dataclass(frozen=True)
class _Task:
    """One block of output channels and a range of pixels, computed by one thread."""

    operands: Operands
    plan: Plan
    codes: Buffer
    table: PreparedTable
    ranges: CodeRanges
    span: Expr

    def emit(self, block_index: Expr, start: Expr, stop: Expr) -> None:
        """Emit the task for pixels start..stop-1 (int64) of block `block_index` (int32)."""
        plan, strategy = self.plan, self.plan.strategy
        geometry = plan.geometry
        group = emit.opaque(block_index // plan.blocks_per_group)
        within = emit.opaque(block_index % plan.blocks_per_group * strategy.lanes)
        block, scale = self._block(group, within)
        store = PanelStore.allocate(
            strategy.lanes,
            plan.chunk_groups * plan.groups.largest,
            plan.chunk_groups,
            plan.groups.largest,
            strategy.segments,
        )
        kept = strategy.tile if plan.chunks == 1 else self.span
        accumulators = emit.scratch((kept + strategy.unroll) * strategy.lanes, "int32")
        base = emit.scratch(strategy.tile + strategy.unroll, "int32")
        tiles = emit.opaque(emit.i32((stop - start + strategy.tile - 1) // strategy.tile))
        with emit.serial(plan.chunks) as chunk:
            first = emit.opaque(chunk * plan.chunk_groups)
            count = emit.opaque(T.min(emit.i32(plan.chunk_groups), plan.total_groups - first))
            origin = emit.opaque(plan.first_tap(first))
            with emit.serial(count) as g:
                described = self._group(first, origin, g)
                emit_group(
                    store,
                    block,
                    self.table,
                    self.ranges,
                    described,
                    geometry.spec.signed,
                    strategy.width,
                )
            with emit.serial(tiles) as index:
                pixel = emit.opaque(start + emit.i64(index) * strategy.tile)
                pixels = emit.opaque(emit.i32(T.min(stop - pixel, emit.i64(strategy.tile))))
                row = emit.i32(0) if plan.chunks == 1 else emit.opaque(index * strategy.tile)
                tile = self._tile(pixel, pixels, base, accumulators, row, group)
                with emit.when(chunk == 0):
                    with emit.serial(tile.count * strategy.lanes) as i:
                        emit.store(accumulators, row * strategy.lanes + i, emit.i32(0))
                with emit.serial(count) as g:
                    emit_accumulate(
                        tile,
                        store,
                        block,
                        self.table,
                        self._group(first, origin, g),
                        sizes=plan.groups.sizes,
                        offset=emit.opaque(plan.offset(first + g)),
                        unroll=strategy.unroll,
                        signed=geometry.spec.signed,
                    )
                with emit.when(chunk == plan.chunks - 1):
                    self._output(tile, block, scale, pixel, pixels, within)

    def _block(self, group: Expr, within: Expr) -> tuple[Block, Buffer]:
        """Describe a block by convolution group and position in it; also its float32 scales."""
        plan, lanes = self.plan, self.plan.strategy.lanes
        geometry = plan.geometry
        block = Block(
            lanes=lanes,
            weight=self.operands.weight,
            channels=geometry.spec.out_channels,
            inputs=geometry.group_in,
            first_input=emit.opaque(group * geometry.group_in),
            first=emit.opaque(group * geometry.group_out + within),
            last=emit.opaque(T.min(emit.i32(lanes), geometry.group_out - within) - 1),
            zero=emit.scratch(lanes, "int32"),
            step=emit.scratch(lanes, "int16"),
            offset=emit.scratch(lanes, "int32"),
            partial=geometry.group_out % lanes > 0,
        )
        scale = emit.scratch(lanes, "float32")
        with emit.serial(lanes) as n:
            channel = block.channel(n)
            zero = emit.let(self.operands.weight_zero_point[channel])
            emit.store(block.zero, n, zero)
            emit.store(block.step, n, T.cast(zero, "int16"))
            emit.store(block.offset, n, self.operands.offset[channel])
            emit.store(scale, n, self.operands.scale[channel])
        return block, scale

    def _group(self, first: Expr, origin: Expr, g: Expr) -> Group:
        """Describe the g-th group of the chunk whose first group is `first`."""
        groups = self.plan.groups
        tap = emit.opaque(self.plan.first_tap(first + g))
        size = emit.i32(groups.size)
        if groups.longer:
            size = emit.opaque(
                T.Select((first + g) % groups.per_run < groups.longer, size + 1, size)
            )
        channel = emit.opaque(tap % self.plan.geometry.group_in)
        return Group(tap, emit.opaque(tap - origin), g, size, channel)

    def _tile(
        self, pixel: Expr, count: Expr, base: Buffer, accumulators: Buffer, row: Expr, group: Expr
    ) -> Tile:
        """Describe the tile of `count` pixels from `pixel`, and fill in `base`."""
        geometry, unroll = self.plan.geometry, self.plan.strategy.unroll
        spec = geometry.spec
        image = emit.opaque(pixel // emit.i64(geometry.pixels))
        skipped = emit.opaque(emit.i32(pixel - image * emit.i64(geometry.pixels)))
        rounded = emit.opaque((count + (unroll - 1)) // unroll * unroll)
        with emit.serial(rounded) as i:
            p = emit.opaque(skipped + T.min(i, count - 1))
            line = emit.opaque(p // spec.out_width)
            y, x = line % spec.out_height, p % spec.out_width
            corner = y * (spec.strides[0] * geometry.padded_width) + x * spec.strides[1]
            start = line // spec.out_height * geometry.image + corner * spec.in_channels
            emit.store(base, i, start + group * geometry.group_in)
        return Tile(
            self.codes,
            emit.opaque(image * emit.i64(geometry.image)),
            base,
            rounded,
            accumulators,
            row,
        )

    def _output(
        self, tile: Tile, block: Block, scale: Buffer, pixel: Expr, count: Expr, within: Expr
    ) -> None:
        """Finish and store the tile."""
        lanes, geometry = block.lanes, self.plan.geometry
        channels = emit.i64(geometry.spec.out_channels)
        width = geometry.group_out

        def finish(pieces: list[int]) -> None:
            line = emit.registers(lanes, "int32")
            with emit.serial(count) as i:
                start = emit.let((pixel + emit.i64(i)) * channels + emit.i64(block.first))
                sums = totals(tile, i, lanes)
                if pieces != [lanes]:
                    emit.store(line, emit.i32(0), sums)
                lane = 0
                for piece in pieces:
                    part = sums if piece == lanes else emit.load(line, emit.i32(lane), piece)
                    total = part + emit.load(block.offset, emit.i32(lane), piece)
                    factor = emit.load(scale, emit.i32(lane), piece)
                    self.operands.emit_output(total, factor, start + emit.i64(lane))
                    lane += piece

        tail = width % lanes
        pieces = [1 << bit for bit in reversed(range(tail.bit_length())) if tail >> bit & 1]
        if not tail:
            finish([lanes])
        elif width < lanes:
            finish(pieces)
        else:
            full = within + lanes <= width
            emit.branch(full, lambda: finish([lanes]), lambda: finish(pieces))
