"""The inner loops: adding rows of product panels to the accumulators of a tile of pixels."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr
from alwann_c.codegen.cpu.panels import CODES, Block, PanelStore


@dataclass(frozen=True)
class Tile:
    """A tile of output pixels.

    Attributes:
        codes: flat padded activation codes.
        image: int64 position of the tile's first image in `codes`.
        base: int32 [pixels] first byte of each pixel's patch, from `image`.
        count: number of pixels, rounded up to the unrolling.
        accumulators: int32 [pixels][lanes].
        first: int32 index of the tile's first pixel in `accumulators`.
    """

    codes: Buffer
    image: Expr
    base: Buffer
    count: Expr
    accumulators: Buffer
    first: Expr

    def code(self, position: Expr) -> Expr:
        """Activation code at `position` after `image`, int32."""
        return emit.i32(self.codes[self.image + emit.i64(position)])


def _emit_rows(
    tile: Tile, store: PanelStore, lanes: int, panel: Expr, offset: Expr, size: int,
    length: int, unroll: int,
) -> None:
    """Sum `length` rows at a time in int16, widen, add to the accumulators."""
    with emit.serial(tile.count // unroll) as outer:
        for u in range(unroll):
            pixel = outer * unroll + u
            at = emit.let(tile.base[pixel] + offset)
            place = emit.let((tile.first + pixel) * lanes)
            total = emit.load(tile.accumulators, place, lanes)
            for start in range(0, size, length):
                partial = None
                for t in range(start, min(start + length, size)):
                    row = panel + tile.code(at + t) * (size * lanes) + t * lanes
                    values = emit.load(store.panel, row, lanes)
                    partial = values if partial is None else emit.let(partial + values)
                total = emit.let(total + emit.convert(partial, "int32"))
            emit.store(tile.accumulators, place, total)


def _emit_lookups(
    tile: Tile, store: PanelStore, block: Block, table: Buffer, local: Expr, offset: Expr,
    size: int, signed: bool,
) -> None:
    """Add products straight from the table, for rows that do not fit int16."""
    lanes = block.lanes
    with emit.serial(tile.count) as pixel, emit.serial(size) as t:
        code = emit.let(tile.code(tile.base[pixel] + offset + t))
        value = emit.let(emit.code_value(code, signed))
        with emit.serial(lanes) as n:
            place = (tile.first + pixel) * lanes + n
            weight = store.codes[(local + t) * lanes + n]
            product = table[code * CODES + weight] - block.zero[n] * value
            emit.store(tile.accumulators, place, tile.accumulators[place] + product)


def emit_accumulate(
    tile: Tile,
    store: PanelStore,
    block: Block,
    table: Buffer,
    *,
    group: Expr,
    local: Expr,
    offset: Expr,
    size: int,
    unroll: int,
    signed: bool,
) -> None:
    """Add the products of one group of `size` taps to the tile's accumulators.

    Args:
        group: index of the group in the chunk.
        local: first tap of the group, counted from the start of the chunk.
        offset: position of the group's first code from a pixel's first byte.
    """
    mode = emit.let(store.modes[group])
    panel = emit.let(local * (CODES * block.lanes))

    def choose(index: int) -> None:
        if index == len(store.segments):
            _emit_lookups(tile, store, block, table, local, offset, size, signed)
            return
        length = store.segments[index]
        if index and length >= size:  # the same code as a better mode
            choose(index + 1)
            return

        def rows() -> None:
            _emit_rows(tile, store, block.lanes, panel, offset, size, length, unroll)

        emit.branch(mode == index, rows, lambda: choose(index + 1))

    choose(0)
