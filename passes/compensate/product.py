"""Compensation of a product of two activations: no weight can be tuned, scale and bias can.

    acc = sum_k M(a, b) + (zero-point terms)        y = scale * acc

`scale` and one constant added to every accumulator are fitted, both free in hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from alwann_c.ir.reference import accumulate_product
from alwann_c.passes.approximate import LayerApproximation, uncompensated
from alwann_c.passes.compensate.data import Gap
from alwann_c.passes.compensate.fit import Compensation, Correction, corrections, relative_error
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False)
class ProductRows:
    """Sampled rows of a product: codes `left` [rows, k], codes `right` [matrices, k, n], `matrix`
    [rows] the one that a row is multiplied with, wanted outputs `target` [rows, n]."""

    left: Codes
    right: Codes
    matrix: npt.NDArray[np.intp]
    target: Float32


@dataclass(frozen=True, eq=False)
class ProductData:
    """Rows to fit on, and rows of other images to choose on."""

    fit: ProductRows
    choose: ProductRows

    @cached_property
    def variance(self) -> float:
        """Variance of the wanted outputs on the rows to choose on."""
        return float(self.choose.target.var(dtype=np.float64)) or 1.0


def product_gap(layer: LayerCodes, table: npt.NDArray[np.int32], rows: ProductRows) -> Gap:
    """What a product on a table leaves to be wished for; every vector has one element."""
    step = max(1, _CHUNK // rows.right[0].size)
    parts = []
    for start in range(0, len(rows.left), step):
        part = slice(start, start + step)
        made = accumulate_product(
            rows.left[part, None, :],
            rows.right[rows.matrix[part]],
            table,
            layer.input.zero_point,
            layer.other.zero_point,
            layer.offset(),
            signed=layer.signed,
        )
        parts.append(made[:, 0].astype(np.float64))
    wanted = rows.target.astype(np.float64) / float(layer.scale[0])
    error = wanted - np.concatenate(parts)
    covariance = ((error - error.mean()) * (wanted - wanted.mean())).mean()
    moments = (error.mean(), error.var(), covariance, wanted.mean(), wanted.var())
    return Gap(*(np.array([moment]) for moment in moments))


def compensate_product(
    layer: LayerCodes, multiplier: Multiplier, data: ProductData, correction: Correction
) -> Compensation:
    """One product on one multiplier. Deterministic; exact multipliers are left alone."""
    plain = uncompensated(layer, multiplier)
    choose = product_gap(layer, multiplier.table, data.choose)
    if correction == "none" or multiplier.is_exact:
        squares = choose.variance + choose.mean**2
        return Compensation(plain, "original", relative_error(layer, squares, data.variance))
    fit = product_gap(layer, multiplier.table, data.fit)
    slope, shift = corrections(fit, choose, correction)
    scale = (plain.scale * slope).astype(np.float32)
    fitted: LayerApproximation = replace(plain, offset=layer.offset(shift), scale=scale)
    error = relative_error(layer, choose.scaled_variance(slope), data.variance)
    return Compensation(fitted, "original", error)
