"""Which codes the multipliers of a network really see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alwann_c.errors import InputError
from alwann_c.passes.compensate import draw_pixels, patches_at
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import QuantizedModel
from alwann_c.targets.suggest import remedy

Float64 = npt.NDArray[np.float64]
IMAGES = 128
ROWS = 20_000
"""Patches sampled of every layer."""


@dataclass(frozen=True, eq=False)
class OperandShares:
    """Share of the multiplications that have each activation and each weight code; float64 [256].

    Both add up to 1. Codes are uint8, or int8 bit patterns where `signed`. Padded taps count, as
    they go through the multiplier. `layers` are those measured, weighted by their multiplications.
    """

    activations: Float64
    weights: Float64
    signed: bool
    layers: tuple[str, ...]


def measure_operands(
    quantized: QuantizedModel, layers: Sequence[str] | None = None, *, images: int = IMAGES
) -> OperandShares:
    """Operand distribution on the first calibration images, over `layers` or all integer layers.

    Weight codes are those of the exact network, before tuning; of a product of two activations, the
    codes of the second one. Raises InputError for a layer that
    the model has not.
    """
    names = list(quantized.network.layer_names) if layers is None else list(layers)
    for name in names:
        if name not in quantized.layers:
            raise InputError(
                f"{quantized.model.name}: no integer layer {name!r}:"
                f" {remedy(name, quantized.layers)}"
            )
    run = quantized.network.run_probed(quantized.calibration.images(0, images), None, names)
    activations, weights, total = np.zeros(256), np.zeros(256), 0
    for name in names:
        layer = quantized.layers[name]
        macs = layer.spec.macs
        activations += macs * _activation_shares(run.codes[name], layer)
        columns = run.residuals[name] if layer.kind == "matmul" else layer.weight
        codes = columns.ravel().astype(np.uint8)
        weights += macs * np.bincount(codes, minlength=256) / codes.size
        total += macs
    return OperandShares(
        activations / total, weights / total, quantized.scheme.signed, tuple(names)
    )


def _activation_shares(codes: npt.NDArray[np.uint8], layer: LayerCodes) -> Float64:
    pixels = draw_pixels(len(codes), layer.spec, ROWS)
    patches = patches_at(codes, layer.spec, pixels)
    return np.bincount(patches.ravel(), minlength=256) / patches.size
