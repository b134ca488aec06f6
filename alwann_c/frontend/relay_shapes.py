"""Relay's operators that move values: they work on floats, on codes, and on constants."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.frontend.integers import Integer, again
from alwann_c.frontend.relay_context import Attributes, Constant, Context, Value, array

Array = npt.NDArray[Any]
Move = Callable[[relax.Expr], relax.Expr]


def moved(
    context: Context, value: Value, move: Move, fold: Callable[[Array], Array] | None = None
) -> Value:
    """`value` moved by `move`; a constant by numpy's `fold`."""
    if isinstance(value, Constant) and fold is not None:
        return Constant(np.ascontiguousarray(fold(value.value)), value.name)
    real = context.emit(move(context.real(value)))
    if not isinstance(value, Integer):
        return real
    if value.dtype == "int32" and value.scale.size > 1:
        raise ValueError("sums with a scale per channel are moved; requantize them first")
    return again(context.graph, real, value)


def _reshape_to(context: Context, value: Value, wanted: list[int]) -> Value:
    def move(real: relax.Expr) -> relax.Expr:
        return relax.op.reshape(real, context.graph.extents(list(real.ty.shape), wanted))

    return moved(context, value, move, lambda a: a.reshape(wanted))


def _wanted(sizes: list[int], given: list[int]) -> list[int]:
    """Relay's codes: 0 copies an extent, -2 the rest, -3 joins two, -4 splits one."""
    wanted: list[int] = []
    at, i = 0, 0
    while i < len(given):
        code = given[i]
        if code == 0:
            wanted.append(sizes[at])
        elif code == -2:
            wanted += sizes[at:]
            at = len(sizes) - 1
        elif code == -3:
            wanted.append(sizes[at] * sizes[at + 1])
            at += 1
        elif code == -4:
            one, two = given[i + 1], given[i + 2]
            wanted += [
                sizes[at] // two if one == -1 else one,
                sizes[at] // one if two == -1 else two,
            ]
            i += 2
        else:
            wanted.append(code)
        at, i = at + 1, i + 1
    return wanted


def reshape(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`reshape(x, newshape)`."""
    given = [int(v) for v in attrs.get("newshape") or []]
    if attrs.get("allowzero"):
        raise ValueError("allowzero; give the sizes")
    if any(code < -4 for code in given):
        raise ValueError(f"newshape {given}")
    return _reshape_to(context, args[0], _wanted(context.sizes(args[0]), given))


def batch_flatten(context: Context, args: list[Any], _attrs: Attributes) -> Value:
    """[n, …] -> [n, features]."""
    sizes = context.sizes(args[0])
    return _reshape_to(context, args[0], [sizes[0], math.prod(sizes[1:])])


def expand_dims(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`num_newaxis` axes of extent 1 at `axis`."""
    count, axis = int(attrs.get("num_newaxis", 1)), int(attrs["axis"])
    rank = len(context.shape(args[0]))
    first = axis if axis >= 0 else axis + rank + 1
    if not 0 < count <= 8:
        raise ValueError(f"{count} new axes")
    axes = list(range(first, first + count))
    return moved(
        context,
        args[0],
        lambda real: relax.op.expand_dims(real, axes),
        lambda a: np.expand_dims(a, tuple(axes)),
    )


def squeeze(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """Axes of extent 1 removed; without `axis`, all but the batch."""
    given = attrs.get("axis")
    if given is None:
        sizes = context.sizes(args[0])
        axes = [i for i, extent in enumerate(sizes) if extent == 1]
        if 0 in axes and not isinstance(args[0], Constant):
            raise ValueError("no axis is named; name those to squeeze")
    else:
        axes = [int(v) for v in given] if isinstance(given, list) else [int(given)]
    return moved(
        context,
        args[0],
        lambda real: relax.op.squeeze(real, axes),
        lambda a: np.squeeze(a, tuple(axes)),
    )


def transpose(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`transpose(x, axes)`; reversed without axes."""
    axes = attrs.get("axes") or list(reversed(range(len(context.shape(args[0])))))
    axes = [int(axis) for axis in axes]
    return moved(
        context,
        args[0],
        lambda real: relax.op.permute_dims(real, axes),
        lambda a: np.transpose(a, axes),
    )


def layout_transform(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """Between layouts that are permutations of each other."""
    before, after = str(attrs["src_layout"]), str(attrs["dst_layout"])
    if sorted(before) != sorted(after) or not before.isalpha():
        raise ValueError(f"from {before} to {after}; use layouts without blocks")
    return transpose(context, args, {"axes": [before.index(axis) for axis in after]})


def concatenate(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`concatenate((a, b, …), axis)` of floats, or of codes with one scale."""
    parts = args[0]
    if not isinstance(parts, list) or not parts:
        raise ValueError("its input is no tuple")
    axis = int(attrs.get("axis", 0))
    first = next((part for part in parts if isinstance(part, Integer)), None)
    joined = context.emit(relax.op.concat([context.real(part) for part in parts], axis))
    if first is None:
        return joined
    for part in parts:
        if not isinstance(part, Integer) or part.scale.size > 1:
            raise ValueError("it joins codes and other values; use qnn.concatenate")
        context.integer(part, first.scale, np.asarray(first.zero))
    return again(context.graph, joined, first)


def split(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`split(x, indices_or_sections, axis)` -> tuple."""
    axis, given = int(attrs.get("axis", 0)), attrs["indices_or_sections"]
    value, sizes = args[0], context.sizes(args[0])
    extent = sizes[axis]
    if isinstance(given, list):
        edges = [0, *(int(v) for v in given), extent]
    else:
        parts = int(given)
        if not 0 < parts <= extent or extent % parts:
            raise ValueError(f"{parts} parts of an axis of {extent}")
        edges = list(range(0, extent + 1, extent // parts))
    if len(edges) > 4096 or any(b <= a for a, b in itertools.pairwise(edges)):
        raise ValueError(f"edges {edges[:8]} of an axis of {extent}")
    return [
        _sliced(context, value, [axis % len(sizes)], [first], [last], [1])
        for first, last in itertools.pairwise(edges)
    ]


def _sliced(
    context: Context, value: Value, axes: list[int], begin: list[int], end: list[int], by: list[int]
) -> Value:
    return moved(
        context,
        value,
        lambda real: relax.op.strided_slice(real, axes, begin, end, by),
        lambda a: a[
            tuple(
                slice(begin[axes.index(i)], end[axes.index(i)], by[axes.index(i)])
                if i in axes
                else slice(None)
                for i in range(a.ndim)
            )
        ],
    )


def strided_slice(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`strided_slice(x, begin, end, strides, axes, slice_mode)` with constant bounds."""
    sizes = context.sizes(args[0])
    begin, end = ([int(v) for v in attrs.get(key) or []] for key in ("begin", "end"))
    axes = attrs.get("axes")
    axes = list(range(len(begin))) if axes is None else [int(a) % len(sizes) for a in axes]
    strides = [int(v) for v in attrs.get("strides") or [1]]
    strides = strides * len(begin) if len(strides) == 1 else strides
    if attrs.get("slice_mode", "end") == "size":
        end = [sizes[a] if e < 0 else b + e for a, b, e in zip(axes, begin, end, strict=True)]
        strides = [1] * len(begin)
    if any(by < 1 for by in strides) or not len(axes) == len(begin) == len(end) == len(strides):
        raise ValueError("bounds that are missing, or strides below 1")
    kept = [
        (a, b, e, by)
        for a, b, e, by in zip(axes, begin, end, strides, strict=True)
        if not (b == 0 and e >= sizes[a] and by == 1)
    ]
    if not kept:
        return moved(context, args[0], lambda real: real, lambda a: a)
    return _sliced(context, args[0], *(list(part) for part in zip(*kept, strict=True)))


def take(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """One row by a constant index."""
    index, axis = array(args[1], "index"), attrs.get("axis")
    sizes = context.sizes(args[0])
    if index.ndim or axis is None:
        raise ValueError("an index that is no single number")
    at, along = int(index) % sizes[int(axis)], int(axis) % len(sizes)
    row = _sliced(context, args[0], [along], [at], [at + 1], [1])
    return squeeze(context, [row], {"axis": [along]})


def broadcast_to(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """A tensor repeated to `shape`; the batch stays what it is."""
    wanted: list[Any] = [int(v) for v in attrs["shape"]]
    own = context.shape(args[0])
    own = [1] * (len(wanted) - len(own)) + own
    free = [i for i, extent in enumerate(own) if not _number(extent)]
    for i in free:
        wanted[i] = own[i]
    return moved(context, args[0], lambda real: relax.op.broadcast_to(real, wanted))


def _number(extent: Any) -> bool:
    return isinstance(extent, int) or type(extent).__name__ == "IntImm"


def pad(context: Context, args: list[Any], attrs: Attributes) -> Value:
    """`nn.pad(x, value, pad_width)`, constant; codes are padded in codes."""
    mode = attrs.get("pad_mode", "constant")
    if mode != "constant":
        raise ValueError(f"pad_mode {mode}; pad with a constant")
    width = [int(v) for side in attrs["pad_width"] for v in side]
    fill = float(array(args[1], "pad value").reshape(())) if len(args) > 1 else 0.0
    if isinstance(args[0], Integer):
        fill = (fill - args[0].zero) * float(args[0].scale[0])
    return moved(context, args[0], lambda real: relax.op.nn.pad(real, width, pad_value=fill))


SHAPE_OPERATORS = {
    "reshape": reshape,
    "nn.batch_flatten": batch_flatten,
    "expand_dims": expand_dims,
    "squeeze": squeeze,
    "transpose": transpose,
    "layout_transform": layout_transform,
    "concatenate": concatenate,
    "split": split,
    "strided_slice": strided_slice,
    "take": take,
    "broadcast_to": broadcast_to,
    "nn.pad": pad,
}
