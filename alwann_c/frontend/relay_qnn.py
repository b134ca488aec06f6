"""Relay's quantized dialect: every tensor keeps its scale and zero point (`integers`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from alwann_c.frontend import relay_layers as layers
from alwann_c.frontend.integers import BYTES, Integer, spread, store, weight_of
from alwann_c.frontend.relay_context import (
    Attributes,
    Codes,
    Constant,
    Context,
    Converter,
    Value,
    array,
)


def _quantize(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`qnn.quantize(x, scale, zero)`."""
    scale, zero = array(args[1], "scale"), array(args[2], "zero point")
    dtype = str(attrs.get("out_dtype", "int8"))
    if isinstance(args[0], Constant):
        if dtype not in BYTES or scale.size > 1:
            raise ValueError("a constant quantized per channel; quantize it before")
        limits = np.iinfo(dtype)
        steps = np.rint(args[0].value / scale) + zero
        return Constant(np.clip(steps, limits.min, limits.max).astype(dtype), args[0].name)
    return store(context.graph, context.floating(args[0]), scale, zero, dtype)


def _dequantize(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`qnn.dequantize(q, scale, zero)`; of a constant, the real values."""
    scale, zero = array(args[1], "scale"), array(args[2], "zero point")
    if isinstance(args[0], Constant):
        stored = args[0].value
        axis = int(attrs.get("axis", -1)) % max(stored.ndim, 1)
        if str(stored.dtype) in BYTES and stored.ndim:
            return Constant(weight_of(stored, scale.reshape(-1), zero.reshape(-1), axis).values)
        steps = stored.astype(np.float64) - spread(zero.reshape(-1), stored.ndim, axis)
        values = steps * spread(scale.reshape(-1).astype(np.float64), stored.ndim, axis)
        return Constant(np.asarray(values, np.float32), args[0].name)
    return context.integer(args[0], scale, zero).real


def _requantize(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`qnn.requantize(q, s, z, s', z')`."""
    data, scale, zero, new_scale, new_zero = args
    dtype = str(attrs.get("out_dtype", "int8"))
    source = context.integer(data, array(scale, "scale"), array(zero, "zero point"))
    wanted = array(new_scale, "output scale"), array(new_zero, "output zero point")
    if dtype == "int32":
        if wanted[0].size > 1 or int(wanted[1].reshape(-1)[0]):
            raise ValueError("int32 with a zero point, or a scale per channel")
        return Integer(source.real, wanted[0].astype(np.float64).reshape(-1), 0, "int32")
    return store(context.graph, source.real, *wanted, dtype)


def _binary(make: Callable[[Any, Any], relax.Expr]) -> Converter:
    """`qnn.add(a, b, s_a, z_a, s_b, z_b, s, z)`; either may be constant."""

    def convert(context: Context, args: list[Any], _attrs: Attributes) -> Value:
        reals, dtype = [], ""
        for value, scale, zero in zip(args[:2], args[2:6:2], args[3:6:2], strict=True):
            code = array(scale, "scale"), array(zero, "zero point")
            if isinstance(value, Constant):
                steps = value.value.astype(np.int64) - code[1].astype(np.int64)
                reals.append(
                    relax.const(np.asarray(steps * code[0].astype(np.float64), np.float32))
                )
                continue
            read = context.integer(value, *code)
            dtype = dtype or read.dtype
            reals.append(read.real)
        scale, zero = array(args[6], "output scale"), array(args[7], "output zero point")
        return store(context.graph, context.emit(make(*reals)), scale, zero, dtype)

    return convert


def _unary(make: Callable[[relax.Expr], relax.Expr]) -> Converter:
    """`qnn.sigmoid(q, s, z, s', z')`."""

    def convert(context: Context, args: list[Any], _attrs: Attributes) -> Value:
        source = context.integer(args[0], array(args[1], "scale"), array(args[2], "zero point"))
        scale, zero = array(args[3], "output scale"), array(args[4], "output zero point")
        return store(context.graph, context.emit(make(source.real)), scale, zero, source.dtype)

    return convert


def _softmax(context: Context, args: list[Any], attrs: Attributes) -> Value:
    axis = int(attrs.get("axis", -1))
    return _unary(lambda real: relax.op.nn.softmax(real, axis))(context, args, attrs)


def _leaky_relu(context: Context, args: list[Any], attrs: Attributes) -> Value:
    slope = float(attrs.get("alpha", 0.01))
    return _unary(lambda real: relax.op.nn.leakyrelu(real, slope))(context, args, attrs)


def _concatenate(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`qnn.concatenate((q, …), (s, …), (z, …), s', z', axis)`."""
    parts, scales, zeros, scale, zero = args
    sources = [
        context.integer(part, array(s, "scale"), array(z, "zero point"))
        for part, s, z in zip(parts, scales, zeros, strict=True)
    ]
    if not sources:
        raise ValueError("nothing to join")
    joined = relax.op.concat([source.real for source in sources], int(attrs.get("axis", 0)))
    wanted = array(scale, "output scale"), array(zero, "output zero point")
    return store(context.graph, context.emit(joined), *wanted, sources[0].dtype)


def cast(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`cast(x, dtype)`: of codes to wider integers and back, of constants, or of nothing."""
    value, dtype = args[0], str(attrs["dtype"])
    if isinstance(value, Constant):
        return Constant(value.value.astype(np.dtype(dtype)), value.name)
    if isinstance(value, Codes):
        raise ValueError("an 8-bit input of unknown scale; let a qnn operator read the input first")
    if isinstance(value, Integer):
        if dtype in BYTES:
            return store(context.graph, value.real, value.scale, value.zero, dtype)
        if dtype in ("int16", "int32"):
            return Integer(value.real, value.scale, value.zero, dtype, value.axis)
        raise ValueError(f"integers cast to {dtype}; use qnn.dequantize")
    if dtype != "float32":
        raise ValueError(f"float32 cast to {dtype}; only float32 is computed")
    real: Value = context.real(value)
    return real


QNN_OPERATORS: dict[str, Converter] = {
    "qnn.quantize": _quantize,
    "qnn.dequantize": _dequantize,
    "qnn.requantize": _requantize,
    "qnn.conv2d": layers.qnn_conv2d,
    "qnn.dense": layers.qnn_dense,
    "qnn.add": _binary(relax.op.add),
    "qnn.subtract": _binary(relax.op.subtract),
    "qnn.mul": _binary(relax.op.multiply),
    "qnn.concatenate": _concatenate,
    "qnn.sigmoid": _unary(relax.op.sigmoid),
    "qnn.tanh": _unary(relax.op.tanh),
    "qnn.leaky_relu": _leaky_relu,
    "qnn.softmax": _softmax,
}
