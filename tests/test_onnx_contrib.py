"""Operators that ONNX Runtime's optimiser writes, and others without a node test, beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.frontend.imported import ImportOptions
from alwann_c.frontend.onnx import import_model
from alwann_c.passes.normalise import normalise

RANDOM = np.random.default_rng(3)


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


IMAGE = "image"
BOXES = np.array([[0, 0, 0, 4, 4], [0, 1, 1, 3, 3]], np.float32)
CASES: dict[str, tuple[str, list[Any], list[int], dict[str, Any]]] = {
    "BiasGelu": ("com.microsoft", [IMAGE, drawn(8)], [4, 8], {}),
    "FastGelu": ("com.microsoft", [IMAGE], [4, 8], {}),
    "Gelu": ("com.microsoft", [IMAGE], [4, 8], {}),
    "SkipLayerNormalization": (
        "com.microsoft",
        [IMAGE, IMAGE, drawn(8), drawn(8), drawn(8)],
        [4, 8],
        {},
    ),
    "Attention": ("com.microsoft", [IMAGE, drawn(8, 24), drawn(24)], [4, 8], {"num_heads": 2}),
    "GlobalLpPool": ("", [IMAGE], [3, 5, 5], {"p": 2}),
    "MaxRoiPool": ("", [IMAGE, BOXES], [3, 5, 5], {"pooled_shape": [2, 2]}),
}


@pytest.mark.parametrize("operator", CASES)
def test_equals_onnx_runtime(operator: str) -> None:
    domain, parts, shape, attributes = CASES[operator]
    batch = 1 if operator == "MaxRoiPool" else "N"
    stored = {f"c{i}": part for i, part in enumerate(parts) if part is not IMAGE}
    names = [IMAGE if part is IMAGE else f"c{i}" for i, part in enumerate(parts)]
    node = helper.make_node(operator, names, ["y"], "node", domain=domain, **attributes)
    entry = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [batch, *shape])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph([node], "g", [entry], [output], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    images = drawn(1 if batch == 1 else 3, *shape)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(["y"], {IMAGE: images})
    module = normalise()(import_model("net", proto, ImportOptions()).module)
    got = FloatNetwork(module, batch=len(images)).run(images)
    np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
