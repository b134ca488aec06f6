"""TVM's ONNX importer, with the node named in every refusal and a few converters of our own."""

from __future__ import annotations

import gc
import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from alwann_c.codegen.machine import without_native_warnings
from alwann_c.errors import UnsupportedError
from alwann_c.frontend.onnx_batch import BATCH
from alwann_c.frontend.onnx_file import opset_of
from alwann_c.ir import ops
from alwann_c.ir.ops import op_name
from alwann_c.ir.spec import Quantization
from alwann_c.passes.layers import constant

Converter = Callable[["Importer", list[Any], dict[str, Any]], Any]
_EXPORT = "replace it in the model, or export with another opset (11 to 21 are tested)"


class Importer(onnx_frontend.ONNXGraphImporter):  # type: ignore[misc]
    """Relax module of an ONNX graph whose constants are folded."""

    def __init__(self, label: str) -> None:
        super().__init__({}, "float32", keep_params_in_input=False)
        self.label = label

    @property
    def batch(self) -> Any:
        """Extent of the input's first axis."""
        return next(iter(self._inputs.values())).ty.shape[0]

    def fallback(self, op: str, inputs: list[Any], attrs: dict[str, Any]) -> Any:
        """TVM's own conversion."""
        return super()._convert_operator(op, inputs, attrs, self.opset)

    def _convert_operator(
        self, op_name: str, inputs: list[Any], attrs: dict[str, Any], opset: int
    ) -> Any:
        name = attrs["tvm_custom"]["name"]
        try:
            if op_name in CONVERTERS:
                made = CONVERTERS[op_name](self, inputs, attrs)
                return self.bb.normalize(made) if isinstance(made, relax.Expr) else made
            return self.fallback(op_name, inputs, attrs)
        except UnsupportedError:
            raise
        except Exception as e:
            raise UnsupportedError(
                f"{self.label}: operator {op_name} of node '{name}' (opset {opset}) cannot be "
                f"taken: {_last_line(e)}; {_EXPORT}"
            ) from e


def to_relax(label: str, model: onnx.ModelProto) -> tvm.IRModule:
    """Imports a checked graph. Raises UnsupportedError naming operator, node and opset."""
    opset, module, failure = opset_of(model), None, ""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), without_native_warnings():
        warnings.simplefilter("ignore")  # it renames inputs aloud, and prints what it refuses
        try:
            module = relax.transform.Normalize()(Importer(label).from_onnx(model.graph, opset))
        except UnsupportedError as e:
            failure = str(e)
        except Exception as e:  # noqa: BLE001 (whatever TVM raises on a graph it cannot take)
            reason = _last_line(e)
            failure = f"{label}: cannot import this model (opset {opset}): {reason}; {_EXPORT}"
        gc.collect()  # half-built blocks write a warning when they go
    if module is None:
        raise UnsupportedError(failure)
    return module


def _last_line(e: Exception) -> str:
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return (lines[-1] if lines else type(e).__name__)[:300]


def _code(inputs: list[Any]) -> tuple[float, int, bool]:
    """Scale, zero point and signedness of an activation's code."""
    scale = constant(inputs[1])
    zero = np.zeros(1, np.uint8) if len(inputs) < 3 or inputs[2] is None else constant(inputs[2])
    if scale is None or zero is None:
        raise ValueError("its scale or zero point is not constant; quantize statically")
    if scale.size != 1:
        raise ValueError("activations quantized per channel; quantize them per tensor")
    if zero.dtype not in (np.uint8, np.int8):
        raise ValueError(f"codes of type {zero.dtype}; quantize to 8 bits")
    return float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), zero.dtype == np.int8


def unsigned_code(inputs: list[Any]) -> Quantization:
    """The code of a QuantizeLinear or DequantizeLinear; int8 codes are moved up by 128, which
    changes no value."""
    scale, zero, signed = _code(inputs)
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale {scale}; it must be above zero")
    return Quantization(scale, zero + 128 if signed else zero)


def _quantize(importer: Importer, inputs: list[Any], _attrs: dict[str, Any]) -> Any:
    return ops.quantize(importer.bb.normalize(inputs[0]), unsigned_code(inputs))


def _dequantize(importer: Importer, inputs: list[Any], _attrs: dict[str, Any]) -> Any:
    codes = inputs[0]
    value = importer.bb.lookup_binding(codes) if isinstance(codes, relax.Var) else codes
    if value is None or op_name(value) != ops.QUANTIZE:
        raise ValueError("codes that no QuantizeLinear made; quantize in QDQ format")
    return ops.dequantize(codes, unsigned_code(inputs))


def _gather(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """One row of a tensor is a slice."""
    data, index = inputs[0], constant(inputs[1])
    axis = int(attrs.get("axis", 0))
    is_tensor = isinstance(getattr(data, "ty", None), relax.TensorType)
    if not is_tensor or constant(data) is not None or index is None or index.ndim > 0:
        return importer.fallback("Gather", inputs, attrs)
    extent = ops.static_shape(data)[axis]
    if extent is None:
        return importer.fallback("Gather", inputs, attrs)
    start = int(index) % extent if -extent <= int(index) < extent else None
    if start is None:
        raise ValueError(f"index {int(index)} lies outside an axis of {extent}")
    row = relax.op.strided_slice(data, axes=[axis], begin=[start], end=[start + 1])
    return relax.op.squeeze(importer.bb.normalize(row), [axis % len(data.ty.shape)])


def _concat(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """A constant of one row (a class token exported at batch 1) is repeated for every image."""
    shapes: list[Any] = [getattr(getattr(part, "ty", None), "shape", None) for part in inputs]
    axis = int(attrs.get("axis", 0))
    tensors = all(isinstance(getattr(p, "ty", None), relax.TensorType) for p in inputs)
    if not tensors or any(shape is None or len(shape) < 2 for shape in shapes):
        return importer.fallback("Concat", inputs, attrs)
    batches = [shape[0] for shape in shapes if not isinstance(shape[0], tvm.tirx.IntImm)]
    if not batches or axis % len(shapes[0]) == 0:
        return importer.fallback("Concat", inputs, attrs)
    parts = []
    for part in inputs:
        rows = part.ty.shape[0]
        if isinstance(rows, tvm.tirx.IntImm) and int(rows) == 1 and constant(part) is not None:
            repeated = relax.op.broadcast_to(part, [batches[0], *list(part.ty.shape)[1:]])
            parts.append(importer.bb.normalize(repeated))
        else:
            parts.append(part)
    return relax.op.concat(parts, axis=axis)


def _resize(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """Empty `scales` and `sizes` mean absent."""
    kept = [None if part is None or _is_empty(part) else part for part in inputs]
    kept += [None] * (4 - len(kept))
    if attrs.get("antialias"):
        raise ValueError("antialias; export without it")
    if attrs.get("axes") is not None or attrs.get("keep_aspect_ratio_policy", b"stretch") not in (
        b"stretch",
        "stretch",
    ):
        raise ValueError("axes or keep_aspect_ratio_policy; export with fixed sizes of all axes")
    if kept[3] is None and kept[2] is None:
        raise ValueError("neither scales nor sizes are constant; export with a fixed size")
    if kept[2] is not None:
        scales = constant(kept[2])
        if scales is None:
            raise ValueError("scales are not constant; export with a fixed size")
        extents = ops.static_shape(inputs[0])
        if None in extents[2:]:
            raise ValueError("the spatial size is dynamic; give the input a fixed size")
        sizes = [int(np.floor(s * (e or 1))) for s, e in zip(scales, extents, strict=True)]
        exact = [s * (e or 1) == size for s, e, size in zip(scales, extents, sizes, strict=True)]
        if not all(exact[2:]) and attrs.get("coordinate_transformation_mode") != b"align_corners":
            raise ValueError(f"scales {scales.tolist()} do not divide the size; export with sizes")
        kept = [kept[0], kept[1], None, relax.const(np.array(sizes, np.int64))]
    return importer.fallback("Resize", kept, attrs)


def _extents(importer: Importer, data: Any, shape: Any) -> list[Any] | None:
    """A constant shape with batch marks, as extents; None where there is none."""
    wanted = constant(shape) if isinstance(shape, relax.Expr) else None
    if wanted is None or not (wanted <= BATCH).any():
        return None
    return [
        importer.batch * (BATCH - int(extent))
        if extent <= BATCH
        else (data.ty.shape[i] if extent == 0 else int(extent))
        for i, extent in enumerate(wanted)
    ]


def _reshape(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    extents = _extents(importer, inputs[0], inputs[1])
    if extents is None:
        return importer.fallback("Reshape", inputs, attrs)
    return relax.op.reshape(inputs[0], extents)


def _expand(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    extents = _extents(importer, inputs[0], inputs[1])
    if extents is None:
        return importer.fallback("Expand", inputs, attrs)
    own = list(inputs[0].ty.shape)
    own = [1] * (len(extents) - len(own)) + own
    wanted = [
        mine if _is_one(theirs) else theirs for mine, theirs in zip(own, extents, strict=True)
    ]
    return relax.op.broadcast_to(inputs[0], wanted)


def _is_one(extent: Any) -> bool:
    return isinstance(extent, int | tvm.tirx.IntImm) and int(extent) == 1


def _is_empty(part: Any) -> bool:
    value = constant(part) if isinstance(part, relax.Expr) else None
    return value is not None and value.size == 0


def _clip(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """Bounds are attributes before opset 11, inputs since; either may be absent."""
    bounds: list[float | None] = []
    for i, key in ((1, "min"), (2, "max")):
        given = inputs[i] if i < len(inputs) else None
        found = attrs.get(key) if given is None else constant(given)
        if given is not None and found is None:
            return importer.fallback("Clip", inputs, attrs)
        bounds.append(None if found is None else float(np.asarray(found).reshape(())))
    low, high = (None if b is not None and not np.isfinite(b) else b for b in bounds)
    if str(inputs[0].ty.dtype) != "float32":
        return importer.fallback("Clip", inputs, attrs)
    if low is not None and high is not None:
        return relax.op.clip(inputs[0], low, high)
    if low is not None:
        return (
            relax.op.nn.relu(inputs[0])
            if low == 0.0
            else relax.op.maximum(inputs[0], relax.const(np.float32(low)))
        )
    return inputs[0] if high is None else relax.op.minimum(inputs[0], relax.const(np.float32(high)))


CONVERTERS: dict[str, Converter] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Clip": _clip,
    "Gather": _gather,
    "Concat": _concat,
    "Resize": _resize,
    "Reshape": _reshape,
    "Expand": _expand,
}
"""Operators converted here instead of by TVM."""

KNOWN_OPERATORS = frozenset(onnx_frontend._get_convert_map()) | frozenset(CONVERTERS)
