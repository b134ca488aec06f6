"""Converters of ONNX operators that TVM's importer leaves out, refuses or gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax

from alwann_c.frontend.integers import code_of
from alwann_c.frontend.onnx_batch import BATCH
from alwann_c.frontend.onnx_resize import Importer, resize, upsample
from alwann_c.ir import ops
from alwann_c.ir.ops import op_name
from alwann_c.ir.spec import Quantization
from alwann_c.passes.layers import constant

Converter = Callable[[Importer, list[Any], dict[str, Any]], Any]


def _code(inputs: list[Any]) -> Quantization:
    """The unsigned code of a QuantizeLinear or DequantizeLinear."""
    if len(inputs) < 3 or inputs[2] is None:  # `onnx_qdq` adds it where it knows the codes' type
        raise ValueError("codes of unknown type; give it a zero point")
    scale, zero = constant(inputs[1]), constant(inputs[2])
    if scale is None or zero is None:
        raise ValueError("its scale or zero point is not constant; quantize statically")
    return code_of(scale, zero, str(zero.dtype))


def _quantize(importer: Importer, inputs: list[Any], _attrs: dict[str, Any]) -> Any:
    return ops.quantize(importer.bb.normalize(inputs[0]), _code(inputs))


def _dequantize(importer: Importer, inputs: list[Any], _attrs: dict[str, Any]) -> Any:
    codes = inputs[0]
    value = importer.bb.lookup_binding(codes) if isinstance(codes, relax.Var) else codes
    if value is None or op_name(value) != ops.QUANTIZE:
        raise ValueError("codes that no QuantizeLinear made; quantize in QDQ format")
    return ops.dequantize(codes, _code(inputs))


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
    if low is not None and high is not None and low > high:  # then every value becomes `high`
        low = high
    if low is not None and high is not None:
        return relax.op.clip(inputs[0], low, high)
    if low is not None:
        return (
            relax.op.nn.relu(inputs[0])
            if low == 0.0
            else relax.op.maximum(inputs[0], relax.const(np.float32(low)))
        )
    return inputs[0] if high is None else relax.op.minimum(inputs[0], relax.const(np.float32(high)))


def _squeeze(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """TVM's layout conversion reads negative axes as huge ones."""
    given = constant(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else attrs.get("axes")
    shape = getattr(inputs[0].ty, "shape", None)
    if given is None or shape is None or constant(inputs[0]) is not None:
        return importer.fallback("Squeeze", inputs, attrs)
    rank = len(shape)
    return relax.op.squeeze(inputs[0], [int(axis) % rank for axis in np.asarray(given).reshape(-1)])


def _space_to_depth(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    if attrs.get("mode", b"DCR") not in (b"DCR", "DCR"):
        raise ValueError("mode CRD; export as DCR")
    return importer.fallback("SpaceToDepth", inputs, attrs)


def _chained(make: Callable[[Any, Any], Any], *, mean: bool = False) -> Converter:
    """An operator of any number of inputs, two by two."""

    def convert(importer: Importer, inputs: list[Any], _attrs: dict[str, Any]) -> Any:
        made = inputs[0]
        for other in inputs[1:]:
            made = importer.bb.normalize(make(made, other))
        if not mean or len(inputs) == 1:
            return made
        return relax.op.divide(made, relax.const(len(inputs), str(made.ty.dtype)))

    return convert


def _arg(name: str) -> Converter:
    def convert(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
        if attrs.get("select_last_index"):
            raise ValueError("select_last_index; export without it")
        return importer.fallback(name, inputs, attrs)

    return convert


def _power(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """The exponent may be of another type than the base."""
    base, exponent = inputs
    if str(base.ty.dtype) != "float32":
        raise ValueError(f"a power of {base.ty.dtype}; only float32 is computed")
    if str(exponent.ty.dtype) != "float32":
        exponent = importer.bb.normalize(relax.op.astype(exponent, "float32"))
    return importer.fallback("Pow", [base, exponent], attrs)


def _conv_transpose(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """`output_shape` says what the padding must be; TVM's conversion leaves it out."""
    wanted = attrs.get("output_shape")
    if wanted is None:
        return importer.fallback("ConvTranspose", inputs, attrs)
    sizes, kernel = ops.static_shape(inputs[0])[2:], ops.static_shape(inputs[1])[2:]
    if None in sizes or None in kernel:
        raise ValueError("the spatial size is dynamic; give the input a fixed size")
    axes = len(sizes)
    strides = [int(v) for v in attrs.get("strides") or [1] * axes]
    spread = [int(v) for v in attrs.get("dilations") or [1] * axes]
    extra = [int(v) for v in attrs.get("output_padding") or [0] * axes]
    before, after = [], []
    for i, size in enumerate(list(wanted)[-axes:]):
        reach = ((kernel[i] or 0) - 1) * spread[i] + 1
        total = strides[i] * ((sizes[i] or 0) - 1) + extra[i] + reach - int(size)
        extra[i] += max(-total, 0)
        cut = max(total, 0)
        before.append(cut // 2 if attrs.get("auto_pad") == b"SAME_UPPER" else cut - cut // 2)
        after.append(cut - before[-1])
        if extra[i] >= strides[i]:
            raise ValueError(
                f"output_shape {list(wanted)} needs an output padding above the stride"
            )
    given = {key: value for key, value in attrs.items() if key not in ("output_shape", "auto_pad")}
    given |= {"pads": [*before, *after], "output_padding": extra}
    return importer.fallback("ConvTranspose", inputs, given)


def _batch_norm(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """In evaluation; TVM's conversion would leave `training_mode` unread."""
    if attrs.get("training_mode"):
        raise ValueError("training_mode; export the network in evaluation mode, network.eval()")
    return importer.fallback("BatchNormalization", inputs, attrs)


def _dropout(_importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """Nothing, in evaluation; its mask keeps everything."""
    training = constant(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
    if training is not None and training.any():
        raise ValueError("training mode; export in evaluation mode")
    if attrs["tvm_custom"]["num_outputs"] == 1:
        return inputs[0]
    return relax.Tuple([inputs[0], relax.op.full_like(inputs[0], relax.const(True), "bool")])


def _is_inf(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """TVM's conversion leaves the signs unread."""
    if not (attrs.get("detect_negative", 1) and attrs.get("detect_positive", 1)):
        raise ValueError("infinity of one sign; compare with a constant instead")
    return importer.fallback("IsInf", inputs, attrs)


def _roi_align(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """TVM's maximum is another than ONNX's: of the samples before they are weighted."""
    if attrs.get("mode", b"avg") not in (b"avg", "avg"):
        raise ValueError("mode max; export with mode avg")
    return importer.fallback("RoiAlign", inputs, attrs)


def _rms_norm(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """Over the last axis; over several TVM does not compile it."""
    if int(attrs.get("axis", -1)) not in (-1, len(inputs[0].ty.shape) - 1):
        raise ValueError("it normalises over several axes; flatten them before it")
    return importer.fallback("RMSNormalization", inputs, attrs)


CONVERTERS: dict[str, Converter] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Clip": _clip,
    "Gather": _gather,
    "Concat": _concat,
    "Resize": resize,
    "Upsample": upsample,
    "Reshape": _reshape,
    "Expand": _expand,
    "Max": _chained(relax.op.maximum),
    "Min": _chained(relax.op.minimum),
    "Sum": _chained(relax.op.add),
    "Mean": _chained(relax.op.add, mean=True),
    "ArgMax": _arg("ArgMax"),
    "ArgMin": _arg("ArgMin"),
    "Pow": _power,
    "ConvTranspose": _conv_transpose,
    "Dropout": _dropout,
    "BatchNormalization": _batch_norm,
    "Squeeze": _squeeze,
    "SpaceToDepth": _space_to_depth,
    "IsInf": _is_inf,
    "RoiAlign": _roi_align,
    "RMSNormalization": _rms_norm,
}
"""Operators converted here instead of by TVM."""
