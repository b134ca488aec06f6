"""What the operands of a plan look like, and the error its multipliers make on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alwann_c.codegen.stepwise import Walk
from alwann_c.compensation import Compensator, Effort, bound
from alwann_c.passes.approximate import LayerApproximation, uncompensated
from alwann_c.passes.compensate import LayerData, ProductData, output_gap, product_gap
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import QuantizedModel
from alwann_c.targets import operand_values
from alwann_c.version import TOOL

Codes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

IMAGES = 96
"""Calibration images that are looked at, the last quarter of them for the output error."""

ROWS = Effort(rows=16_384, sweeps=0)


def describe_operands(
    quantized: QuantizedModel, approximations: Mapping[str, LayerApproximation]
) -> dict[str, Any]:
    """The content of `operands.json` for the layers of a plan.

    Activation codes are counted in the approximate network, as the accelerator would see them,
    padding left out; weight codes in the coding the layer is approximated in, before tuning. In a
    product of two activations the second one's codes are in the weights' place.
    """
    compensator = Compensator(quantized, images=IMAGES, thorough=ROWS)
    walk = Walk(quantized.network, compensator.images)
    layers = []
    for name in quantized.network.layer_names:
        if name not in approximations:
            walk.advance(None)
            continue
        approximation = approximations[name]
        own, layer = quantized.layers[name], approximation.layer
        run = walk.read()
        walk.advance(bound(approximation))
        activations = np.bincount(run.codes[name].ravel(), minlength=256)
        columns = run.residuals[name] if layer.kind == "matmul" else layer.weight
        weights = np.bincount(columns.ravel().astype(np.uint8), minlength=256)
        data = compensator.layer_data(name, run)
        layers.append(
            {
                "name": name,
                "multiplier": approximation.multiplier.name,
                "zero_point": layer.input.zero_point,
                "activations": _by_value(activations, layer.signed),
                "weights": _by_value(weights, layer.signed),
                "product_error": _product_error(layer, approximation, activations, weights),
                "weight_changes": _weight_changes(layer, approximation),
                "output_error": {
                    "before": _output_error(uncompensated(own, approximation.multiplier), data),
                    "after": _output_error(approximation, data),
                },
            }
        )
    signed = any(layer.signed for layer in quantized.layers.values())
    return {
        "version": 1,
        "tool": TOOL,
        "images": len(compensator.images),
        "first_code": -128 if signed else 0,
        "layers": layers,
    }


def _output_error(approximation: LayerApproximation, data: LayerData | ProductData) -> float:
    """Root mean square of the error of the layer's output against what it should give (see
    `Compensator`), relative to the deviation of that."""
    layer, scale = approximation.layer, approximation.scale
    step = (scale / np.float32(layer.input.scale)).astype(np.float32)
    table = approximation.multiplier.table
    scaled = replace(layer, weight_scale=step)
    if isinstance(data, ProductData):
        gap = product_gap(scaled, table, data.choose)
    else:
        gap = output_gap(scaled, approximation.weight, table, data.choose, data.residual)
    mean = gap.mean - (approximation.offset.astype(np.int64) - layer.offset())
    squares = (gap.variance + mean * mean) * scale.astype(np.float64) ** 2
    return float(np.sqrt(squares.mean() / data.variance))


def _by_value(counts: Counts, signed: bool) -> list[int]:
    """Counts by bit pattern, put in the order of the values."""
    ordered = np.roll(counts, 128) if signed else counts
    return [int(count) for count in ordered]


def _weight_changes(layer: LayerCodes, approximation: LayerApproximation) -> dict[str, Any]:
    """How far tuning moved the weight codes."""
    value = operand_values(signed=layer.signed).astype(np.int64)
    moved = np.abs(value[approximation.weight] - value[layer.weight])
    changed = moved > 0
    return {
        "share": float(changed.mean()),
        "mean_step": float(moved[changed].mean()) if changed.any() else 0.0,
        "largest_step": int(moved.max(initial=0)),
    }


def _product_error(
    layer: LayerCodes, approximation: LayerApproximation, activations: Counts, weights: Counts
) -> dict[str, float]:
    """Error of one product, `M(a, w) - a w`: mean, mean absolute value and deviation; `product` is
    the mean of |a w|.

    Activations and weights (untuned) are taken as independent, each as often as the layer holds it.
    """
    value = operand_values(signed=layer.signed).astype(np.float64)
    exact = np.outer(value, value)
    error = approximation.multiplier.table - exact
    rows = activations / max(int(activations.sum()), 1)
    columns = weights / max(int(weights.sum()), 1)

    def expected(of: npt.NDArray[np.float64]) -> float:
        return float(rows @ of @ columns)

    mean = expected(error)
    return {
        "mean": mean,
        "absolute": expected(np.abs(error)),
        "deviation": float(np.sqrt(max(expected(error * error) - mean * mean, 0.0))),
        "product": expected(np.abs(exact)),
    }
