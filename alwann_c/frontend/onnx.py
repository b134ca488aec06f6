"""ONNX -> Relax, through TVM's importer, with every refusal named: operator, node, opset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

from alwann_c.errors import AlwannError, InputError, UnsupportedError
from alwann_c.passes.layers import LAYER_NAMES

MAX_MODEL_BYTES = 2 << 30
_WEIGHT_SUFFIX = re.compile(r"[._/]?(weight|weights|kernel|w|W)$")
_LAYER_OPS = ("Conv", "Gemm", "MatMul")


def read_onnx(path: Path) -> onnx.ModelProto:
    """Reads and checks an ONNX file. Raises InputError when it is not one."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an ONNX model")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise InputError(f"{path}: larger than the {MAX_MODEL_BYTES} bytes ONNX allows")
    try:
        model = onnx.load(str(path))
        if not model.graph.node:
            raise InputError(f"{path}: not an ONNX model, or one without operators")
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError, RuntimeError) as e:
        first = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise InputError(f"{path}: not a valid ONNX model ({first}); export it again") from e
    return model


def _opset(model: onnx.ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _known_operators() -> set[str]:
    from tvm.relax.frontend.onnx import onnx_frontend

    convert_map: dict[str, Any] = onnx_frontend._get_convert_map()
    return set(convert_map)


def _check_operators(path: Path, model: onnx.ModelProto) -> None:
    known = _known_operators()
    for node in model.graph.node:
        if node.op_type in known and node.domain in ("", "ai.onnx"):
            continue
        where = node.name or (node.output[0] if node.output else "?")
        domain = f"{node.domain}." if node.domain else ""
        raise UnsupportedError(
            f"{path}: operator {domain}{node.op_type} of node '{where}' (opset {_opset(model)}) is "
            "not supported; replace it or export the model without it"
        )


def _check_input(path: Path, model: onnx.ModelProto) -> None:
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UnsupportedError(f"{path}: exactly one input is supported; it has: {names}")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise UnsupportedError(f"{path}: input '{inputs[0].name}' is {kind}; FLOAT is expected")


def layer_names(model: onnx.ModelProto) -> list[str]:
    """A name for each layer with a constant weight, in node order: from the weight, or the node."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    weights.update({n.output[0]: n for n in model.graph.node if n.op_type == "Constant"})
    names: list[str] = []
    for node in model.graph.node:
        if node.op_type not in _LAYER_OPS or node.input[1] not in weights:
            continue
        name = _WEIGHT_SUFFIX.sub("", node.input[1]) or node.name
        if not re.search(r"[A-Za-z]", name):
            name = node.name or f"{node.op_type.lower()}{len(names)}"
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _dynamic_batch(model: onnx.ModelProto) -> None:
    """Makes a batch size that the exporter fixed at 1 symbolic."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    graph_inputs = [value for value in model.graph.input if value.name not in initializers]
    for value in (*graph_inputs, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and (dims[0].dim_value in (0, 1)) and not dims[0].dim_param:
            dims[0].dim_param = "N"


def import_onnx(path: Path) -> tuple[tvm.IRModule, onnx.ModelProto]:
    """Relax module of an ONNX file, weights as constants, layer names in `LAYER_NAMES`.

    Raises InputError (not an ONNX model) or UnsupportedError (operator, node, opset).
    """
    model = read_onnx(path)
    _check_operators(path, model)
    _check_input(path, model)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{path}: weight '{tensor.name}' holds NaN or infinity")
    _dynamic_batch(model)
    try:
        module = from_onnx(model, keep_params_in_input=False)
        module = relax.transform.Normalize()(module)
    except AlwannError:
        raise
    except Exception as e:
        lines = [line for line in str(e).strip().splitlines() if line.strip()]
        reason = lines[-1] if lines else type(e).__name__
        raise UnsupportedError(
            f"{path}: cannot import this model (opset {_opset(model)}): {reason}"
        ) from e
    main = module.get_global_var("main")
    module.update_func(main, module[main].with_attr(LAYER_NAMES, layer_names(model)))
    return module, model
