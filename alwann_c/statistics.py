"""Paired comparison of two classifiers on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Drop:
    """Accuracy lost against a reference on the same n images, with its standard error.

    The error is that of the mean of paired differences d in {-1, 0, 1}: sqrt(var(d) / n).
    """

    mean: float
    standard_error: float
    images: int

    @property
    def ci95(self) -> tuple[float, float]:
        """Normal-approximation 95 % interval."""
        half = 1.96 * self.standard_error
        return (self.mean - half, self.mean + half)

    def upper_bound(self, z: float) -> float:
        """Mean plus z standard errors."""
        return self.mean + z * self.standard_error


def paired_drop(reference: Bools, approximate: Bools) -> Drop:
    """Drop of `approximate` against `reference`, image by image.

    With Laplace-like smoothing of half an image on either side, so that two classifiers that agree
    on every image of a small sample do not claim certainty.
    """
    difference = reference.astype(np.float64) - approximate.astype(np.float64)
    images = len(difference)
    disagree = np.count_nonzero(difference) + 1.0
    mean = float(difference.mean())
    variance = max(disagree / images - mean * mean, 0.0)
    return Drop(mean, float(np.sqrt(variance / images)), images)
