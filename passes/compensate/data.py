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
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class TapResidual(Protocol):
    """The residual [rows, n] of one group of a layer, kept where passes over it are fast.

    x[k, r] is the code of tap k in row r.
    """

    def step(self, previous: int, change: Float32, following: int) -> Float32:
        """One pass: finish one tap, measure the next.

            residual[r, :] -= change[x[previous, r], :]
            sums[a, :] = sum of residual[r, :] over the rows with x[following, r] == a

        change, sums: float32 [256, n].
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
    values = code_values(rows.patches[:, group], layer.signed).sum(axis=1, dtype=np.int64)
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
