"""Constant folding of ONNX graphs: what exporters hide behind Identity, Cast, Shape and arithmetic.

    Shape(image) -> Gather(1) -> Cast -> Sqrt -> Div(scores)    =>    Div(scores, 5.65)
    DequantizeLinear(codes, scale) -> Conv                      =>    Conv with a float weight

Only cheap operators are folded, by numpy; what would grow beyond the `fold_limits` is refused.
The scale and zero point of a folded DequantizeLinear are remembered: see `Folded.codes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from alwann_c.frontend.fold_limits import MAX_FOLDED_BYTES, Budget, FoldError
from alwann_c.frontend.onnx_folders import FOLDERS, Array, Inputs, attributes

__all__ = ["Folded", "WeightCode", "attributes", "fold_constants"]


FEW = 1024
"""Elements of a tensor whose values shape inference may follow."""
_GROWING = ("ConstantOfShape", "Expand", "Tile", "Range", "Concat")
_CANNOT = (
    *(ValueError, IndexError, TypeError, KeyError, AssertionError),
    *(ZeroDivisionError, OverflowError),
)


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
    """Inferred shapes, None for symbolic extents; values of unknown rank are absent.

    ONNX propagates values as well, element by element: only where they are known to be few.
    """
    light = _without_weights(model)
    shapes = _inferred(light, values=False)
    for node in model.graph.node:
        for name in node.output:
            known = shapes.get(name)
            if known is None and node.op_type in _GROWING:
                return shapes
            if known is not None and len(known) == 1 and (known[0] is None or known[0] > FEW):
                return shapes
    return _inferred(light, values=True) or shapes


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose stored tensors of many elements are inputs."""
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    light.graph.name = "shapes"
    for part in ("node", "input", "output"):
        getattr(light.graph, part).extend(getattr(model.graph, part))
    known = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= FEW:
            light.graph.initializer.append(tensor)
        elif tensor.name not in known:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(value)
    return light


def _inferred(model: onnx.ModelProto, *, values: bool) -> dict[str, list[int | None]]:
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=values)
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
    except _CANNOT:
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


def fold_constants(model: onnx.ModelProto, budget: Budget) -> tuple[onnx.ModelProto, Folded]:
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
        budget.spend(value)
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
            return FOLDERS[node.op_type](inputs, attributes(node))
    except _CANNOT:
        return None
    except MemoryError as e:
        raise FoldError(f"its constants do not fit in memory ({e})") from e


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
    total = 0
    for name in values:
        if name in needed:
            made = stored.get(name)
            if made is None:
                total += values[name].nbytes
                if total > MAX_FOLDED_BYTES:
                    raise FoldError(f"its folded constants exceed {MAX_FOLDED_BYTES} bytes")
                made = numpy_helper.from_array(np.asarray(values[name], order="C"), name)
            graph.initializer.append(made)
    return rebuilt
