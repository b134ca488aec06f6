"""Small ONNX files that ask for much: long chains, constants that grow, values that are followed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from test_hostile_onnx import constant_graph, refused_by_child
from tiny import Net

from alwann_c.model import load

node = helper.make_node
WIDE = 1 << 18


def summed(*nodes: onnx.NodeProto, **weights: Any) -> onnx.ModelProto:
    """The sum of the constant `a` added to the image."""
    ends = [node("ReduceSum", ["a"], ["r"], keepdims=0), node("Add", ["image", "r"], ["y"])]
    return constant_graph(*nodes, *ends, **weights)


def row(count: int = WIDE) -> Any:
    return np.zeros((1, count), np.float32)


def many_constants() -> onnx.ModelProto:
    """40 constants of 256 MiB each, in 2 KiB."""
    nodes = [node("ConstantOfShape", ["s"], [f"c{i}"]) for i in range(40)]
    sums = [node("Add", [f"c{i}", f"c{i + 1}"], ["a" if i == 38 else f"a{i}"]) for i in range(39)]
    return summed(*nodes, *sums, s=np.array([1 << 26]))


def doubling() -> onnx.ModelProto:
    """A shape that grows by itself: shape inference would follow each of its values."""
    nodes = [node("Shape", ["image"], ["s0"])]
    nodes += [node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0) for i in range(40)]
    nodes += [node("Cast", ["s40"], ["a"], to=1)]
    return summed(*nodes)


def size_of_the_image() -> onnx.ModelProto:
    """As many values as the image has pixels."""
    model = summed(
        node("Size", ["image"], ["n"]),
        node("Reshape", ["n", "one"], ["s"]),
        node("ConstantOfShape", ["s"], ["a"]),
        one=np.array([1]),
    )
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 1 << 14
    return model


def chain(op: str, count: int) -> onnx.ModelProto:
    """One operator again and again on a constant."""
    inputs = 2 if op == "Add" else 1
    names = ["c", *(f"c{i}" for i in range(count - 1)), "a"]
    pairs = itertools.pairwise(names)
    return summed(*(node(op, [x] * inputs, [y]) for x, y in pairs), c=np.zeros(1 << 20, np.float32))


BOMBS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "many constants": (many_constants, "more than 2147483648 bytes"),
    "Gather": (
        lambda: summed(node("Gather", ["d", "i"], ["a"]), d=row(), i=np.zeros(WIDE, np.int64)),
        "68719476736 elements",
    ),
    "Where": (
        lambda: summed(node("Where", ["c", "d", "d2"], ["a"]), c=[[True]], d=row(), d2=row().T),
        "68719476736 elements",
    ),
    "Concat": (
        lambda: summed(node("Concat", ["d"] * 3000, ["a"], axis=1), d=row()),
        "786432000 elements",
    ),
    "DequantizeLinear": (
        lambda: summed(
            node("DequantizeLinear", ["d", "s"], ["a"], axis=0),
            d=np.zeros((1, WIDE), np.int8),
            s=np.ones(WIDE, np.float32),
        ),
        "68719476736 elements",
    ),
    "Add": (lambda: summed(node("Add", ["d", "e"], ["a"]), d=row(), e=row().T), "elements"),
    "a chain of Add": (lambda: chain("Add", 20_000), "more than 2147483648 bytes"),
    "a chain of Sin": (
        lambda: chain("Sin", 3000),
        r"3001 operators compute on constants alone.* Sin of node 'c0' \(opset 17\)",
    ),
    "doubling shape": (doubling, "elements"),
    "size of the image": (size_of_the_image, "elements"),
}


@pytest.mark.parametrize(("make", "message"), BOMBS.values(), ids=BOMBS.keys())
def test_is_refused(make: Callable[[], onnx.ModelProto], message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(make().SerializeToString())
    said = refused_by_child(path, memory=4 << 30)
    assert said.startswith(str(path))
    assert said.count("\n") == 1
    assert re.search(message, said), said


def test_a_long_chain_of_layers_is_taken(tmp_path: Path) -> None:
    """Layers that follow each other directly are no recursion."""
    net, x, count = Net(), "image", 300
    weight = net.constant("w", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1))
    for _ in range(count):
        x = net.node("Conv", [x, weight])
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    onnx.save(net.model(flat, classes=3), str(tmp_path / "net.onnx"))
    assert len(load(tmp_path / "net.onnx").layers) == count
