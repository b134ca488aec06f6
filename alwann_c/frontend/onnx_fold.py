"""Constant folding of ONNX graphs: what exporters hide behind Identity, Cast, Shape and arithmetic.

    Shape(image) -> Gather(1) -> Cast -> Sqrt -> Div(scores)    =>    Div(scores, 5.65)
    DequantizeLinear(codes, scale) -> Conv                      =>    Conv with a float weight

Only cheap operators are folded, by numpy, and nothing that would grow beyond `MAX_FOLDED` elements.
The scale and zero point of a folded DequantizeLinear are remembered: see `Folded.codes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
Inputs = list[Array | None]
MAX_FOLDED = 1 << 26


@dataclass(frozen=True, eq=False)
class WeightCode:
    """How a constant is stored as codes: `value = scale * (code - zero_point)`.

    `scale` float32 and `zero_point` int32 are [] or [n] along `axis`; `signed` codes are int8.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int32]
    axis: int
    signed: bool


@dataclass(eq=False)
class Folded:
    """A graph's constants: `values` by name, `codes` of those that were stored as integers, and
    `origin`: the stored weight a folded value was made from."""

    values: dict[str, Array]
    codes: dict[str, WeightCode] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)


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
    if math.prod(shape) > MAX_FOLDED:
        raise ValueError("too large")
    return np.full(shape, value.reshape(-1)[0], value.dtype)


def _expand(inputs: Inputs, _attrs: dict[str, Any]) -> Array:
    data, shape = inputs[0], inputs[1]
    assert data is not None
    assert shape is not None
    wanted = np.broadcast_shapes(data.shape, tuple(int(extent) for extent in shape))
    if math.prod(wanted) > MAX_FOLDED:
        raise ValueError("too large")
    return np.broadcast_to(data, wanted).copy()


def _range(inputs: Inputs, _attrs: dict[str, Any]) -> Array:
    start, limit, delta = (np.asarray(value).item() for value in inputs)
    if abs(limit - start) > MAX_FOLDED * abs(delta):
        raise ValueError("too large")
    return np.arange(start, limit, delta, dtype=np.asarray(inputs[0]).dtype)


def _cast(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    return np.asarray(inputs[0]).astype(helper.tensor_dtype_to_np_dtype(attrs["to"]))


def _divide(a: Array, b: Array) -> Array:
    """Integers are divided towards zero."""
    if a.dtype.kind in "iu":
        return np.asarray(np.trunc(np.divide(a, b)).astype(a.dtype))
    return np.asarray(a / b)


def dequantize(
    codes: Array, scale: Array, zero_point: Array | None, axis: int
) -> npt.NDArray[np.float32]:
    """`scale * (code - zero_point)` in float32, per tensor or along an axis."""
    shape = [1] * codes.ndim
    if scale.size > 1:
        shape[axis % codes.ndim] = scale.size
    steps = codes.astype(np.int64)
    if zero_point is not None:
        steps = steps - zero_point.astype(np.int64).reshape(shape if scale.size > 1 else ())
    spread = scale.astype(np.float32).reshape(shape if scale.size > 1 else ())
    return np.asarray(steps.astype(np.float32) * spread, np.float32)


def _dequantize_linear(inputs: Inputs, attrs: dict[str, Any]) -> Array:
    codes, scale, *rest = inputs
    assert codes is not None
    assert scale is not None
    if attrs.get("block_size"):
        raise ValueError("blocked")
    return dequantize(codes, scale, rest[0] if rest else None, attrs.get("axis", 1))


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Inputs, dict[str, Any]], Array]:
    def folded(inputs: Inputs, _attrs: dict[str, Any]) -> Array:
        a, b = np.asarray(inputs[0]), np.asarray(inputs[1])
        if math.prod(np.broadcast_shapes(a.shape, b.shape)) > MAX_FOLDED:
            raise ValueError("too large")
        return np.asarray(function(a, b))

    return folded


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
    "Where": lambda x, _: np.where(np.asarray(x[0]), np.asarray(x[1]), np.asarray(x[2])),
    "Transpose": lambda x, a: np.transpose(np.asarray(x[0]), a.get("perm")),
    "Reshape": _reshape,
    "Flatten": lambda x, a: np.asarray(x[0]).reshape(
        math.prod(np.asarray(x[0]).shape[: a.get("axis", 1)]), -1
    ),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": lambda x, a: np.concatenate([np.asarray(part) for part in x], a["axis"]),
    "Gather": lambda x, a: np.take(np.asarray(x[0]), np.asarray(x[1]), axis=a.get("axis", 0)),
    "Slice": _slice,
    "Shape": lambda x, a: np.array(np.asarray(x[0]).shape[a.get("start", 0) : a.get("end")]),
    "Size": lambda x, _: np.array(np.asarray(x[0]).size),
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Range": _range,
    "DequantizeLinear": _dequantize_linear,
}


def _constant_node(node: onnx.NodeProto) -> Array | None:
    attrs = attributes(node)
    if "value" in attrs:
        return np.asarray(numpy_helper.to_array(attrs["value"]))
    for key, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        for name in (key, f"{key}s"):
            if name in attrs:
                return np.array(attrs[name], dtype)
    return None


def _static_shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Inferred shapes, None for symbolic extents; values of unknown rank are absent."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return {}
    shapes: dict[str, list[int | None]] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = [
                d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim
            ]
    return shapes


def _shape_of(node: onnx.NodeProto, shapes: dict[str, list[int | None]]) -> Array | None:
    """Value of a Shape node whose extents are all known."""
    if node.input[0] not in shapes:
        return None
    attrs = attributes(node)
    taken = shapes[node.input[0]][attrs.get("start", 0) : attrs.get("end")]
    return None if None in taken else np.array(taken, np.int64)


def _partial(
    node: onnx.NodeProto, partial: dict[str, list[int | None]], values: dict[str, Array]
) -> Array | None:
    """A Gather or Slice of a shape that touches known extents only."""
    source = partial.get(node.input[0])
    if source is None or any(name and name not in values for name in node.input[1:]):
        return None
    known = np.array([-(1 << 40) if extent is None else extent for extent in source], np.int64)
    inputs: Inputs = [known, *(values.get(name) for name in node.input[1:])]
    try:
        found = FOLDERS[node.op_type](inputs, attributes(node))
    except (ValueError, IndexError, TypeError):
        return None
    return None if (found == -(1 << 40)).any() else found.astype(np.int64)


def _remember(node: onnx.NodeProto, folded: Folded) -> None:
    """Origin and codes of a value just folded."""
    output = node.output[0]
    sources = [name for name in node.input if name and folded.values[name].ndim > 0]
    if sources:
        folded.origin[output] = folded.origin.get(sources[0], sources[0])
    attrs = attributes(node)
    if node.op_type == "DequantizeLinear":
        codes, scale = folded.values[node.input[0]], folded.values[node.input[1]]
        zero = np.zeros(scale.shape, codes.dtype)
        if len(node.input) > 2 and node.input[2]:
            zero = folded.values[node.input[2]]
        if codes.dtype in (np.int8, np.uint8):
            folded.codes[output] = WeightCode(
                scale.astype(np.float32),
                zero.astype(np.int32),
                attrs.get("axis", 1) % max(codes.ndim, 1),
                codes.dtype == np.int8,
            )
    elif node.input[0] in folded.codes and node.op_type in ("Identity", "Transpose"):
        code = folded.codes[node.input[0]]
        rank = folded.values[output].ndim
        order = list(attrs.get("perm", reversed(range(rank))))
        axis = order.index(code.axis) if node.op_type == "Transpose" else code.axis
        folded.codes[output] = WeightCode(code.scale, code.zero_point, axis, code.signed)


def fold_constants(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Folded]:
    """The model with constants folded into initializers and unused nodes removed."""
    folded = Folded({t.name: np.asarray(numpy_helper.to_array(t)) for t in model.graph.initializer})
    shapes = _static_shapes(model)
    partial: dict[str, list[int | None]] = {}
    kept = []
    for node in model.graph.node:
        value = _fold(node, folded.values, shapes, partial)
        if value is None:
            kept.append(node)
            continue
        folded.values[node.output[0]] = value
        if node.op_type not in ("Constant", "Shape") and node.input[0] in folded.values:
            _remember(node, folded)
    return _rebuilt(model, kept, folded.values), folded


def _fold(
    node: onnx.NodeProto,
    values: dict[str, Array],
    shapes: dict[str, list[int | None]],
    partial: dict[str, list[int | None]],
) -> Array | None:
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    if node.op_type == "Constant":
        return _constant_node(node)
    if node.op_type == "Shape" and node.input[0] not in values:
        if node.input[0] in shapes:
            attrs = attributes(node)
            start, end = attrs.get("start", 0), attrs.get("end")
            partial[node.output[0]] = shapes[node.input[0]][start:end]
        return _shape_of(node, shapes)
    if node.op_type in ("Gather", "Slice") and node.input[0] in partial:
        return _partial(node, partial, values)
    if node.op_type not in FOLDERS or not node.input:
        return None
    if any(name and name not in values for name in node.input):
        return None
    inputs: Inputs = [values.get(name) for name in node.input]
    try:
        with np.errstate(all="ignore"):
            value = FOLDERS[node.op_type](inputs, attributes(node))
    except (ValueError, IndexError, TypeError, KeyError, AssertionError, ZeroDivisionError):
        return None
    return value if value.size <= MAX_FOLDED else None


def _rebuilt(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], values: dict[str, Array]
) -> onnx.ModelProto:
    """A model of the nodes its outputs need, and the constants these read."""
    needed = {value.name for value in model.graph.output}
    live = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            live.append(node)
            needed.update(name for name in node.input if name)
    stored = {t.name: t for t in model.graph.initializer}
    rebuilt = onnx.ModelProto(
        ir_version=max(model.ir_version, 4),
        opset_import=model.opset_import,
        graph=onnx.GraphProto(name=model.graph.name or "graph"),
    )
    graph = rebuilt.graph
    graph.node.extend(reversed(live))
    graph.output.extend(model.graph.output)
    graph.input.extend(value for value in model.graph.input if value.name not in values)
    for name in values:
        if name in needed:
            made = stored.get(name)
            if made is None:
                made = numpy_helper.from_array(np.asarray(values[name], order="C"), name)
            graph.initializer.append(made)
    return rebuilt
