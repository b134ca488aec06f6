"""From what a tensor was seen to hold to the 8-bit code that stores it.

Estimators see a histogram, never labels:

- `minmax`: the whole range;
- `percentile`: the central 99.99 % of the values;
- `mse`: the range with the least mean squared rounding and clipping error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from alwann_c.ir.spec import Quantization

Estimator = Literal["minmax", "percentile", "mse"]
BINS = 4096
PERCENTILE = 99.99


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


def affine_code(low: float, high: float, *, signed: bool) -> Quantization:
    """The code of [low, high] extended to hold zero exactly.

    Unsigned: asymmetric, 0..255. Signed: symmetric, -127..127 around zero.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if signed:
        peak = max(-low, high)
        return Quantization(float(np.float32(peak / 127.0)) or 1.0, 0, True)
    scale = float(np.float32((high - low) / 255.0)) or 1.0
    return Quantization(scale, int(np.clip(np.rint(-low / scale), 0, 255)), False)


def _rounding_error(observation: Observation, code: Quantization) -> float:
    centers = observation.centers
    steps = np.clip(np.rint(centers / code.scale) + code.zero_point, code.low, code.high)
    error = (steps - code.zero_point) * code.scale - centers
    return float(np.dot(observation.counts, error * error))


def _least_squares_range(observation: Observation, *, signed: bool) -> tuple[float, float]:
    best, chosen = np.inf, (observation.low, observation.high)
    for keep in np.linspace(1.0, 0.3, 71):
        low, high = observation.low * keep, observation.high * keep
        error = _rounding_error(observation, affine_code(low, high, signed=signed))
        if error < best:
            best, chosen = error, (low, high)
    return chosen


def estimate(observation: Observation, estimator: Estimator, *, signed: bool) -> Quantization:
    """Code of a tensor from its histogram."""
    low, high = observation.low, observation.high
    if estimator == "percentile" and observation.counts.sum() > 0:
        share = np.cumsum(observation.counts) / observation.counts.sum()
        tail = (1 - PERCENTILE / 100) / 2
        first, last = np.searchsorted(share, tail), np.searchsorted(share, 1 - tail)
        low, high = observation.centers[first], observation.centers[min(int(last), BINS - 1)]
    elif estimator == "mse" and observation.counts.sum() > 0:
        low, high = _least_squares_range(observation, signed=signed)
    return affine_code(float(low), float(high), signed=signed)
