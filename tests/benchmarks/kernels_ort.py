"""ONNX Runtime's float32 convolution, the yardstick of the kernel benchmarks."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from alwann_c.ir.spec import ConvSpec


def threads() -> int:
    """Threads of TVM's pool, given to ONNX Runtime too."""
    return int(os.environ.get("TVM_NUM_THREADS", "2"))


def float_conv2d(spec: ConvSpec, batch: int) -> Callable[[], Any]:
    """A call of ONNX Runtime's float32 convolution with fused ReLU, NCHW, on random data."""
    ort: Any = __import__("onnxruntime")
    rng = np.random.default_rng(0)
    filters = (spec.out_channels, spec.in_channels // spec.groups, *spec.kernel)
    weight = rng.normal(size=filters).astype(np.float32)
    bias = np.zeros(spec.out_channels, np.float32)
    attributes = {
        "kernel_shape": spec.kernel,
        "strides": spec.strides,
        "pads": spec.padding,
        "dilations": spec.dilation,
        "group": spec.groups,
    }
    nodes = [
        helper.make_node("Conv", ["x", "weight", "bias"], ["sum"], **attributes),
        helper.make_node("Relu", ["sum"], ["y"]),
    ]
    image = ("n", spec.in_channels, spec.height, spec.width)
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    opset = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads()
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x: npt.NDArray[Any] = rng.normal(size=(batch, *image[1:])).astype(np.float32)
    return lambda: session.run(None, {"x": x})


def clock() -> float:
    """Seconds of CPU with one thread (undisturbed by other processes), else of wall time."""
    return time.process_time() if threads() == 1 else time.perf_counter()


PAUSE = 0.1
"""Seconds for the other's idle threads to stop spinning (`machine.use_all_cores` makes ours stop
sooner): a spinning thread takes a core from the yardstick."""


def interleaved(calls: list[Callable[[], Any]], rounds: int = 7) -> list[float]:
    """Median seconds of each call, called in turn."""
    seconds: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(rounds):
        for call, taken in zip(calls, seconds, strict=True):
            time.sleep(PAUSE)
            start = clock()
            call()
            taken.append(clock() - start)
    return [statistics.median(taken) for taken in seconds]
