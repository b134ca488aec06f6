"""What operators of ONNX make of constants, by numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from alwann_c.frontend.fold_limits import limited

Array = npt.NDArray[Any]
Inputs = list[Array | None]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _axes(inputs: Inputs, attrs: dict[str, Any]) -> list[int] | None:
    given = inputs[1] if len(inputs) > 1 else None
    found = attrs.get("axes") if given is None else given.reshape(-1).tolist()
    return None if found is None else [int(axis) for axis in found]


def _reshape(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    data, shape = inputs[0], inputs[1]
    assert data is not None
    assert shape is not None
    wanted = [int(extent) for extent in shape]
    if not attrs.get("allowzero"):
        wanted = [data.shape[i] if extent == 0 else extent for i, extent in enumerate(wanted)]
    return data.reshape(wanted)


def _slice(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    data = inputs[0]
    assert data is not None
    if len(inputs) > 1:
        starts, ends = inputs[1], inputs[2]
        assert starts is not None
        assert ends is not None
        axes = inputs[3] if len(inputs) > 3 else None
        steps = inputs[4] if len(inputs) > 4 else None
    else:
        starts, ends, axes, steps = np.array(attrs["starts"]), np.array(attrs["ends"]), None, None
        axes = np.array(attrs["axes"]) if "axes" in attrs else None
    index: list[slice] = [slice(None)] * data.ndim
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        step = 1 if steps is None else int(steps[i])
        stop = None if step < 0 and end < -data.shape[i if axes is None else int(axes[i])] else end
        index[i if axes is None else int(axes[i])] = slice(start, stop, step)
    return data[tuple(index)]


def _squeeze(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    assert inputs[0] is not None
    axes = _axes(inputs, attrs)
    return np.squeeze(inputs[0], None if axes is None else tuple(axes))


def _unsqueeze(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    assert inputs[0] is not None
    return np.expand_dims(inputs[0], tuple(_axes(inputs, attrs) or ()))


def _filled(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    assert inputs[0] is not None
    shape = [int(extent) for extent in inputs[0]]
    value = numpy_helper.to_array(attrs["value"]) if "value" in attrs else np.zeros(1, np.float32)
    limited(tuple(shape))
    return np.full(shape, value.reshape(-1)[0], value.dtype)


def _expand(inputs: Inputs, _attrs: dict[str, Any]) -> Array:
    data, shape = inputs[0], inputs[1]
    assert data is not None
    assert shape is not None
    wanted = np.broadcast_shapes(data.shape, tuple(int(extent) for extent in shape))
    limited(wanted)
    return np.broadcast_to(data, wanted).copy()


def _range(inputs: Inputs, _attrs: dict[str, Any]) -> Array:
    start, limit, delta = (np.asarray(value).item() for value in inputs)
    limited((math.ceil(max((limit - start) / delta, 0)),))
    return np.arange(start, limit, delta, dtype=np.asarray(inputs[0]).dtype)


def _cast(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    return np.asarray(inputs[0]).astype(helper.tensor_dtype_to_np_dtype(attrs["to"]))


def _divide(a: Array, b: Array) -> Array:
    """Integers are divided towards zero."""
    if a.dtype.kind in "iu":
        return np.asarray(np.trunc(np.divide(a, b)).astype(a.dtype))
    return np.asarray(a / b)


def _along(data: Array, values: Array, axis: int) -> Array:
    """One number, or one per channel along an axis, ready to broadcast to the data."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * data.ndim
    shape[axis % data.ndim] = values.size
    limited(data.shape, tuple(shape))
    return values.reshape(shape)


def dequantize(
    codes: Array, scale: Array, zero_point: Array | None, axis: int
) -> npt.NDArray[np.float32]:
    """`scale * (code - zero_point)` in float32, per tensor or along an axis."""
    whole: Any = np.int16 if codes.dtype.itemsize == 1 else np.int64
    steps = codes.astype(whole)
    if zero_point is not None:
        steps = steps - _along(codes, zero_point.astype(whole), axis)
    spread = _along(codes, scale.astype(np.float32), axis)
    return np.asarray(steps.astype(np.float32) * spread, np.float32)


def _dequantize_linear(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    codes, scale, *rest = inputs
    assert codes is not None
    assert scale is not None
    if attrs.get("block_size"):
        raise ValueError("blocked")
    return dequantize(codes, scale, rest[0] if rest else None, attrs.get("axis", 1))


def _quantize_linear(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    """`clip(round_half_even(x / scale) + zero_point)`: a weight's codes."""
    data, scale, zero_point = (np.asarray(value) for value in inputs)
    if attrs.get("block_size") or zero_point.dtype not in (np.int8, np.uint8):
        raise ValueError("blocked, or codes of other types")
    if np.isnan(data).any() or not (scale > 0).all():
        raise ValueError("no number, or a scale that is not above zero")
    axis, ends = attrs.get("axis", 1), np.iinfo(zero_point.dtype)
    steps = np.rint(data.astype(np.float32) / _along(data, scale.astype(np.float32), axis))
    codes = np.clip(steps + _along(data, zero_point.astype(np.float32), axis), ends.min, ends.max)
    return np.asarray(codes.astype(zero_point.dtype))


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Inputs, dict[str, Any]], Array]:
    def folded(inputs: Inputs, _attrs: dict[str, Any]) -> Array:
        a, b = np.asarray(inputs[0]), np.asarray(inputs[1])
        limited(a.shape, b.shape)
        return np.asarray(function(a, b))

    return folded


def _where(inputs: Inputs, _attrs: dict[str, Any]) -> Array:
    condition, yes, no = (np.asarray(value) for value in inputs)
    limited(condition.shape, yes.shape, no.shape)
    return np.where(condition, yes, no)


def _concat(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    parts = [np.asarray(part) for part in inputs]
    limited((sum(part.size for part in parts),))
    return np.concatenate(parts, attrs["axis"])


def _gather(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    data, index = np.asarray(inputs[0]), np.asarray(inputs[1])
    axis = attrs.get("axis", 0)
    limited((data.size // max(data.shape[axis], 1) * index.size,))
    return np.take(data, index, axis=axis)


def _unary(function: Callable[[Array], Array]) -> Callable[[Inputs, dict[str, Any]], Array]:
    return lambda inputs, _attrs: np.asarray(function(np.asarray(inputs[0])))


FOLDERS: dict[str, Callable[[Inputs, dict[str, Any]], Array]] = {
    "Identity": _unary(lambda x: x),
    "Dropout": _unary(lambda x: x),
    "Cast": _cast,
    "Neg": _unary(np.negative),
    "Abs": _unary(np.abs),
    "Sqrt": _unary(lambda x: np.sqrt(x, dtype=x.dtype)),
    "Reciprocal": _unary(lambda x: np.reciprocal(x, dtype=x.dtype)),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Exp": _unary(lambda x: np.exp(x, dtype=x.dtype)),
    "Not": _unary(np.logical_not),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divide),
    "Pow": _binary(lambda a, b: np.power(a, b).astype(a.dtype)),
    "Equal": _binary(np.equal),
    "Less": _binary(np.less),
    "Greater": _binary(np.greater),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Where": _where,
    "Transpose": lambda x, a: np.transpose(np.asarray(x[0]), a.get("perm")),
    "Reshape": _reshape,
    "Flatten": lambda x, a: np.asarray(x[0]).reshape(
        math.prod(np.asarray(x[0]).shape[: a.get("axis", 1)]), -1
    ),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Shape": lambda x, a: np.array(np.asarray(x[0]).shape[a.get("start", 0) : a.get("end")]),
    "Size": lambda x, _: np.array(np.asarray(x[0]).size),
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Range": _range,
    "QuantizeLinear": _quantize_linear,
    "DequantizeLinear": _dequantize_linear,
}
"""Raises ValueError, IndexError, TypeError, KeyError, AssertionError or ZeroDivisionError where it
cannot, FoldError where the result would be too large."""
