"""Building product panels: the rows of products that turn a look-up into a vector addition.

For tap k, activation code a and a block of output channels n,

    P[k][a][n] = M(a, t(w[k, n])) - z_w[n] * a - center[k, n]        (int16)

`center` is the middle of the row's range over a; the centers' sum goes into the offset, exactly.
For a group of taps the panel is stored [a][tap][n].

The range of a row is bounded without looking at all 256 products: with the table's error
`e(a, w) = M(a, w) - a * w`, the row is `(w - z_w) * a + e(a, w)`, so only the extremes of e over a
are needed for each w, once per call. If the bounds of S consecutive taps sum to at most 32767, S
rows can be summed in int16 without overflow; the bound is checked here at run time, as tables and
weights are run-time inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T

CODES = 256
INT16_MAX = 32767
SAFE_STEP = 4096
"""Weights further than this from their zero point are never put into panels."""


@dataclass(frozen=True)
class ErrorBounds:
    """Least and greatest `M(a, w) - a * w` over a, for each weight code w: int32 [256] each."""

    low: Buffer
    high: Buffer


def emit_error_bounds(table: Buffer, signed: bool) -> ErrorBounds:
    """Extremes of the table's error; `table` is the flat [65536] int32 table."""
    low, high = emit.scratch(CODES, "int32"), emit.scratch(CODES, "int32")
    with emit.serial(CODES) as w:
        emit.store(low, w, emit.i32(1 << 30))
        emit.store(high, w, emit.i32(-(1 << 30)))
    with emit.serial(CODES) as a:
        value = emit.let(emit.code_value(a, signed))
        with emit.serial(CODES) as w:
            error = emit.let(table[a * CODES + w] - value * emit.code_value(w, signed))
            emit.store(low, w, T.min(low[w], error))
            emit.store(high, w, T.max(high[w], error))
    return ErrorBounds(low, high)


@dataclass(frozen=True)
class Block:
    """A block of `lanes` output channels, inside one thread.

    Attributes:
        weight: flat [K, N] uint8 codes.
        channels: N.
        first: first output channel of the block.
        last_lane: index of the last lane that is an output channel; later lanes repeat it.
        zero: int32 [lanes] weight zero points.
        offset: int32 [lanes] offset, centers included.
    """

    lanes: int
    weight: Buffer
    channels: int
    first: Expr
    last_lane: Expr
    zero: Buffer
    offset: Buffer

    def channel(self, lane: Expr) -> Expr:
        """Output channel of a lane, int32."""
        return self.first + T.min(lane, self.last_lane)


@dataclass(frozen=True)
class PanelStore:
    """Panels of a chunk of tap groups, private to a thread.

    Attributes:
        panel: int16, [group][a][tap][lane].
        codes: int32 [tap][lane] weight codes of the chunk.
        modes: int32 [group] index into `segments`; `len(segments)` = look up in the table.
        segments: numbers of rows summed in int16, best first.
        center, half: int32 [tap][lane] of one group.
    """

    panel: Buffer
    codes: Buffer
    modes: Buffer
    segments: tuple[int, ...]
    center: Buffer
    half: Buffer

    @staticmethod
    def emit(lanes: int, taps: int, groups: int, largest: int, segments: tuple[int, ...]) -> PanelStore:
        """Workspace for a chunk of `groups` groups and `taps` taps."""
        return PanelStore(
            emit.scratch(taps * CODES * lanes, "int16"),
            emit.scratch(taps * lanes, "int32"),
            emit.scratch(groups, "int32"),
            segments,
            emit.scratch(largest * lanes, "int32"),
            emit.scratch(largest * lanes, "int32"),
        )


def _emit_bounds(
    store: PanelStore, block: Block, bounds: ErrorBounds, first: Expr, local: Expr, size: int,
    signed: bool,
) -> None:
    """Codes, centers and half ranges of the `size` taps from `first` (`local` in the chunk)."""
    low_code, high_code = (-128, 127) if signed else (0, 255)
    with emit.serial(size) as t, emit.serial(block.lanes) as n:
        code = emit.let(
            emit.i32(block.weight[(first + t) * block.channels + block.channel(n)])
        )
        slope = emit.let(emit.code_value(code, signed) - block.zero[n])
        safe = T.And(slope <= SAFE_STEP, slope >= -SAFE_STEP)
        at_low, at_high = emit.let(slope * low_code), emit.let(slope * high_code)
        low = emit.let(T.min(at_low, at_high) + bounds.low[code])
        high = emit.let(T.max(at_low, at_high) + bounds.high[code])
        center = emit.let((low + high) >> 1)
        here = t * block.lanes + n
        emit.store(store.codes, local * block.lanes + here, code)
        emit.store(store.center, here, center)
        emit.store(store.half, here, T.Select(safe, high - center, emit.i32(1 << 20)))


def _emit_mode(store: PanelStore, lanes: int, size: int) -> Expr:
    """Index of the first of `segments` whose int16 sums cannot overflow."""
    worst = emit.scratch(1, "int32")
    total = emit.scratch(lanes, "int32")
    mode = emit.scratch(1, "int32")
    emit.store(mode, emit.i32(0), emit.i32(len(store.segments)))
    for index in reversed(range(len(store.segments))):
        length = store.segments[index]
        emit.store(worst, emit.i32(0), emit.i32(0))
        with emit.serial(lanes) as n:
            emit.store(total, n, emit.i32(0))
        with emit.serial(size) as t:
            with emit.serial(lanes) as n:
                before = T.Select(t % length == 0, emit.i32(0), total[n])
                emit.store(total, n, before + store.half[t * lanes + n])
            with emit.serial(lanes) as n:
                emit.store(worst, emit.i32(0), T.max(worst[0], total[n]))
        with emit.when(worst[0] <= INT16_MAX):
            emit.store(mode, emit.i32(0), emit.i32(index))
    return emit.let(mode[0])


def emit_group(
    store: PanelStore,
    block: Block,
    bounds: ErrorBounds,
    table: Buffer,
    first: Expr,
    local: Expr,
    group: Expr,
    size: int,
    signed: bool,
) -> None:
    """Build the panel of one group of taps.

    Args:
        first: first tap of the group.
        local: the same, counted from the start of the chunk.
        group: index of the group in the chunk.
        size: taps of the group.
    """
    lanes = block.lanes
    _emit_bounds(store, block, bounds, first, local, size, signed)
    mode = _emit_mode(store, lanes, size)
    emit.store(store.modes, group, mode)
    with emit.when(mode < len(store.segments)):
        with emit.serial(size) as t, emit.serial(lanes) as n:
            emit.store(block.offset, n, block.offset[n] + store.center[t * lanes + n])
        with emit.serial(CODES) as a:
            value = emit.let(emit.code_value(a, signed))
            with emit.serial(size) as t:
                row = emit.let((local * CODES + a * size + t) * lanes)
                with emit.serial(lanes) as n:
                    code = store.codes[(local + t) * lanes + n]
                    shift = block.zero[n] * value + store.center[t * lanes + n]
                    product = table[a * CODES + code] - shift
                    emit.store(store.panel, row + n, T.cast(product, "int16"))
