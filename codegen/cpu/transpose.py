"""Transposing square blocks of a matrix in vector registers."""

from __future__ import annotations

from collections.abc import Iterable

from tvm.tirx import Shuffle

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Expr

SIDE = 8
"""int16 elements of 16 bytes, the side of a block of int16."""


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


def piece(vector: Expr, first: int, lanes: int) -> Expr:
    """`lanes` lanes of a vector from `first`."""
    if lanes == emit.lanes_of(vector):
        return vector
    return select([vector], range(first, first + lanes))


def _interleave(a: Expr, b: Expr, side: int, unit: int, high: bool) -> Expr:
    """Interleave units of `unit` lanes of the low (or high) halves of each `side` lanes."""
    lanes = emit.lanes_of(a)
    chosen: list[int] = []
    for block in range(0, lanes, side):
        start = block + (side // 2 if high else 0)
        for first in range(start, start + side // 2, unit):
            chosen += range(first, first + unit)
            chosen += range(lanes + first, lanes + first + unit)
    return select([a, b], chosen)


def transpose(rows: list[Expr]) -> list[Expr]:
    """Transposes blocks of n x n: lane n b + i of result j is lane n b + j of `rows[i]`.

    With n lanes in 16 bytes every step is an unpack instruction.

    Args:
        rows: n vectors (n a power of two) of n * m lanes: m blocks side by side.
    """
    side = len(rows)
    unit = 1
    while unit < side:
        # rows[b * unit + p]: part p of the rows b * unit ... (b + 1) * unit - 1
        rows = [
            _interleave(rows[b + p], rows[b + unit + p], side, unit, high)
            for b in range(0, side, 2 * unit)
            for p in range(unit)
            for high in (False, True)
        ]
        unit *= 2
    return rows
