"""Looking products up in vector registers: 64 pixels against one weight at a time.

For one weight code the table's column is 256 products of 16 bits: two planes of 256 bytes, 4 vectors
each. AVX-512 VBMI permutes pick 64 bytes of 64 (or of 128, from two vectors) by the 64 activation
codes of as many output pixels. Which of three variants is needed depends on the greatest code of the
input channel: below 64 one vector of a plane suffices, below 128 two, else all four.

A sum of bytes is kept as 16-bit lanes, two neighbouring pixels in one lane: with V a vector of bytes
seen as 16-bit lanes, `packed += V` and `upper += V >> 8`; up to 257 taps do not overflow.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.table import CODES, PreparedTable
from alwann_c.codegen.cpu.transpose import select

LANES = 64
HALF = LANES // 2
MAX_SUM = 256
"""Bytes added before the 16-bit sums are moved to 32 bits."""

_PICK = "llvm.x86.avx512.permvar.qi.512"
_PICK_OF_TWO = "llvm.x86.avx512.vpermi2var.qi.512"


@dataclass(frozen=True)
class ByteSum:
    """Sums of bytes, 64 pixels: uint16 [32] `packed` and `upper`."""

    packed: Buffer
    upper: Buffer

    @staticmethod
    def allocate() -> ByteSum:
        """In registers."""
        return ByteSum(emit.registers(HALF, "uint16"), emit.registers(HALF, "uint16"))

    def clear(self) -> None:
        """Set to zero."""
        for buffer in (self.packed, self.upper):
            emit.store(buffer, emit.i32(0), emit.splat(T.uint16(0), HALF))

    def add(self, values: Expr) -> None:
        """Add 64 bytes."""
        start = emit.i32(0)
        wide = emit.let(T.reinterpret(emit.typed("uint16", HALF), values))
        emit.store(self.packed, start, emit.load(self.packed, start, HALF) + wide)
        upper = wide >> emit.splat(T.uint16(8), HALF)
        emit.store(self.upper, start, emit.load(self.upper, start, HALF) + upper)

    def add_to(self, target: Buffer, place: Expr) -> None:
        """Add to int32 target[place + pixel], pixel < 64."""
        _add_halves(target, place, *self.halves())

    def halves(self) -> tuple[Expr, Expr]:
        """int32 sums of the even and of the odd pixels."""
        packed, odd = (emit.load(b, emit.i32(0), HALF) for b in (self.packed, self.upper))
        odd = emit.let(odd)
        even = emit.let(packed - (odd << emit.splat(T.uint16(8), HALF)))
        return emit.convert(even, "int32"), emit.convert(odd, "int32")


@dataclass(frozen=True)
class ProductSum:
    """Sums of 16-bit products of 64 pixels, by byte."""

    low: ByteSum
    high: ByteSum

    @staticmethod
    def allocate() -> ProductSum:
        """In registers."""
        return ProductSum(ByteSum.allocate(), ByteSum.allocate())

    def clear(self) -> None:
        """Set to zero."""
        self.low.clear()
        self.high.clear()

    def add_to(self, target: Buffer, place: Expr) -> None:
        """Add to int32 target[place + pixel], pixel < 64."""
        scale = emit.splat(emit.i32(CODES), HALF)
        even, odd = (
            emit.let(low + high * scale)
            for low, high in zip(self.low.halves(), self.high.halves(), strict=True)
        )
        _add_halves(target, place, even, odd)


def _add_halves(target: Buffer, place: Expr, even: Expr, odd: Expr) -> None:
    """Add sums of the even and of the odd pixels to target[place + pixel]."""
    total = select([even, odd], [i // 2 + i % 2 * HALF for i in range(LANES)])
    emit.store(target, place, emit.load(target, place, LANES) + total)


def pick(planes: Buffer, start: Expr, codes: Expr, size: int) -> Expr:
    """planes[start + code] for 64 codes below `size` (64, 128 or 256)."""
    vectors = [emit.load(planes, start + emit.i64(i), LANES) for i in range(0, size, LANES)]
    kind = emit.typed("uint8", LANES)
    if size == LANES:
        return T.call_llvm_pure_intrin(kind, _PICK, vectors[0], codes)
    halves = [
        T.call_llvm_pure_intrin(kind, _PICK_OF_TWO, a, codes, b)
        for a, b in zip(vectors[::2], vectors[1::2], strict=True)
    ]
    if len(halves) == 1:
        return halves[0]
    signed = T.cast(codes, emit.typed("int8", LANES))
    return T.Select(signed < emit.splat(T.int8(0), LANES), halves[1], halves[0])


def add_products(
    total: ProductSum, table: PreparedTable, weight: Expr, codes: Expr, size: int
) -> None:
    """Add the products of 64 codes below `size` with one weight code (int64)."""
    start = emit.let(weight * emit.i64(2 * CODES))
    total.low.add(emit.let(pick(table.planes, start, codes, size)))
    total.high.add(emit.let(pick(table.planes, start + emit.i64(CODES), codes, size)))
