"""Transposing 8 x 8 blocks of int16 in vector registers."""

from __future__ import annotations

from collections.abc import Iterable

from tvm.tirx import Shuffle

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Expr

SIDE = 8
"""Rows and columns of a block: 16 bytes of int16."""


def select(vectors: list[Expr], lanes: Iterable[int]) -> Expr:
    """Vector of the given lanes of the concatenated `vectors`."""
    return emit.let(Shuffle(vectors, [emit.i32(lane) for lane in lanes]))


def concatenate(vectors: list[Expr]) -> Expr:
    """One vector of all lanes; a power of two of equal vectors."""
    while len(vectors) > 1:
        lanes = 2 * emit.lanes_of(vectors[0])
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [select([a, b], range(lanes)) for a, b in pairs]
    return vectors[0]


def _interleave(a: Expr, b: Expr, unit: int, high: bool) -> Expr:
    """Interleave units of `unit` lanes of the low (or high) halves of each 8 lanes of a and b."""
    lanes = emit.lanes_of(a)
    chosen: list[int] = []
    for block in range(0, lanes, SIDE):
        start = block + (SIDE // 2 if high else 0)
        for first in range(start, start + SIDE // 2, unit):
            chosen += range(first, first + unit)
            chosen += range(lanes + first, lanes + first + unit)
    return select([a, b], chosen)


def transpose(rows: list[Expr]) -> list[Expr]:
    """Transposes each block of 8 x 8: lane 8 b + j of result i is lane 8 b + i of `rows[j]`.

    Args:
        rows: 8 int16 vectors of 8 * n lanes: n blocks side by side.
    """
    both = (False, True)
    pairs = [
        _interleave(rows[i], rows[i + 1], 1, high) for i in range(0, SIDE, 2) for high in both
    ]
    quads = [
        _interleave(pairs[start + part], pairs[start + part + 2], 2, high)
        for start in (0, 4)
        for part in (0, 1)
        for high in both
    ]
    return [_interleave(quads[i], quads[i + 4], 4, high) for i in range(4) for high in both]
