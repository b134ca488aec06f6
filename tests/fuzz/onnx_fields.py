"""Networks with fields replaced, as a string of bytes says: valid protobuf, hostile meaning."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

_EXTENTS = [0, 1, 2, 3, 5, 8, -1, -2, 1 << 20, 1 << 31, 1 << 40, (1 << 62), -(1 << 62), 7, 16, 64]
_OPERATORS = [
    "Conv", "Gemm", "MatMul", "Reshape", "Expand", "Tile", "Resize", "Add", "Mul", "Div", "Concat",
    "Flatten", "Transpose", "Slice", "Pad", "Gather", "Clip", "Softmax", "Identity", "Cast", "Split",
    "GlobalAveragePool", "AveragePool", "MaxPool", "BatchNormalization", "ReduceMean", "Squeeze",
    "Unsqueeze", "Shape", "ConstantOfShape", "QuantizeLinear", "DequantizeLinear", "Dropout", "Pow",
]  # fmt: skip


class Choices:
    """Numbers drawn from bytes; zeros after their end."""

    def __init__(self, data: bytes) -> None:
        self._bytes: Iterator[int] = iter(data)

    def __call__(self, below: int) -> int:
        """A number in 0..below-1."""
        return next(self._bytes, 0) % below if below > 0 else 0


def altered(proto: onnx.ModelProto, data: bytes) -> onnx.ModelProto:
    """A copy of the network with up to 8 changes."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    draw = Choices(data)
    for _ in range(1 + draw(8)):
        _change(changed, draw)
    return changed


def _change(proto: onnx.ModelProto, draw: Choices) -> None:
    graph = proto.graph
    node = graph.node[draw(len(graph.node))]
    kind = draw(9)
    if kind == 0 and node.attribute:
        _change_attribute(node.attribute[draw(len(node.attribute))], draw)
    elif kind == 1 and node.input:
        names = [n for other in graph.node for n in (*other.input, *other.output)] + ["", "image"]
        node.input[draw(len(node.input))] = names[draw(len(names))]
    elif kind == 2:
        node.op_type = _OPERATORS[draw(len(_OPERATORS))]
    elif kind == 3:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[draw(len(dims))].dim_value = _EXTENTS[draw(len(_EXTENTS))]
    elif kind == 4:
        tensor = graph.initializer[draw(len(graph.initializer))]
        if len(tensor.dims):
            tensor.dims[draw(len(tensor.dims))] = _EXTENTS[draw(len(_EXTENTS))]
    elif kind == 5:
        tensor = graph.initializer[draw(len(graph.initializer))]
        tensor.data_type = draw(24)
    elif kind == 6:
        proto.opset_import[0].version = draw(30)
    elif kind == 7 and node.input:
        node.input.append(node.input[0]) if draw(2) else node.input.pop()
    else:
        _change_weight(graph.initializer[draw(len(graph.initializer))], draw)


def _change_attribute(attribute: onnx.AttributeProto, draw: Choices) -> None:
    if attribute.ints:
        count = draw(7)
        del attribute.ints[:]
        attribute.ints.extend(_EXTENTS[draw(len(_EXTENTS))] for _ in range(count))
    else:
        attribute.i = _EXTENTS[draw(len(_EXTENTS))]
        attribute.f = float(_EXTENTS[draw(len(_EXTENTS))])


def _change_weight(tensor: onnx.TensorProto, draw: Choices) -> None:
    """NaN, infinity, the largest number, or another length."""
    patterns = [b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\0\0\x80\xff", b"\0\0\0\0"]
    pattern = patterns[draw(len(patterns))]
    raw = bytearray(tensor.raw_data)
    if draw(4) == 0:
        tensor.raw_data = bytes(raw[: draw(256)])
        return
    at = 4 * draw(max(1, len(raw) // 4))
    raw[at : at + 4] = pattern
    tensor.raw_data = bytes(raw)
