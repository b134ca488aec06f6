"""Draws output pixels of a layer, with the patches of codes that lead to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alwann_c.ir.spec import ConvSpec

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.intp]


def draw_pixels(images: int, spec: ConvSpec, limit: int, seed: int = 0) -> Pixels:
    """Indices [images, keep] of output pixels, the same number of distinct ones in every image;
    about `limit` in all."""
    pixels = spec.out_height * spec.out_width
    keep = min(pixels, max(1, limit // images))
    random = np.random.default_rng(seed)
    if keep == pixels:
        return np.tile(np.arange(pixels), (images, 1))
    return np.argsort(random.random((images, pixels)), axis=1)[:, :keep]


def patches_at(codes: Codes, spec: ConvSpec, chosen: Pixels) -> Codes:
    """Patches [rows, groups, K] of codes [b, h, w, c] (or the rows of a dense layer, those of an
    image together) at chosen pixels [b, keep]."""
    batch, group_width = len(chosen), spec.in_channels // spec.groups
    shaped = codes.reshape(batch, spec.height, spec.width, spec.in_channels)
    top, left, bottom, right = spec.padding
    margins = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(shaped, margins, constant_values=spec.zero_point & 255)
    image = np.repeat(np.arange(batch), chosen.shape[1])
    rows, columns = np.divmod(chosen.reshape(-1), spec.out_width)
    kh, kw = spec.kernel
    patches = np.empty((len(image), spec.groups, kh, kw, group_width), np.uint8)
    for i in range(kh):
        for j in range(kw):
            y = rows * spec.strides[0] + i * spec.dilation[0]
            x = columns * spec.strides[1] + j * spec.dilation[1]
            patches[:, :, i, j] = padded[image, y, x].reshape(-1, spec.groups, group_width)
    return patches.reshape(len(image), spec.groups, spec.taps)


def targets_at(target: Float32, spec: ConvSpec, chosen: Pixels) -> Float32:
    """Rows [rows, n] of a layer's outputs [b, out_h, out_w, n] (or [..., n]) at chosen pixels."""
    flat = target.reshape(len(chosen), -1, spec.out_channels)
    taken = np.take_along_axis(flat, chosen[:, :, None], axis=1)
    return np.asarray(taken.reshape(-1, spec.out_channels))
