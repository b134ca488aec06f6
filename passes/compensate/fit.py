"""Fits one layer on one multiplier: tunings, codings and corrections compete on held-back rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from alwann_c.ir.reference import code_values
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.passes.compensate import tuning
from alwann_c.passes.compensate.coding import table_aware_coding
from alwann_c.passes.compensate.data import (
    Gap,
    LayerData,
    Rows,
    group_codes,
    group_slice,
    output_gap,
)
from alwann_c.passes.compensate.joint import feed_errors, reconstruct
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier, operand_values

Tuning = Literal["original", "histogram", "squared", "variance", "fed"]
TUNINGS: tuple[Tuning, ...] = get_args(Tuning)

Coding = Literal["own", "per-tensor", "per-channel"]
"""Which weight scales and zero points may change for a table: none, one for all channels, one for
each."""

Correction = Literal["none", "analytic", "bias", "scale"]
"""What is corrected after the tuning: the bias by the taps' histograms, the bias by the outputs, or
scale and bias."""

Codes = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FitOptions:
    """What a fit may do.

    `tunings` compete; the best one is where joint reconstruction starts, with `sweeps` passes over
    the taps (0 for none). `keep_own`: where `coding` is not the layer's own, the tunings in its own
    coding compete too (without joint reconstruction, which then rarely wins).
    """

    tunings: tuple[Tuning, ...] = TUNINGS
    sweeps: int = 6
    coding: Coding = "per-channel"
    correction: Correction = "scale"
    keep_own: bool = True


@dataclass(frozen=True, eq=False)
class Compensation:
    """A fitted layer, the tuning that won on most channels, and its error on held-back rows.

    `error` is the mean squared output error relative to the variance of the wanted output.
    """

    approximation: LayerApproximation
    tuning: str
    error: float


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Tuned weights in a coding; `spread` [n]: variance of the output error on held-back rows."""

    tuning: str
    layer: LayerCodes
    weight: Codes
    spread: Float64


def with_weight(
    layer: LayerCodes,
    multiplier: Multiplier,
    weight: Codes,
    correction: npt.NDArray[np.int32] | None = None,
) -> LayerApproximation:
    """The layer on `multiplier` with tuned codes, its bias shifted by `correction` [n]."""
    codes = weight.reshape(layer.weight.shape)
    return LayerApproximation(layer, multiplier, codes, layer.offset(correction), layer.scale)


def relative_error(layer: LayerCodes, squares: Float64, variance: float) -> float:
    """Mean of squared accumulator errors [n], in output units, relative to the output variance."""
    return float(np.mean(squares * layer.scale.astype(np.float64) ** 2)) / variance


def corrections(
    fit: Gap, choose: Gap, correction: Correction
) -> tuple[Float64, npt.NDArray[np.int32]]:
    """Factor of the scale and shift of the accumulator, [n] each, see `_corrected`."""
    slope = fit.slope() if correction == "scale" else np.ones_like(fit.mean)
    slope = np.where(choose.scaled_variance(slope) < choose.variance, slope, 1.0)
    mean = fit.wanted_mean / slope - (fit.wanted_mean - fit.mean)
    return slope, np.clip(np.rint(mean), -(2**30), 2**30).astype(np.int32)


def analytic_shift(
    layer: LayerCodes, weight: Codes, multiplier: Multiplier, histograms: Float64
) -> npt.NDArray[np.int32]:
    """The mean error of every accumulator [n] by the histograms of the taps [groups, K, 256] alone:

        shift[n] = -round(sum_k sum_a h[k, a] (M(a, c[k, n]) - a w[k, n]))

    with w the layer's own weights and c the tuned ones; what layers before it do wrong beyond the
    histograms is not seen.
    """
    signed, values = layer.signed, operand_values(signed=layer.signed).astype(np.float64)
    shift = np.empty(layer.spec.out_channels)
    for g in range(layer.spec.groups):
        mean = histograms[g] @ multiplier.table.astype(np.float64)  # [K, c]
        produced = np.take_along_axis(mean, group_codes(layer, weight, g).astype(np.intp), axis=1)
        own = code_values(group_codes(layer, layer.weight, g), signed)
        wanted = (histograms[g] @ values)[:, None] * own
        shift[group_slice(layer, g)] = (wanted - produced).sum(axis=0)
    return np.rint(shift).astype(np.int32)


def simple_tunings(
    layer: LayerCodes,
    multiplier: Multiplier,
    data: LayerData,
    wanted: Sequence[Tuning] = TUNINGS,
) -> dict[str, Codes]:
    """Tuned weights by criterion, see `alwann_c.passes.compensate.tuning` and `joint`."""
    spec, signed, table = layer.spec, layer.signed, multiplier.table
    found: dict[str, Codes] = {}
    if "original" in wanted:
        found["original"] = layer.weight
    if "histogram" in wanted:
        overall = data.fit.histograms.mean(axis=(0, 1))
        mapping = tuning.absolute_error_map(table, overall, signed=signed)
        found["histogram"] = tuning.apply_map(layer.weight, mapping)
    if "fed" in wanted:
        found["fed"] = feed_errors(layer, table, data)
    moments: tuple[Tuning, ...] = ("squared", "variance")
    if not set(moments) & set(wanted):
        return found
    pairs = [
        tuning.moment_codes(
            group_codes(layer, layer.weight, g), table, data.fit.histograms[g], signed=signed
        )
        for g in range(spec.groups)
    ]
    for i, name in enumerate(moments):
        if name in wanted:
            stacked = np.stack([pair[i] for pair in pairs], axis=1)
            found[name] = stacked.reshape(layer.weight.shape)
    return found


def _candidates(
    layer: LayerCodes, multiplier: Multiplier, data: LayerData, options: FitOptions
) -> list[_Candidate]:
    """Every tuning in one coding. The mean of the error is left to the bias correction."""

    def candidate(name: str, codes: Codes) -> _Candidate:
        gap = output_gap(layer, codes, multiplier.table, data.choose, data.residual)
        return _Candidate(name, layer, codes, gap.variance * layer.scale.astype(np.float64) ** 2)

    tunings = simple_tunings(layer, multiplier, data, options.tunings)
    found = [candidate(name, codes) for name, codes in tunings.items()]
    if options.sweeps > 0:
        start = _assembled(found).weight
        joint = reconstruct(layer, multiplier.table, data, start, sweeps=options.sweeps)
        found.append(candidate("joint", joint))
    return found


def _assembled(candidates: Sequence[_Candidate]) -> _Candidate:
    """Of every channel the best candidate; the first one of equals."""
    best = np.stack([c.spread for c in candidates]).argmin(axis=0)
    channels = np.arange(len(best))

    def taken(part: Callable[[_Candidate], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        stacked = np.stack([part(c) for c in candidates])
        return np.ascontiguousarray(np.moveaxis(stacked[best, ..., channels], 0, -1))

    layer = replace(
        candidates[0].layer,
        weight=taken(lambda c: c.layer.weight),
        weight_zero_point=taken(lambda c: c.layer.weight_zero_point),
        weight_scale=taken(lambda c: c.layer.weight_scale),
        bias=taken(lambda c: c.layer.bias),
    )
    most = candidates[int(np.bincount(best).argmax())].tuning
    return _Candidate(most, layer, taken(lambda c: c.weight), taken(lambda c: c.spread))


def _corrected(
    best: _Candidate, multiplier: Multiplier, data: LayerData, correction: Correction
) -> Compensation:
    """Corrects scale and bias, the bias alone (alpha = 1; `analytic_shift` for the one by
    histograms), or nothing.

        scale'[n] = alpha * scale[n],  alpha = cov(wanted, produced) / var(produced)
        correction[n] = round(mean(wanted) / alpha - mean(produced))   in accumulator units

    alpha, the slope of least squares on the rows to fit, is kept on the channels where it lessens
    the error on held-back rows, and is 1 on the others.
    """

    def gap_on(rows: Rows) -> Gap:
        return output_gap(best.layer, best.weight, multiplier.table, rows, data.residual)

    choose = gap_on(data.choose)
    if correction in ("none", "analytic"):
        shift = np.zeros(len(choose.mean), np.int32)
        if correction == "analytic":
            histograms = data.fit.histograms
            shift = analytic_shift(best.layer, best.weight, multiplier, histograms)
        squares = choose.variance + (choose.mean - shift) ** 2
        error = relative_error(best.layer, squares, data.variance)
        made = with_weight(best.layer, multiplier, best.weight, shift)
        return Compensation(made, best.tuning, error)
    slope, shift = corrections(gap_on(data.fit), choose, correction)
    fitted = with_weight(best.layer, multiplier, best.weight, shift)
    fitted = replace(fitted, scale=(fitted.scale * slope).astype(np.float32))
    error = relative_error(best.layer, choose.scaled_variance(slope), data.variance)
    return Compensation(fitted, best.tuning, error)


def fit_layer(
    layer: LayerCodes, multiplier: Multiplier, data: LayerData, options: FitOptions
) -> Compensation:
    """The compensation of one layer.

    Tunings and codings compete, channel by channel, by the variance of the output error on rows
    they were not fitted on. The correction comes last.
    """
    candidates = []
    if options.coding == "own":
        candidates += _candidates(layer, multiplier, data, options)
    elif options.keep_own:
        candidates += _candidates(layer, multiplier, data, replace(options, sweeps=0))
    if options.coding != "own":
        per_channel = options.coding == "per-channel"
        coded = table_aware_coding(layer, multiplier, data.fit.histograms, per_channel=per_channel)
        recoded = _candidates(coded, multiplier, data, options)
        if options.coding == "per-tensor" and candidates:
            own, other = _assembled(candidates), _assembled(recoded)
            candidates = recoded if other.spread.sum() < own.spread.sum() else candidates
        else:
            candidates += recoded
    best = _assembled(candidates)
    return _corrected(best, multiplier, data, options.correction)
