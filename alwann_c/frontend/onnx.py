"""ONNX -> Relax, with every refusal named: operator, node, opset, reason and remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tvm
from onnx import TensorProto, helper, inliner, numpy_helper
from tvm import relax

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.fold_limits import FoldError
from alwann_c.frontend.free_batch import batch_problem
from alwann_c.frontend.imported import (
    CONSTANT_OUTPUT,
    Imported,
    ImportOptions,
    digest,
    fixed_value,
    known_inputs,
)
from alwann_c.frontend.names import layer_stem
from alwann_c.frontend.onnx_batch import BatchError, settle, settle_symbolic, with_batch
from alwann_c.frontend.onnx_file import MAX_ELEMENTS, opset_of, read_onnx, where_is
from alwann_c.frontend.onnx_fold import Folded, WeightCode, attributes
from alwann_c.frontend.onnx_half import in_float32
from alwann_c.frontend.onnx_import import KNOWN_OPERATORS, to_relax
from alwann_c.frontend.onnx_qdq import QUANTIZED_OPERATORS, uniform_quantization
from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import bindings
from alwann_c.passes.layers import LAYER_NAMES, WEIGHT_CODES

MAX_CONSTANT_NODES = 500
_LAYER_RANK = {"Conv": 4, "Gemm": 2, "MatMul": 2}
_NO_NUMBER = "holds NaN or infinity; export the network from a checkpoint whose training converged"
_CONTROL = {"If": "a branch", "Loop": "a loop", "Scan": "a loop", "SequenceMap": "a loop"}
_INTEGERS = (TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64)
_DOMAINS = ("", "ai.onnx", "com.microsoft")


def _check_operators(label: str, model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        known = node.op_type in KNOWN_OPERATORS or node.op_type in QUANTIZED_OPERATORS
        if known and node.domain in _DOMAINS:
            continue
        domain = f"{node.domain}." if node.domain else ""
        what = (
            f"operator {domain}{node.op_type} of node '{where_is(node)}' (opset {opset_of(model)})"
        )
        if node.op_type in _CONTROL and node.domain in ("", "ai.onnx"):
            raise UnsupportedError(
                f"{label}: {what} is {_CONTROL[node.op_type]}, control flow is not supported; "
                "export the model unrolled, for fixed shapes"
            )
        remedy = "replace it or export the model without it"
        if node.domain not in ("", "ai.onnx"):
            remedy = "export without custom operators, or without the optimiser that put it there"
        raise UnsupportedError(f"{label}: {what} is not supported; {remedy}")


def _single_ends(label: str, model: onnx.ModelProto, options: ImportOptions) -> onnx.ModelProto:
    """The model with one float input and one output; the others bound or left out."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    stored = {tensor.name for tensor in graph.initializer}
    known_inputs(label, options.fixed, (entry.name for entry in graph.input))
    for entry in graph.input:
        if entry.name in options.fixed:
            value = _fixed(label, entry, options.fixed[entry.name])
            graph.initializer.append(numpy_helper.from_array(value, entry.name))
            stored.add(entry.name)
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UnsupportedError(
            f"{label}: exactly one input is supported; it has: {names}; give the others fixed "
            "values (fixed={'name': array})"
        )
    del graph.input[:]
    graph.input.extend(inputs)
    outputs = {value.name: value for value in graph.output}
    chosen = options.output if options.output is not None else next(iter(outputs), "")
    if chosen not in outputs:
        raise InputError(f"{label}: it has no output '{chosen}'; it has: {', '.join(outputs)}")
    del graph.output[:]
    graph.output.append(outputs[chosen])
    return changed


def _fixed(label: str, entry: onnx.ValueInfoProto, value: Any) -> npt.NDArray[Any]:
    """The value given for an input, in its declared type."""
    tensor = entry.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    shape = dims if tensor.HasField("shape") else list(np.shape(value))
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type or TensorProto.STRING)
    return fixed_value(label, entry.name, value, dtype, shape)


def layer_names(model: onnx.ModelProto, origin: Mapping[str, str] | None = None) -> list[str]:
    """A name for each layer with a constant weight, in node order: from the weight, or the node.

    `origin` maps a folded weight to the stored one it was made from.
    """
    names: list[str] = []
    for node in _layers(model):
        weight = (origin or {}).get(node.input[1], node.input[1])
        name = layer_stem(weight, node.name or f"{node.op_type.lower()}{len(names)}")
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes that become one convolution or matrix product with a constant weight."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and "value" in attributes(node):
            ranks[node.output[0]] = len(attributes(node)["value"].dims)
    return [
        node
        for node in model.graph.node
        if node.op_type in _LAYER_RANK and ranks.get(node.input[1]) == _LAYER_RANK[node.op_type]
    ]


def _weight_codes(model: onnx.ModelProto, names: list[str], folded: Folded) -> dict[str, Any]:
    """Scales float32 [n] and zero points int32 [n] of unsigned codes, of layers stored as such."""
    found = {}
    for name, node in zip(names, _layers(model), strict=True):
        code = folded.codes.get(node.input[1])
        if code is None:
            continue
        weight = folded.values[node.input[1]]
        by_row = node.op_type == "Conv" or bool(attributes(node).get("transB"))
        axis = 0 if by_row else weight.ndim - 1
        if code.scale.size > 1 and code.axis != axis:
            continue
        found[name] = [tvm.runtime.tensor(part) for part in _per_channel(code, weight.shape[axis])]
    return found


def _per_channel(code: WeightCode, channels: int) -> list[npt.NDArray[Any]]:
    zero = code.zero_point.reshape(-1) + (128 if code.signed else 0)
    return [
        np.broadcast_to(code.scale.reshape(-1), channels).astype(np.float32),
        np.broadcast_to(zero, channels).astype(np.int32),
    ]


def _check_input(label: str, model: onnx.ModelProto) -> None:
    """The input is float32, or made so: integers that are cast to it at once."""
    value = model.graph.input[0]
    tensor = value.type.tensor_type
    if tensor.elem_type == TensorProto.FLOAT:
        return
    readers = [node for node in model.graph.node if value.name in node.input]
    cast = all(n.op_type == "Cast" and attributes(n)["to"] == TensorProto.FLOAT for n in readers)
    if not cast or tensor.elem_type not in _INTEGERS:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise UnsupportedError(
            f"{label}: input '{value.name}' is {kind}; FLOAT is expected, or integers that a Cast to "
            "FLOAT reads: export it so"
        )
    tensor.elem_type = TensorProto.FLOAT


def _with_input(label: str, model: onnx.ModelProto, options: ImportOptions) -> onnx.ModelProto:
    """The model for a batch of 1, its other extents fixed."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    value = changed.graph.input[0]
    dims = value.type.tensor_type.shape.dim
    if options.input_shape is not None:
        if len(dims) not in (0, 1 + len(options.input_shape)):
            raise InputError(
                f"{label}: input '{value.name}' has {len(dims)} axes; give {len(dims) - 1} sizes"
            )
        while len(dims) < 1 + len(options.input_shape):
            dims.add()
        for dim, wanted in zip(list(dims)[1:], options.input_shape, strict=True):
            if dim.HasField("dim_value") and dim.dim_value != wanted:
                raise InputError(
                    f"{label}: input '{value.name}' is fixed at {dim.dim_value} where {wanted} "
                    "was asked; leave the input shape out"
                )
            dim.dim_value = wanted
    if not dims or any(not d.HasField("dim_value") or d.dim_value < 1 for d in list(dims)[1:]):
        given = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in dims]
        raise UnsupportedError(
            f"{label}: input '{value.name}' has dynamic axes beside the batch: {given}; export it "
            "with a fixed size, or give one (input_shape=(c, h, w), --input-shape c,h,w)"
        )
    for output in changed.graph.output:  # what the exporter declared may not hold any more
        output.type.tensor_type.ClearField("shape")
    del changed.graph.value_info[:]
    return changed


def _check_sizes(label: str, mod: tvm.IRModule) -> None:
    """Every tensor of one image fits."""
    for var, value in bindings(mod):
        shape = var.ty.shape if isinstance(var.ty, relax.TensorType) else None
        elements = 1
        if shape is not None and not isinstance(shape, relax.ShapeExpr):
            raise UnsupportedError(
                f"{label}: {op_name(value)} makes a tensor whose number of elements only values "
                "tell; export the model for fixed shapes"
            )
        for extent in list(shape) if shape is not None else []:
            elements *= int(extent) if isinstance(extent, tvm.tirx.IntImm) else 1
        if elements > MAX_ELEMENTS:
            raise InputError(
                f"{label}: {op_name(value)} makes a tensor of {elements} elements for one image; at "
                f"most {MAX_ELEMENTS} are taken: export the model for smaller images"
            )


def _check_values(label: str, model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind != "f" or values.ndim == 0:
            continue
        if np.isnan(values).any() or (values.ndim > 1 and np.isposinf(values).any()):
            raise InputError(f"{label}: weight '{tensor.name}' {_NO_NUMBER}")
    weights = {node.input[1] for node in _layers(model)}
    for tensor in model.graph.initializer:
        if tensor.name in weights and not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise InputError(f"{label}: weight '{tensor.name}' {_NO_NUMBER}")


def _check_constant_work(label: str, model: onnx.ModelProto) -> None:
    """What is left of operators on constants is compiled one by one: few of them."""
    constant = {tensor.name for tensor in model.graph.initializer}
    left = []
    for node in model.graph.node:
        if all(not name or name in constant for name in node.input):
            constant.update(node.output)
            left.append(node)
    if len(left) > MAX_CONSTANT_NODES:
        node = left[0]
        raise UnsupportedError(
            f"{label}: {len(left)} operators compute on constants alone, the first is "
            f"{node.op_type} of node '{where_is(node)}' (opset {opset_of(model)}); at most "
            f"{MAX_CONSTANT_NODES} are taken: export with constant folding"
        )


def _attempt(label: str, settled: tuple[onnx.ModelProto, Folded]) -> tvm.IRModule:
    """Relax module of a settled graph."""
    graph, folded = settled
    if not graph.graph.node:
        raise UnsupportedError(f"{label}: {CONSTANT_OUTPUT}")
    _check_values(label, graph)
    _check_constant_work(label, graph)
    names = layer_names(graph, folded.origin)
    module = to_relax(label, graph)
    _check_sizes(label, module)
    main = module.get_global_var("main")
    function = module[main].with_attr(LAYER_NAMES, names)
    codes = _weight_codes(graph, names, folded)
    if codes and any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        function = function.with_attr(WEIGHT_CODES, codes)
    module.update_func(main, function)
    return module


def import_onnx(path: Path, options: ImportOptions | None = None) -> Imported:
    """The network of an ONNX file.

    Raises InputError (not an ONNX model) or UnsupportedError (operator, node, opset).
    """
    model, files = read_onnx(path)
    imported = import_model(str(path), model, options or ImportOptions(), digest(files))
    return replace(imported, files=files)


def import_model(
    label: str, model: onnx.ModelProto, options: ImportOptions, sha256: str | None = None
) -> Imported:
    """The network of a checked ONNX model in memory; `label` begins every message. `sha256`: of its
    content, where that is known."""
    module = import_proto(label, model, options)
    bound = {tensor.name for tensor in model.graph.initializer} | set(options.fixed)
    name = next(value.name for value in model.graph.input if value.name not in bound)
    if sha256 is None:
        sha256 = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    return Imported(module, name, options.output or model.graph.output[0].name, sha256)


def import_proto(
    label: str, model: onnx.ModelProto, options: ImportOptions | None = None
) -> tvm.IRModule:
    """Relax module of a checked ONNX model; `label` begins every message.

    The batch is symbolic where every image provably keeps to itself (`free_batch`), else 1.
    """
    try:
        return _import_proto(label, model, options or ImportOptions())
    except FoldError as e:
        raise InputError(f"{label}: {e}") from e
    except UnicodeDecodeError as e:  # protobuf's texts are decoded when they are read
        raise InputError(f"{label}: a name in it is no UTF-8 text; export it again") from e


def _import_proto(label: str, model: onnx.ModelProto, options: ImportOptions) -> tvm.IRModule:
    if model.functions:
        model = inliner.inline_local_functions(model)
    model = in_float32(model)
    _check_operators(label, model)
    model = uniform_quantization(label, _single_ends(label, model, options))
    _check_input(label, model)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    fixed = dims[0].dim_value if len(dims) and dims[0].HasField("dim_value") else 0
    model = _with_input(label, model, options)
    refusal, mixed = None, ""
    try:
        module = _attempt(label, settle_symbolic(model, free=fixed > 0))
        mixed = batch_problem(module) or ""
        if not mixed:
            return module
    except BatchError as e:
        mixed = str(e)
    except UnsupportedError as e:
        refusal = e
    if mixed:
        refusal = UnsupportedError(f"{label}: images of a batch are mixed by {mixed}")
    if fixed > 1:
        raise UnsupportedError(f"{refusal}; its batch is fixed at {fixed}: export it with batch 1")
    try:
        return _attempt(label, settle(with_batch(model, 1), free=False))
    except UnsupportedError as e:
        raise (e if mixed or refusal is None else refusal) from None
