"""Finds the layers of a normalised float module: convolutions, dense layers, and products of two
activations, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tvm
import tvm_ffi
from tvm import relax, sym

from alwann_c.ir.ops import op_name, static_shape
from alwann_c.ir.rewrite import bindings, use_counts
from alwann_c.ir.spec import MAX_TAPS, ConvSpec

LAYER_NAMES = "layer_names"
"""Function attribute of `main`: names of its layers, in order."""

WEIGHT_CODES = "weight_codes"
"""Function attribute of `main`: layer name -> [scale float32 [n], zero point int32 [n]] of layers
whose weights the file stores as 8-bit codes (unsigned: int8 moved up by 128)."""

LayerKind = Literal["conv2d", "depthwise_conv2d", "dense", "matmul"]


def constant(expr: relax.Expr) -> npt.NDArray[Any] | None:
    """Value of a constant expression, else None."""
    if isinstance(expr, tvm.ir.GenericConst):
        return np.asarray(expr.value.numpy())
    return None


def per_channel(expr: relax.Expr, channels: int, rank: int) -> npt.NDArray[np.float64] | None:
    """A constant that varies at most along the last of `rank` axes, as a vector; else None."""
    value = constant(expr)
    if value is None or value.ndim > rank:
        return None
    shape = value.shape
    if any(extent != 1 for extent in shape[:-1]) or (shape and shape[-1] not in (1, channels)):
        return None
    flat = value.astype(np.float64).reshape(-1)
    return np.broadcast_to(flat, (channels,)).copy()


def is_float_layer(value: relax.Expr) -> bool:
    """A convolution or dense layer with a constant float32 weight."""
    if op_name(value) not in ("relax.nn.conv2d", "relax.matmul"):
        return False
    weight = constant(value.args[1])
    if weight is None or weight.dtype != np.float32:
        return False
    return op_name(value) == "relax.nn.conv2d" or weight.ndim == 2


@dataclass(frozen=True)
class FloatLayer:
    """One layer of the normalised float network.

    `spec` describes it as an integer convolution (zero point and epilogue left at their defaults);
    `weight` is [kh, kw, c_in/groups, n], `bias` [n]; `refusal` says why it cannot be approximated.
    A product of two activations has `other`, its second operand, a weight [1, 1, 1, 1] and a bias
    [1] that mean nothing.
    """

    name: str
    kind: LayerKind
    spec: ConvSpec | None
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    refusal: str | None
    source: relax.Var
    output: relax.Var
    call: relax.Call
    other: relax.Var | None = None


def layer_names(mod: tvm.IRModule, count: int) -> list[str]:
    """Names of the `count` layers of `main`: its attribute, or generated ones."""
    attrs = mod["main"].attrs
    names = [str(n) for n in attrs[LAYER_NAMES]] if attrs and LAYER_NAMES in attrs else []
    return names if len(names) == count else [f"layer{i}" for i in range(count)]


def weight_codes(
    mod: tvm.IRModule,
) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
    """Scales and zero points, per output channel, of the layers a file stores as codes."""
    attrs = mod["main"].attrs
    found = attrs[WEIGHT_CODES] if attrs and WEIGHT_CODES in attrs else {}
    return {str(name): (pair[0].numpy(), pair[1].numpy()) for name, pair in found.items()}


def _conv_spec(call: relax.Call, weight: npt.NDArray[np.float32]) -> tuple[ConvSpec | None, str]:
    _, height, width, channels = static_shape(call.args[0])
    if height is None or width is None or channels is None:
        return None, "the spatial size is dynamic"
    attrs = call.attrs
    ints: Any = lambda values: tuple(int(v) for v in values)  # noqa: E731
    spec = ConvSpec(
        height,
        width,
        channels,
        weight.shape[3],
        kernel=(weight.shape[0], weight.shape[1]),
        strides=ints(attrs.strides),
        padding=ints(attrs.padding),
        dilation=ints(attrs.dilation),
        groups=int(attrs.groups),
    )
    if spec.taps > MAX_TAPS:
        return None, f"{spec.taps} taps exceed the {MAX_TAPS} an int32 accumulator holds"
    return spec, ""


def rows_per_image(mod: tvm.IRModule, expr: relax.Expr) -> int | None:
    """Rows [..., features] of a tensor that belong to one image; None when that is not fixed."""
    *rows, _ = list(expr.ty.shape)
    total: Any = tvm.tirx.IntImm("int64", 1)
    for extent in rows:
        total = total * extent
    count = sym.Analyzer().simplify(tvm.tirx.floordiv(total, mod["main"].params[0].ty.shape[0]))
    return int(count) if isinstance(count, tvm.tirx.IntImm) and int(count) > 0 else None


def _spec_of(
    mod: tvm.IRModule, call: relax.Call, weight: npt.NDArray[np.float32]
) -> tuple[ConvSpec | None, str]:
    if op_name(call) == "relax.nn.conv2d":
        return _conv_spec(call, weight)
    if len(call.args[0].ty.shape) < 2:
        return None, "its input is a vector; [batch, ..., features] is taken"
    rows = rows_per_image(mod, call.args[0])
    if rows is None:
        return None, "its number of rows for one image is not fixed"
    if weight.shape[0] > MAX_TAPS:
        return None, f"{weight.shape[0]} taps exceed the {MAX_TAPS} an int32 accumulator holds"
    return ConvSpec(rows, 1, weight.shape[0], weight.shape[1]), ""


def find_layers(mod: tvm.IRModule) -> list[FloatLayer]:
    """Layers of the module in order."""
    found = bindings(mod)
    uses = use_counts(mod)
    calls = [(var, value) for var, value in found if is_float_layer(value)]
    names = layer_names(mod, len(calls))
    bias_of = {
        value.args[0]: (var, value)
        for var, value in found
        if op_name(value) == "relax.add" and isinstance(value.args[0], relax.Var)
    }
    layers = []
    for name, (var, call) in zip(names, calls, strict=True):
        weight = constant(call.args[1])
        assert weight is not None
        spec, reason = _spec_of(mod, call, weight)
        channels = weight.shape[-1]
        bias, output = np.zeros(channels), var
        if var in bias_of and uses[var] == 1:
            added = per_channel(bias_of[var][1].args[1], channels, len(var.ty.shape))
            if added is not None:
                bias, output = added, bias_of[var][0]
        kind: LayerKind = "dense" if op_name(call) == "relax.matmul" else "conv2d"
        if spec is not None and spec.groups > 1 and spec.groups == spec.in_channels:
            kind = "depthwise_conv2d"
        layers.append(
            FloatLayer(
                name,
                kind,
                spec,
                weight if weight.ndim == 4 else weight.reshape(1, 1, *weight.shape),
                bias.astype(np.float32),
                reason or None,
                call.args[0],
                output,
                call,
            )
        )
    return layers


def _product_spec(call: relax.Call) -> tuple[ConvSpec | None, str]:
    """[b, ..., m, k] times [b, ..., k, n]."""
    left, right = (list(argument.ty.shape) for argument in call.args)
    if len(left) != len(right) or len(left) < 3:
        return None, "its operands are not both [batch, ..., rows, columns]"
    if not tvm_ffi.structural_equal(left[:-2], right[:-2]):
        return None, "one of its operands is repeated for several matrices of the other"
    extents = [*left[1:], right[-1]]
    if not all(isinstance(extent, tvm.tirx.IntImm) for extent in extents):
        return None, "its matrices are not of fixed size"
    *matrices, rows, taps, channels = (int(extent) for extent in extents)
    if taps > MAX_TAPS:
        return None, f"{taps} taps exceed the {MAX_TAPS} an int32 accumulator holds"
    count = math.prod(matrices)
    return ConvSpec(count * rows, 1, taps, channels, matrices=count), ""


def is_float_product(value: relax.Expr) -> bool:
    """A matrix product of two float32 activations."""
    if op_name(value) != "relax.matmul":
        return False
    return all(isinstance(a, relax.Var) and str(a.ty.dtype) == "float32" for a in value.args)


def find_products(mod: tvm.IRModule) -> list[FloatLayer]:
    """Products of two activations (attention), in order, named `matmul0`, `matmul1`, ..."""
    calls = [(var, value) for var, value in bindings(mod) if is_float_product(value)]
    products = []
    for index, (var, call) in enumerate(calls):
        spec, reason = _product_spec(call)
        a, b = call.args
        weight, bias = np.zeros((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
        name = f"matmul{index}"
        layer = FloatLayer(name, "matmul", spec, weight, bias, reason or None, a, var, call, b)
        products.append(layer)
    return products
