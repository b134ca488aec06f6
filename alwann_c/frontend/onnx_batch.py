"""Settling every shape computation of an ONNX graph while the batch stays symbolic.

The graph is folded twice, for batches of 7 and of 11 images. What comes out equal is constant; a
Reshape or Expand whose extents differ as 7 and 11 do depends on the batch, and gets a mark instead:

    Shape(x) -> Gather(0) -> Concat([., 17, 48])    =>    [BATCH - 1, 17, 48]

A constant that repeats one row per image keeps that row alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from alwann_c.frontend.fold_limits import Budget
from alwann_c.frontend.onnx_fold import Folded, attributes, fold_constants

BATCH = -(1 << 40)
"""A shape entry `BATCH - k` means k times the batch."""

_TRIALS = (7, 11)
_ROUNDS = 64


class BatchError(Exception):
    """The graph depends on the batch in a way marks cannot express."""


def with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The model with its input's first extent fixed."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    extent = changed.graph.input[0].type.tensor_type.shape.dim[0]
    extent.Clear()
    extent.dim_value = batch
    return changed


def settle(model: onnx.ModelProto, *, free: bool) -> tuple[onnx.ModelProto, Folded]:
    """Folds until nothing changes; with `free`, Reshape to [1, …] keeps its first extent."""
    budget = Budget()
    graph, folded = fold_constants(model, budget)
    for _ in range(_ROUNDS):
        if free:
            _free_reshapes(graph)
        computed = sum(node.op_type in ("Shape", "Size") for node in graph.graph.node)
        if computed == 0:
            break
        before = len(graph.graph.node)
        graph, more = fold_constants(graph, budget)
        folded = Folded(
            folded.values | more.values, folded.codes | more.codes, folded.origin | more.origin
        )
        if len(graph.graph.node) == before:
            break
    return graph, folded


def _free_reshapes(model: onnx.ModelProto) -> None:
    """Reshape to [1, …] keeps its first extent: the batch, if anything."""
    values = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in values:
            continue
        shape = numpy_helper.to_array(values[node.input[1]]).copy()
        if shape.ndim != 1 or not len(shape) or shape[0] != 1:
            continue
        if attributes(node).get("allowzero"):
            if (shape == 0).any():
                continue
            kept = [a for a in node.attribute if a.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
        shape[0] = 0
        name = f"{node.input[1]}__free{len(model.graph.initializer)}"
        model.graph.initializer.append(numpy_helper.from_array(shape, name))
        node.input[1] = name


def settle_symbolic(model: onnx.ModelProto, *, free: bool) -> tuple[onnx.ModelProto, Folded]:
    """The settled graph for any batch. Raises BatchError where it cannot be expressed."""
    (graph, folded), (other, _) = (settle(with_batch(model, n), free=free) for n in _TRIALS)
    kinds = [[(n.op_type, *n.output) for n in g.graph.node] for g in (graph, other)]
    if kinds[0] != kinds[1]:
        raise BatchError("operators that depend on the batch")
    theirs = {t.name: t for t in other.graph.initializer}
    for tensor in graph.graph.initializer:
        if tensor.name not in theirs:
            raise BatchError(f"constant '{tensor.name}'")
        pair = [np.asarray(numpy_helper.to_array(t)) for t in (tensor, theirs[tensor.name])]
        joined = _join(tensor.name, *pair)
        if joined is not None:
            tensor.CopyFrom(numpy_helper.from_array(joined, tensor.name))
            folded.values[tensor.name] = joined
    extent = graph.graph.input[0].type.tensor_type.shape.dim[0]
    extent.Clear()
    extent.dim_param = "N"
    return graph, folded


def _join(name: str, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """One constant for any batch from those for 7 and 11 images; None where they are equal."""
    if a.shape == b.shape:
        if a.dtype.kind not in "iub" or np.array_equal(a, b):
            if a.dtype.kind == "f" and not np.array_equal(a, b, equal_nan=True):
                raise BatchError(f"constant '{name}'")
            return None
        times = a // _TRIALS[0]
        scaled = (times * _TRIALS[0] == a) & (times * _TRIALS[1] == b)
        if a.ndim != 1 or a.dtype != np.int64 or not (scaled | (a == b)).all():
            raise BatchError(f"constant '{name}'")
        return np.where(a == b, a, BATCH - times)
    alike = a.ndim > 0 and a.ndim == b.ndim and a.shape[1:] == b.shape[1:]
    if alike and (a.shape[0], b.shape[0]) == _TRIALS:
        row: npt.NDArray[Any] = a[:1].copy()
        if (a == row).all() and (b == row).all():
            return row
    raise BatchError(f"constant '{name}'")
