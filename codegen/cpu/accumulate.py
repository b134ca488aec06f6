"""The inner loops: adding rows of product panels to the accumulators of a tile of pixels.

With V a sum of rows (see `panels`) seen as int32 lanes, one for two channels, a pixel keeps two
accumulators of lanes / 2 lanes,

    packed += V            = sum of odd * 65536 + even, modulo 2**32
    upper  += V >> 16      = sum of odd

from which the sums of both follow: odd channels are `upper`, even ones `packed - upper * 65536`.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.panels import Block, Group, PanelStore
from alwann_c.codegen.cpu.table import CODES, PreparedTable
from alwann_c.codegen.cpu.transpose import select


@dataclass(frozen=True)
class Tile:
    """A tile of output pixels.

    Attributes:
        codes: flat padded activation codes.
        image: int64 position of the tile's first image in `codes`.
        base: int32 [pixels] first byte of each pixel's patch, from `image`.
        count: number of pixels, rounded up to the unrolling.
        accumulators: int32 [pixels][packed, upper][lanes / 2].
        first: int32 index of the tile's first pixel in `accumulators`.
    """

    codes: Buffer
    image: Expr
    base: Buffer
    count: Expr
    accumulators: Buffer
    first: Expr

    def code(self, position: Expr) -> Expr:
        """Activation code at an int64 position, as int64."""
        return emit.i64(self.codes[position])


def totals(tile: Tile, pixel: Expr, lanes: int) -> Expr:
    """int32 sums of a pixel's channels."""
    half = lanes // 2
    place = emit.let((tile.first + pixel) * lanes)
    packed = emit.load(tile.accumulators, place, half)
    odd = emit.let(emit.load(tile.accumulators, place + half, half))
    even = emit.let(packed - (odd << emit.splat(emit.i32(16), half)))
    return select([even, odd], [lane // 2 + lane % 2 * half for lane in range(lanes)])


def _emit_rows(
    tile: Tile,
    store: PanelStore,
    lanes: int,
    group: Group,
    size: int,
    offset: Expr,
    length: int,
    unroll: int,
) -> None:
    """Sum `length` rows at a time in int16, widen, add to the accumulators.

    Each tap's rows have a pointer of their own: with one common base LLVM's SLP vectoriser computes
    the addresses in vector registers, which costs more than it saves.
    """
    half = lanes // 2
    panel = emit.opaque(emit.i64(group.local) * emit.i64(CODES * lanes))
    origin = emit.opaque(tile.image + emit.i64(offset))
    shift = emit.splat(emit.i32(16), half)
    stride = size * lanes
    rows = [
        emit.view(store.panel, panel + emit.i64(t * lanes), CODES * stride, "int16")
        for t in range(size)
    ]
    with emit.serial(tile.count // unroll) as outer:
        for u in range(unroll):
            pixel = outer * unroll + u
            at = emit.let(origin + emit.i64(tile.base[pixel]))
            place = emit.let((tile.first + pixel) * lanes)
            packed = emit.load(tile.accumulators, place, half)
            upper = emit.load(tile.accumulators, place + half, half)
            for start in range(0, size, length):
                partial = None
                for t in range(start, min(start + length, size)):
                    code = tile.code(at + emit.i64(t))
                    values = emit.load(rows[t], code * emit.i64(stride), lanes)
                    partial = values if partial is None else emit.let(partial + values)
                wide = emit.let(T.reinterpret(emit.typed("int32", half), partial))
                packed = emit.let(packed + wide)
                upper = emit.let(upper + (wide >> shift))
            emit.store(tile.accumulators, place, packed)
            emit.store(tile.accumulators, place + half, upper)


def _emit_lookups(
    tile: Tile,
    store: PanelStore,
    block: Block,
    table: PreparedTable,
    group: Group,
    offset: Expr,
    signed: bool,
) -> None:
    """Add products straight from the table, for rows that do not fit int16."""
    lanes, half = block.lanes, block.lanes // 2
    with emit.serial(tile.count) as pixel, emit.serial(group.size) as t:
        position = tile.image + emit.i64(tile.base[pixel] + offset + t)
        code = emit.let(emit.i32(tile.code(position)))
        value = emit.let(emit.code_value(code, signed))
        place = emit.let((tile.first + pixel) * lanes)

        def product(lane: Expr) -> Expr:
            weight = store.codes[(group.local + t) * lanes + lane]
            return table.table[code * CODES + weight] - block.zero[lane] * value

        with emit.serial(half) as n:
            even, odd = product(n * 2), emit.let(product(n * 2 + 1))
            packed, upper = emit.let(place + n), emit.let(place + half + n)
            total = tile.accumulators[packed] + even + (odd << 16)
            emit.store(tile.accumulators, packed, total)
            emit.store(tile.accumulators, upper, tile.accumulators[upper] + odd)


def emit_accumulate(
    tile: Tile,
    store: PanelStore,
    block: Block,
    table: PreparedTable,
    group: Group,
    *,
    sizes: tuple[int, ...],
    offset: Expr,
    unroll: int,
    signed: bool,
) -> None:
    """Add the products of one group of taps to the tile's accumulators.

    Args:
        sizes: the sizes a group may have; the code for each is unrolled.
        offset: position of the group's first code from a pixel's first byte.
    """
    mode = emit.let(store.modes[group.index])
    cases = [
        (size, index)
        for size in sizes
        for index, length in enumerate(store.segments)
        if index == 0 or length < size
    ]

    def choose(rest: list[tuple[int, int]]) -> None:
        if not rest:
            _emit_lookups(tile, store, block, table, group, offset, signed)
            return
        size, index = rest[0]
        length = store.segments[index]

        def rows() -> None:
            _emit_rows(tile, store, block.lanes, group, size, offset, length, unroll)

        emit.branch(T.And(mode == index, group.size == size), rows, lambda: choose(rest[1:]))

    choose(cases)
