"""Models on their way to workers."""

from __future__ import annotations

import pickle
from pathlib import Path

import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tiny import Net

from alwann_c.errors import InputError
from alwann_c.model import load
from alwann_c.search.shipped import ship


def test_a_worker_loads_the_model_as_it_was_loaded(tmp_path: Path) -> None:
    """Open sizes, the output kept and external weights reach the worker; changes are noticed."""
    net = Net()
    x = net.conv("first", "image", (3, 4))
    y = net.conv("second", x, (4, 4))
    path = tmp_path / "net.onnx"
    save_open(net, [x, y], path)
    model = load(path, input_shape=(3, 8, 8), output=y)
    there = pickle.loads(pickle.dumps(ship(model))).load()
    assert (there.input_shape, there.output_name) == ((3, 8, 8), y)
    assert there.sha256 == model.sha256
    tvm.ir.assert_structural_equal(there.module, model.module)
    assert load(path, input_shape=(3, 8, 8), output=x).identity != model.identity
    weights = path.with_name("net.weights")
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    with pytest.raises(InputError, match="changed while it was being compiled"):
        ship(model)


def save_open(net: Net, outputs: list[str], path: Path) -> None:
    """An ONNX file with open height and width, several outputs, weights in a file beside it."""
    open_ends = ["N", 3, "H", "W"]
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, open_ends)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4, "H", "W"]) for n in outputs],
        [numpy_helper.from_array(v, n) for n, v in net.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(
        model, path, save_as_external_data=True, location="net.weights", size_threshold=0
    )


def test_a_relay_program_travels_with_its_parameters() -> None:
    pytest.importorskip("lark", reason="needs lark: pip install alwann-c[relay]")
    folder = Path(__file__).parent / "fixtures" / "relay"
    for params in (None, folder / "float.params"):
        model = load(folder / "float.relay", params=params)
        there = pickle.loads(pickle.dumps(ship(model))).load()
        assert there.sha256 == model.sha256
        tvm.ir.assert_structural_equal(there.module, model.module)
