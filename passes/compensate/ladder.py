"""The compensation methods, one layer at a time.

- `none`: the multiplier alone.
- `alwann`: the paper's weight mapping.
- `full`: the tuning criterion (absolute, squared or variance) with the smallest output error on
  calibration images it was not fitted on, each with an empirical bias correction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from alwann_c.passes.approximate import LayerApproximation, uncompensated
from alwann_c.passes.compensate import tuning
from alwann_c.passes.compensate.histograms import patch_rows, tap_histograms
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier

Method = Literal["none", "alwann", "full"]
METHODS: tuple[Method, ...] = get_args(Method)

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

HISTOGRAM_ROWS = 32_768


@dataclass(frozen=True, eq=False)
class LayerData:
    """What a layer sees on calibration images, and what it should give.

    `codes`: its input codes [b, h, w, c] (or [b, k]), upstream approximation included.
    `target`: the float network's output of the layer [b, out_h, out_w, n] on the same images.
    `run`: computes `scale * acc` [b, out_h, out_w, n] of an approximation on given codes.
    `held_back`: how many of the images, at the end, are kept for choosing, not for fitting.
    """

    codes: Codes
    target: Float32
    run: Callable[[Codes, LayerApproximation], Float32]
    held_back: int

    @property
    def fit(self) -> slice:
        """Images to fit on."""
        return slice(0, len(self.codes) - self.held_back)

    @property
    def choose(self) -> slice:
        """Images to choose on."""
        return slice(len(self.codes) - self.held_back, len(self.codes))


def with_weight(layer: LayerCodes, multiplier: Multiplier, weight: Codes) -> LayerApproximation:
    """The layer on `multiplier` with tuned codes and its original bias."""
    return LayerApproximation(
        multiplier, weight.reshape(layer.weight.shape), layer.offset(), layer.scale
    )


def bias_corrected(
    layer: LayerCodes, candidate: LayerApproximation, data: LayerData
) -> LayerApproximation:
    """Empirical bias correction: subtracts the mean output error of every channel.

    `correction[n] = round(mean(target[n] - y[n]) / scale[n])`, the mean over images and pixels.
    """
    output = data.run(data.codes[data.fit], candidate)
    gap = data.target[data.fit].astype(np.float64).reshape(output.shape) - output
    mean = gap.reshape(-1, gap.shape[-1]).mean(axis=0)
    correction = np.clip(np.rint(mean / candidate.scale), -(2**30), 2**30).astype(np.int32)
    return LayerApproximation(
        candidate.multiplier, candidate.weight, layer.offset(correction), candidate.scale
    )


def output_error(candidate: LayerApproximation, data: LayerData) -> float:
    """Mean squared output error on the held-back images."""
    output = data.run(data.codes[data.choose], candidate)
    gap = data.target[data.choose].astype(np.float64).reshape(output.shape) - output
    return float(np.mean(gap * gap))


def tuned_candidates(
    layer: LayerCodes, multiplier: Multiplier, data: LayerData
) -> dict[str, LayerApproximation]:
    """Weight tunings by name, none of them bias-corrected yet."""
    spec, signed, table = layer.spec, layer.signed, multiplier.table
    patches = patch_rows(data.codes[data.fit], spec, HISTOGRAM_ROWS)
    histograms = tap_histograms(patches)
    overall = histograms.mean(axis=(0, 1))
    candidates = {"original": layer.weight}
    mapping = tuning.absolute_error_map(table, overall, signed=signed)
    candidates["histogram"] = tuning.apply_map(layer.weight, mapping)
    for name, remove_mean in (("squared", False), ("variance", True)):
        columns = layer.weight.reshape(spec.taps, spec.groups, -1)
        tuned = np.stack(
            [
                tuning.moment_codes(
                    columns[:, g], table, histograms[g], signed=signed, remove_mean=remove_mean
                )
                for g in range(spec.groups)
            ],
            axis=1,
        )
        candidates[name] = tuned.reshape(layer.weight.shape)
    return {name: with_weight(layer, multiplier, codes) for name, codes in candidates.items()}


def compensate_layer(
    layer: LayerCodes, multiplier: Multiplier, method: Method, data: LayerData | None
) -> LayerApproximation:
    """One layer on one multiplier. `data` is needed by `full` only. Deterministic; no labels."""
    plain = uncompensated(layer, multiplier)
    if method == "none" or multiplier.is_exact:
        return plain
    if method == "alwann":
        mapping = tuning.alwann_map(multiplier.table, signed=layer.signed)
        return with_weight(layer, multiplier, tuning.apply_map(layer.weight, mapping))
    assert data is not None
    tuned = tuned_candidates(layer, multiplier, data)
    corrected = [bias_corrected(layer, candidate, data) for candidate in tuned.values()]
    return min(corrected, key=lambda candidate: output_error(candidate, data))
