"""A convolution on a table of few terms as a product of byte matrices (see `matrix_operands`).

A block of 4 warps owns 128 output pixels and up to 64 channels, a warp 32 of the pixels. Chunk by chunk
(32 taps) the block copies its channels' right factors to shared memory, and its pixels' activation codes
translated to left factors, term after term; then every warp multiplies tiles from there. Lines of shared
memory are 4 words longer than what they hold: a warp's eight rows of four words touch every bank once.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Buffer, Expr, Kind, T
from alwann_c.codegen.gpu.matrix_operands import CHUNK, CODES, MatrixForm, columns_of, packed_shape
from alwann_c.codegen.gpu.operands import Operands
from alwann_c.codegen.gpu.units import COLUMNS, MatrixUnit
from alwann_c.ir.spec import ConvSpec

THREADS = 128
WARP = 32
PIXELS = 128
"""Output pixels of a block."""
WARP_PIXELS = PIXELS * WARP // THREADS
SLACK = 4
"""Words by which a line of shared memory is longer than what it holds."""
_OUTSIDE = -(1 << 14) << 16
"""Corner of a pixel that does not exist: far above its image."""


def shared_bytes(spec: ConvSpec, form: MatrixForm) -> int:
    """Shared memory of a block."""
    lines = (PIXELS + columns_of(spec)) * (form.words + SLACK)
    return 4 * (lines + 2 * PIXELS + (0 if form.flip is not None else form.parts * CODES))


def matrix_primfunc(
    spec: ConvSpec, form: MatrixForm, kind: Kind, unit: MatrixUnit
) -> tvm.tirx.PrimFunc:
    """PrimFunc (x, packed, lefts, offset, scale[, residual], output); the constants are those of
    `matrix_operands`, the result is that of `direct_primfunc`."""

    def body() -> None:
        inputs = [
            ("packed", packed_shape(spec, form), "int32"),
            ("lefts", (form.parts, CODES), "int32"),
        ]
        operands = Operands.declare(spec, kind, inputs)
        blocks = (operands.pixels + (PIXELS - 1)) // PIXELS
        sides = packed_shape(spec, form)[0]
        with emit.threads(blockIdx_x=blocks, blockIdx_y=sides, threadIdx_x=THREADS) as indices:
            block, side, thread = indices
            _Block(operands, form, unit, emit.named(block * PIXELS), side, thread).emit()

    return emit.build("matrix", body)


@dataclass(frozen=True)
class _Block:
    operands: Operands
    form: MatrixForm
    unit: MatrixUnit
    first: Expr
    side: Expr
    thread: Expr

    @property
    def line(self) -> int:
        """Words from one row of shared memory to the next."""
        return self.form.words + SLACK

    def emit(self) -> None:
        columns = columns_of(self.operands.spec)
        corners = emit.shared(2 * PIXELS, "int32")
        lefts = emit.shared(PIXELS * self.line, "int32")
        rights = emit.shared(columns * self.line, "int32")
        table = None
        if self.form.flip is None:
            size = self.form.parts * CODES
            table = emit.shared(size, "int32")
            with emit.unrolled(size // THREADS) as part:
                at = part * THREADS + self.thread
                emit.store(table, at, self.operands.inputs["lefts"][at])
        self._corners(corners)
        unit = self.unit
        tiles = (WARP_PIXELS // unit.rows, columns // COLUMNS)
        totals = emit.local(tiles[0] * tiles[1] * unit.totals, "int32")
        with emit.unrolled(tiles[0] * tiles[1] * unit.totals) as index:
            emit.store(totals, index, T.int32(0))
        with emit.serial(packed_shape(self.operands.spec, self.form)[1]) as chunk:
            emit.barrier()
            self._copy_rights(rights, chunk, columns)
            self._copy_lefts(lefts, table, corners, chunk)
            emit.barrier()
            self._multiply(totals, lefts, rights, tiles)
        self._write(totals, tiles)

    def _corners(self, corners: Buffer) -> None:
        """Row and column of every pixel's window in one word, and where its image begins."""
        slot, pixel = self.thread, emit.named(self.first + self.thread)
        last = self.operands.pixels - 1
        row, column, image = self.operands.corner(emit.named(T.min(pixel, last)))
        place = T.shift_left(row, T.int32(16)) | (column & T.int32(0xFFFF))
        emit.store(corners, slot, T.if_then_else(pixel <= last, place, T.int32(_OUTSIDE)))
        emit.store(corners, slot + PIXELS, image)

    def _copy_rights(self, rights: Buffer, chunk: Expr, columns: int) -> None:
        _, chunks, _, words = packed_shape(self.operands.spec, self.form)
        size = columns * words
        start = emit.named((self.side * chunks + chunk) * size)
        with emit.unrolled(-(-size // THREADS)) as part:
            at = emit.named(part * THREADS + self.thread)
            with emit.when(at < size):
                place = at // words * self.line + at % words
                emit.store(rights, place, self.operands.inputs["packed"][start + at])

    def _copy_lefts(
        self, lefts: Buffer, table: Buffer | None, corners: Buffer, chunk: Expr
    ) -> None:
        """A thread fetches one word of four taps for several pixels."""
        word = emit.named(self.thread % CHUNK)
        taps = _Taps(self.operands, emit.named((chunk * CHUNK + word) * 4))
        step = THREADS // CHUNK
        with emit.unrolled(PIXELS // step) as part:
            slot = emit.named(part * step + self.thread // CHUNK)
            corner, image = emit.named(corners[slot]), emit.named(corners[slot + PIXELS])
            row = T.shift_right(corner, T.int32(16))
            column = T.shift_right(T.shift_left(corner, T.int32(16)), T.int32(16))
            codes = emit.named(taps.codes(emit.named(row), emit.named(column), image))
            for term, factors in enumerate(self._factors(codes, table)):
                emit.store(lefts, slot * self.line + term * CHUNK + word, factors)

    def _factors(self, codes: Expr, table: Buffer | None) -> list[Expr]:
        """Left factors of four codes, a word for every term."""
        if table is None:
            return [codes ^ T.int32(-0x7F7F7F80) if self.form.flip else codes]
        byte = [T.shift_right(codes, T.int32(8 * b)) & T.int32(255) for b in range(4)]
        found = []
        for part in range(self.form.parts):
            words = [emit.named(table[part * CODES + b]) for b in byte]
            for place in range(min(4, self.form.terms - 4 * part)):
                factor = T.int32(0)
                for b, word in enumerate(words):
                    one = T.shift_right(word, T.int32(8 * place)) & T.int32(255)
                    factor = factor | T.shift_left(one, T.int32(8 * b))
                found.append(emit.named(factor))
        return found

    def _multiply(
        self, totals: Buffer, lefts: Buffer, rights: Buffer, tiles: tuple[int, int]
    ) -> None:
        """Every tile of the warp, all taps and terms of a chunk."""
        unit, line = self.unit, self.line
        group, member = self._lane()
        warp = emit.named(self.thread // WARP * WARP_PIXELS)
        left = emit.local(tiles[0] * unit.lefts, "int32")
        right = emit.local(unit.rights, "int32")
        with emit.serial(self.form.words // unit.words) as step:
            skip = emit.named(step * unit.words)
            with emit.unrolled(tiles[0]) as m:
                for index in range(unit.lefts):
                    row, word = unit.left(index, group, member)
                    place = (warp + m * unit.rows + row) * line + skip + word
                    emit.store(left, m * unit.lefts + index, lefts[place])
            with emit.unrolled(tiles[1]) as n:
                for index in range(unit.rights):
                    column, word = unit.right(index, group, member)
                    emit.store(right, index, rights[(n * COLUMNS + column) * line + skip + word])
                with emit.unrolled(tiles[0]) as m:
                    at = (m * tiles[1] + n) * unit.totals
                    unit.multiply(totals, at, left, m * unit.lefts, right)

    def _lane(self) -> tuple[Expr, Expr]:
        """Group of four lanes, and place in it."""
        lane = emit.named(self.thread % WARP)
        return emit.named(lane // 4), emit.named(lane % 4)

    def _write(self, totals: Buffer, tiles: tuple[int, int]) -> None:
        unit, operands = self.unit, self.operands
        group, member = self._lane()
        channels = emit.named(self.side * (tiles[1] * COLUMNS))
        start = emit.named(self.first + self.thread // WARP * WARP_PIXELS)
        with emit.unrolled(tiles[0]) as m, emit.unrolled(tiles[1]) as n:
            for index in range(unit.totals):
                row, column = unit.total(index, group, member)
                pixel = emit.named(start + m * unit.rows + row)
                channel = emit.named(channels + n * COLUMNS + column)
                inside = T.And(pixel < operands.pixels, channel < operands.spec.out_channels)
                with emit.when(inside):
                    at = (m * tiles[1] + n) * unit.totals + index
                    operands.write(pixel, channel, totals[at])


class _Taps:
    """Four neighbouring taps, the first one a multiple of four."""

    def __init__(self, operands: Operands, first: Expr) -> None:
        self.operands = operands
        spec = operands.spec
        self.whole = spec.in_channels % 4 == 0
        """Whether they lie in one word of the activations."""
        channels, kw = spec.in_channels, spec.kernel[1]
        self.places = []
        for tap in range(1 if self.whole else 4):
            at = emit.named(first + tap)
            y = emit.named(at // (channels * kw) * spec.dilation[0])
            x = emit.named(at // channels % kw * spec.dilation[1])
            self.places.append((y, x, emit.named(at % channels)))

    def codes(self, row: Expr, column: Expr, image: Expr) -> Expr:
        """Their codes in a word; taps behind the last one have any code."""
        if not self.whole:
            word = T.int32(0)
            for tap, (y, x, channel) in enumerate(self.places):
                code = self.operands.code(row + y, column + x, image, channel)
                word = word | T.shift_left(emit.named(code), T.int32(8 * tap))
            return word
        spec, (y, x, channel) = self.operands.spec, self.places[0]
        row, column = row + y, column + x
        inside = T.And(T.And(row >= 0, row < spec.height), T.And(column >= 0, column < spec.width))
        at = image + (row * spec.width + column) * spec.in_channels + channel
        padding = (spec.zero_point & 255) * 0x01010101
        padding -= (padding & 1 << 31) << 1
        return T.if_then_else(inside, emit.word(self.operands.x, at), T.int32(padding))
