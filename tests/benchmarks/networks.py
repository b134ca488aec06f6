"""Residual networks of any depth with random weights, and ONNX Runtime on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from kernels_ort import threads
from onnx import TensorProto, helper, numpy_helper

IMAGE = (3, 32, 32)


def resnet(depth: int, classes: int = 10) -> onnx.ModelProto:
    """CIFAR ResNet of 6 n + 2 layers: stages of 16, 32 and 64 channels, 1 x 1 shortcuts."""
    random, nodes, weights = np.random.default_rng(depth), [], []

    def node(op: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(values: npt.NDArray[Any]) -> str:
        name = f"w{len(weights)}"
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(x: str, ins: int, outs: int, kernel: int = 3, stride: int = 1) -> str:
        shape = (outs, ins, kernel, kernel)
        filters = random.normal(0, np.sqrt(1 / (ins * kernel**2)), shape)
        operands = [x, constant(filters), constant(random.normal(0, 0.1, outs))]
        pads = [kernel // 2] * 4
        return node("Conv", operands, pads=pads, strides=[stride] * 2)

    x = node("Relu", [conv("x", 3, 16)])
    channels = 16
    for width in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            stride = 1 if width == channels else 2
            inner = node("Relu", [conv(x, channels, width, stride=stride)])
            other = x if width == channels else conv(x, channels, width, 1, stride)
            x = node("Relu", [node("Add", [conv(inner, width, width), other])])
            channels = width
    flat = node("Flatten", [node("GlobalAveragePool", [x])])
    head = random.normal(0, 0.1, (64, classes)), np.zeros(classes)
    node("Gemm", [flat, constant(head[0]), constant(head[1])])
    graph = helper.make_graph(
        nodes,
        "resnet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", *IMAGE))],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ("n", classes))],
        weights,
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    return model


def onnx_runtime(model: bytes, images: npt.NDArray[np.float32], count: int) -> Callable[[], Any]:
    """A call of ONNX Runtime's float32 inference with `count` threads."""
    ort: Any = __import__("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = count or threads()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed)
