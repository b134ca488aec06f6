"""Reading an ONNX file that nobody vouches for: bounded memory, bounded time, one-line refusals."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from alwann_c.errors import InputError, UnsupportedError

MAX_MODEL_BYTES = 2 << 30
MAX_NODES = 50_000
MAX_ELEMENTS = 1 << 28
"""Elements of one tensor, a batch of one image: 1 GiB of float32."""

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_SMALL = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16)
_FIELDS = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.INT32: "int32_data",
    TensorProto.BOOL: "int32_data",
    **dict.fromkeys((*_HALF, *_SMALL), "int32_data"),
}
_BYTES = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.INT64: 8,
    TensorProto.UINT64: 8,
    TensorProto.UINT32: 4,
    TensorProto.INT32: 4,
    TensorProto.BOOL: 1,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    **dict.fromkeys((*_HALF, TensorProto.INT16, TensorProto.UINT16), 2),
}


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operator set."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def where_is(node: onnx.NodeProto) -> str:
    """How a message calls a node: its name, or its first output."""
    return node.name or (node.output[0] if node.output else "?")


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every stored tensor: initializers and attributes of nodes, of functions too."""
    yield from model.graph.initializer
    nodes = [*model.graph.node, *(n for f in model.functions for n in f.node)]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def read_onnx(path: Path) -> tuple[onnx.ModelProto, tuple[Path, ...]]:
    """Reads and checks an ONNX file; external weights are read from its own folder only.

    Returns the model and the files it was read from, its own first.

    Raises InputError when it is not a model, or one that would not fit in memory.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an ONNX model")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise InputError(f"{path}: larger than the {MAX_MODEL_BYTES} bytes ONNX allows")
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except (DecodeError, ValueError, OSError) as e:
        raise InputError(f"{path}: not a valid ONNX model ({_first(e)}); export it again") from e
    total, files = 0, {path: None}
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            file, size = _read_external(path, tensor)
            files[file] = None
            total += size
            if total > MAX_MODEL_BYTES:
                raise InputError(f"{path}: its external weights exceed {MAX_MODEL_BYTES} bytes")
    check_model(str(path), model)
    return model, tuple(files)


def _first(e: Exception) -> str:
    return next((line.strip() for line in str(e).splitlines() if line.strip()), type(e).__name__)


def _read_external(path: Path, tensor: TensorProto) -> tuple[Path, int]:
    """Moves an external tensor's bytes into the tensor; returns its file and their number."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name, location = f"{path}: weight '{tensor.name}'", entries.get("location", "")
    folder = Path(os.path.realpath(path.parent))
    file = Path(os.path.realpath(folder / location)) if "\0" not in location else folder
    if not location or Path(location).is_absolute() or folder not in file.parents:
        raise InputError(
            f"{name}: external file '{location}' lies outside the model's folder; put it beside "
            "the model"
        )
    try:
        if not file.is_file():
            raise InputError(f"{name}: external file '{location}' is missing; keep it beside it")
        offset, size = int(entries.get("offset") or 0), file.stat().st_size
        length = int(entries["length"]) if entries.get("length") else size - offset
        expected = _expected_bytes(name, tensor)
        if offset < 0 or length != expected or offset + length > size:
            raise InputError(
                f"{name}: external file '{location}' holds {size} bytes; {expected} are needed "
                f"at offset {offset}, {length} are declared"
            )
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
    except (ValueError, OSError) as e:
        raise InputError(f"{name}: external file '{location}': {_first(e)}") from e
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.DEFAULT
    return path.parent / location, length


def _expected_bytes(name: str, tensor: TensorProto) -> int:
    if tensor.data_type not in _BYTES:
        known = tensor.data_type in TensorProto.DataType.values()
        kind = TensorProto.DataType.Name(tensor.data_type) if known else tensor.data_type
        raise UnsupportedError(f"{name}: element type {kind} is not supported; export float32")
    count = math.prod(tensor.dims)
    if any(d < 0 for d in tensor.dims) or count > MAX_ELEMENTS:
        raise InputError(f"{name}: shape {list(tensor.dims)[:8]} is out of bounds")
    return int(count * _BYTES[tensor.data_type])


def check_model(label: str, model: onnx.ModelProto) -> None:
    """Raises InputError unless the model is well-formed: ONNX's own rules, and tensors whose data
    fills their shape. `label` begins the message."""
    if not model.graph.node:
        raise InputError(f"{label}: not an ONNX model, or one without operators")
    nodes = expanded_nodes(label, model)
    if nodes > MAX_NODES:
        raise InputError(f"{label}: {nodes} operators; at most {MAX_NODES} are taken")
    if model.graph.sparse_initializer:
        raise UnsupportedError(f"{label}: sparse weights are not supported; export dense ones")
    for tensor in tensors(model):
        name = f"{label}: weight '{tensor.name}'"
        expected = _expected_bytes(name, tensor)
        if tensor.HasField("raw_data"):
            found = len(tensor.raw_data)
        else:
            found = len(getattr(tensor, _FIELDS[tensor.data_type])) * _BYTES[tensor.data_type]
        if found != expected:
            raise InputError(
                f"{name}: {found} bytes do not fill shape {list(tensor.dims)[:8]}; export it again"
            )
    for value in model.graph.output:  # the checker wants a shape, inference does without
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError, DecodeError) as e:
        raise InputError(f"{label}: not a valid ONNX model ({_first(e)}); export it again") from e


def expanded_nodes(label: str, model: onnx.ModelProto) -> int:
    """Nodes after inlining the model's own functions, counted without inlining them.

    Raises InputError when functions call each other in a circle.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()

    def size(nodes: list[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            total += 1 if key not in functions else function_size(key)
        return total

    def function_size(key: tuple[str, str]) -> int:
        if key in open_calls or len(open_calls) > 64:
            raise InputError(f"{label}: function '{key[1]}' calls itself; export it again")
        if key not in sizes:
            open_calls.add(key)
            sizes[key] = size(list(functions[key].node))
            open_calls.discard(key)
        return sizes[key]

    return size(list(model.graph.node))
