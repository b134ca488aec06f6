"""A convolution on product panels in shared memory.

For one tap k, the products of two neighbouring output channels with activation code a share a word,
and the words of 64 channels are one row of 128 bytes: `panels[k][a][word]`. A first kernel makes the
panels, once for all pixels. In the second, a block of threads owns `pixels` output pixels and up to
64 channels; tap by tap it copies that tap's panel (256 rows, 32 KiB) and its pixels' activation
codes to shared memory. A warp then reads the row of one pixel's code: 32 contiguous words, no bank
conflict, two products each.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Expr, Kind, T
from alwann_c.codegen.gpu.operands import Operands
from alwann_c.ir.spec import ConvSpec

CODES = 256
MIN_PIXELS = 64
"""Output pixels of an image from which panels are worth making."""
MAX_PANEL_BYTES = 256 << 20


@dataclass(frozen=True)
class Tiles:
    """How a convolution is divided.

    Attributes:
        words: words of a panel row a block works on; two channels each.
        threads: threads of a block.
        repeats: pixels of a thread.
        blocks: blocks along the channels.
    """

    words: int
    threads: int
    repeats: int
    blocks: int

    @property
    def rows(self) -> int:
        """Pixels worked on at once."""
        return self.threads // self.words

    @property
    def pixels(self) -> int:
        """Pixels of a block."""
        return self.rows * self.repeats

    @property
    def row(self) -> int:
        """Words of a whole panel row, padding included."""
        return self.words * self.blocks

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block: one tap's panel, its codes and their sums."""
        return 4 * (CODES * self.words + 2 * self.pixels)

    def panels_shape(self, spec: ConvSpec) -> tuple[int, int, int]:
        """Shape of the panels, int32."""
        return spec.taps, CODES, self.row


def tiles_of(spec: ConvSpec) -> Tiles | None:
    """Tiles of a convolution, or None where looking products up directly is better."""
    if spec.groups > 1 or spec.out_height * spec.out_width < MIN_PIXELS or spec.out_channels < 8:
        return None
    pairs = -(-spec.out_channels // 2)
    words = next(w for w in (4, 8, 16, 32) if w >= min(pairs, 32))
    repeats = 32 if words == 32 else 16 if words == 16 else 8
    tiles = Tiles(words, 512 if words >= 16 else 256, repeats, -(-pairs // words))
    return tiles if 4 * CODES * tiles.row * spec.taps <= MAX_PANEL_BYTES else None


def panels_primfunc(spec: ConvSpec, tiles: Tiles) -> tvm.tirx.PrimFunc:
    """PrimFunc (weight [kh, kw, c, n] uint8, table [256, 256] int32, panels int32): low half of a
    word the even channel's product, high half the odd one's."""
    n, taps = spec.out_channels, spec.taps

    def body() -> None:
        filters = (*spec.kernel, spec.in_channels, n)
        weight, table, panels = emit.arguments(
            [
                ("weight", filters, "uint8"),
                ("table", (CODES, CODES), "int32"),
                ("panels", tiles.panels_shape(spec), "int32"),
            ]
        ).values()

        def product(code: Expr, tap: Expr, channel: Expr) -> Expr:
            at = tap * n + T.min(channel, T.int32(n - 1))
            return table[code * CODES + emit.i32(weight[at])] & T.int32(0xFFFF)

        count = taps * CODES * tiles.row
        with emit.threads(blockIdx_x=-(-count // CODES), threadIdx_x=CODES) as (block, thread):
            at = emit.named(block * CODES + thread)
            with emit.when(at < count):
                word = emit.named(at % tiles.row)
                code = emit.named(at // tiles.row % CODES)
                tap = emit.named(at // (tiles.row * CODES))
                low = emit.named(product(code, tap, word * 2))
                high = emit.named(product(code, tap, word * 2 + 1))
                emit.store(panels, at, low | T.shift_left(high, T.int32(16)))

    return emit.build("panels", body)


def _halves(word: Expr, signed: bool) -> tuple[Expr, Expr]:
    """Both products of a word."""
    sixteen = T.int32(16)
    high = T.shift_right(word, sixteen)
    if signed:
        return T.shift_right(T.shift_left(word, sixteen), sixteen), high
    return word & T.int32(0xFFFF), high & T.int32(0xFFFF)


def conv2d_primfunc(spec: ConvSpec, tiles: Tiles, kind: Kind) -> tvm.tirx.PrimFunc:
    """PrimFunc (x, panels, weight_zero_point, offset, scale[, residual], output); otherwise as
    `direct_primfunc`."""

    def body() -> None:
        operands = Operands.declare(
            spec,
            kind,
            [
                ("panels", tiles.panels_shape(spec), "int32"),
                ("weight_zero_point", (spec.out_channels,), "int32"),
            ],
        )
        blocks = (operands.pixels + (tiles.pixels - 1)) // tiles.pixels
        with emit.threads(
            blockIdx_x=blocks, blockIdx_y=tiles.blocks, threadIdx_x=tiles.threads
        ) as (block, side, thread):
            _block(operands, tiles, emit.named(block * tiles.pixels), side, thread)

    return emit.build("conv2d", body)


def _block(operands: Operands, tiles: Tiles, first: Expr, side: Expr, thread: Expr) -> None:
    spec = operands.spec
    panel = emit.shared(CODES * tiles.words, "int32")
    codes = emit.shared(tiles.pixels, "int32")
    totals = emit.shared(tiles.pixels, "int32")
    sums = emit.local(2 * tiles.repeats, "int32")
    lane, row = emit.named(thread % tiles.words), emit.named(thread // tiles.words)
    own = -(-tiles.pixels // tiles.threads)  # pixels whose codes this thread fetches
    total = emit.local(own, "int32")
    corners = []
    for index in range(own):
        pixel = T.min(first + index * tiles.threads + thread, operands.pixels - 1)
        corners.append(operands.corner(emit.named(pixel)))
        emit.store(total, index, T.int32(0))
    with emit.unrolled(2 * tiles.repeats) as index:
        emit.store(sums, index, T.int32(0))
    kh, kw = spec.kernel
    with emit.serial(kh) as i, emit.serial(kw) as j, emit.serial(spec.in_channels) as c:
        tap = emit.named((i * kw + j) * spec.in_channels + c)
        emit.barrier()
        for index, (y, x, image) in enumerate(corners):
            slot = index * tiles.threads + thread
            with emit.when(slot < tiles.pixels):
                at = y + i * spec.dilation[0], x + j * spec.dilation[1]
                code = emit.named(operands.code(*at, image, c))
                emit.store(codes, slot, code)
                value = total[T.int32(index)] + emit.code_value(code, spec.signed)
                emit.store(total, index, value)
        with emit.unrolled(CODES // tiles.rows) as part:
            code = part * tiles.rows + row
            source = (tap * CODES + code) * tiles.row + side * tiles.words + lane
            emit.store(panel, code * tiles.words + lane, operands.inputs["panels"][source])
        emit.barrier()
        with emit.unrolled(tiles.repeats) as index:
            code = codes[row + index * tiles.rows]
            word = emit.named(panel[code * tiles.words + lane])
            low, high = _halves(word, spec.signed)
            emit.store(sums, 2 * index, sums[2 * index] + low)
            emit.store(sums, 2 * index + 1, sums[2 * index + 1] + high)
    emit.barrier()
    for index in range(own):
        slot = index * tiles.threads + thread
        with emit.when(slot < tiles.pixels):
            emit.store(totals, slot, total[T.int32(index)])
    emit.barrier()
    channel = emit.named((side * tiles.words + lane) * 2)
    with emit.unrolled(tiles.repeats) as index:
        slot = row + index * tiles.rows
        for odd in range(2):
            inside = T.And(first + slot < operands.pixels, channel + odd < spec.out_channels)
            with emit.when(inside):
                fix = operands.correction(channel + odd, totals[slot])
                operands.write(first + slot, channel + odd, sums[2 * index + odd] + fix)
