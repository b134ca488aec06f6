"""The compensation methods, one layer at a time.

- `none`: the multiplier alone.
- `alwann`: the paper's weight mapping.
- `full`: the best of several tunings (absolute, squared and variance criterion, joint
  reconstruction), judged by the output error on calibration images they were not fitted on, with
  an empirical bias correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from alwann_c.passes.approximate import LayerApproximation, uncompensated
from alwann_c.passes.compensate import tuning
from alwann_c.passes.compensate.data import LayerData, group_codes, output_gap
from alwann_c.passes.compensate.joint import reconstruct
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier

Method = Literal["none", "alwann", "full"]
METHODS: tuple[Method, ...] = get_args(Method)

Codes = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]

SWEEPS = 3
"""Passes of joint reconstruction over the taps."""


@dataclass(frozen=True, eq=False)
class Compensation:
    """A fitted layer, the tuning that won, and its error on held-back rows.

    `error` is the mean squared output error relative to the variance of the wanted output.
    """

    approximation: LayerApproximation
    tuning: str
    error: float


def with_weight(
    layer: LayerCodes,
    multiplier: Multiplier,
    weight: Codes,
    correction: npt.NDArray[np.int32] | None = None,
) -> LayerApproximation:
    """The layer on `multiplier` with tuned codes, its bias shifted by `correction` [n]."""
    codes = weight.reshape(layer.weight.shape)
    return LayerApproximation(multiplier, codes, layer.offset(correction), layer.scale)


def _relative(layer: LayerCodes, squares: Float64, data: LayerData) -> float:
    """Mean of squared accumulator errors [n], in output units, relative to the output variance."""
    return float(np.mean(squares * layer.scale.astype(np.float64) ** 2)) / data.variance


def simple_tunings(layer: LayerCodes, multiplier: Multiplier, data: LayerData) -> dict[str, Codes]:
    """Tuned weights by criterion; see `alwann_c.passes.compensate.tuning`."""
    spec, signed, table = layer.spec, layer.signed, multiplier.table
    overall = data.fit.histograms.mean(axis=(0, 1))
    mapping = tuning.absolute_error_map(table, overall, signed=signed)
    found = {"original": layer.weight, "histogram": tuning.apply_map(layer.weight, mapping)}
    pairs = [
        tuning.moment_codes(
            group_codes(layer, layer.weight, g), table, data.fit.histograms[g], signed=signed
        )
        for g in range(spec.groups)
    ]
    for i, name in enumerate(("squared", "variance")):
        stacked = np.stack([pair[i] for pair in pairs], axis=1)
        found[name] = stacked.reshape(layer.weight.shape)
    return found


def fit_layer(
    layer: LayerCodes, multiplier: Multiplier, data: LayerData, *, sweeps: int = SWEEPS
) -> Compensation:
    """`full` compensation of one layer; `sweeps=0` leaves joint reconstruction out.

    Tunings compete by the variance of the output error on rows they were not fitted on: the mean
    is left to the bias correction, `correction[n] = round(mean(wanted - produced))` in
    accumulator units.
    """

    def spread(codes: Codes) -> float:
        _, variance = output_gap(layer, codes, multiplier.table, data.choose, data.residual)
        return _relative(layer, variance, data)

    tunings = simple_tunings(layer, multiplier, data)
    spreads = {name: spread(codes) for name, codes in tunings.items()}
    best = min(spreads, key=lambda name: spreads[name])
    if sweeps > 0:
        start = tunings[best]
        tunings["joint"] = reconstruct(layer, multiplier.table, data, start, sweeps=sweeps)
        spreads["joint"] = spread(tunings["joint"])
        best = min(spreads, key=lambda name: spreads[name])
    mean, _ = output_gap(layer, tunings[best], multiplier.table, data.fit, data.residual)
    correction = np.clip(np.rint(mean), -(2**30), 2**30).astype(np.int32)
    fitted = with_weight(layer, multiplier, tunings[best], correction)
    return Compensation(fitted, best, spreads[best])


def compensate_layer(
    layer: LayerCodes,
    multiplier: Multiplier,
    method: Method,
    data: LayerData,
    *,
    sweeps: int = SWEEPS,
) -> Compensation:
    """One layer on one multiplier. Deterministic; no labels.

    Exact multipliers are left alone whatever the method.
    """
    if method == "full" and not multiplier.is_exact:
        return fit_layer(layer, multiplier, data, sweeps=sweeps)
    chosen = uncompensated(layer, multiplier)
    if method == "alwann" and not multiplier.is_exact:
        mapping = tuning.alwann_map(multiplier.table, signed=layer.signed)
        chosen = with_weight(layer, multiplier, tuning.apply_map(layer.weight, mapping))
    mean, variance = output_gap(layer, chosen.weight, multiplier.table, data.choose, data.residual)
    return Compensation(chosen, method, _relative(layer, variance + mean * mean, data))
