"""Networks in float16 or bfloat16 as the float32 networks they approximate.

    Cast(image, FLOAT16) -> Conv(float16 weights) -> Cast(FLOAT)    =>    Conv(float32 weights)

Every float16 value is a float32 value: the weights stay what they are. Between the operators nothing
is rounded to float16 any more.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPES = ("to", "dtype")
"""Attributes that name an element type."""


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type in _HALF:
        values = np.asarray(numpy_helper.to_array(tensor), np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float32 instead of 16-bit floats; itself where it has none."""
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    ends = [*model.graph.input, *model.graph.output]
    found = {
        *(tensor.data_type for tensor in model.graph.initializer),
        *(value.type.tensor_type.elem_type for value in ends),
        *(a.t.data_type for a in attributes if a.HasField("t")),
        *(a.i for a in attributes if a.name in _TYPES),
    }
    if not found.intersection(_HALF):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            if attribute.name in _TYPES and attribute.i in _HALF:
                attribute.i = TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _HALF:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return changed
