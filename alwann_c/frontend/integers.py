"""Integer tensors of quantized files as real numbers, with the scale that turns them back.

    int8 codes   q  = round(x / s) + z        alwann.quantize(x), read through alwann.dequantize
    int32 sums   a  of products of codes      the float a * s, s = s_x * s_w[n]

So `conv2d` of codes plus an int32 bias, requantized, becomes

    quantize(conv2d(dequantize(q), W) + b * s_x * s_w)        W = s_w * (codes - z_w)

which the passes turn back into the same integer arithmetic (`passes.given`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.frontend.relax_graph import Graph
from alwann_c.ir import ops
from alwann_c.ir.spec import Quantization

Array = npt.NDArray[Any]
Real = npt.NDArray[np.float64]
BYTES = ("int8", "uint8")


@dataclass(frozen=True, eq=False)
class Integer:
    """An integer tensor: `real = scale * (integer - zero)`.

    `scale` is [1], or [n] along `axis` counted from the front; `real` is a float32 expression.
    """

    real: relax.Expr
    scale: Real
    zero: int
    dtype: str
    axis: int = 1

    def constant(self, values: Array, rank: int) -> Array:
        """Real values, float32, of integer constants that are added to this tensor."""
        return np.asarray(
            values.astype(np.float64) * spread(self.scale, rank, self.axis), np.float32
        )


def spread(vector: Array, rank: int, axis: int) -> Array:
    """A vector along one axis of `rank`, ready to broadcast; a single number as it is."""
    if vector.size == 1:
        return vector.reshape(())
    shape = [1] * rank
    shape[axis] = vector.size
    return vector.reshape(shape)


def code_of(scale: Array, zero: Array | int, dtype: str) -> Quantization:
    """The unsigned code of an activation; int8 codes move up by 128, which changes no value.

    Raises ValueError where it is none.
    """
    scale, zero = np.asarray(scale), np.asarray(zero)
    if scale.size != 1 or zero.size != 1:
        raise ValueError("activations quantized per channel; quantize them per tensor")
    if dtype not in BYTES:
        raise ValueError(f"codes of type {dtype}; quantize to 8 bits")
    step, point = float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
    point += 128 if dtype == "int8" else 0
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"scale {step}; it must be above zero")
    if not 0 <= point <= 255:
        raise ValueError(f"zero point {point} lies outside the codes")
    return Quantization(step, point)


def store(graph: Graph, real: relax.Expr, scale: Array, zero: Array | int, dtype: str) -> Integer:
    """Real values as 8-bit codes."""
    code = code_of(scale, zero, dtype)
    codes = graph.emit(ops.quantize(real, code))
    point = code.zero_point - (128 if dtype == "int8" else 0)
    read = graph.emit(ops.dequantize(codes, code))
    return Integer(read, np.array([code.scale], np.float64), point, dtype)


def again(graph: Graph, real: relax.Expr, like: Integer) -> Integer:
    """Values moved or chosen from those of `like`, in its codes."""
    if like.dtype in BYTES:
        return store(graph, real, like.scale, like.zero, like.dtype)
    return Integer(real, like.scale, like.zero, like.dtype, like.axis)


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant weight: real values, and per output channel the scale and zero point of its codes."""

    values: npt.NDArray[np.float32]
    scale: Real
    codes: tuple[Array, Array] | None


def weight_of(stored: Array, scale: Array, zero: Array, axis: int) -> Weight:
    """A weight stored as 8-bit codes, `axis` its output channels. Raises ValueError where not."""
    if str(stored.dtype) not in BYTES:
        raise ValueError(f"weights of type {stored.dtype}; quantize them to 8 bits")
    channels = stored.shape[axis]
    if scale.size not in (1, channels) or zero.size not in (1, channels):
        raise ValueError(f"{scale.size} scales for {channels} output channels")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("weight scales that are not above zero")
    steps = np.broadcast_to(scale.astype(np.float32).reshape(-1), channels)
    points = np.broadcast_to(zero.astype(np.int64).reshape(-1), channels)
    real = (stored.astype(np.int64) - spread(points, stored.ndim, axis)).astype(np.float32)
    real = real * spread(steps, stored.ndim, axis)
    moved = points + (128 if stored.dtype == np.int8 else 0)
    return Weight(np.asarray(real, np.float32), steps.astype(np.float64), (steps, moved))
