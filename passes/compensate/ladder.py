"""The compensation methods, a ladder of rungs, one layer at a time.

- `none`: the multiplier alone.
- `alwann`: the paper's weight mapping (arXiv 1907.07229).
- `histogram`: the same mapping weighted by the layer's activation histogram.
- `variance`: per tap the code with the least variance of the error under the tap's histogram.
- `analytic`: and the mean error that the taps' histograms foretell subtracted.
- `bias`: the mean error of every channel on the images subtracted instead.
- `scale`: and the slope of least squares, where held-back images gain by it.
- `feed`: the codes of a filter chosen one after the other, each making up for the errors before it;
  corrected likewise.
- `joint`: and the codes of a filter chosen together against the layer's real inputs.
- `coding`: and scale and zero point of every filter chosen for the table.
- `full`: of all tunings, in the layer's own coding and in the one chosen, for every channel the best
  on calibration images they were not fitted on, with scale and bias corrected.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from alwann_c.passes.approximate import uncompensated
from alwann_c.passes.compensate import tuning
from alwann_c.passes.compensate.data import LayerData, output_gap
from alwann_c.passes.compensate.fit import (
    Compensation,
    FitOptions,
    fit_layer,
    relative_error,
    with_weight,
)
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import MAX_BITS, Multiplier, code_pattern, narrowed

Method = Literal[
    "none",
    "alwann",
    "histogram",
    "variance",
    "analytic",
    "bias",
    "scale",
    "feed",
    "joint",
    "coding",
    "full",
]
METHODS: tuple[Method, ...] = get_args(Method)

RUNGS: dict[Method, FitOptions] = {
    "histogram": FitOptions(("histogram",), 0, "own", "none", keep_own=False),
    "variance": FitOptions(("variance",), 0, "own", "none", keep_own=False),
    "analytic": FitOptions(("variance",), 0, "own", "analytic", keep_own=False),
    "bias": FitOptions(("variance",), 0, "own", "bias", keep_own=False),
    "scale": FitOptions(("variance",), 0, "own", "scale", keep_own=False),
    "feed": FitOptions(("fed",), 0, "own", "scale", keep_own=False),
    "joint": FitOptions(("fed",), coding="own", keep_own=False),
    "coding": FitOptions(("fed",), keep_own=False),
    "full": FitOptions(),
}
"""Rungs that look at calibration images."""


def compensate_layer(
    layer: LayerCodes,
    multiplier: Multiplier,
    method: Method,
    data: LayerData,
    options: FitOptions | None = None,
) -> Compensation:
    """One layer on one multiplier; `options` instead of those of the rung. Deterministic; no
    labels.

    Exact multipliers are left alone whatever the method. Where weights have fewer bits than the
    multiplier, tuned codes have as few.
    """
    if multiplier.is_exact or layer.weight_bits == MAX_BITS:
        return _compensated(layer, multiplier, method, data, options)
    seen = narrowed(multiplier, layer.weight_bits)
    fitted = _compensated(layer, seen, method, data, options)
    made = fitted.approximation
    codes = code_pattern(layer.signed, layer.weight_bits)[made.weight]
    return replace(fitted, approximation=replace(made, multiplier=multiplier, weight=codes))


def _compensated(
    layer: LayerCodes,
    multiplier: Multiplier,
    method: Method,
    data: LayerData,
    options: FitOptions | None,
) -> Compensation:
    if method in RUNGS and not multiplier.is_exact:
        return fit_layer(layer, multiplier, data, options or RUNGS[method])
    chosen = uncompensated(layer, multiplier)
    if method == "alwann" and not multiplier.is_exact:
        mapping = tuning.alwann_map(multiplier.table, signed=layer.signed)
        chosen = with_weight(layer, multiplier, tuning.apply_map(layer.weight, mapping))
    gap = output_gap(layer, chosen.weight, multiplier.table, data.choose, data.residual)
    error = relative_error(layer, gap.variance + gap.mean**2, data.variance)
    return Compensation(chosen, method, error)
