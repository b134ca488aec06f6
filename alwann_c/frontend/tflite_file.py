"""Reading a TensorFlow Lite flatbuffer that nobody vouches for, into plain data.

Nothing is followed that the file does not hold: the flatbuffer library fails on offsets outside the
buffer, counts are compared with limits before they are looped over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.onnx_file import MAX_ELEMENTS, MAX_NODES

Array = npt.NDArray[Any]
MAX_FILE_BYTES = 2 << 30
MAX_TENSORS = 100_000
MAX_RANK = 8
MAX_OPERANDS = 4096
MAX_EXTENT = 1 << 16
"""Largest stride, dilation or window."""

_DAMAGED = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError)
_TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor: `shape` has 0 where the size is open; `scale` and `zero` are [1], or [n] along
    `axis`, and None for what is not quantized; `data` of constants."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: Array | None
    zero: Array | None
    axis: int
    data: Array | None


@dataclass(frozen=True, eq=False)
class Operator:
    """One operation; inputs and outputs are numbers of tensors, -1 for an absent one."""

    name: str
    version: int
    number: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Network:
    """The first subgraph of a model."""

    tensors: list[Tensor]
    operators: list[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def schema() -> Any:
    """The package `tflite`. Raises InputError naming the extra."""
    try:
        import tflite
    except ImportError as e:
        raise InputError(
            "TensorFlow Lite models need the extra: pip install 'alwann-c[tflite]'"
        ) from e
    return tflite


def _numbers(count: int, values: Any, limit: int, what: str) -> list[int]:
    if not 0 <= count <= limit:
        raise ValueError(f"{count} {what}; at most {limit}")
    return [int(v) for v in np.asarray(values).reshape(-1)] if count else []


def _shape(tensor: Any) -> tuple[int, ...]:
    shape = _numbers(tensor.ShapeLength(), tensor.ShapeAsNumpy(), MAX_RANK, "axes")
    count = tensor.ShapeSignatureLength()
    signature = _numbers(count, tensor.ShapeSignatureAsNumpy(), MAX_RANK, "axes")
    if len(signature) == len(shape):
        shape = [0 if s == -1 else extent for s, extent in zip(signature, shape, strict=True)]
    if any(extent < 0 for extent in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"a tensor of shape {shape}")
    return tuple(shape)


def _quantization(tensor: Any) -> tuple[Array | None, Array | None, int]:
    given = tensor.Quantization()
    if given is None or given.ScaleLength() == 0:
        return None, None, 0
    scale = np.array(given.ScaleAsNumpy(), np.float32)
    zero = np.zeros(scale.shape, np.int64)
    if given.ZeroPointLength():
        zero = np.array(given.ZeroPointAsNumpy(), np.int64)
    if zero.size not in (1, scale.size) or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("scales that are not above zero, or other numbers of zero points")
    return scale, np.broadcast_to(zero, scale.shape), int(given.QuantizedDimension())


def _tensor(model: Any, tensor: Any, size: int) -> Tensor:
    name = (tensor.Name() or b"").decode("utf-8", "replace")[:200]
    dtype = _TYPES.get(tensor.Type(), f"type {tensor.Type()}")
    shape = _shape(tensor)
    scale, zero, axis = _quantization(tensor)
    buffer = model.Buffers(tensor.Buffer()) if 0 < tensor.Buffer() < model.BuffersLength() else None
    data = None
    if buffer is not None and getattr(buffer, "Offset", int)() > 1:
        raise ValueError(f"tensor '{name}': its values lie outside the flatbuffer")
    if buffer is not None and buffer.DataLength():
        if dtype.startswith("type") or tensor.Sparsity() is not None:
            raise ValueError(f"tensor '{name}' holds sparse values, or values of {dtype}")
        if not 0 < buffer.DataLength() <= size:
            raise ValueError("a buffer larger than the file")
        fixed = tuple(extent or 1 for extent in shape)
        data = np.array(buffer.DataAsNumpy(), np.uint8).view(np.dtype(dtype)).reshape(fixed)
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            raise ValueError(f"tensor '{name}' holds NaN or infinity")
    return Tensor(name, shape, dtype, scale, zero, axis, data)


_CONV = {
    "padding": "Padding",
    "stride_h": "StrideH",
    "stride_w": "StrideW",
}
_DILATED = {**_CONV, "dilation_h": "DilationHFactor", "dilation_w": "DilationWFactor"}
_FUSED = {"activation": "FusedActivationFunction"}
_POOL = (
    "Pool2DOptions",
    {**_CONV, **_FUSED, "filter_h": "FilterHeight", "filter_w": "FilterWidth"},
)
_REDUCER = ("ReducerOptions", {"keep": "KeepDims"})
_SIZES = {"aligned": "AlignCorners", "half": "HalfPixelCenters"}
_MASKS = {
    "begin": "BeginMask",
    "end": "EndMask",
    "ellipsis": "EllipsisMask",
    "new": "NewAxisMask",
    "shrink": "ShrinkAxisMask",
}

_OPTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "CONV_2D": ("Conv2DOptions", {**_DILATED, **_FUSED}),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", {**_DILATED, **_FUSED}),
    "TRANSPOSE_CONV": ("TransposeConvOptions", _CONV),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        {**_FUSED, "keep": "KeepNumDims", "form": "WeightsFormat"},
    ),
    "ADD": ("AddOptions", _FUSED),
    "SUB": ("SubOptions", _FUSED),
    "MUL": ("MulOptions", _FUSED),
    "DIV": ("DivOptions", _FUSED),
    "CONCATENATION": ("ConcatenationOptions", {**_FUSED, "axis": "Axis"}),
    "SOFTMAX": ("SoftmaxOptions", {"beta": "Beta"}),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": "Alpha"}),
    "GELU": ("GeluOptions", {"approximate": "Approximate"}),
    "BATCH_MATMUL": ("BatchMatMulOptions", {"left": "AdjX", "right": "AdjY"}),
    "MEAN": _REDUCER,
    "SUM": _REDUCER,
    "REDUCE_MAX": _REDUCER,
    "REDUCE_MIN": _REDUCER,
    "PACK": ("PackOptions", {"axis": "Axis"}),
    "GATHER": ("GatherOptions", {"axis": "Axis", "batch": "BatchDims"}),
    "STRIDED_SLICE": ("StridedSliceOptions", _MASKS),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _SIZES),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _SIZES),
}
"""By operator: the table of its options in the schema, and what is read of it."""


def _options(library: Any, name: str, operator: Any) -> dict[str, Any]:
    if name not in _OPTIONS:
        return {}
    table, wanted = _OPTIONS[name]
    given = operator.BuiltinOptions()
    options = getattr(library, table)()
    if given is None:
        return {}
    options.Init(given.Bytes, given.Pos)
    found = {key: getattr(options, method)() for key, method in wanted.items()}
    sizes = {key: value for key, value in found.items() if key.endswith(("_h", "_w"))}
    if any(not 1 <= value <= MAX_EXTENT for value in sizes.values()):
        raise ValueError(f"{name} with {sizes}")
    return found


def _ends(part: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Numbers of the tensors that a graph or an operator takes and gives."""
    inputs = _numbers(part.InputsLength(), part.InputsAsNumpy(), MAX_OPERANDS, "inputs")
    outputs = _numbers(part.OutputsLength(), part.OutputsAsNumpy(), MAX_OPERANDS, "outputs")
    if len(outputs) < 1:
        raise ValueError("an operator or a graph without outputs")
    return tuple(inputs), tuple(outputs)


def _operators(library: Any, model: Any, graph: Any) -> list[Operator]:
    values = vars(library.BuiltinOperator).items()
    names = {value: key for key, value in values if isinstance(value, int)}
    found = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        if not 0 <= operator.OpcodeIndex() < model.OperatorCodesLength():
            raise ValueError("an operator of no known code")
        code = model.OperatorCodes(operator.OpcodeIndex())
        value = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = names.get(value, f"code {value}")
        if name == "CUSTOM":
            name = f"CUSTOM {(code.CustomCode() or b'').decode('utf-8', 'replace')[:80]}"
        inputs, outputs = _ends(operator)
        options = _options(library, name, operator)
        found.append(Operator(name, int(code.Version()), number, inputs, outputs, options))
    return found


def _network(library: Any, content: bytes) -> Network:
    model = library.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() < 1:
        raise ValueError("no graph")
    graph = model.Subgraphs(0)
    tensors, operators = graph.TensorsLength(), graph.OperatorsLength()
    if not 0 < tensors <= MAX_TENSORS or not 0 < operators <= MAX_NODES:
        raise ValueError(f"{tensors} tensors and {operators} operators")
    read, held = [], 0
    for i in range(tensors):  # tensors may share a buffer, or their scales
        read.append(_tensor(model, graph.Tensors(i), len(content)))
        parts = (read[-1].data, read[-1].scale)
        held += sum(part.nbytes for part in parts if part is not None)
        if held > 2 * len(content):
            raise ValueError("constants larger than the file")
    inputs, outputs = _ends(graph)
    network = Network(read, _operators(library, model, graph), inputs, outputs)
    used = [*network.inputs, *network.outputs]
    for operator in network.operators:
        used += [*operator.inputs, *operator.outputs]
    if any(not -1 <= number < tensors for number in used) or -1 in (*inputs, *outputs):
        raise ValueError("numbers of tensors that do not exist")
    return network


def read_tflite(path: Path) -> Network:
    """The network of a `.tflite` file. Raises InputError."""
    library = schema()
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a TensorFlow Lite model")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise InputError(
            f"{path}: not a TensorFlow Lite model (no identifier TFL3); give what its converter wrote"
        )
    try:
        return _network(library, content)
    except UnsupportedError:
        raise
    except _DAMAGED as e:
        reason = " ".join(str(e).split())[:200]
        raise InputError(
            f"{path}: damaged, or of an unknown schema: {reason}; convert the model again"
        ) from e
