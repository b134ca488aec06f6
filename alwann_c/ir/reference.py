"""Numpy definition of the integer operators: the oracle every kernel is compared with, bit for bit.

The arithmetic (M is the product table, row = activation code, column = weight code, t(w) the
tuned weight code):

    acc[n] = sum_k M(q_x[k], t(q_w[k, n])) - z_w[n] * sum_k q_x[k] + offset[n]

`offset` gathers everything that does not depend on the activations, see `accumulator_offset`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization

Codes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


def code_values(codes: Codes, signed: bool) -> Int32:
    """Integer values of uint8 bit patterns (two's complement when `signed`)."""
    return (codes.view(np.int8) if signed else codes).astype(np.int32)


def quantize(x: Float32, code: Quantization) -> Codes:
    """`clamp(round_half_even(x / scale) + zero_point)`, in float32, as uint8 bit patterns."""
    steps = np.rint(x / np.float32(code.scale)) + np.float32(code.zero_point)
    clamped = np.clip(steps, np.float32(code.low), np.float32(code.high)).astype(np.int16)
    return np.asarray(clamped.astype(np.int8).view(np.uint8) if code.signed else clamped, np.uint8)


def dequantize(codes: Codes, code: Quantization) -> Float32:
    """`scale * (code - zero_point)`, one float32 rounding."""
    steps = code_values(codes, code.signed) - np.int32(code.zero_point)
    return np.float32(code.scale) * steps.astype(np.float32)


def accumulator_offset(
    weight: Codes, zero_point: int, weight_zero_point: Int32, bias: Int32, signed: bool
) -> Int32:
    """Activation-independent part of the accumulator, from the ORIGINAL weight codes [..., n].

    `offset[n] = K * z_x * z_w[n] - z_x * sum_k q_w[k, n] + b[n]`
    """
    columns = code_values(weight, signed).reshape(-1, weight.shape[-1]).astype(np.int64)
    taps = columns.shape[0]
    total = (
        taps * zero_point * weight_zero_point.astype(np.int64)
        - zero_point * columns.sum(axis=0)
        + bias.astype(np.int64)
    )
    return np.asarray(np.clip(total, -(2**31), 2**31 - 1), np.int32)


def im2col(x: Codes, spec: ConvSpec) -> Codes:
    """Patches [batch, out_height, out_width, groups, K] of NHWC codes, padding = zero point."""
    top, left, bottom, right = spec.padding
    pad_code = np.array(spec.zero_point).astype(np.int8 if spec.signed else np.uint8).view(np.uint8)
    padded = np.pad(
        x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=pad_code.item()
    )
    kh, kw = spec.kernel
    rows = np.arange(spec.out_height) * spec.strides[0]
    cols = np.arange(spec.out_width) * spec.strides[1]
    batch, group_width = x.shape[0], spec.in_channels // spec.groups
    shape = (batch, spec.out_height, spec.out_width, spec.groups, kh, kw, group_width)
    patches = np.empty(shape, np.uint8)
    for i in range(kh):
        for j in range(kw):
            taken = padded[:, rows + i * spec.dilation[0]][:, :, cols + j * spec.dilation[1]]
            patches[:, :, :, :, i, j] = taken.reshape(*shape[:4], group_width)
    return patches.reshape(batch, spec.out_height, spec.out_width, spec.groups, -1)


def accumulate(
    x: Codes, weight: Codes, table: Int32, weight_zero_point: Int32, offset: Int32, spec: ConvSpec
) -> Int32:
    """Accumulators [batch, out_height, out_width, n] of a convolution on codes."""
    patches = im2col(x, spec)
    per_group = spec.out_channels // spec.groups
    columns = weight.reshape(-1, spec.groups, per_group)  # [K, group, n]
    values = code_values(patches, spec.signed)
    acc = np.empty((*patches.shape[:3], spec.groups, per_group), np.int64)
    for g in range(spec.groups):
        total = np.zeros((*patches.shape[:3], per_group), np.int64)
        for k in range(spec.taps):
            total += table[patches[..., g, k, None], columns[k, g]]
        zero_points = weight_zero_point.reshape(spec.groups, per_group)[g].astype(np.int64)
        acc[..., g, :] = total - zero_points * values[..., g, :].sum(-1, dtype=np.int64)[..., None]
    flat = acc.reshape(*patches.shape[:3], spec.out_channels) + offset.astype(np.int64)
    return flat.astype(np.int32)


def apply_epilogue(
    acc: Int32, scale: Float32, residual: Float32 | Codes | None, epilogue: Epilogue
) -> Float32 | Codes:
    """Scale, residual, activation and output quantization; see `Epilogue`."""
    y = acc.astype(np.float32) * scale.astype(np.float32)
    if residual is not None:
        if epilogue.residual_code is not None:
            residual = dequantize(residual.astype(np.uint8), epilogue.residual_code)
        y = y + residual.astype(np.float32)
    if epilogue.activation == "relu":
        y = np.maximum(y, np.float32(0))
    elif epilogue.activation == "clip":
        y = np.minimum(np.maximum(y, np.float32(epilogue.clip_min)), np.float32(epilogue.clip_max))
    return y if epilogue.output is None else quantize(y, epilogue.output)


def conv2d(
    x: Codes,
    weight: Codes,
    table: Int32,
    weight_zero_point: Int32,
    offset: Int32,
    scale: Float32,
    residual: Float32 | Codes | None,
    spec: ConvSpec,
) -> Float32 | Codes:
    """`alwann.conv2d`: x [b, h, w, c] uint8, weight [kh, kw, c/groups, n] uint8 (tuned codes),
    table [256, 256] int32, weight_zero_point/offset [n] int32, scale [n] float32."""
    acc = accumulate(x, weight, table, weight_zero_point, offset, spec)
    return apply_epilogue(acc, scale, residual, spec.epilogue)


def accumulate_product(
    a: Codes,
    b: Codes,
    table: Int32,
    zero_point: int,
    other_zero_point: int,
    offset: Int32,
    *,
    signed: bool,
) -> Int32:
    """Accumulators [..., m, n] of a product of activations: a [..., m, k] uint8, b [..., k, n].

    acc = sum_k M(a, b) - z_b * sum_k a - z_a * sum_k b + k * z_a * z_b + offset
    """
    taps = a.shape[-1]
    left = code_values(a, signed).astype(np.int64).sum(-1)[..., :, None]
    right = code_values(b, signed).astype(np.int64).sum(-2)[..., None, :]
    total = taps * zero_point * other_zero_point - other_zero_point * left - zero_point * right
    for k in range(taps):
        total = total + table[a[..., :, k, None], b[..., k, None, :]]
    return np.asarray(total + offset.astype(np.int64)).astype(np.int32)


def matmul(
    a: Codes,
    b: Codes,
    table: Int32,
    other_zero_point: Int32,
    offset: Int32,
    scale: Float32,
    spec: ConvSpec,
) -> Float32:
    """`alwann.matmul`: a [..., m, k] and b [..., k, n] uint8, table [256, 256] int32,
    other_zero_point (of b) and offset [1] int32, scale [1] float32; float32 [..., m, n]."""
    acc = accumulate_product(
        a, b, table, spec.zero_point, int(other_zero_point[0]), offset, signed=spec.signed
    )
    return np.asarray(acc.astype(np.float32) * scale.astype(np.float32))
