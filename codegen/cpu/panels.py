"""Building product panels: the rows of products that turn a look-up into a vector addition.

For tap k, activation code a and a block of output channels n,

    P[k][a][n] = M(a, t(w[k, n])) - z_w[n] * a - center[k, n] + bias        (int16)

`center` is the middle of the row's range over a; the centers' sum goes into the offset, exactly.
For a group of taps the panel is stored [a][tap][lane].

**When int16 sums are exact.** With the table's error `e(a, w) = M(a, w) - a * w`, a row is
`(w - z_w) * a + e(a, w)`, so its range is bounded by the slope, the range of codes that occur in the
tap's input channel, and the extremes of e over a; the latter are found once per call. If these
bounds, for S consecutive taps, sum to at most 32767, S rows can be added in int16 without overflow.
Tables and weights are run-time inputs, so the
bound is checked here, at run time, for each group of taps; the result is the group's *mode*.

**Widening.** Seen as int32, two neighbouring lanes of a sum of rows are `odd * 65536 + even`, provided
the even lane is not negative: the first tap of each segment of S taps carries a bias of 32768 in its
even lanes, taken from the offset again. Two int32 additions and a shift then accumulate both lanes
(see `accumulate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.ranges import CodeRanges
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
        inputs: input channels of the convolution group, from `first_input`.
        first: first output channel of the block.
        last: index in the block of the last output channel; the rest of the block repeats it.
        zero: int32 [lanes] weight zero points.
        step: the same as int16.
        offset: int32 [lanes] offset with the centers.
        partial: whether some block has fewer channels than lanes.
    """

    lanes: int
    weight: Buffer
    channels: int
    inputs: int
    first_input: Expr
    first: Expr
    last: Expr
    zero: Buffer
    step: Buffer
    offset: Buffer
    partial: bool

    def channel(self, lane: Expr) -> Expr:
        """Output channel of a lane, int32."""
        return self.first + (T.min(lane, self.last) if self.partial else lane)


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
    """A group of taps.

    Attributes:
        first: first tap.
        local: the same, counted from the start of the chunk.
        index: index of the group in the chunk.
        size: number of taps.
        channel: int32 input channel of the first tap.
    """

    first: Expr
    local: Expr
    index: Expr
    size: Expr
    channel: Expr


def _emit_bounds(
    store: PanelStore,
    block: Block,
    table: PreparedTable,
    ranges: CodeRanges,
    group: Group,
    signed: bool,
) -> None:
    """Weight codes, centers and half ranges of the group's taps."""
    with emit.serial(group.size) as t:
        channel = emit.let((group.channel + t) % block.inputs + block.first_input)
        least, most = emit.let(ranges.low[channel]), emit.let(ranges.high[channel])
        with emit.serial(block.lanes) as n:
            output = block.channel(n)
            code = emit.let(emit.i32(block.weight[(group.first + t) * block.channels + output]))
            slope = emit.let(emit.code_value(code, signed) - block.zero[n])
            safe = T.And(slope <= SAFE_SLOPE, slope >= -SAFE_SLOPE)
            at_least, at_most = emit.let(slope * least), emit.let(slope * most)
            low = emit.let(T.min(at_least, at_most) + table.low[code])
            high = emit.let(T.max(at_least, at_most) + table.high[code])
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
    store: PanelStore,
    block: Block,
    table: PreparedTable,
    ranges: CodeRanges,
    group: Group,
    signed: bool,
    width: int,
) -> None:
    """Build the panel of one group of taps and decide its mode."""
    lanes = block.lanes
    _emit_bounds(store, block, table, ranges, group, signed)
    mode = _emit_mode(store, lanes, group.size)
    emit.store(store.modes, group.index, mode)
    length = emit.i32(1)
    for index, candidate in enumerate(store.segments):
        length = T.Select(mode == index, emit.i32(candidate), length)
    length = emit.let(length)
    with emit.when(mode < len(store.segments)):
        with emit.serial(group.size) as t, emit.serial(lanes) as n:
            here = emit.let(t * lanes + n)
            starts = T.And(t % length == 0, n % 2 == 0)
            center = emit.let(store.center[here] - T.Select(starts, emit.i32(BIAS), emit.i32(0)))
            emit.store(store.shift, here, T.cast(center, "int16"))
            emit.store(block.offset, n, block.offset[n] + center)
        _emit_panel(store, block, table, ranges, group, signed, width)


def _emit_panel(
    store: PanelStore,
    block: Block,
    table: PreparedTable,
    ranges: CodeRanges,
    group: Group,
    signed: bool,
    width: int,
) -> None:
    """Fill in the rows that can occur: columns of the table, transposed 8 codes at a time."""
    with emit.serial(group.size) as t:
        channel = emit.let((group.channel + t) % block.inputs + block.first_input)
        # Signed codes lie in two ranges of bit patterns: 0..127, and -128..-1 as 128..255.
        least, most = ranges.low[channel], ranges.high[channel]
        if not signed:
            _emit_rows_between(store, block, table, group, t, least, most, signed, width)
            return
        zero, ones = emit.i32(0), emit.i32(-1)
        bounds = [(T.max(least, zero), most, 0), (least, T.min(most, ones), CODES)]
        with emit.serial(2) as half:
            first, last = (
                emit.opaque(T.Select(half == 0, bounds[0][i], bounds[1][i] + CODES))
                for i in range(2)
            )
            _emit_rows_between(store, block, table, group, t, first, last, signed, width)


def _emit_rows_between(
    store: PanelStore,
    block: Block,
    table: PreparedTable,
    group: Group,
    t: Expr,
    first: Expr,
    last: Expr,
    signed: bool,
    width: int,
) -> None:
    """Rows of tap t for the bit patterns `first..last` (and their neighbours up to 8)."""
    lanes = block.lanes
    begin = emit.opaque(first // SIDE)
    with emit.serial(T.max(last // SIDE + 1 - begin, emit.i32(0))) as step_index:
        part = emit.let(begin + step_index)
        value = emit.let(T.cast(emit.code_value(part * SIDE, signed), "int16"))
        # A pointer per block of codes and columns found by their offset alone: see `_emit_rows`.
        columns = emit.view(table.columns, emit.opaque(part * SIDE), CODES * CODES, "int16")
        row = emit.let((group.local * CODES + part * (SIDE * group.size) + t) * lanes)
        start = 0
        while start < lanes:
            size = width
            while start + size > lanes:
                size //= 2
            vectors = []
            for i in range(SIDE):
                offsets = [
                    store.columns[t * lanes + lane] for lane in range(start + i, start + size, SIDE)
                ]
                pieces = [emit.let(emit.load(columns, offset, SIDE)) for offset in offsets]
                vectors.append(concatenate(pieces))
            step = emit.let(emit.load(block.step, emit.i32(start), size))
            first_shift = emit.load(store.shift, t * lanes + start, size)
            shift = emit.let(step * emit.splat(value, size) + first_shift)
            for i, products in enumerate(transpose(vectors)):
                place = row + i * (group.size * lanes) + start
                emit.store(store.panel, place, products - shift)
                if i + 1 < SIDE:
                    shift = emit.let(shift + step)
            start += size
