"""The operators `alwann.quantize`, `alwann.dequantize`, `alwann.conv2d`, `alwann.dense` and
`alwann.matmul` of Relax.

Each is a registered operator: it prints, infers its type, and carries its options as attributes.
`conv_spec` and `quantization` turn a call back into the plain data of `alwann_c.ir.spec`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import tvm
import tvm_ffi
from tvm import relax

from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization

QUANTIZE = "alwann.quantize"
DEQUANTIZE = "alwann.dequantize"
CONV2D = "alwann.conv2d"
DENSE = "alwann.dense"
MATMUL = "alwann.matmul"

LAYER_OPERANDS = ("weight", "table", "weight_zero_point", "offset", "scale")
"""Operands of a layer after its input, in order; a residual may follow.

In `alwann.matmul` the second activation follows; its `weight` is one code, which nothing reads."""


def _code_attrs(code: Quantization | None, prefix: str = "") -> dict[str, Any]:
    code = code or Quantization(0.0, 0, False)
    return {
        f"{prefix}scale": float(code.scale),
        f"{prefix}zero_point": int(code.zero_point),
        f"{prefix}signed": bool(code.signed),
    }


def _read_code(attrs: Any, prefix: str = "") -> Quantization | None:
    scale = float(attrs[f"{prefix}scale"])
    if scale == 0.0:
        return None
    zero_point, signed = int(attrs[f"{prefix}zero_point"]), bool(attrs[f"{prefix}signed"])
    return Quantization(scale, zero_point, signed)


def _epilogue_attrs(epilogue: Epilogue) -> dict[str, Any]:
    return {
        "activation": epilogue.activation,
        "clip_min": float(epilogue.clip_min),
        "clip_max": float(epilogue.clip_max),
        "residual": epilogue.residual,
        **_code_attrs(epilogue.residual_code, "residual_"),
        **_code_attrs(epilogue.output, "out_"),
    }


def _read_epilogue(attrs: Any) -> Epilogue:
    return Epilogue(
        activation=str(attrs["activation"]),  # type: ignore[arg-type]
        clip_min=float(attrs["clip_min"]),
        clip_max=float(attrs["clip_max"]),
        residual=str(attrs["residual"]),  # type: ignore[arg-type]
        residual_code=_read_code(attrs, "residual_"),
        output=_read_code(attrs, "out_"),
    )


def _call(name: str, args: Sequence[relax.Expr], **attrs: Any) -> relax.Call:
    node = tvm.ir.attrs.make_node("ir.DictAttrs", **attrs)
    return relax.Call(tvm.ir.Op.get(name), list(args), node)


def quantize(x: relax.Expr, code: Quantization) -> relax.Call:
    """float32 tensor -> uint8 codes of the same shape."""
    return _call(QUANTIZE, [x], **_code_attrs(code))


def dequantize(x: relax.Expr, code: Quantization) -> relax.Call:
    """uint8 codes -> float32 tensor of the same shape."""
    return _call(DEQUANTIZE, [x], **_code_attrs(code))


def conv2d(layer: str, spec: ConvSpec, args: Sequence[relax.Expr]) -> relax.Call:
    """`alwann.conv2d`; args = input, `LAYER_OPERANDS`, and the residual if there is one."""
    return _call(
        CONV2D,
        args,
        layer=layer,
        kernel=list(spec.kernel),
        strides=list(spec.strides),
        padding=list(spec.padding),
        dilation=list(spec.dilation),
        groups=spec.groups,
        zero_point=spec.zero_point,
        signed=spec.signed,
        **_epilogue_attrs(spec.epilogue),
    )


def dense(layer: str, spec: ConvSpec, args: Sequence[relax.Expr]) -> relax.Call:
    """`alwann.dense`; input [b, ..., k] codes, weight [1, 1, k, n]; `spec` has width = 1, height
    the product of the axes between."""
    return _call(
        DENSE,
        args,
        layer=layer,
        zero_point=spec.zero_point,
        signed=spec.signed,
        **_epilogue_attrs(spec.epilogue),
    )


def matmul(layer: str, spec: ConvSpec, args: Sequence[relax.Expr]) -> relax.Call:
    """`alwann.matmul`; args = codes [b, ..., m, k], `LAYER_OPERANDS` (one channel), codes
    [b, ..., k, n]; float32 [b, ..., m, n]."""
    return _call(MATMUL, args, layer=layer, zero_point=spec.zero_point, signed=spec.signed)


def op_name(expr: relax.Expr) -> str:
    """Name of the operator a call applies; empty for anything else."""
    if isinstance(expr, tvm.ir.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name)
    return ""


def is_layer(expr: relax.Expr) -> bool:
    """Whether the expression is an integer layer: `alwann.conv2d`, `alwann.dense` or
    `alwann.matmul`."""
    return op_name(expr) in (CONV2D, DENSE, MATMUL)


def quantization(call: relax.Call) -> Quantization:
    """Code of an `alwann.quantize` or `alwann.dequantize` call."""
    code = _read_code(call.attrs)
    assert code is not None
    return code


def static_shape(expr: relax.Expr) -> tuple[int | None, ...]:
    """Shape of a tensor expression, None for dynamic axes."""
    dims = expr.ty.shape
    return tuple(int(d) if isinstance(d, tvm.tirx.IntImm) else None for d in dims)


def fixed_batch(mod: tvm.IRModule) -> int | None:
    """Images that `main` takes at once; None when it takes any number."""
    return static_shape(mod["main"].params[0])[0]


def conv_spec(call: relax.Call) -> ConvSpec:
    """The specification of an integer layer's call."""
    attrs = call.attrs
    shape, weight = static_shape(call.args[0]), static_shape(call.args[1])
    zero_point, signed = int(attrs["zero_point"]), bool(attrs["signed"])
    if op_name(call) == MATMUL:
        return _product_spec(call, zero_point, signed)
    epilogue = _read_epilogue(attrs)
    if op_name(call) == DENSE:
        taps, out_channels = weight[2], weight[3]
        assert taps is not None
        assert out_channels is not None
        rows = math.prod(extent or 1 for extent in shape[1:-1])
        return ConvSpec(
            rows, 1, taps, out_channels, zero_point=zero_point, signed=signed, epilogue=epilogue
        )
    _, height, width, channels = shape
    out_channels = weight[3]
    assert height is not None
    assert width is not None
    assert channels is not None
    assert out_channels is not None
    pair: Any = tuple
    return ConvSpec(
        height,
        width,
        channels,
        out_channels,
        kernel=pair(int(v) for v in attrs["kernel"]),
        strides=pair(int(v) for v in attrs["strides"]),
        padding=pair(int(v) for v in attrs["padding"]),
        dilation=pair(int(v) for v in attrs["dilation"]),
        groups=int(attrs["groups"]),
        zero_point=zero_point,
        signed=signed,
        epilogue=epilogue,
    )


def _product_spec(call: relax.Call, zero_point: int, signed: bool) -> ConvSpec:
    *matrices, rows, taps = (extent or 1 for extent in static_shape(call.args[0])[1:])
    channels = static_shape(call.args[-1])[-1] or 1
    count = math.prod(matrices)
    return ConvSpec(
        count * rows, 1, taps, channels, zero_point=zero_point, signed=signed, matrices=count
    )


def layer_name(call: relax.Call) -> str:
    """Name of the network layer an integer operator implements."""
    return str(call.attrs["layer"])


def with_spec(call: relax.Call, spec: ConvSpec, args: Sequence[relax.Expr]) -> relax.Call:
    """The same layer with another specification and arguments."""
    make = {CONV2D: conv2d, DENSE: dense, MATMUL: matmul}[op_name(call)]
    return make(layer_name(call), spec, args)


def with_epilogue(call: relax.Call, operand: relax.Expr | None, **changes: Any) -> relax.Call:
    """The same layer with fields of its epilogue replaced and a residual operand appended."""
    spec = conv_spec(call)
    epilogue = dataclasses.replace(spec.epilogue, **changes)
    args = [*call.args, operand] if operand is not None else list(call.args)
    return with_spec(call, dataclasses.replace(spec, epilogue=epilogue), args)


def _infer_like(dtype: Literal["uint8", "float32"]) -> Any:
    def infer(call: relax.Call, _context: Any) -> Any:
        return relax.TensorType(call.args[0].ty.shape, dtype)

    return infer


def _infer_layer(call: relax.Call, _context: Any) -> Any:
    spec = conv_spec(call)
    batch = call.args[0].ty.shape[0]
    dtype = "float32" if spec.epilogue.output is None else "uint8"
    if op_name(call) == DENSE:
        rows = list(call.args[0].ty.shape)[1:-1]
        return relax.TensorType((batch, *rows, spec.out_channels), dtype)
    return relax.TensorType((batch, spec.out_height, spec.out_width, spec.out_channels), dtype)


def _infer_matmul(call: relax.Call, _context: Any) -> Any:
    shape = [*list(call.args[0].ty.shape)[:-1], call.args[-1].ty.shape[-1]]
    return relax.TensorType(shape, "float32")


def _register(name: str, inputs: int, infer: Any, description: str) -> None:
    tvm_ffi.get_global_func("ir.RegisterOp")(name, description)
    op = tvm.ir.Op.get(name)
    op.set_num_inputs(inputs)
    op.set_attr("FInferType", infer)
    op.set_attr("FPurity", True)


_register(QUANTIZE, 1, _infer_like("uint8"), "float32 tensor to 8-bit codes")
_register(DEQUANTIZE, 1, _infer_like("float32"), "8-bit codes to float32 tensor")
_register(CONV2D, -1, _infer_layer, "convolution of 8-bit codes on a product table")
_register(MATMUL, -1, _infer_matmul, "product of two tensors of 8-bit codes on a product table")
_register(DENSE, -1, _infer_layer, "dense layer of 8-bit codes on a product table")
