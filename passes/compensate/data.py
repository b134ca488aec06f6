"""What a layer sees on calibration images, and what it should give: all that fitting may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alwann_c.ir.reference import im2col
from alwann_c.ir.spec import ConvSpec
from alwann_c.passes.approximate import LayerApproximation

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

MAX_ROWS = 65_536
ROW_BUDGET = 1 << 21
"""Rows times output channels of the residual that reconstruction keeps in memory."""


class TapResidual(Protocol):
    """The residual of a layer under reconstruction, kept where passes over it are fast.

    Made from the patches' codes column by column, [K, rows], and the residual [rows, n].
    """

    def step(self, previous: int, change: Float32, following: int) -> Float32:
        """One pass: finish one tap, measure the next. With x[k, r] the code of tap k in row r,

            residual[r, :] -= change[x[previous, r], :]
            sums[a, :] = sum of residual[r, :] over the rows with x[following, r] == a

        change, sums: float32 [256, n].
        """

    def center(self) -> None:
        """Removes every column's mean."""


ResidualFactory = Callable[[Codes, Float32], TapResidual]


@dataclass(frozen=True, eq=False)
class LayerData:
    """Calibration data of one layer.

    `codes`: its input codes [b, h, w, c] (or [b, k]), upstream approximation included.
    `target`: the float network's output of the layer [b, out_h, out_w, n] on the same images.
    `run`: computes `scale * acc` [b, out_h, out_w, n] of an approximation on given codes.
    `residual`: makes a `TapResidual`.
    `held_back`: how many of the images, at the end, are kept for choosing, not for fitting.
    """

    spec: ConvSpec
    codes: Codes
    target: Float32
    run: Callable[[Codes, LayerApproximation], Float32]
    residual: ResidualFactory
    held_back: int

    @property
    def fit(self) -> slice:
        """Images to fit on."""
        return slice(0, len(self.codes) - self.held_back)

    @property
    def choose(self) -> slice:
        """Images to choose on."""
        return slice(len(self.codes) - self.held_back, len(self.codes))

    @cached_property
    def rows(self) -> tuple[Codes, Float32]:
        """Sampled patches [rows, groups, K] of the fit images and their targets [rows, n]."""
        limit = min(MAX_ROWS, max(8192, ROW_BUDGET // self.spec.out_channels))
        return sample_rows(self.codes[self.fit], self.target[self.fit], self.spec, limit)

    @cached_property
    def histograms(self) -> Float64:
        """Probability of each code at each tap, [groups, K, 256]."""
        return tap_histograms(self.rows[0])


def sample_rows(
    codes: Codes, target: Float32, spec: ConvSpec, limit: int, seed: int = 0
) -> tuple[Codes, Float32]:
    """At most `limit` output pixels, drawn evenly over the images: patches and targets."""
    shaped = codes.reshape(len(codes), spec.height, spec.width, spec.in_channels)
    pixels = spec.out_height * spec.out_width
    wanted = target.reshape(len(codes), pixels, spec.out_channels)
    keep = min(pixels, max(1, limit // len(shaped)))
    picker = np.random.default_rng(seed)
    patches, targets = [], []
    for start in range(0, len(shaped), 16):
        block = im2col(shaped[start : start + 16], spec)
        flat = block.reshape(len(block), pixels, spec.groups, spec.taps)
        chosen = np.sort(picker.choice(pixels, keep, replace=False))
        patches.append(flat[:, chosen].reshape(-1, spec.groups, spec.taps))
        targets.append(wanted[start : start + 16, chosen].reshape(-1, spec.out_channels))
    return np.concatenate(patches)[:limit], np.concatenate(targets)[:limit]


def tap_histograms(patches: Codes) -> Float64:
    """Probability of each code at each tap: [groups, K, 256] from patches [rows, groups, K]."""
    rows, groups, taps = patches.shape
    flat = patches.reshape(rows, groups * taps)
    counts = np.stack([np.bincount(flat[:, k], minlength=256) for k in range(groups * taps)])
    return np.asarray(counts.reshape(groups, taps, 256) / rows)
