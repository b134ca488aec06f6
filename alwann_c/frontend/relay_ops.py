"""Relay operator -> Relax, as one explicit table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.frontend import relay_layers as layers
from alwann_c.frontend.fold_limits import limited
from alwann_c.frontend.integers import BYTES, Integer, again, spread
from alwann_c.frontend.relay_context import (
    Attributes,
    Constant,
    Context,
    Converter,
    Value,
    array,
    padding,
    pair,
)
from alwann_c.frontend.relay_qnn import QNN_OPERATORS, cast
from alwann_c.frontend.relay_shapes import SHAPE_OPERATORS, moved

Array = npt.NDArray[Any]


def _unary(make: Callable[[relax.Expr], relax.Expr], fold: Any = None) -> Converter:
    def convert(context: Context, args: list[Any], _attrs: Attributes) -> Value:
        if isinstance(args[0], Constant) and fold is not None:
            return Constant(np.asarray(fold(args[0].value), args[0].value.dtype), args[0].name)
        return context.emit(make(context.floating(args[0])))

    return convert


def _binary(make: Callable[[Any, Any], relax.Expr], fold: Callable[[Any, Any], Any]) -> Converter:
    def convert(context: Context, args: list[Any], _attrs: Attributes) -> Value:
        a, b = args
        if isinstance(a, Constant) and isinstance(b, Constant):
            limited(a.value.shape, b.value.shape)
            return Constant(np.asarray(fold(a.value, b.value)), a.name or b.name)
        if make is relax.op.add and isinstance(a, Constant):
            a, b = b, a
        if make is relax.op.add and isinstance(a, Integer):
            return _sum(context, a, b)
        return context.emit(make(context.floating(a), context.floating(b)))

    return convert


def _divide(a: Array, b: Array) -> Array:
    """Integers are divided towards zero."""
    quotient = np.asarray(np.divide(a, b))
    return np.trunc(quotient).astype(a.dtype) if a.dtype.kind in "iu" else quotient


def _sum(context: Context, a: Integer, b: Value) -> Value:
    """An int32 constant added to int32 sums: a bias."""
    if a.dtype != "int32" or a.zero or not isinstance(b, Constant):
        raise ValueError("only a constant is added to integers, to int32 sums; use qnn.add")
    values = b.value
    rank = len(context.shape(a))
    scale = spread(a.scale, rank, a.axis)
    if values.ndim < rank:
        values = values.reshape((1,) * (rank - values.ndim) + values.shape)
    bias = np.asarray(values.astype(np.float64) * scale, np.float32)
    real = context.emit(relax.op.add(a.real, relax.const(bias)))
    return Integer(real, a.scale, 0, a.dtype, a.axis)


def _relu(context: Context, args: list[Any], _attrs: Attributes) -> Value:
    """`nn.relu`; of integers, at the integer 0."""
    value = args[0]
    if not isinstance(value, Integer):
        return context.emit(relax.op.nn.relu(context.floating(value)))
    if value.zero == 0:
        return again(context.graph, context.emit(relax.op.nn.relu(value.real)), value)
    low = relax.const(np.float32(-value.zero * float(value.scale[0])))
    return again(context.graph, context.emit(relax.op.maximum(value.real, low)), value)


def _clip(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`clip(x, a_min, a_max)`; of integers, in integers."""
    low, high = float(attrs["a_min"]), float(attrs["a_max"])
    value = args[0]
    if not isinstance(value, Integer):
        return context.emit(relax.op.clip(context.floating(value), low, high))
    if value.scale.size > 1:
        raise ValueError("sums with a scale per channel are clipped; requantize them first")
    step = float(value.scale[0])
    clipped = relax.op.clip(value.real, (low - value.zero) * step, (high - value.zero) * step)
    return again(context.graph, context.emit(clipped), value)


def _pool(make: Callable[..., relax.Expr], *, average: bool) -> Converter:
    def convert(context: Context, args: list[Any], attrs: Attributes) -> Value:
        options: dict[str, Any] = {
            "pool_size": pair(attrs["pool_size"]),
            "strides": pair(attrs.get("strides", [1, 1])),
            "padding": padding(attrs),
            "dilation": pair(attrs.get("dilation", [1, 1])),
            "ceil_mode": bool(attrs.get("ceil_mode", False)),
            "layout": str(attrs.get("layout", "NCHW")),
        }
        if average:
            options["count_include_pad"] = bool(attrs.get("count_include_pad", False))
            counted = options["count_include_pad"] and any(options["padding"])
            if counted and isinstance(args[0], Integer) and args[0].zero:
                raise ValueError("an average of codes that counts padding; pad with nn.pad before")
        return moved(context, args[0], lambda real: make(real, **options))

    return convert


def _spatial(attrs: Attributes) -> list[int]:
    layout = str(attrs.get("layout", "NCHW"))
    if layout not in ("NCHW", "NHWC"):
        raise ValueError(f"layout {layout}; lay it out as NCHW or NHWC")
    return [2, 3] if layout == "NCHW" else [1, 2]


def _global(make: Callable[..., relax.Expr]) -> Converter:
    def convert(context: Context, args: list[Any], attrs: Attributes) -> Value:
        axes = _spatial(attrs)
        return moved(context, args[0], lambda real: make(real, axes, keepdims=True))

    return convert


def _adaptive(context: Context, args: list[Any], attrs: Attributes) -> Value:
    size = attrs.get("output_size")
    layout = str(attrs.get("layout", "NCHW"))
    if not size or pair(size) == [1, 1]:
        return _global(relax.op.mean)(context, args, attrs)
    return moved(
        context, args[0], lambda real: relax.op.nn.adaptive_avg_pool2d(real, pair(size), layout)
    )


def _reduce(make: Callable[..., relax.Expr]) -> Converter:
    def convert(context: Context, args: list[Any], attrs: Attributes) -> Value:
        codes = args[0] if isinstance(args[0], Integer) else None
        if make is relax.op.sum and codes is not None and (codes.zero or codes.dtype in BYTES):
            raise ValueError("a sum of 8-bit codes, or with a zero point; dequantize before")
        rank = len(context.shape(args[0]))
        given = attrs.get("axis")
        axes = (
            list(range(rank))
            if given is None
            else [int(v) % rank for v in (given if isinstance(given, list) else [given])]
        )
        if attrs.get("exclude"):
            axes = [axis for axis in range(rank) if axis not in axes]
        kept = bool(attrs.get("keepdims", False))
        return moved(context, args[0], lambda real: make(real, axes, keepdims=kept))

    return convert


def _batch_norm(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`nn.batch_norm(x, gamma, beta, mean, variance)` -> (y, mean, variance)."""
    gamma, beta, mean, variance = (array(v, "statistics").astype(np.float64) for v in args[1:])
    scale = (gamma if attrs.get("scale", True) else 1.0) / np.sqrt(
        variance + float(attrs.get("epsilon", 1e-5))
    )
    shift = (beta if attrs.get("center", True) else 0.0) - mean * scale
    rank = len(context.shape(args[0]))
    axis = int(attrs.get("axis", 1)) % rank
    parts = [relax.const(spread(np.asarray(v, np.float32), rank, axis)) for v in (scale, shift)]
    scaled = context.emit(relax.op.multiply(context.floating(args[0]), parts[0]))
    return [context.emit(relax.op.add(scaled, parts[1])), args[3], args[4]]


def _layer_norm(context: Context, args: list[Any], attrs: Attributes) -> Value:
    gamma, beta = (relax.const(array(v, "scale").astype(np.float32)) for v in args[1:])
    return context.emit(
        relax.op.nn.layer_norm(
            context.floating(args[0]),
            gamma,
            beta,
            axes=[int(attrs.get("axis", -1))],
            epsilon=float(attrs.get("epsilon", 1e-5)),
            center=bool(attrs.get("center", True)),
            scale=bool(attrs.get("scale", True)),
        )
    )


def _prelu(context: Context, args: list[Any], attrs: Attributes) -> Value:
    alpha = relax.const(array(args[1], "slope").astype(np.float32))
    return context.emit(
        relax.op.nn.prelu(context.floating(args[0]), alpha, axis=int(attrs.get("axis", 1)))
    )


def _resize(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`image.resize2d` and `nn.upsampling`."""
    layout = str(attrs.get("layout", "NCHW"))
    sizes = context.sizes(args[0])
    axes = _spatial(attrs)
    if "size" in attrs:
        size = pair(attrs["size"])
        method = str(attrs.get("method", "linear"))
        mode = str(attrs.get("coordinate_transformation_mode", "half_pixel"))
    else:
        factors = float(attrs.get("scale_h", 1)), float(attrs.get("scale_w", 1))
        size = [round(sizes[axis] * f) for axis, f in zip(axes, factors, strict=True)]
        method = {"bilinear": "linear"}.get(
            str(attrs.get("method", "nearest_neighbor")),
            str(attrs.get("method", "nearest_neighbor")),
        )
        aligned = bool(attrs.get("align_corners", False))
        mode = "align_corners" if aligned else "asymmetric"
    rounding = str(attrs.get("rounding_method", "")) or "round"
    if method == "nearest_neighbor" and "size" not in attrs:
        rounding = "floor"
    if method not in ("nearest_neighbor", "linear"):
        raise ValueError(f"method {method}; use nearest_neighbor or linear")
    return moved(
        context,
        args[0],
        lambda real: relax.op.image.resize2d(
            real,
            size=(size[0], size[1]),
            layout=layout,
            method=method,
            coordinate_transformation_mode=mode,
            rounding_method=rounding,
        ),
    )


def _same(context: Context, args: list[Any], _attrs: Attributes) -> Value:
    del context
    value: Value = args[0]
    return value


def _dropout(context: Context, args: list[Any], _attrs: Attributes) -> Value:
    return [_same(context, args, {}), args[0]]


def _softmax(context: Context, args: list[Any], attrs: Attributes) -> Value:
    real = context.floating(args[0])
    return context.emit(relax.op.nn.softmax(real, int(attrs.get("axis", -1))))


def _leaky(context: Context, args: list[Any], attrs: Attributes) -> Value:
    real = context.floating(args[0])
    return context.emit(relax.op.nn.leakyrelu(real, float(attrs.get("alpha", 0.01))))


OPERATORS: dict[str, Converter] = {
    "nn.conv2d": layers.conv2d,
    "nn.conv2d_transpose": layers.conv2d_transpose,
    "nn.dense": layers.dense,
    "nn.matmul": layers.matmul,
    "nn.batch_matmul": layers.batch_matmul,
    "nn.bias_add": layers.bias_add,
    "nn.batch_norm": _batch_norm,
    "nn.layer_norm": _layer_norm,
    "nn.relu": _relu,
    "nn.leaky_relu": _leaky,
    "nn.prelu": _prelu,
    "nn.softmax": _softmax,
    "nn.dropout": _dropout,
    "nn.max_pool2d": _pool(relax.op.nn.max_pool2d, average=False),
    "nn.avg_pool2d": _pool(relax.op.nn.avg_pool2d, average=True),
    "nn.global_avg_pool2d": _global(relax.op.mean),
    "nn.global_max_pool2d": _global(relax.op.max),
    "nn.adaptive_avg_pool2d": _adaptive,
    "nn.upsampling": _resize,
    "image.resize2d": _resize,
    "mean": _reduce(relax.op.mean),
    "sum": _reduce(relax.op.sum),
    "max": _reduce(relax.op.max),
    "min": _reduce(relax.op.min),
    "add": _binary(relax.op.add, np.add),
    "subtract": _binary(relax.op.subtract, np.subtract),
    "multiply": _binary(relax.op.multiply, np.multiply),
    "divide": _binary(relax.op.divide, _divide),
    "maximum": _binary(relax.op.maximum, np.maximum),
    "minimum": _binary(relax.op.minimum, np.minimum),
    "power": _binary(relax.op.power, np.power),
    "sigmoid": _unary(relax.op.sigmoid),
    "tanh": _unary(relax.op.tanh),
    "exp": _unary(relax.op.exp, np.exp),
    "log": _unary(relax.op.log, np.log),
    "sqrt": _unary(relax.op.sqrt, np.sqrt),
    "rsqrt": _unary(relax.op.rsqrt, lambda x: 1 / np.sqrt(x)),
    "erf": _unary(relax.op.erf),
    "negative": _unary(relax.op.negative, np.negative),
    "abs": _unary(relax.op.abs, np.abs),
    "clip": _clip,
    "cast": cast,
    "copy": _same,
    "annotation.stop_fusion": _same,
    **SHAPE_OPERATORS,
    **QNN_OPERATORS,
}
"""Relay operator -> its converter; what is not here is refused by name."""
