"""Product tables as sums of few outer products, exactly, over the integers.

Many circuits drop or simplify partial products, which leaves a table of low rank,

    M(a, w) = sum_r f_r(a) * g_r(w),

so that a convolution on it is an ordinary integer GEMM on transformed operands: with R terms, R
products of bytes for each product of the circuit. The terms are found by cross approximation with
integer pivots and verified by reconstructing the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from alwann_c.targets.multiplier import exact_products

Ints = npt.NDArray[np.int64]

MAX_TERMS = 6
"""Terms beyond which product panels are faster."""

_LEFT_RANGE = 255
"""Greatest difference between two values of a left factor: it becomes a uint8."""

_RIGHT = (-128, 127)
"""Least and greatest value of a right factor, an int8."""


@dataclass(frozen=True, eq=False)
class Terms:
    """`M(a, w) = sum_r (left[r][a] + low[r]) * right[r][w]`, indexed by bit patterns.

    Attributes:
        left: uint8 [R, 256].
        low: int64 [R].
        right: int64 [R, 256]; within int8, except for the linear term, from which a layer subtracts
            its weight zero points first.
        linear: whether term 0 is `a * right[0][w]`, so that zero points can be subtracted.
    """

    left: npt.NDArray[np.uint8]
    low: Ints
    right: Ints
    linear: bool


def _pivot(rest: Ints) -> tuple[Ints, Ints] | None:
    """Column and row of integers whose product removes one rank of `rest`; None if there are none.

    With p = rest[i, j], the cross `rest[:, j] * rest[i, :] / p` is a product of integer vectors if p
    divides the product of the greatest common divisors of the column and of the row.
    """
    across, down = np.gcd.reduce(rest, axis=1), np.gcd.reduce(rest, axis=0)
    common = across[:, None] * down[None, :]
    valid = (rest != 0) & (common % np.where(rest == 0, 1, rest) == 0)
    if not valid.any():
        return None
    primitive_rows = np.ptp(rest, axis=1) // np.maximum(across, 1)
    primitive_columns = np.ptp(rest, axis=0) // np.maximum(down, 1)
    size = np.where(valid, primitive_rows[:, None] + primitive_columns[None, :], 1 << 40)
    i, j = np.unravel_index(int(size.argmin()), size.shape)
    column, row = rest[:, j] // down[j], rest[i] // across[i]
    factor = int(common[i, j] // rest[i, j])
    return min([(column * factor, row), (column, row * factor)], key=_parts)


def _rank_exceeds(rest: Ints, most: int) -> bool:
    """Whether the rank is above `most`; a few rows and columns nearly always tell."""
    drawn = np.random.default_rng(0)
    rows, columns = (drawn.choice(len(rest), 4 * most, replace=False) for _ in range(2))
    part = rest[np.ix_(rows, columns)].astype(np.float64)
    return bool(
        np.linalg.matrix_rank(part) > most or np.linalg.matrix_rank(rest.astype(np.float64)) > most
    )


def _crosses(rest: Ints, most: int) -> list[tuple[Ints, Ints]] | None:
    """At most `most` pairs of integer vectors whose outer products sum to `rest`."""
    if _rank_exceeds(rest, most):
        return None
    found: list[tuple[Ints, Ints]] = []
    while rest.any():
        cross = _pivot(rest) if len(found) < most else None
        if cross is None:
            return None
        found.append(cross)
        rest = rest - np.outer(*cross)
    return found


def _split(values: Ints, low: int, high: int) -> list[Ints]:
    """Vectors with values in low..high that sum to `values` (0 within low..high)."""
    parts: list[Ints] = []
    while values.any() or not parts:
        parts.append(values.clip(low, high))
        values = values - parts[-1]
    return parts


def _bytes(cross: tuple[Ints, Ints]) -> list[tuple[Ints, Ints]]:
    """The same outer product with factors that fit bytes: left ones up to a shift."""
    left, right = cross
    low = int(left.min())
    lefts = _split(left - low, 0, _LEFT_RANGE)
    lefts[0] = lefts[0] + low
    return [(f, g) for f in lefts for g in _split(right, *_RIGHT)]


def _parts(cross: tuple[Ints, Ints]) -> int:
    """Number of byte products an outer product takes (at most; without making them)."""
    left, right = cross
    lefts = max(-(-int(np.ptp(left)) // _LEFT_RANGE), 1)
    return lefts * max(-(-int(right.max()) // _RIGHT[1]), -(int(right.min()) // -_RIGHT[0]), 1)


def _choices(table: Ints, signed: bool) -> Iterator[tuple[list[tuple[Ints, Ints]], bool]]:
    """Sums of byte products that make up the table, and whether they begin with the linear term."""
    codes = np.arange(256)
    values = np.where(codes < 128, codes, codes - 256) if signed else codes
    plain = [(table, np.zeros_like(values)), (table - exact_products(signed), values)]
    for rest, right in plain:
        crosses = _crosses(rest, MAX_TERMS)
        if crosses is None:
            continue
        terms = [term for cross in crosses for term in _bytes(cross)]
        yield [(values, right), *terms], True
        if signed and not right.any():
            # Weight zero points cannot be subtracted then; signed schemes have none.
            yield terms, False


@lru_cache(maxsize=256)
def _factorise(table: bytes, signed: bool) -> Terms | None:
    products = np.frombuffer(table, np.int32).reshape(256, 256).astype(np.int64)
    fitting = [choice for choice in _choices(products, signed) if 0 < len(choice[0]) <= MAX_TERMS]
    if not fitting:
        return None
    terms, linear = min(fitting, key=lambda choice: (len(choice[0]), not choice[1]))
    left, right = (np.stack(factors) for factors in zip(*terms, strict=True))
    if not np.array_equal(left.T @ right, products):
        raise AssertionError("the terms do not reconstruct the table")
    low = left.min(axis=1)
    return Terms((left - low[:, None]).astype(np.uint8), low, right, linear)


def factorise(table: npt.NDArray[np.int32], signed: bool) -> Terms | None:
    """Terms of a [256, 256] table, as few as are found; None if it takes more than `MAX_TERMS`."""
    return _factorise(np.ascontiguousarray(table, np.int32).tobytes(), signed)
