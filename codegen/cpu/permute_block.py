"""One block of output channels by look-ups in vector registers (see `permute`)."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.permute import LANES, MAX_SUM, ByteSum, ProductSum, add_products
from alwann_c.codegen.cpu.planes import Planes
from alwann_c.codegen.cpu.table import PreparedTable
from alwann_c.codegen.cpu.transpose import transpose

SIZES = (64, 128, 256)
"""Variants of the look-up: codes below each."""


@dataclass(frozen=True)
class PermuteBlock:
    """`outputs` consecutive output channels of all images of some planes.

    Attributes:
        operands, table, planes: what to compute from.
        image: int64 first image.
        channel: int32 first output channel.
        outputs: number of output channels.
        vectors: int32 number of vectors of 64 positions.
        totals: int32 [output][position] sums of products.
        codes: int32 [position] sums of activation codes of a group.
        offsets, rows: int32 [tap] of a group, where its codes start and its row of the weights;
            in the order of `SIZES`.
        ends: int32 [size] number of taps up to each of `SIZES`.
    """

    operands: Operands
    table: PreparedTable
    planes: Planes
    image: Expr
    channel: Expr
    outputs: int
    vectors: Expr
    totals: Buffer
    codes: Buffer
    offsets: Buffer
    rows: Buffer
    ends: Buffer

    @staticmethod
    def allocate(
        operands: Operands,
        table: PreparedTable,
        planes: Planes,
        image: Expr,
        channel: Expr,
        outputs: int,
    ) -> PermuteBlock:
        """Workspace of a block."""
        layout, taps = planes.layout, operands.spec.taps
        vectors = ((planes.images - 1) * layout.image + (layout.pixels + LANES - 1)) // LANES
        return PermuteBlock(
            operands=operands,
            table=table,
            planes=planes,
            image=image,
            channel=emit.opaque(channel),
            outputs=outputs,
            vectors=emit.opaque(vectors),
            totals=emit.scratch(vectors * (LANES * outputs) + LANES, "int32"),
            codes=emit.scratch(vectors * LANES, "int32"),
            offsets=emit.scratch(taps, "int32"),
            rows=emit.scratch(taps, "int32"),
            ends=emit.scratch(len(SIZES), "int32"),
        )

    def emit_taps(self, first: Expr) -> None:
        """List the taps of a group whose input channels start at plane `first`; sum their codes."""
        spec, layout = self.operands.spec, self.planes.layout
        inputs = layout.geometry.group_in
        kh, kw = spec.kernel
        place = emit.variable(0)
        channel_bytes = emit.opaque(layout.channel(self.planes.images))
        for index, size in enumerate(SIZES):
            below = SIZES[index - 1] if index else 0
            with emit.serial(inputs) as c:
                highest = emit.let(self.planes.highest[first + c])
                with emit.when(T.And(highest >= below, highest < size)):
                    start = emit.opaque((first + c) * channel_bytes)
                    with emit.serial(kh * kw) as tap:
                        at = emit.let(place[0])
                        offset = layout.tap(tap // kw, tap % kw, self.planes.images)
                        emit.store(self.offsets, at, start + offset)
                        emit.store(self.rows, at, tap * inputs + c)
                        emit.store(place, emit.i32(0), at + 1)
            emit.store(self.ends, emit.i32(index), place[0])
        self._emit_code_sums()

    def _load_codes(self, tap: Expr, vector: Expr) -> Expr:
        return emit.let(emit.load(self.planes.codes, self.offsets[tap] + vector * LANES, LANES))

    def _emit_code_sums(self) -> None:
        spec = self.operands.spec
        flip = emit.splat(T.uint8(128), LANES)
        chunks = -(-spec.taps // MAX_SUM)
        with emit.serial(self.vectors) as v:
            place = emit.let(v * LANES)
            start = -128 * spec.taps if spec.signed else 0
            emit.store(self.codes, place, emit.splat(emit.i32(start), LANES))
            with emit.serial(chunks) as chunk:
                total = ByteSum.allocate()
                total.clear()
                begin = emit.let(chunk * MAX_SUM)
                with emit.serial(T.min(emit.i32(MAX_SUM), spec.taps - begin)) as k:
                    codes = self._load_codes(begin + k, v)
                    total.add(codes ^ flip if spec.signed else codes)
                total.add_to(self.codes, place)

    def emit_sums(self, output: Expr) -> None:
        """Sum the products of output channel `output` of the block, of the group listed last."""
        spec = self.operands.spec
        channel = emit.opaque(self.channel + output)
        start = emit.opaque(output * self.vectors * LANES)
        zero = emit.let(self.operands.weight_zero_point[channel])
        with emit.serial(self.vectors) as v:
            place = emit.let(start + v * LANES)
            codes = emit.load(self.codes, v * LANES, LANES)
            emit.store(self.totals, place, codes * emit.splat(-zero, LANES))
            if spec.taps <= MAX_SUM:
                total = ProductSum.allocate()
                total.clear()
                for index, size in enumerate(SIZES):
                    begin = self.ends[index - 1] if index else emit.i32(0)
                    self._emit_products(total, channel, v, size, begin, self.ends[index])
                total.add_to(self.totals, place)
                return
            for index, size in enumerate(SIZES):
                begin = emit.let(self.ends[index - 1] if index else emit.i32(0))
                count = emit.let(self.ends[index] - begin)
                with emit.serial((count + (MAX_SUM - 1)) // MAX_SUM) as chunk:
                    total = ProductSum.allocate()
                    total.clear()
                    first = emit.let(begin + chunk * MAX_SUM)
                    last = T.min(first + MAX_SUM, begin + count)
                    self._emit_products(total, channel, v, size, first, last)
                    total.add_to(self.totals, place)

    def _emit_products(
        self, total: ProductSum, channel: Expr, vector: Expr, size: int, begin: Expr, end: Expr
    ) -> None:
        """Add the taps `begin` to `end` - 1, whose codes are below `size`."""
        channels = self.operands.spec.out_channels
        with emit.serial(end - begin) as k:
            tap = emit.let(begin + k)
            weight = self.operands.weight[self.rows[tap] * channels + channel]
            add_products(total, self.table, emit.i64(weight), self._load_codes(tap, vector), size)

    def emit_epilogue(self) -> None:
        """Finish and store the block, row by row of the images."""
        spec, layout, outputs = self.operands.spec, self.planes.layout, self.outputs
        offset = emit.scratch(outputs, "int32")
        scale = emit.scratch(outputs, "float32")
        with emit.serial(outputs) as n:
            added = self.table.base * spec.taps
            emit.store(offset, n, self.operands.offset[self.channel + n] + added)
            emit.store(scale, n, self.operands.scale[self.channel + n])
        side = 1 << (outputs - 1).bit_length()
        square = emit.scratch(side * side, "int32")
        with emit.serial(self.planes.images * spec.out_height) as line:
            index, y = line // spec.out_height, line % spec.out_height
            row = emit.opaque(index * layout.image + y * layout.columns)
            image = self.image * emit.i64(spec.out_height) + emit.i64(line)
            pixel = emit.opaque(image * emit.i64(spec.out_width))
            with emit.serial(-(-spec.out_width // side)) as part:
                x = emit.let(part * side)
                self._emit_square(square, emit.let(row + x), side)
                with emit.serial(T.min(emit.i32(side), spec.out_width - x)) as j:
                    to = (pixel + emit.i64(x + j)) * emit.i64(spec.out_channels)
                    to = emit.let(to + emit.i64(self.channel))
                    lane = 0
                    for width in _powers(outputs):
                        at = emit.i32(lane)
                        total = emit.load(square, j * side + at, width)
                        total = total + emit.load(offset, at, width)
                        factor = emit.load(scale, at, width)
                        self.operands.emit_output(total, factor, to + emit.i64(lane))
                        lane += width

    def _emit_square(self, square: Buffer, position: Expr, side: int) -> None:
        """square[pixel][output] = totals[output][position + pixel] for `side` pixels."""
        stride = self.vectors * LANES
        rows = [
            emit.let(emit.load(self.totals, position + stride * min(n, self.outputs - 1), side))
            for n in range(side)
        ]
        for j, pixel in enumerate(transpose(rows)):
            emit.store(square, emit.i32(j * side), pixel)


def _powers(number: int) -> list[int]:
    """Powers of two that sum to `number`, greatest first."""
    return [1 << bit for bit in reversed(range(number.bit_length())) if number >> bit & 1]
