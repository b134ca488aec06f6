"""Weight tuning: the code t(w) whose products M(a, t(w)) come closest to a * w.

Notation: M[a, c] product table, h[k, a] probability of activation code a at tap k, a and w integer
values of codes (two's complement for signed codes).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alwann_c.ir.reference import code_values
from alwann_c.targets import operand_values

Float64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]

_TIE = 1e-9


def _prefer_original(cost: Float64, original: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Index of the least cost in each row [n, c]; the original code wins a tie."""
    rows = np.arange(len(cost))
    best = cost.argmin(axis=1)
    least, own = cost[rows, best], cost[rows, original]
    return np.where(own <= least + _TIE * np.abs(least), original, best)


def alwann_map(table: Int32, *, signed: bool) -> Codes:
    """The paper's mapping: t(w) = argmin_c sum_a |M(a, c) - a * w|, all activation codes alike.

    First minimum wins; an exact tie prefers the original code. (ALWANN, arXiv 1907.07229, eq. 1.)
    """
    return absolute_error_map(table, np.ones(256), signed=signed)


def absolute_error_map(table: Int32, histogram: Float64, *, signed: bool) -> Codes:
    """t(w) = argmin_c sum_a h(a) |M(a, c) - a * w|, for every code w; uint8 [256]."""
    values = operand_values(signed=signed).astype(np.float64)
    present = np.flatnonzero(histogram)
    rows = table[present].astype(np.float64)
    weights = histogram[present].astype(np.float64)
    mapping = np.empty(256, np.uint8)
    for code in range(256):
        target = values[present] * values[code]
        cost = weights @ np.abs(rows - target[:, None])
        mapping[code] = _prefer_original(cost[None], np.array([code]))[0]
    return mapping


def apply_map(weight: Codes, mapping: Codes) -> Codes:
    """Replaces every weight code by its image."""
    return np.asarray(mapping[weight])


def moment_codes(
    weight: Codes, table: Int32, histograms: Float64, *, signed: bool
) -> tuple[Codes, Codes]:
    """Per-tap tuning on second moments, (squared, variance):

        squared(w, c)  = E_k[(M(a, c) - a w)^2]
        variance(w, c) = squared(w, c) - (E_k[M(a, c) - a w])^2

    The variance leaves the error's mean to the bias. weight uint8 [K, n], histograms [K, 256]
    (rows sum to 1) -> tuned codes uint8 [K, n] for either criterion.
    """
    values = operand_values(signed=signed).astype(np.float64)
    products = table.astype(np.float64)
    square = histograms @ (products * products)  # [K, c]
    cross = histograms @ (values[:, None] * products)
    mean = histograms @ products
    value_mean = histograms @ values
    value_square = histograms @ (values * values)
    squared, variance = np.empty_like(weight), np.empty_like(weight)
    weight_values = code_values(weight, signed).astype(np.float64)
    for k in range(weight.shape[0]):
        w = weight_values[k][:, None]
        own = weight[k].astype(np.intp)
        cost = square[k] - 2 * w * cross[k] + w * w * value_square[k]
        squared[k] = _prefer_original(cost, own)
        variance[k] = _prefer_original(cost - (mean[k] - w * value_mean[k]) ** 2, own)
    return squared, variance
