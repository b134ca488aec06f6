"""Relay's convolutions and products, float and quantized."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.frontend.integers import Integer, Weight, spread, weight_of
from alwann_c.frontend.names import layer_stem
from alwann_c.frontend.relay_context import (
    Attributes,
    Constant,
    Context,
    Value,
    array,
    padding,
    pair,
)

Array = npt.NDArray[Any]
_LAYOUTS = ("NCHW", "NHWC")
_KERNELS = ("OIHW", "HWIO", "HWOI", "OHWI", "IOHW")


def _name(weight: Value, kind: str, context: Context) -> str:
    known = weight.name if isinstance(weight, Constant) else ""
    return layer_stem(known, f"{kind}{len(context.graph.names)}")


def _reordered(values: Array, layout: str, wanted: str) -> Array:
    return np.ascontiguousarray(np.transpose(values, [layout.index(axis) for axis in wanted]))


def _conv2d(
    context: Context,
    data: relax.Expr,
    weight: Value,
    attrs: Attributes,
    made: Weight | None = None,
) -> relax.Expr:
    layout, kernel = attrs.get("data_layout", "NCHW"), attrs.get("kernel_layout", "OIHW")
    if layout not in _LAYOUTS or kernel not in _KERNELS:
        raise ValueError(f"layouts {layout} and {kernel}; lay it out as NCHW and OIHW")
    values = made.values if made is not None else array(weight, "weight").astype(np.float32)
    groups = int(attrs.get("groups", 1))
    if kernel == "HWOI":  # depthwise: O input channels, I outputs of each
        height, width, inputs, times = values.shape
        values, kernel = values.reshape(height, width, 1, inputs * times), "HWIO"
    expr = relax.op.nn.conv2d(
        data,
        relax.const(_reordered(values, kernel, "OIHW")),
        strides=pair(attrs.get("strides", [1, 1])),
        padding=padding(attrs),
        dilation=pair(attrs.get("dilation", [1, 1])),
        groups=groups,
        data_layout=layout,
        kernel_layout="OIHW",
    )
    return context.graph.layer(
        _name(weight, "conv", context), expr, None if made is None else made.codes
    )


def conv2d(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`nn.conv2d` with a constant weight."""
    if isinstance(args[1], Constant):
        return _conv2d(context, context.floating(args[0]), args[1], attrs)
    raise ValueError("its weight is not constant; bind the parameters")


def conv2d_transpose(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`nn.conv2d_transpose`, channels first."""
    layout, kernel = attrs.get("data_layout", "NCHW"), attrs.get("kernel_layout", "IOHW")
    if layout != "NCHW" or kernel != "IOHW":
        raise ValueError(f"layouts {layout} and {kernel}; lay it out as NCHW and IOHW")
    weight = relax.const(array(args[1], "weight").astype(np.float32))
    return context.emit(
        relax.op.nn.conv2d_transpose(
            context.floating(args[0]),
            weight,
            strides=pair(attrs.get("strides", [1, 1])),
            padding=padding(attrs),
            output_padding=pair(attrs.get("output_padding", [0, 0])),
            dilation=pair(attrs.get("dilation", [1, 1])),
            groups=int(attrs.get("groups", 1)),
        )
    )


def dense(context: Context, args: list[Any], _attrs: Attributes) -> Value:
    """`nn.dense`: weight [units, features]."""
    weight = array(args[1], "weight").astype(np.float32)
    product = relax.op.matmul(context.floating(args[0]), relax.const(weight.T.copy()))
    return context.graph.layer(_name(args[1], "dense", context), product)


def matmul(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`nn.matmul` and `nn.batch_matmul`; only the former's weight makes a layer."""
    sides = []
    for value, key in zip(args, ("transpose_a", "transpose_b"), strict=True):
        if isinstance(value, Constant):
            values = value.value.astype(np.float32)
            sides.append(relax.const(values.swapaxes(-1, -2).copy() if attrs.get(key) else values))
            continue
        real = context.floating(value)
        axes = [*range(len(real.ty.shape) - 2), len(real.ty.shape) - 1, len(real.ty.shape) - 2]
        turned = relax.op.permute_dims(real, axes)
        sides.append(context.emit(turned) if attrs.get(key) else real)
    product = relax.op.matmul(*sides)
    if isinstance(args[1], Constant) and args[1].value.ndim == 2:
        return context.graph.layer(_name(args[1], "dense", context), product)
    return context.emit(product)


def batch_matmul(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`nn.batch_matmul`: its second operand is transposed unless said otherwise."""
    return matmul(context, args, {"transpose_b": True, **attrs})


def _quantized(
    context: Context, args: list[Any], channels: int
) -> tuple[Integer, Weight, npt.NDArray[np.float64]]:
    """Input, weight and accumulator scale of `qnn.conv2d` or `qnn.dense`."""
    data, kernel, zero, kernel_zero, scale, kernel_scale = args
    stored = array(kernel, "weight")
    weight = weight_of(
        stored, array(kernel_scale, "weight scale"), array(kernel_zero, "zero point"), channels
    )
    source = context.integer(data, array(scale, "scale"), array(zero, "zero point"))
    return source, weight, weight.scale * source.scale


def qnn_conv2d(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`qnn.conv2d(x, w, z_x, z_w, s_x, s_w)`: int32 sums of products of codes."""
    layout, kernel = attrs.get("data_layout", "NCHW"), attrs.get("kernel_layout", "OIHW")
    if kernel not in _KERNELS:
        raise ValueError(f"kernel layout {kernel}; lay it out as OIHW")
    stored = array(args[1], "weight")
    if kernel == "HWOI":
        height, width, inputs, times = stored.shape
        stored, kernel = stored.reshape(height, width, 1, inputs * times), "HWIO"
        args = [args[0], Constant(stored, args[1].name), *args[2:]]
        attrs = {**attrs, "kernel_layout": "HWIO"}
    source, weight, scale = _quantized(context, args, kernel.index("O"))
    real = _conv2d(context, source.real, args[1], attrs, weight)
    return Integer(real, scale, 0, "int32", layout.index("C"))


def qnn_dense(context: Context, args: list[Any], _attrs: Attributes) -> Value:
    """`qnn.dense`: weight [units, features]."""
    source, weight, scale = _quantized(context, args, 0)
    product = relax.op.matmul(source.real, relax.const(weight.values.T.copy()))
    real = context.graph.layer(_name(args[1], "dense", context), product, weight.codes)
    return Integer(real, scale, 0, "int32", 1)


def bias_add(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`nn.bias_add(x, b, axis)`, on int32 sums too."""
    data, bias = args[0], array(args[1], "bias")
    rank = len(context.shape(data))
    axis = int(attrs.get("axis", 1)) % rank
    if isinstance(data, Integer):
        if data.zero or (data.scale.size > 1 and axis != data.axis):
            raise ValueError("a bias along another axis than the scales")
        values = np.asarray(bias.astype(np.float64) * data.scale, np.float32)
        added = relax.op.add(data.real, relax.const(spread(values, rank, axis)))
        return Integer(context.emit(added), data.scale, 0, data.dtype, data.axis)
    shaped = spread(bias.astype(np.float32), rank, axis)
    return context.emit(relax.op.add(context.floating(data), relax.const(shaped)))
