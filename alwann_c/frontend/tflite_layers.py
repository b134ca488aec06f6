"""TensorFlow Lite's convolutions and dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.frontend.integers import BYTES, Weight, weight_of
from alwann_c.frontend.relay_context import Value
from alwann_c.frontend.tflite_file import Tensor

Array = npt.NDArray[Any]


def same_padding(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """Top, left, bottom, right of padding SAME."""
    before, after = [], []
    for extent, taps, stride, spread in zip(size, kernel, strides, dilation, strict=True):
        if stride < 1 or spread < 1:
            raise ValueError("strides or dilations below 1")
        wanted = (-(-extent // stride) - 1) * stride + (taps - 1) * spread + 1
        total = max(wanted - extent, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return [*before, *after]


def real_values(tensor: Tensor, stored: Array) -> npt.NDArray[np.float32]:
    """Real values of a constant."""
    if tensor.scale is None or tensor.zero is None:
        return np.asarray(stored, np.float32)
    shape = [1] * stored.ndim
    if tensor.scale.size > 1:
        if not 0 <= tensor.axis < stored.ndim or stored.shape[tensor.axis] != tensor.scale.size:
            raise ValueError("other numbers of scales than channels")
        shape[tensor.axis] = tensor.scale.size
    steps = stored.astype(np.float64) - tensor.zero.reshape(shape)
    return np.asarray(steps * tensor.scale.astype(np.float64).reshape(shape), np.float32)


def _weight(call: Any, axis: int) -> Weight:
    """The weight of a layer, `axis` its output channels; codes where it and its input have them."""
    stored, tensor = call.constant(1, "weight"), call.tensors[1]
    source = call.tensors[0]
    coded = tensor.scale is not None and str(stored.dtype) in BYTES
    if coded and source.dtype in BYTES:
        if tensor.scale.size > 1 and tensor.axis != axis:
            raise ValueError("scales along another axis than the output channels")
        return weight_of(stored, tensor.scale, tensor.zero, axis)
    values = real_values(tensor, stored)
    return Weight(values, np.ones(1), None)


def _biased(call: Any, product: Value, channels: int) -> Value:
    """The bias added, in real values."""
    if len(call.values) < 3 or call.values[2] is None:
        return product
    stored, tensor = call.constant(2, "bias"), call.tensors[2]
    bias = real_values(tensor, stored).reshape(-1)
    if bias.size != channels:
        raise ValueError(f"{bias.size} biases for {channels} output channels")
    return call.context.emit(relax.op.add(product, relax.const(bias)))


def _conv(call: Any, weight: Weight, values: Array, groups: int) -> Value:
    """`values`: the weight as [kh, kw, c_in/groups, n]."""
    options = call.options
    strides = [options["stride_h"], options["stride_w"]]
    dilation = [options["dilation_h"], options["dilation_w"]]
    _, height, width, _ = call.context.sizes(call.values[0])
    padding = options.get("explicit")
    if padding is None:
        padding = [0, 0, 0, 0]
        if options["padding"] == 0:
            padding = same_padding((height, width), values.shape[:2], strides, dilation)
    kernel = np.ascontiguousarray(np.transpose(values, (3, 2, 0, 1)), np.float32)
    expr = relax.op.nn.conv2d(
        call.context.real(call.values[0]),
        relax.const(kernel),
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
        data_layout="NHWC",
        kernel_layout="OIHW",
    )
    made = call.context.graph.layer(call.name, expr, weight.codes)
    return _biased(call, made, values.shape[3])


def conv2d(call: Any) -> Value:
    """`CONV_2D`: weight [n, kh, kw, c / groups]."""
    weight = _weight(call, 0)
    if weight.values.ndim != 4:
        raise ValueError("a weight that is no [n, h, w, c]")
    channels, taps = call.context.sizes(call.values[0])[3], weight.values.shape[3]
    if taps < 1 or channels % taps:
        raise ValueError(f"{channels} input channels for a weight of {taps}")
    return _conv(call, weight, np.transpose(weight.values, (1, 2, 3, 0)), channels // taps)


def depthwise(call: Any) -> Value:
    """`DEPTHWISE_CONV_2D`: weight [1, kh, kw, n]."""
    weight = _weight(call, 3)
    channels = call.context.sizes(call.values[0])[3]
    if weight.values.ndim != 4 or weight.values.shape[0] != 1 or weight.values.shape[3] % channels:
        raise ValueError("a weight that is no [1, h, w, n]")
    return _conv(call, weight, np.transpose(weight.values, (1, 2, 0, 3)), channels)


def dense(call: Any) -> Value:
    """`FULLY_CONNECTED`: weight [n, k]."""
    if call.options.get("form"):
        raise ValueError("shuffled weights; convert again without that option")
    weight = _weight(call, 0)
    if weight.values.ndim != 2:
        raise ValueError("a weight that is no [n, k]")
    channels, taps = weight.values.shape
    real = call.context.real(call.values[0])
    sizes = call.context.sizes(call.values[0])
    if not call.options.get("keep") and len(sizes) != 2:
        shape = call.context.graph.extents(list(real.ty.shape), [-1, taps])
        real = call.context.emit(relax.op.reshape(real, shape))
    product = relax.op.matmul(real, relax.const(weight.values.T.copy()))
    made = call.context.graph.layer(call.name, product, weight.codes)
    return _biased(call, made, channels)


def transposed(call: Any) -> Value:
    """`TRANSPOSE_CONV`: output shape, weight [n, kh, kw, c], input; the sizes come from the file."""
    weight = real_values(call.tensors[1], call.constant(1, "weight"))
    emit, options = call.context.emit, call.options
    _, height, width, _ = call.context.sizes(call.values[2])
    strides = [options["stride_h"], options["stride_w"]]
    wanted = [extent or 0 for extent in call.result.shape[1:3]]
    if len(wanted) != 2 or 0 in wanted:
        wanted = call.numbers(0, "output shape")[1:3]
    before, after, extra = [], [], []
    for size, extent, taps, stride in zip(
        wanted, (height, width), weight.shape[1:3], strides, strict=True
    ):
        total = (extent - 1) * stride + taps - size
        first = max(total, 0) // 2
        before.append(first)
        after.append(max(total, 0) - first)
        extra.append(max(-total, 0))
        if extra[-1] >= stride:
            raise ValueError(f"an output of {size} from an input of {extent}")
    turned = emit(relax.op.permute_dims(call.context.real(call.values[2]), [0, 3, 1, 2]))
    kernel = np.ascontiguousarray(np.transpose(weight, (3, 0, 1, 2)), np.float32)
    made = emit(
        relax.op.nn.conv2d_transpose(
            turned,
            relax.const(kernel),
            strides=strides,
            padding=[*before, *after],
            output_padding=extra,
        )
    )
    back = emit(relax.op.permute_dims(made, [0, 2, 3, 1]))
    if len(call.values) > 3 and call.values[3] is not None:
        bias = real_values(call.tensors[3], call.constant(3, "bias")).reshape(-1)
        return emit(relax.op.add(back, relax.const(bias)))
    return back


LAYERS: dict[str, Any] = {
    "CONV_2D": conv2d,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": dense,
    "TRANSPOSE_CONV": transposed,
}
