"""Table-aware weight coding: scale and zero point of a filter chosen for the multiplier.

An approximate multiplier is not equally good all over its operand range, and an error of so many
product units weighs less where a unit is worth less. With s and z the scale and zero point of a
filter, a weight w is the slope u = w / s + z that the products of its tap should have over the
activation code a. Under the layer's activation histogram, the best code's error is

    f(u) = min_c Var_a[M(a, c) - u a]

(the mean is left to the bias), and a coding's cost is `s^2 sum_k f(w_k / s + z)`. The cheapest of a
small grid is taken for every output channel. The weight's own code then is only where tuning
starts: a weight beyond the range of codes is left to the joint reconstruction.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from alwann_c.ir.reference import code_values
from alwann_c.passes.calibrate import CodeFormat
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier, operand_values

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

SHRINKS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Candidate scales, relative to the one that codes the largest weight."""

ZERO_POINTS = (128, 64, 80, 96, 112, 144, 160)
"""Candidates for unsigned codes of 8 bits, fewer bits in proportion; signed ones keep zero."""

_STEP = 0.5
_BIAS_LIMIT = 2**30


def recode(layer: LayerCodes, scale: npt.NDArray[Any], zero_point: Int32) -> LayerCodes:
    """The layer with weight scale [n] and zero point [n] changed; its own ones change nothing.

    Codes and bias follow from those of `layer`, so that a plan need only keep scale and zero point.
    """
    form = CodeFormat(layer.signed, layer.weight_bits)
    own = layer.weight_scale.astype(np.float64)
    steps = code_values(layer.weight, layer.signed) - layer.weight_zero_point.astype(np.int64)
    scale = scale.astype(np.float32)
    ratio = own / scale.astype(np.float64)
    codes = np.clip(np.rint(steps * ratio) + zero_point, form.low, form.high).astype(np.int16)
    bias = np.clip(np.rint(layer.bias * ratio), -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32)
    return dataclasses.replace(
        layer,
        weight=codes.astype(np.uint8),
        weight_zero_point=zero_point.astype(np.int32),
        weight_scale=scale,
        bias=bias,
    )


def slope_error(multiplier: Multiplier, histogram: Float64, slopes: Float64) -> Float64:
    """f(u) of the module's formula for each slope; histogram [256] of activation codes."""
    values = operand_values(signed=multiplier.signed).astype(np.float64)
    products = multiplier.table.astype(np.float64)
    value_mean, mean = histogram @ values, histogram @ products
    value_variance = histogram @ (values * values) - value_mean**2
    variance = histogram @ (products * products) - mean * mean
    covariance = (histogram * values) @ products - value_mean * mean
    slope = slopes[:, None]
    errors = variance - 2 * slope * covariance + slope * slope * value_variance
    return np.asarray(errors.min(axis=1))


def table_aware_coding(
    layer: LayerCodes, multiplier: Multiplier, histograms: Float64, *, per_channel: bool = True
) -> LayerCodes:
    """The layer recoded for `multiplier`; histograms [groups, K, 256] of its activation codes.

    `per_channel=False` keeps one scale and one zero point for all channels.
    """
    spec, channels = layer.spec, layer.weight.shape[-1]
    width = channels // spec.groups
    half = 1 << (layer.weight_bits - 1)
    zero_points = (0,) if layer.signed else tuple(z * half // 128 for z in ZERO_POINTS)
    own = layer.weight_scale.astype(np.float64)
    values = code_values(layer.weight, layer.signed) - layer.weight_zero_point.astype(np.int64)
    weight = (values * own).reshape(spec.taps, channels)
    peak = np.abs(weight).max(axis=0)
    if not per_channel:
        peak = np.full(channels, peak.max())
    full = np.where(peak > 0, peak / (half - 1), own)
    largest = 128 / min(SHRINKS) + 256
    slopes = np.arange(-largest, largest + _STEP, _STEP)
    curves = [slope_error(multiplier, h.mean(axis=0), slopes) for h in histograms]
    options = [(s * full, z) for s in SHRINKS for z in zero_points]
    costs = np.empty((len(options), channels))
    for cost, (scale, zero_point) in zip(costs, options, strict=True):
        wanted = weight / scale + zero_point
        for g, curve in enumerate(curves):
            part = slice(g * width, (g + 1) * width)
            cost[part] = np.interp(wanted[:, part], slopes, curve).sum(axis=0)
        cost *= scale * scale
    if not per_channel:
        costs[:] = costs.sum(axis=1, keepdims=True)
    best = costs.argmin(axis=0)
    scale = np.array([options[i][0][n] for n, i in enumerate(best)])
    return recode(layer, scale, np.array([options[i][1] for i in best], np.int32))
