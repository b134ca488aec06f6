"""From what a tensor was seen to hold to the 8-bit code that stores it.

Estimators see a histogram, never labels:

- `minmax`: the whole range;
- `percentile`: the central 99.99 % of the values;
- `mse`: the range with the least mean squared rounding and clipping error;
- `kl`: the range whose coded histogram diverges least from the measured one (S. Migacz, 8-bit
  Inference with TensorRT, GTC 2017);
- `noise`: `mse` with the rounding error counted `NOISE` times. The error of an approximate
  multiplier is a number of product units, worth `s_x * s_w` each, so that it grows with the step s_x
  just as rounding does, but is larger: with s the step and x_c the clipped value,

      minimise  E[(x_c - x)^2] + NOISE * s^2 / 12.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from alwann_c.ir.spec import Quantization

Estimator = Literal["noise", "mse", "kl", "percentile", "minmax"]
BINS = 4096
PERCENTILE = 99.99
NOISE = 40.0
"""Error of a multiplier in units of rounding errors; what the estimator was found good for is in
`docs/compensation.md`."""


@dataclass
class Observation:
    """Histogram of a tensor over [low, high], filled in two passes over the images."""

    low: float = np.inf
    high: float = -np.inf
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def see_range(self, values: npt.NDArray[np.float32]) -> None:
        """First pass: extends the range."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def see_values(self, values: npt.NDArray[np.float32]) -> None:
        """Second pass: counts the values."""
        if self.high > self.low:
            counted, _ = np.histogram(values, BINS, (self.low, self.high))
            self.counts += counted

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """Middle of each bin."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        return (edges[:-1] + edges[1:]) / 2


@dataclass(frozen=True)
class CodeFormat:
    """The codes a tensor may have.

    Attributes:
        signed: two's complement codes, else 0 and above.
        bits: their width, 2 to 8.
        symmetric: the zero point of signed codes is 0: after a ReLU they are 0..127, unsigned codes
            of 7 bits. Otherwise it is where the range wants it, as that of unsigned codes.
    """

    signed: bool = False
    bits: int = 8
    symmetric: bool = True

    @property
    def low(self) -> int:
        """Least code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Greatest code."""
        return self.low + (1 << self.bits) - 1

    def ends(self, code: Quantization) -> tuple[float, float]:
        """Least and greatest value of a code in this format."""
        low, high = ((end - code.zero_point) * code.scale for end in (self.low, self.high))
        return low, high


def affine_code(low: float, high: float, form: CodeFormat) -> Quantization:
    """The code of [low, high] extended to hold zero exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    if form.signed and form.symmetric:
        peak = max(-low, high)
        return Quantization(float(np.float32(peak / form.high)) or 1.0, 0, True)
    scale = float(np.float32((high - low) / (form.high - form.low))) or 1.0
    zero_point = int(np.clip(np.rint(-low / scale) + form.low, form.low, form.high))
    return Quantization(scale, zero_point, form.signed)


def _coded(
    centers: npt.NDArray[np.float64], code: Quantization, form: CodeFormat
) -> npt.NDArray[np.float64]:
    """Values after quantization."""
    steps = np.clip(np.rint(centers / code.scale) + code.zero_point, form.low, form.high)
    return np.asarray((steps - code.zero_point) * code.scale)


def _rounding_error(observation: Observation, code: Quantization, form: CodeFormat) -> float:
    error = _coded(observation.centers, code, form) - observation.centers
    return float(np.dot(observation.counts, error * error))


def _noise_error(observation: Observation, code: Quantization, form: CodeFormat) -> float:
    low, high = form.ends(code)
    clipped = np.clip(observation.centers, low, high) - observation.centers
    rounding = observation.counts.sum() * code.scale**2 / 12
    return float(np.dot(observation.counts, clipped * clipped) + NOISE * rounding)


def _divergence(observation: Observation, code: Quantization, form: CodeFormat) -> float:
    """KL divergence of the coded histogram from the measured one, whose clipped values count as
    the outermost ones kept. Codes spread their values evenly over the bins that were seen."""
    centers = observation.centers
    low, high = form.ends(code)
    kept = np.flatnonzero((observation.counts > 0) & (centers >= low) & (centers <= high))
    if len(kept) == 0:
        return np.inf
    counts = observation.counts[kept].astype(np.float64)
    _, place = np.unique(_coded(centers[kept], code, form), return_inverse=True)
    coded = (np.bincount(place, counts) / np.bincount(place))[place]
    measured = counts.copy()
    measured[0] += observation.counts[: kept[0]].sum()
    measured[-1] += observation.counts[kept[-1] + 1 :].sum()
    measured, coded = measured / measured.sum(), coded / coded.sum()
    return float(np.dot(measured, np.log(measured / coded)))


_CRITERIA = {"mse": _rounding_error, "noise": _noise_error, "kl": _divergence}


def _best_range(
    observation: Observation, estimator: Estimator, form: CodeFormat
) -> tuple[float, float]:
    """The measured range, scaled by what is best for a criterion."""
    best, chosen = np.inf, (observation.low, observation.high)
    for keep in np.linspace(1.0, 0.15, 86):
        low, high = observation.low * keep, observation.high * keep
        error = _CRITERIA[estimator](observation, affine_code(low, high, form), form)
        if error < best:
            best, chosen = error, (low, high)
    return chosen


def estimate(observation: Observation, estimator: Estimator, form: CodeFormat) -> Quantization:
    """Code of a tensor from its histogram."""
    low, high = observation.low, observation.high
    if estimator == "percentile" and observation.counts.sum() > 0:
        share = np.cumsum(observation.counts) / observation.counts.sum()
        tail = (1 - PERCENTILE / 100) / 2
        first, last = np.searchsorted(share, tail), np.searchsorted(share, 1 - tail)
        low, high = observation.centers[first], observation.centers[min(int(last), BINS - 1)]
    elif estimator in _CRITERIA and observation.counts.sum() > 0:
        low, high = _best_range(observation, estimator, form)
    return affine_code(float(low), float(high), form)
