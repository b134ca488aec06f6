"""TensorFlow Lite operator -> Relax, as one explicit table, on the converters Relay's have.

Every operator works on real values; `tflite.py` stores its result in the code of the tensor that the
file gives it, so that codes stay codes from one layer to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.frontend.fold_limits import limited
from alwann_c.frontend.names import layer_stem
from alwann_c.frontend.relay_context import Constant, Context, Value, array
from alwann_c.frontend.relay_ops import OPERATORS
from alwann_c.frontend.tflite_file import Operator, Tensor
from alwann_c.frontend.tflite_layers import LAYERS, same_padding

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Call:
    """An operator with its operands: `values` are Relax expressions or constants, None where
    absent; `tensors` what the file says of them, `result` of the output."""

    context: Context
    operator: Operator
    values: list[Value]
    tensors: list[Tensor | None]
    result: Tensor

    @property
    def options(self) -> dict[str, Any]:
        """Options, by the names of `tflite_file`."""
        return dict(self.operator.options)

    @property
    def name(self) -> str:
        """What a layer made here is called: the output's scope, or its number."""
        whole = self.result.name.split(";")[0]
        scope = whole.rpartition("/")[0] or whole
        return layer_stem(scope, f"layer{self.operator.number}")

    def constant(self, place: int, what: str) -> Array:
        """A constant operand. Raises ValueError where it is none."""
        if place >= len(self.values) or self.values[place] is None:
            raise ValueError(f"its {what} is missing")
        return array(self.values[place], what)

    def numbers(self, place: int, what: str) -> list[int]:
        """A constant operand as a list."""
        return [int(v) for v in self.constant(place, what).reshape(-1)]

    def relay(self, name: str, **attributes: Any) -> Value:
        """Relay's operator of that name on the first operand."""
        return OPERATORS[name](self.context, [self.values[0]], attributes)


Converter = Callable[[Call], Value]


def _relay(name: str, count: int = 1) -> Converter:
    return lambda call: OPERATORS[name](call.context, call.values[:count], {})


def _pool(name: str) -> Converter:
    def convert(call: Call) -> Value:
        options = call.options
        size = [options["filter_h"], options["filter_w"]]
        strides = [options["stride_h"], options["stride_w"]]
        _, height, width, _ = call.context.sizes(call.values[0])
        padding = [0, 0, 0, 0]
        if options["padding"] == 0:
            padding = same_padding((height, width), size, strides, [1, 1])
        return call.relay(name, pool_size=size, strides=strides, padding=padding, layout="NHWC")

    return convert


def _reduce(name: str) -> Converter:
    def convert(call: Call) -> Value:
        axes = call.numbers(1, "axes")
        return call.relay(name, axis=axes, keepdims=bool(call.options.get("keep")))

    return convert


def _reshape(call: Call) -> Value:
    """To the second operand's shape; the file's own where that is computed."""
    if len(call.values) > 1 and isinstance(call.values[1], Constant):
        return call.relay("reshape", newshape=call.numbers(1, "shape"))
    return _squeeze(call)


def _squeeze(call: Call) -> Value:
    """To the shape that the file gives the result."""
    wanted = [extent or call.context.graph.given for extent in call.result.shape]
    return call.relay("reshape", newshape=wanted)


def _transpose(call: Call) -> Value:
    return call.relay("transpose", axes=call.numbers(1, "permutation"))


def _concatenate(call: Call) -> Value:
    parts = call.values
    if all(isinstance(part, Constant) for part in parts):
        limited((sum(part.value.size for part in parts),))
        return Constant(np.concatenate([part.value for part in parts], call.options["axis"]))
    return OPERATORS["concatenate"](call.context, [parts], {"axis": call.options["axis"]})


def _pad(call: Call) -> Value:
    width = call.constant(1, "padding").tolist()
    fill = Constant(np.zeros((), np.float32))
    if call.operator.name == "PADV2":
        fill = Constant(call.constant(2, "value"))
    return OPERATORS["nn.pad"](call.context, [call.values[0], fill], {"pad_width": width})


def _slice(call: Call) -> Value:
    begin, size = call.numbers(1, "begin"), call.numbers(2, "size")
    return call.relay("strided_slice", begin=begin, end=size, slice_mode="size")


def _strided_slice(call: Call) -> Value:
    options = call.options
    if options.get("ellipsis") or options.get("new"):
        raise ValueError("an ellipsis or a new axis; export with plain slices")
    begin, end, by = (call.numbers(i, what) for i, what in ((1, "begin"), (2, "end"), (3, "step")))
    data = call.values[0]
    rank = len(call.context.shape(data))
    index: list[Any] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, by, strict=True)):
        if options.get("shrink", 0) >> axis & 1:
            index.append(first)
            continue
        start = None if options.get("begin", 0) >> axis & 1 else first
        index.append(slice(start, None if options.get("end", 0) >> axis & 1 else last, step))
    if len(index) > rank:
        raise ValueError("more indices than axes")
    if isinstance(data, Constant):
        return Constant(np.asarray(data.value[tuple(index)]))
    sizes, shrunk = call.context.sizes(data), []
    bounds = []
    for axis, part in enumerate(index):
        if isinstance(part, int):
            shrunk.append(axis)
            part = slice(part, part + 1 or None, 1)
        bounds.append(part.indices(sizes[axis]))
    starts, ends, steps = (list(values) for values in zip(*bounds, strict=True))
    cut = call.relay("strided_slice", begin=starts, end=ends, strides=steps)
    if not shrunk:
        return cut
    return OPERATORS["squeeze"](call.context, [cut], {"axis": shrunk})


def _shape(call: Call) -> Value:
    return Constant(np.array(call.context.sizes(call.values[0]), np.int32))


def _pack(call: Call) -> Value:
    if not all(isinstance(value, Constant) for value in call.values):
        raise ValueError("it stacks tensors; export with a concatenation")
    limited((sum(value.value.size for value in call.values),))
    return Constant(np.stack([value.value for value in call.values], call.options["axis"]))


def _gather(call: Call) -> Value:
    if call.options.get("batch"):
        raise ValueError("indices of each image; export with slices")
    index, axis = call.constant(1, "index"), int(call.options["axis"])
    if isinstance(call.values[0], Constant):
        rows = call.values[0].value
        limited((rows.size // max(rows.shape[axis], 1) * index.size,))
        return Constant(np.take(rows, index, axis))
    return OPERATORS["take"](
        call.context, [call.values[0], Constant(index.reshape(()))], {"axis": axis}
    )


def _resize(method: str) -> Converter:
    def convert(call: Call) -> Value:
        options = call.options
        mode = "half_pixel" if options.get("half") else "asymmetric"
        mode = "align_corners" if options.get("aligned") else mode
        rounding = "round" if options.get("aligned") or options.get("half") else "floor"
        return call.relay(
            "image.resize2d",
            size=call.numbers(1, "size"),
            layout="NHWC",
            method=method,
            coordinate_transformation_mode=mode,
            rounding_method=rounding if method == "nearest_neighbor" else "",
        )

    return convert


def _softmax(call: Call) -> Value:
    real = call.context.real(call.values[0])
    beta = float(call.options.get("beta", 1.0))
    if beta != 1.0:
        real = call.context.emit(relax.op.multiply(real, relax.const(np.float32(beta))))
    return call.context.emit(relax.op.nn.softmax(real, -1))


def _leaky(call: Call) -> Value:
    return call.relay("nn.leaky_relu", alpha=call.options["alpha"])


def _prelu(call: Call) -> Value:
    real, slope = call.context.real(call.values[0]), call.context.real(call.values[1])
    low = call.context.emit(relax.op.minimum(real, relax.const(np.float32(0))))
    high = call.context.emit(relax.op.nn.relu(real))
    scaled = call.context.emit(relax.op.multiply(low, slope))
    return call.context.emit(relax.op.add(high, scaled))


def _hard_swish(call: Call) -> Value:
    real, emit = call.context.real(call.values[0]), call.context.emit
    shifted = emit(relax.op.add(real, relax.const(np.float32(3))))
    gate = emit(relax.op.clip(shifted, 0.0, 6.0))
    return emit(relax.op.divide(emit(relax.op.multiply(real, gate)), relax.const(np.float32(6))))


def _gelu(call: Call) -> Value:
    real = call.context.real(call.values[0])
    make = relax.op.nn.gelu_tanh if call.options.get("approximate") else relax.op.nn.gelu
    return call.context.emit(make(real))


def _unary(make: Callable[[relax.Expr], relax.Expr]) -> Converter:
    return lambda call: call.context.emit(make(call.context.real(call.values[0])))


def _squared(call: Call) -> Value:
    a, b = (call.context.real(value) for value in call.values)
    gap = call.context.emit(relax.op.subtract(a, b))
    return call.context.emit(relax.op.multiply(gap, gap))


def _same(call: Call) -> Value:
    value: Value = call.values[0]
    return value


def _dequantize(call: Call) -> Value:
    """Weights stored as float16 or codes become float32 constants."""
    value: Value = call.values[0]
    if isinstance(value, Constant):
        return Constant(np.asarray(value.value, np.float32), value.name)
    return value


def _cast(call: Call) -> Value:
    if isinstance(call.values[0], Constant):
        return Constant(call.values[0].value.astype(call.result.dtype))
    if call.result.dtype != "float32":
        raise ValueError(f"a cast to {call.result.dtype}; only float32 is computed")
    return _same(call)


def _batch_matmul(call: Call) -> Value:
    turned = {"transpose_a": call.options["left"], "transpose_b": call.options["right"]}
    return OPERATORS["nn.matmul"](call.context, call.values[:2], turned)


def _limited(low: float, high: float) -> Converter:
    return lambda call: call.relay("clip", a_min=low, a_max=high)


TFLITE_OPERATORS: dict[str, Converter] = {
    **LAYERS,
    "ADD": _relay("add", 2),
    "SUB": _relay("subtract", 2),
    "MUL": _relay("multiply", 2),
    "DIV": _relay("divide", 2),
    "MAXIMUM": _relay("maximum", 2),
    "MINIMUM": _relay("minimum", 2),
    "POW": _relay("power", 2),
    "SQUARED_DIFFERENCE": _squared,
    "AVERAGE_POOL_2D": _pool("nn.avg_pool2d"),
    "MAX_POOL_2D": _pool("nn.max_pool2d"),
    "MEAN": _reduce("mean"),
    "SUM": _reduce("sum"),
    "REDUCE_MAX": _reduce("max"),
    "REDUCE_MIN": _reduce("min"),
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _squeeze,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenate,
    "PAD": _pad,
    "PADV2": _pad,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SHAPE": _shape,
    "PACK": _pack,
    "GATHER": _gather,
    "CAST": _cast,
    "RESIZE_BILINEAR": _resize("linear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest_neighbor"),
    "RELU": _relay("nn.relu"),
    "RELU6": _limited(0.0, 6.0),
    "RELU_N1_TO_1": _limited(-1.0, 1.0),
    "LEAKY_RELU": _leaky,
    "PRELU": _prelu,
    "HARD_SWISH": _hard_swish,
    "GELU": _gelu,
    "LOGISTIC": _relay("sigmoid"),
    "TANH": _relay("tanh"),
    "SOFTMAX": _softmax,
    "EXP": _relay("exp"),
    "LOG": _relay("log"),
    "SQRT": _relay("sqrt"),
    "RSQRT": _relay("rsqrt"),
    "NEG": _relay("negative"),
    "ABS": _relay("abs"),
    "SQUARE": _unary(lambda x: relax.op.multiply(x, x)),
    "QUANTIZE": _same,
    "DEQUANTIZE": _dequantize,
    "BATCH_MATMUL": _batch_matmul,
}
"""What is not here is refused by name."""
