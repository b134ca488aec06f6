"""Histograms of the activation codes a layer's taps see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alwann_c.ir.reference import im2col
from alwann_c.ir.spec import ConvSpec

Codes = npt.NDArray[np.uint8]


def patch_rows(codes: Codes, spec: ConvSpec, limit: int, seed: int = 0) -> Codes:
    """At most `limit` patches [rows, groups, K] of a layer's input, evenly drawn over images."""
    shaped = codes.reshape(len(codes), spec.height, spec.width, spec.in_channels)
    per_image = spec.out_height * spec.out_width
    keep = max(1, -(-limit // len(shaped)))
    picker = np.random.default_rng(seed)
    rows = []
    for start in range(0, len(shaped), 16):
        patches = im2col(shaped[start : start + 16], spec)
        flat = patches.reshape(len(patches), per_image, spec.groups, -1)
        if keep < per_image:
            flat = flat[:, np.sort(picker.choice(per_image, keep, replace=False))]
        rows.append(flat.reshape(-1, spec.groups, spec.taps))
    return np.concatenate(rows)[:limit]


def tap_histograms(patches: Codes) -> npt.NDArray[np.float64]:
    """Probability of each code at each tap: [groups, K, 256] from patches [rows, groups, K]."""
    rows, groups, taps = patches.shape
    flat = patches.reshape(rows, -1)
    keys = np.arange(groups * taps, dtype=np.int64) * 256 + flat
    counts = np.bincount(keys.reshape(-1), minlength=groups * taps * 256)
    return np.asarray(counts.reshape(groups, taps, 256) / rows)
