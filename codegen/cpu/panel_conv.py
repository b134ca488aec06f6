"""A convolution by product panels: tasks, chunks of taps, tiles of pixels."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.accumulate import Tile, emit_accumulate
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry, TapGroups
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.padding import emit_padded
from alwann_c.codegen.cpu.panels import (
    CODES,
    Block,
    ErrorBounds,
    PanelStore,
    emit_error_bounds,
    emit_group,
)
from alwann_c.codegen.cpu.strategy import Panels


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


def emit_panels(operands: Operands, geometry: Geometry, strategy: Panels) -> None:
    """Emit the body of the PrimFunc."""
    plan = Plan(geometry, strategy)
    codes = emit_padded(operands.x, operands.batch, geometry)
    bounds = emit_error_bounds(operands.table, geometry.spec.signed)
    threads = emit.thread_count()
    pixels = emit.let(operands.batch * emit.i64(geometry.pixels))
    blocks = emit.i64(plan.blocks)
    even = T.Select(threads % blocks == 0, threads // blocks, threads)
    least = emit.let(T.Select(blocks % threads == 0, emit.i64(1), even))
    most = emit.i64(plan.task_pixels)
    parts = emit.let(least * ((pixels + least * most - emit.i64(1)) // (least * most)))
    span = emit.let((pixels + parts - emit.i64(1)) // parts)
    with emit.parallel(blocks * parts) as task:
        start = emit.let(pixels * (task % parts) // parts)
        stop = emit.let(pixels * (task % parts + emit.i64(1)) // parts)
        with emit.when(start < stop):
            block = emit.let(emit.i32(task // parts))
            _Task(operands, plan, codes, bounds, span).emit(block, start, stop)


@dataclass(frozen=True)
class _Task:
    """One block of output channels and a range of pixels, computed by one thread."""

    operands: Operands
    plan: Plan
    codes: Buffer
    bounds: ErrorBounds
    span: Expr

    def emit(self, block_index: Expr, start: Expr, stop: Expr) -> None:
        """Emit the task for pixels start..stop-1 (int64) of block `block_index` (int32)."""
        plan, strategy = self.plan, self.plan.strategy
        lanes, geometry = strategy.lanes, plan.geometry
        group = emit.let(block_index // plan.blocks_per_group)
        within = emit.let(block_index % plan.blocks_per_group * lanes)
        first = emit.let(group * geometry.group_out + within)
        block = Block(
            lanes=lanes,
            weight=self.operands.weight,
            channels=geometry.spec.out_channels,
            first=first,
            last_lane=emit.let(T.min(emit.i32(lanes), geometry.group_out - within) - 1),
            zero=emit.scratch(lanes, "int32"),
            offset=emit.scratch(lanes, "int32"),
        )
        scale = emit.scratch(lanes, "float32")
        with emit.serial(lanes) as n:
            channel = emit.let(block.channel(n))
            emit.store(block.zero, n, self.operands.weight_zero_point[channel])
            emit.store(block.offset, n, self.operands.offset[channel])
            emit.store(scale, n, self.operands.scale[channel])
        groups = plan.groups
        store = PanelStore.emit(
            lanes, plan.chunk_groups * groups.largest, plan.chunk_groups, groups.largest,
            strategy.segments,
        )
        kept = strategy.tile if plan.chunks == 1 else self.span
        room = kept + strategy.unroll
        accumulators = emit.scratch(room * lanes, "int32")
        base = emit.scratch(strategy.tile + strategy.unroll, "int32")
        with emit.serial(plan.chunks) as chunk:
            from_group = emit.let(chunk * plan.chunk_groups)
            to_group = emit.let(T.min(from_group + plan.chunk_groups, plan.total_groups))
            origin = emit.let(plan.first_tap(from_group))
            with emit.serial(to_group - from_group) as g:
                tap = emit.let(plan.first_tap(from_group + g))
                self._for_size(
                    (from_group + g) % groups.per_run,
                    lambda size: emit_group(
                        store, block, self.bounds, self.operands.table, tap, tap - origin, g,
                        size, geometry.spec.signed,
                    ),
                )
            tiles = emit.let(emit.i32((stop - start + strategy.tile - 1) // strategy.tile))
            with emit.serial(tiles) as index:
                pixel = emit.let(start + emit.i64(index) * strategy.tile)
                count = emit.let(emit.i32(T.min(stop - pixel, emit.i64(strategy.tile))))
                row = emit.i32(0) if plan.chunks == 1 else emit.let(index * strategy.tile)
                tile = self._tile(pixel, count, base, accumulators, row, group)
                with emit.when(chunk == 0), emit.serial(tile.count * lanes) as i:
                    emit.store(accumulators, row * lanes + i, emit.i32(0))
                with emit.serial(to_group - from_group) as g:
                    tap = emit.let(plan.first_tap(from_group + g))
                    offset = emit.let(plan.offset(from_group + g))
                    self._for_size(
                        (from_group + g) % groups.per_run,
                        lambda size: emit_accumulate(
                            tile, store, block, self.operands.table, group=g,
                            local=tap - origin, offset=offset, size=size,
                            unroll=strategy.unroll, signed=geometry.spec.signed,
                        ),
                    )
                with emit.when(chunk == plan.chunks - 1):
                    self._output(tile, block, scale, pixel, count, within)

    def _for_size(self, j: Expr, body: object) -> None:
        """Emit `body(size)` for the longer and the shorter groups."""
        groups = self.plan.groups
        if not groups.longer:
            body(groups.size)
            return
        emit.branch(
            j < groups.longer, lambda: body(groups.size + 1), lambda: body(groups.size)
        )

    def _tile(
        self, pixel: Expr, count: Expr, base: Buffer, accumulators: Buffer, row: Expr, group: Expr
    ) -> Tile:
        """Describe the tile of `count` pixels from `pixel`, and fill in `base`."""
        geometry, unroll = self.plan.geometry, self.plan.strategy.unroll
        spec = geometry.spec
        image = emit.let(pixel // emit.i64(geometry.pixels))
        skipped = emit.let(emit.i32(pixel - image * emit.i64(geometry.pixels)))
        rounded = emit.let((count + (unroll - 1)) // unroll * unroll)
        with emit.serial(rounded) as i:
            p = emit.let(skipped + T.min(i, count - 1))
            line = emit.let(p // spec.out_width)
            y, x = line % spec.out_height, p % spec.out_width
            corner = y * spec.strides[0] * geometry.padded_width + x * spec.strides[1]
            start = line // spec.out_height * geometry.image + corner * spec.in_channels
            emit.store(base, i, start + group * geometry.group_in)
        return Tile(
            self.codes, emit.let(image * emit.i64(geometry.image)), base, rounded, accumulators, row
        )

    def _output(
        self, tile: Tile, block: Block, scale: Buffer, pixel: Expr, count: Expr, within: Expr
    ) -> None:
        """Finish and store the tile."""
        lanes, geometry = block.lanes, self.plan.geometry
        channels = emit.i64(geometry.spec.out_channels)

        def pieces(widths: list[int]) -> None:
            with emit.serial(count) as i:
                start = emit.let((pixel + emit.i64(i)) * channels + emit.i64(block.first))
                place = emit.let((tile.first + i) * lanes)
                lane = 0
                for width in widths:
                    total = emit.load(tile.accumulators, place + lane, width)
                    total = total + emit.load(block.offset, emit.i32(lane), width)
                    factor = emit.load(scale, emit.i32(lane), width)
                    self.operands.emit_output(total, factor, start + emit.i64(lane))
                    lane += width

        tail = geometry.group_out % lanes
        parts = [1 << bit for bit in reversed(range(tail.bit_length())) if tail >> bit & 1]
        if not tail:
            pieces([lanes])
        elif geometry.group_out < lanes:
            pieces(parts)
        else:
            full = within + lanes <= geometry.group_out
            emit.branch(full, lambda: pieces([lanes]), lambda: pieces(parts))
