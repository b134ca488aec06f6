"""ONNX files that lie: refused in one line, in bounded memory and time, before any long work."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny import Net, small_net

import alwann_c as ax
from alwann_c.errors import InputError
from alwann_c.model import load

HUGE = 1 << 40
SECONDS = 20.0


def constant_graph(*nodes: onnx.NodeProto, **weights: Any) -> onnx.ModelProto:
    """image -> the nodes -> y."""
    entry = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, list("nchw"))
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [entry], [output], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def cyclic() -> onnx.ModelProto:
    return constant_graph(
        helper.make_node("Add", ["image", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    )


def wrong_shape() -> onnx.ModelProto:
    proto = small_net()
    proto.graph.initializer[0].dims[0] += 1
    return proto


def giant_weight() -> onnx.ModelProto:
    proto = small_net()
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([HUGE, HUGE])
    return proto


def negative_shape() -> onnx.ModelProto:
    proto = small_net()
    proto.graph.initializer[0].dims[0] = -6
    return proto


def giant_image() -> onnx.ModelProto:
    proto = small_net()
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 1 << 20
    return proto


def bomb(op: str, **weights: Any) -> Callable[[], onnx.ModelProto]:
    """A few bytes that ask for terabytes."""

    def make() -> onnx.ModelProto:
        nodes = {
            "ConstantOfShape": [
                helper.make_node("ConstantOfShape", ["shape"], ["a"]),
                helper.make_node("ReduceSum", ["a"], ["b"], keepdims=0),
                helper.make_node("Add", ["image", "b"], ["y"]),
            ],
            "Expand": [
                helper.make_node("Expand", ["image", "shape"], ["a"]),
                helper.make_node("GlobalAveragePool", ["a"], ["y"]),
            ],
            "Tile": [
                helper.make_node("Tile", ["image", "shape"], ["a"]),
                helper.make_node("GlobalAveragePool", ["a"], ["y"]),
            ],
            "Pad": [
                helper.make_node("Pad", ["image", "shape"], ["a"]),
                helper.make_node("GlobalAveragePool", ["a"], ["y"]),
            ],
            "Resize": [
                helper.make_node("Resize", ["image", "", "", "shape"], ["a"]),
                helper.make_node("GlobalAveragePool", ["a"], ["y"]),
            ],
            "Range": [
                helper.make_node("Range", ["zero", "limit", "one"], ["a"]),
                helper.make_node("ReduceSum", ["a"], ["b"], keepdims=0),
                helper.make_node("Add", ["image", "b"], ["y"]),
            ],
        }[op]
        return constant_graph(*nodes, **weights)

    return make


def laughs() -> onnx.ModelProto:
    """30 functions, each calling the next twice."""
    proto = constant_graph(helper.make_node("f0", ["image"], ["y"], domain="lol"))
    proto.opset_import.append(helper.make_opsetid("lol", 1))
    for i in range(30):
        following = ("lol", f"f{i + 1}") if i < 29 else ("", "Relu")
        nodes = [
            helper.make_node(following[1], ["x"], ["m"], domain=following[0]),
            helper.make_node(following[1], ["m"], ["z"], domain=following[0]),
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("lol", 1)]
        proto.functions.append(helper.make_function("lol", f"f{i}", ["x"], ["z"], nodes, opsets))
    return proto


def endless() -> onnx.ModelProto:
    proto = constant_graph(helper.make_node("f", ["image"], ["y"], domain="lol"))
    opsets = [helper.make_opsetid("lol", 1)]
    proto.opset_import.extend(opsets)
    node = helper.make_node("f", ["x"], ["z"], domain="lol")
    proto.functions.append(helper.make_function("lol", "f", ["x"], ["z"], [node], opsets))
    return proto


def branch() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["r"])],
        "b",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
    )
    choice = helper.make_node("If", ["c"], ["y"], "choice", then_branch=body, else_branch=body)
    return constant_graph(choice, c=np.array(True))


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "cycle": (cyclic, "not a valid ONNX model"),
    "wrong shape": (wrong_shape, "bytes do not fill shape"),
    "giant weight": (giant_weight, "out of bounds"),
    "negative shape": (negative_shape, "out of bounds"),
    "giant image": (giant_image, "elements for one image"),
    "ConstantOfShape": (bomb("ConstantOfShape", shape=[1 << 20, 1 << 20]), "elements"),
    "Expand": (bomb("Expand", shape=[1, 3, 1 << 20, 8, 8]), "elements|cannot be taken"),
    "Tile": (bomb("Tile", shape=[1, 1, 1 << 20, 1 << 20]), "elements|cannot be taken"),
    "Pad": (bomb("Pad", shape=[0, 0, 1 << 20, 0, 0, 0, 0, 1 << 20]), "elements"),
    "Resize": (bomb("Resize", shape=[1, 3, 1 << 20, 1 << 20]), "elements"),
    "Range": (
        bomb("Range", zero=np.int64(0), limit=np.int64(HUGE), one=np.int64(1)),
        "elements|cannot be taken",
    ),
    "billion laughs": (laughs, "1073741824 operators"),
    "endless function": (endless, "calls itself"),
    "branch": (branch, "operator If of node 'choice' .* control flow"),
}

CHILD = """
import resource, sys
limit = int(sys.argv[2])
import alwann_c as ax
from alwann_c.model import load
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
try:
    load(sys.argv[1])
except ax.InputError as e:
    print(e)
    raise SystemExit(2)
"""


def refused_by_child(path: Path, *, memory: int = 2 << 30) -> str:
    """The refusal of a process that may take `memory` more bytes and `SECONDS` of CPU."""
    root = str(Path(ax.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(memory)],
        capture_output=True,
        text=True,
        timeout=20 * SECONDS,
        env=os.environ | {"PYTHONPATH": root},
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("make", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_is_refused_in_bounded_memory_and_time(
    make: Callable[[], onnx.ModelProto], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(make().SerializeToString())
    said = refused_by_child(path)
    assert said.startswith(str(path))
    assert said.count("\n") == 1
    assert re.search(message, said), said


def external(folder: Path, location: str, **entries: object) -> Path:
    """A small network whose first weight lies in another file."""
    proto = small_net()
    tensor = proto.graph.initializer[0]
    content = numpy_helper.to_array(tensor).tobytes()
    (folder / "weights.bin").write_bytes(b"\0" * 16 + content)
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    fields = {"location": location, "offset": 16, "length": len(content)} | entries
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=str(value))
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_weights(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    onnx.save(small_net(), str(tmp_path / "plain" / "net.onnx"))
    inside = load(external(tmp_path, "weights.bin"))
    plain = load(tmp_path / "plain" / "net.onnx")
    for mine, theirs in zip(inside.layers, plain.layers, strict=True):
        np.testing.assert_array_equal(mine.weight, theirs.weight)


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../secret.bin", {}, "outside the model's folder"),
        ("/etc/hostname", {}, "outside the model's folder"),
        ("link.bin", {}, "outside the model's folder"),
        ("a/../../secret.bin", {}, "outside the model's folder"),
        ("", {}, "outside the model's folder"),
        ("none.bin", {}, "is missing"),
        ("weights.bin", {"offset": -5}, "declared"),
        ("weights.bin", {"offset": 1 << 60}, "declared"),
        ("weights.bin", {"length": 1 << 60}, "declared"),
        ("weights.bin", {"length": 3}, "declared"),
        ("weights.bin", {"offset": "x"}, "invalid literal"),
    ],
)
def test_external_paths(
    location: str, entries: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4096)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(InputError, match=message):
        load(external(folder, location, **entries))


SMALL = small_net().SerializeToString()
NAMES = [value.name for value in small_net().graph.initializer]


class OneLine(Exception):
    """A refusal in one line."""


def _load(path: Path) -> None:
    try:
        load(path)
    except InputError as e:
        if str(e) and "\n" not in str(e):
            raise OneLine from e
        raise


def taken_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    began = time.process_time()
    with suppress(OneLine):
        _load(path)
    assert time.process_time() - began < SECONDS


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8)
)
@example([(189, 128)])  # a name that is no UTF-8 text
def test_bytes_overwritten(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL)
    for position, value in changes:
        content[position] = value
    taken_or_refused(tmp_path / "net.onnx", bytes(content))


EXTENTS = st.sampled_from([-(1 << 62), -1, 0, 1, 2, 3, 1 << 20, 1 << 31, 1 << 62])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_fields_overwritten(tmp_path: Path, data: st.DataObject) -> None:
    """Shapes, attributes, names and operators replaced by others."""
    proto = onnx.ModelProto.FromString(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        what = data.draw(st.sampled_from(["attribute", "input", "operator", "extent", "weight"]))
        node = data.draw(st.sampled_from(list(proto.graph.node)))
        if what == "attribute" and node.attribute:
            attribute = data.draw(st.sampled_from(list(node.attribute)))
            values = data.draw(st.lists(EXTENTS, max_size=5))
            if attribute.ints:
                del attribute.ints[:]
                attribute.ints.extend(values)
            else:
                attribute.i = data.draw(EXTENTS)
        elif what == "input" and node.input:
            every = [name for other in proto.graph.node for name in (*other.input, *other.output)]
            node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(
                st.sampled_from(every)
            )
        elif what == "operator":
            known = ["Conv", "Reshape", "Expand", "Tile", "Resize", "Add", "MatMul", "Concat"]
            node.op_type = data.draw(st.sampled_from(known))
        elif what == "extent":
            dims = proto.graph.input[0].type.tensor_type.shape.dim
            dims[data.draw(st.integers(0, 3))].dim_value = data.draw(EXTENTS)
        else:
            tensor = data.draw(st.sampled_from(list(proto.graph.initializer)))
            if len(tensor.dims):
                tensor.dims[0] = data.draw(EXTENTS)
    taken_or_refused(tmp_path / "net.onnx", proto.SerializeToString())


def test_many_nodes_are_bounded() -> None:
    net = Net()
    for _ in range(3):
        net.node("Relu", ["image"])
    from alwann_c.frontend import onnx_file

    proto = net.model(net.nodes[-1].output[0], classes=1)
    assert onnx_file.expanded_nodes("m", proto) == 3
