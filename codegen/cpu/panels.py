"""Building product panels: the rows of products that turn a look-up into a vector addition.

For tap k, activation code a and a block of output channels n,

    P[k][a][n] = M(a, t(w[k, n])) - z_w[n] * a - center[k, n] + bias        (int16)

`center` is the middle of the row's range over a; the centers' sum goes into the offset, exactly.
For a group of taps the panel is stored [a][tap][lane].

**When int16 sums are exact.** With the table's error `e(a, w) = M(a, w) - a * w`, a row is
`(w - z_w) * a + e(a, w)`, so its range over a is bounded by the slope and the extremes of e over a,
which are found once per call for each w. If these bounds, for S consecutive taps, sum to at most
32767, S rows can be added in int16 without overflow. Tables and weights are run-time inputs, so the
bound is checked here, at run time, for each group of taps; the result is the group's *mode*.

**Lanes and widening.** Lane 2i of a row is channel i of the block and lane 2i + 1 is channel
`lanes / 2 + i`. Seen as int32, a sum of rows is `odd * 65536 + even`, provided the even lane is not
negative: the first tap of each segment of S taps carries a bias of 32768 in its even lanes, taken
from the offset again. Two int32 additions and a shift then accumulate both (see `accumulate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.table import CODES, PreparedTable
from alwann_c.codegen.cpu.transpose import SIDE, concatenate, transpose

INT16_MAX = 32767
BIAS = 32768
SAFE_SLOPE = 4096
"""Weights further than this from their zero point are never put into panels."""


@dataclass(frozen=True)
class Block:
    """A block of `lanes` output channels, inside one thread.

    Attributes:
        weight: flat [K, N] uint8 codes.
        channels: N.
        first: first output channel of the block.
        last: index in the block of the last output channel; the rest of the block repeats it.
        zero: int32 [lanes] weight zero points, in lane order.
        step: the same as int16.
        offset: int32 [lanes] offset with the centers, in channel order.
    """

    lanes: int
    weight: Buffer
    channels: int
    first: Expr
    last: Expr
    zero: Buffer
    step: Buffer
    offset: Buffer

    def in_block(self, lane: Expr) -> Expr:
        """Position in the block of the channel of a lane."""
        return lane % 2 * (self.lanes // 2) + lane // 2

    def channel(self, position: Expr) -> Expr:
        """Output channel at a position of the block, int32."""
        return self.first + T.min(position, self.last)


@dataclass(frozen=True)
class PanelStore:
    """Panels of a chunk of tap groups, private to a thread.

    Attributes:
        panel: int16, [group][a][tap][lane].
        codes: int32 [tap][lane] weight codes of the chunk.
        modes: int32 [group] index into `segments`; `len(segments)` = look up in the table.
        segments: numbers of rows summed in int16, best first.
        center, half: int32 [tap][lane] of one group.
        shift: int16 [tap][lane] of one group, what is subtracted from the products for a = 0.
        columns: int64 [tap][lane] of one group, where a weight's column of the table starts.
    """

    panel: Buffer
    codes: Buffer
    modes: Buffer
    segments: tuple[int, ...]
    center: Buffer
    half: Buffer
    shift: Buffer
    columns: Buffer

    @staticmethod
    def allocate(
        lanes: int, taps: int, groups: int, largest: int, segments: tuple[int, ...]
    ) -> PanelStore:
        """Workspace for a chunk of `groups` groups and `taps` taps."""
        return PanelStore(
            emit.scratch(taps * CODES * lanes, "int16"),
            emit.scratch(taps * lanes, "int32"),
            emit.scratch(groups, "int32"),
            segments,
            emit.scratch(largest * lanes, "int32"),
            emit.scratch(largest * lanes, "int32"),
            emit.scratch(largest * lanes, "int16"),
            emit.scratch(largest * lanes, "int64"),
        )


@dataclass(frozen=True)
class Group:
    """A group of `size` taps: `first` tap, the same counted from the start of the chunk
    (`local`), and the group's `index` in the chunk."""

    first: Expr
    local: Expr
    index: Expr
    size: Expr


def _emit_bounds(
    store: PanelStore, block: Block, table: PreparedTable, group: Group, signed: bool
) -> None:
    """Weight codes, centers and half ranges of the group's taps."""
    low_code, high_code = (-128, 127) if signed else (0, 255)
    with emit.serial(group.size) as t:
        with emit.serial(block.lanes) as n:
            channel = block.channel(block.in_block(n))
            code = emit.let(emit.i32(block.weight[(group.first + t) * block.channels + channel]))
            slope = emit.let(emit.code_value(code, signed) - block.zero[n])
            safe = T.And(slope <= SAFE_SLOPE, slope >= -SAFE_SLOPE)
            at_low, at_high = emit.let(slope * low_code), emit.let(slope * high_code)
            low = emit.let(T.min(at_low, at_high) + table.low[code])
            high = emit.let(T.max(at_low, at_high) + table.high[code])
            center = emit.let((low + high) >> 1)
            here = emit.let(t * block.lanes + n)
            emit.store(store.codes, group.local * block.lanes + here, code)
            emit.store(store.columns, here, emit.i64(code * CODES))
            emit.store(store.center, here, center)
            emit.store(store.half, here, T.Select(safe, high - center, emit.i32(1 << 20)))


def _emit_mode(store: PanelStore, lanes: int, size: Expr) -> Expr:
    """Index of the first of `segments` whose int16 sums cannot overflow."""
    none, start = emit.splat(emit.i32(0), lanes), emit.i32(0)
    sums = [emit.registers(lanes, "int32") for _ in store.segments]
    worst = [emit.registers(lanes, "int32") for _ in store.segments]
    for buffer in (*sums, *worst):
        emit.store(buffer, start, none)
    with emit.serial(size) as t:
        half = emit.let(emit.load(store.half, t * lanes, lanes))
        for length, total, most in zip(store.segments, sums, worst, strict=True):
            kept = emit.splat(T.Select(t % length == 0, emit.i32(0), emit.i32(-1)), lanes)
            now = emit.let((emit.load(total, start, lanes) & kept) + half)
            emit.store(total, start, now)
            emit.store(most, start, T.max(emit.load(most, start, lanes), now))
    mode = emit.variable(0)
    with emit.serial(lanes) as n:
        here = emit.i32(len(store.segments))
        for index in reversed(range(len(store.segments))):
            here = T.Select(worst[index][n] <= INT16_MAX, emit.i32(index), here)
        emit.store(mode, start, T.max(mode[0], here))
    return emit.let(mode[0])


def emit_group(
    store: PanelStore, block: Block, table: PreparedTable, group: Group, signed: bool, width: int
) -> None:
    """Build the panel of one group of taps and decide its mode."""
    lanes = block.lanes
    _emit_bounds(store, block, table, group, signed)
    mode = _emit_mode(store, lanes, group.size)
    emit.store(store.modes, group.index, mode)
    length = emit.i32(1)
    for index, candidate in enumerate(store.segments):
        length = T.Select(mode == index, emit.i32(candidate), length)
    length = emit.let(length)
    with emit.when(mode < len(store.segments)):
        with emit.serial(group.size) as t:
            with emit.serial(lanes) as n:
                here = emit.let(t * lanes + n)
                starts = T.And(t % length == 0, n % 2 == 0)
                center = emit.let(
                    store.center[here] - T.Select(starts, emit.i32(BIAS), emit.i32(0))
                )
                place = emit.let(block.in_block(n))
                emit.store(store.shift, here, T.cast(center, "int16"))
                emit.store(block.offset, place, block.offset[place] + center)
        _emit_panel(store, block, table, group, signed, width)


def _emit_panel(
    store: PanelStore, block: Block, table: PreparedTable, group: Group, signed: bool, width: int
) -> None:
    """Fill in the rows of a group: columns of the table, transposed 8 codes at a time."""
    lanes = block.lanes
    with emit.serial(CODES // SIDE) as part:
        value = emit.let(T.cast(emit.code_value(part * SIDE, signed), "int16"))
        # A pointer per block of codes and columns found by their offset alone: see `_emit_rows`.
        columns = emit.view(table.columns, emit.opaque(part * SIDE), CODES * CODES, "int16")
        with emit.serial(group.size) as t:
            row = emit.let((group.local * CODES + part * (SIDE * group.size) + t) * lanes)
            start = 0
            while start < lanes:
                size = width
                while start + size > lanes:
                    size //= 2
                vectors = []
                for i in range(SIDE):
                    offsets = [
                        store.columns[t * lanes + lane]
                        for lane in range(start + i, start + size, SIDE)
                    ]
                    pieces = [emit.let(emit.load(columns, offset, SIDE)) for offset in offsets]
                    vectors.append(concatenate(pieces))
                step = emit.let(emit.load(block.step, emit.i32(start), size))
                shift = emit.let(
                    step * emit.splat(value, size)
                    + emit.load(store.shift, t * lanes + start, size)
                )
                for i, products in enumerate(transpose(vectors)):
                    place = row + i * (group.size * lanes) + start
                    emit.store(store.panel, place, products - shift)
                    if i + 1 < SIDE:
                        shift = emit.let(shift + step)
                start += size
