"""What a layer sees on calibration images, and what it should give: all that fitting may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alwann_c.ir.reference import code_values
from alwann_c.passes.quantize import LayerCodes

Codes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TapCosts:
    """What a code costs at a tap of one group, beside the residual. See `joint` for the formula."""

    products: Float64
    """M[a, c], [256, 256]."""
    counts: Float64
    """Rows with code a at tap k, [K, 256]."""
    means: Float64
    """Mean product of tap k with code c, [K, 256]."""
    energy: Float64
    """Sum of (M(a, c) - mean)^2 over the rows, [K, 256]."""
    margins: Float64
    """What another code must be cheaper by to be taken, [K]."""

    @staticmethod
    def of(histograms: Float64, table: Int32, rows: int, margin: float) -> TapCosts:
        """From histograms [K, 256] of `rows` codes; `margin` relative to the mean energy of a tap."""
        products = table.astype(np.float64)
        means, counts = histograms @ products, histograms * rows
        energy = counts @ (products * products) - rows * means * means
        margins = np.full(len(counts), margin)
        if np.isfinite(margin):
            margins *= energy.mean(axis=1)
        return TapCosts(products, counts, means, energy, margins)


class TapResidual(Protocol):
    """The residual [rows, n] of one group of a layer, kept where passes over it are fast.

    x[k, r] is the code of tap k in row r.
    """

    def sweep(self, costs: TapCosts, codes: Codes, assumed: Float64) -> tuple[Codes, int]:
        """Visits the taps in order: each takes the cheapest code of every channel, if that is
        cheaper by the margin than the one it has. `assumed` [256, 256]: the products of `codes`
        [K, n] that the residual lacks, afterwards the real ones of the codes that were taken.

        Returns the codes [K, n], and how many were taken.
        """

    def subtract(self, codes: Codes, table: Int32) -> None:
        """residual[r, n] -= sum_k table[x[k, r], codes[k, n]]."""

    def center(self) -> None:
        """Removes every column's mean."""

    def values(self) -> Float32:
        """The residual [rows, n]."""


ResidualFactory = Callable[[Codes, Float32], TapResidual]
"""Makes a `TapResidual` from codes [K, rows] and a first residual [rows, n]."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Sampled output pixels: patches of codes [rows, groups, K], wanted outputs [rows, n]."""

    patches: Codes
    target: Float32

    @cached_property
    def columns(self) -> list[Codes]:
        """Codes [K, rows] of every group."""
        groups = self.patches.shape[1]
        return [np.ascontiguousarray(self.patches[:, g].T) for g in range(groups)]

    @cached_property
    def histograms(self) -> Float64:
        """Probability of each code at each tap, [groups, K, 256]."""
        counted = [
            np.stack([np.bincount(tap, minlength=256) for tap in group]) for group in self.columns
        ]
        return np.stack(counted) / len(self.patches)

    @cached_property
    def _sums(self) -> dict[tuple[int, bool], Int64]:
        return {}

    def value_sums(self, group: int, *, signed: bool) -> Int64:
        """Sum of the values that the codes of a group's patches stand for, [rows]."""
        key = (group, signed)
        if key not in self._sums:
            values = code_values(self.patches[:, group], signed)
            self._sums[key] = values.sum(axis=1, dtype=np.int64)
        return self._sums[key]


@dataclass(frozen=True, eq=False)
class LayerData:
    """Rows to fit on, rows of other images to choose on, and the engine for residuals."""

    fit: Rows
    choose: Rows
    residual: ResidualFactory

    @cached_property
    def variance(self) -> float:
        """Variance of the wanted outputs on the rows to choose on."""
        return float(self.choose.target.var(dtype=np.float64)) or 1.0


def group_slice(layer: LayerCodes, group: int) -> slice:
    """Output channels of one group."""
    width = layer.spec.out_channels // layer.spec.groups
    return slice(group * width, (group + 1) * width)


def group_codes(layer: LayerCodes, weight: Codes, group: int) -> Codes:
    """Weight codes [K, n] of one group."""
    columns = weight.reshape(layer.spec.taps, layer.spec.groups, -1)
    return np.ascontiguousarray(columns[:, group])


def wanted_sums(layer: LayerCodes, rows: Rows, group: int) -> tuple[Float32, Float64]:
    """What the multiplier array of one group should sum to: [rows, n] without its mean, and the
    mean [n].

    The accumulator's exact terms are taken off: sum_k M = y / scale + z_w * sum_k q_x - offset.
    """
    channels = group_slice(layer, group)
    values = rows.value_sums(group, signed=layer.signed)
    wanted = rows.target[:, channels].astype(np.float64) / layer.scale[channels]
    wanted += values[:, None] * layer.weight_zero_point[channels].astype(np.float64)
    wanted -= layer.offset()[channels]
    mean = wanted.mean(axis=0)
    return np.ascontiguousarray(wanted - mean, np.float32), mean


@dataclass(frozen=True, eq=False)
class Gap:
    """Moments over rows of the wanted outputs y and of the gap e = y - produced, [n] each, in
    accumulator units; produced with the layer's original bias."""

    mean: Float64
    variance: Float64
    covariance: Float64
    """Of e and y."""
    wanted_mean: Float64
    wanted_variance: Float64

    def slope(self) -> Float64:
        """The factor of the produced outputs that leaves the least squares."""
        produced = self.wanted_variance - 2 * self.covariance + self.variance
        covariance = self.wanted_variance - self.covariance
        ones = np.ones_like(produced)
        return np.divide(covariance, produced, out=ones, where=(produced > 0) & (covariance > 0))

    def scaled_variance(self, slope: Float64) -> Float64:
        """Variance of y - slope * produced."""
        produced = self.wanted_variance - 2 * self.covariance + self.variance
        covariance = self.wanted_variance - self.covariance
        return np.asarray(self.wanted_variance - 2 * slope * covariance + slope**2 * produced)


def output_gap(
    layer: LayerCodes, weight: Codes, table: Int32, rows: Rows, make: ResidualFactory
) -> Gap:
    """What a layer with tuned weights leaves to be wished for."""
    mean, variance, covariance = (np.empty(layer.spec.out_channels) for _ in range(3))
    for g in range(layer.spec.groups):
        channels = group_slice(layer, g)
        wanted, offset = wanted_sums(layer, rows, g)
        residual = make(rows.columns[g], wanted)
        residual.subtract(group_codes(layer, weight, g), table)
        left = residual.values().astype(np.float64)
        own = left.mean(axis=0)
        outputs = rows.target[:, channels].astype(np.float64) / layer.scale[channels]
        centered = outputs - outputs.mean(axis=0)
        mean[channels] = own + offset
        variance[channels] = left.var(axis=0)
        covariance[channels] = ((left - own) * centered).mean(axis=0)
    target = rows.target.astype(np.float64) / layer.scale
    return Gap(mean, variance, covariance, target.mean(axis=0), target.var(axis=0))
