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
from alwann_c.passes.compensate.data import LayerData
from alwann_c.passes.compensate.joint import reconstruct
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier

Method = Literal["none", "alwann", "full"]
METHODS: tuple[Method, ...] = get_args(Method)

Codes = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Compensation:
    """A fitted layer, the tuning that won, and its mean squared error on held-back images."""

    approximation: LayerApproximation
    tuning: str
    error: float


def with_weight(layer: LayerCodes, multiplier: Multiplier, weight: Codes) -> LayerApproximation:
    """The layer on `multiplier` with tuned codes and its original bias."""
    codes = weight.reshape(layer.weight.shape)
    return LayerApproximation(multiplier, codes, layer.offset(), layer.scale)


def _gap(candidate: LayerApproximation, data: LayerData, images: slice) -> Float64:
    """target - output on some of the images, [rows, n]."""
    output = data.run(data.codes[images], candidate)
    target = data.target[images].reshape(output.shape)
    gap = np.subtract(target, output, dtype=np.float64)
    return gap.reshape(-1, gap.shape[-1])


def bias_corrected(
    layer: LayerCodes, candidate: LayerApproximation, data: LayerData
) -> LayerApproximation:
    """Empirical bias correction: removes the mean output error of every channel.

    `correction[n] = round(mean(target[n] - y[n]) / scale[n])`, the mean over images and pixels.
    """
    mean = _gap(candidate, data, data.fit).mean(axis=0)
    correction = np.clip(np.rint(mean / candidate.scale), -(2**30), 2**30).astype(np.int32)
    return LayerApproximation(
        candidate.multiplier, candidate.weight, layer.offset(correction), candidate.scale
    )


def output_error(candidate: LayerApproximation, data: LayerData) -> float:
    """Mean squared output error on the held-back images."""
    return float(np.mean(_gap(candidate, data, data.choose) ** 2))


def _spread(candidate: LayerApproximation, data: LayerData) -> float:
    """Mean over channels of the output error's variance on the held-back images: the error that
    is left once a bias has removed the mean."""
    return float(_gap(candidate, data, data.choose).var(axis=0).mean())


def simple_tunings(layer: LayerCodes, multiplier: Multiplier, data: LayerData) -> dict[str, Codes]:
    """Tuned weights by criterion; see `alwann_c.passes.compensate.tuning`."""
    spec, signed, table = layer.spec, layer.signed, multiplier.table
    overall = data.histograms.mean(axis=(0, 1))
    mapping = tuning.absolute_error_map(table, overall, signed=signed)
    found = {"original": layer.weight, "histogram": tuning.apply_map(layer.weight, mapping)}
    columns = layer.weight.reshape(spec.taps, spec.groups, -1)
    pairs = [
        tuning.moment_codes(columns[:, g], table, data.histograms[g], signed=signed)
        for g in range(spec.groups)
    ]
    for i, name in enumerate(("squared", "variance")):
        stacked = np.stack([pair[i] for pair in pairs], axis=1)
        found[name] = stacked.reshape(layer.weight.shape)
    return found


def fit_layer(
    layer: LayerCodes, multiplier: Multiplier, data: LayerData, *, joint: bool = True
) -> Compensation:
    """`full` compensation of one layer; `joint=False` leaves reconstruction out."""

    def judged(codes: Codes) -> float:
        return _spread(with_weight(layer, multiplier, codes), data)

    tunings = simple_tunings(layer, multiplier, data)
    spreads = {name: judged(codes) for name, codes in tunings.items()}
    best = min(spreads, key=lambda name: spreads[name])
    if joint:
        tunings["joint"] = reconstruct(layer, multiplier.table, data, tunings[best])
        if judged(tunings["joint"]) < spreads[best]:
            best = "joint"
    fitted = bias_corrected(layer, with_weight(layer, multiplier, tunings[best]), data)
    return Compensation(fitted, best, output_error(fitted, data))


def compensate_layer(
    layer: LayerCodes, multiplier: Multiplier, method: Method, data: LayerData
) -> Compensation:
    """One layer on one multiplier. Deterministic; no labels.

    Exact multipliers are left alone whatever the method.
    """
    if method == "full" and not multiplier.is_exact:
        return fit_layer(layer, multiplier, data)
    chosen = uncompensated(layer, multiplier)
    if method == "alwann" and not multiplier.is_exact:
        mapping = tuning.alwann_map(multiplier.table, signed=layer.signed)
        chosen = with_weight(layer, multiplier, tuning.apply_map(layer.weight, mapping))
    return Compensation(chosen, method, output_error(chosen, data))
