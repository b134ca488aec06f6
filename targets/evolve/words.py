"""Bit-parallel primitives on machine words, compiled by numba.

All signals lie in one array `mem` [rows, LANES] of 64-bit words. The loops run over whole rows with
the row's index outside, so that the compiler turns them into vector code.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

LANES = 64
"""Words per row: 4,096 operand pairs; the rows of a 400-gate circuit then fit the L2 cache."""

ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


REORDER = {"reassoc", "nsz"}
"""Lets sums run in vector lanes; with equal weights they are whole numbers, exact in any order."""


@intrinsic
def popcount(_typing: Any, _word: Any) -> Any:
    """Number of ones of a uint64; one instruction on most machines."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen


@numba.njit(cache=True)
def and_rows(
    mem: Any, out: int, a: int, b: int, invert_in: np.uint64, invert_out: np.uint64
) -> None:
    """out = ((a ^ invert_in) & (b ^ invert_in)) ^ invert_out: AND, NAND, OR and NOR."""
    for k in range(LANES):
        mem[out, k] = ((mem[a, k] ^ invert_in) & (mem[b, k] ^ invert_in)) ^ invert_out


@numba.njit(cache=True)
def xor_rows(mem: Any, out: int, a: int, b: int, invert_out: np.uint64) -> None:
    """out = a ^ b ^ invert_out: XOR, XNOR, and NOT with b a row of ones."""
    for k in range(LANES):
        mem[out, k] = mem[a, k] ^ mem[b, k] ^ invert_out


@numba.njit(cache=True)
def rows_differ(mem: Any, a: int, b: int) -> bool:
    """True if any of the row's bits differs."""
    difference = np.uint64(0)
    for k in range(LANES):
        difference |= mem[a, k] ^ mem[b, k]
    return difference != np.uint64(0)


@numba.njit(cache=True, fastmath=REORDER)
def weighted_ones(mem: Any, row: int, weights: Any, planes: Any, block: int) -> float:
    """Sum over the row's ones of their pair's weight.

    The weight of a pair is `weights[block, word]` times the number whose bit j is the pair's bit in
    `planes[j, block, word]`.
    """
    total = 0.0
    for k in range(LANES):
        ones = np.uint64(0)
        for j in range(planes.shape[0]):
            ones += popcount(mem[row, k] & planes[j, block, k]) << np.uint64(j)
        total += weights[block, k] * np.float64(ones)
    return total


@numba.njit(cache=True)
def subtract(
    mem: Any, rows: Any, exact: Any, block: int, signed: bool, error: Any, sign: Any
) -> None:
    """Bit-sliced |product - exact| - sign: `error[i]` gets its bit i, `sign` 1 where negative.

    With e = product - exact in two's complement and s its sign, the magnitude is (e ^ s) + s; the
    rows hold e ^ s, so that callers add the s where they need it.
    """
    borrow = sign
    for k in range(LANES):
        borrow[k] = np.uint64(0)
    last = rows.shape[0] - 1
    for i in range(rows.shape[0]):
        row = rows[i]
        for k in range(LANES):
            p, x = mem[row, k], exact[i, block, k]
            d = p ^ x
            error[i, k] = d ^ borrow[k]
            borrow[k] = (~p & x) | (~d & borrow[k])
    if signed:
        for k in range(LANES):
            sign[k] ^= mem[rows[last], k] ^ exact[last, block, k]
    for i in range(rows.shape[0]):
        for k in range(LANES):
            error[i, k] ^= sign[k]


@numba.njit(cache=True, fastmath=REORDER)
def absolute_sum(error: Any, sign: Any, weights: Any, planes: Any, block: int, acc: Any) -> float:
    """Weighted sum of |e| over a row of pairs, from what `subtract` leaves."""
    for k in range(LANES):
        acc[k] = np.uint64(0)
    for j in range(planes.shape[0]):
        for k in range(LANES):
            acc[k] += popcount(sign[k] & planes[j, block, k]) << np.uint64(j)
        for i in range(error.shape[0]):
            shift = np.uint64(i + j)
            for k in range(LANES):
                acc[k] += popcount(error[i, k] & planes[j, block, k]) << shift
    total = 0.0
    for k in range(LANES):
        total += weights[block, k] * np.float64(acc[k])
    return total


@numba.njit(cache=True, fastmath=REORDER)
def square_sum(error: Any, sign: Any, weights: Any, planes: Any, block: int, acc: Any) -> float:
    """Weighted sum of e^2 over a row of pairs; completes the magnitude in `error` in place."""
    bits = error.shape[0]
    for k in range(LANES):
        acc[k] = np.uint64(0)
    for i in range(bits):
        for k in range(LANES):
            carry = error[i, k] & sign[k]
            error[i, k] ^= sign[k]
            sign[k] = carry
    for j in range(planes.shape[0]):
        for i in range(bits):
            for m in range(i + 1):
                shift = np.uint64(i + m + j + (1 if m < i else 0))
                for k in range(LANES):
                    both = error[i, k] & error[m, k] & planes[j, block, k]
                    acc[k] += popcount(both) << shift
    total = 0.0
    for k in range(LANES):
        total += weights[block, k] * np.float64(acc[k])
    return total


@numba.njit(cache=True)
def exceeds(error: Any, sign: Any, limit: int, above: Any, equal: Any) -> bool:
    """True if any |e| of the row is above `limit`; from what `subtract` leaves."""
    for k in range(LANES):
        above[k], equal[k] = np.uint64(0), ONES
    for i in range(error.shape[0] - 1, -1, -1):
        if (limit >> i) & 1:
            for k in range(LANES):
                equal[k] &= error[i, k]
        else:
            for k in range(LANES):
                above[k] |= equal[k] & error[i, k]
                equal[k] &= ~error[i, k]
    found = np.uint64(0)
    for k in range(LANES):
        found |= above[k] | (equal[k] & sign[k])
    return found != np.uint64(0)
