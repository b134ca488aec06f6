"""ONNX import: the same outputs as ONNX Runtime; what cannot be taken is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny import CLASSES, Case, Net, images_for, residual_net, run_onnx, small_net

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError, UnsupportedError
from alwann_c.evaluation import float_correct
from alwann_c.frontend.onnx import layer_names
from alwann_c.ir.ops import static_shape
from alwann_c.model import load


def saved(folder: Path, proto: onnx.ModelProto, name: str = "net.onnx") -> Path:
    onnx.save(proto, str(folder / name))
    return folder / name


def test_compiled_float_network_equals_onnx_runtime(small: Case, tmp_path: Path) -> None:
    proto = residual_net(normalised=True, softmax=True, shortcut="pool")
    pixels = images_for(True, 7, seed=3)
    pairs = [
        (small.path, small.search.images[:7]),
        (saved(tmp_path, proto), pixels),
    ]
    for path, images in pairs:
        got = FloatNetwork(load(path).module, batch=3).run(images)
        np.testing.assert_allclose(got, run_onnx(path, images), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "data", "shape", "classes", "layers"),
    [
        ("resnet8_alwann", "cifar10_test", (3, 32, 32), 11, 8),
        ("resnet8_mlperf_tiny", "cifar10_test", (3, 32, 32), 10, 10),
        ("resnet20_cifar10", "cifar10_test_normalized", (3, 32, 32), 10, 20),
    ],
)
def test_shared_models_on_200_images(
    shared: Path, name: str, data: str, shape: tuple[int, ...], classes: int, layers: int
) -> None:
    path = shared / "models" / f"{name}.onnx"
    model = load(path)
    assert (model.input_shape, model.classes) == (shape, classes)
    assert len(model.layers) == layers
    assert [layer.refusal for layer in model.layers] == [None] * layers
    images = load_dataset(shared / "data" / f"{data}.toml").images(0, 200)
    got = FloatNetwork(model.module).run(images)
    expected = run_onnx(path, images)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(got.argmax(axis=1), expected.argmax(axis=1))


def test_model_facts(small: Case) -> None:
    model = small.model
    assert (model.name, model.input_name, model.classes) == ("net", "image", CLASSES)
    assert model.input_shape == (3, 8, 8)
    assert len(model.sha256) == 64
    other = load(small.path)
    assert other.sha256 == model.sha256


def test_layer_names_come_from_weights_then_nodes() -> None:
    net = Net()
    first = net.conv("block1.conv", "image", (3, 4))
    weight = net.constant("17", np.ones((4, 4, 1, 1), np.float32))
    second = net.node("Conv", [first, weight])
    third = net.node("Conv", [second, weight])
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [third])])
    assert layer_names(net.model(flat)) == ["block1.conv", second, third]


@pytest.mark.parametrize("batch", ["N", 1])
def test_batch_of_any_size(tmp_path: Path, batch: str | int) -> None:
    model = load(saved(tmp_path, small_net(batch=batch)))
    assert static_shape(model.module["main"].params[0]) == (None, 3, 8, 8)


def halved(proto: onnx.ModelProto, kind: int, *, ends: bool) -> onnx.ModelProto:
    """The network in 16-bit floats: within two Casts, or from input to output."""
    half = onnx.ModelProto()
    half.CopyFrom(proto)
    graph = half.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            values = values.astype(helper.tensor_dtype_to_np_dtype(kind))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    if ends:
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.elem_type = kind
        return half
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = "narrow" if name == "image" else name
    first = helper.make_node("Cast", ["image"], ["narrow"], to=kind)
    last = helper.make_node("Cast", [graph.output[0].name], ["wide"], to=TensorProto.FLOAT)
    nodes = [first, *graph.node, last]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output[0].name = "wide"
    return half


@pytest.mark.parametrize("ends", [False, True], ids=["within", "whole"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_networks_in_16_bit_floats(kind: int, ends: bool, tmp_path: Path) -> None:
    """The same weights, computed in float32: the layers are found and approximable."""
    proto = small_net()
    model = load(saved(tmp_path, halved(proto, kind, ends=ends)))
    names = [layer.name for layer in load(saved(tmp_path, proto, "float.onnx")).layers]
    assert [layer.name for layer in model.layers] == names
    assert all(layer.refusal is None for layer in model.layers)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(proto)
    for tensor in rounded.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            values = values.astype(helper.tensor_dtype_to_np_dtype(kind)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    images = images_for(False, 3, seed=6)
    expected = run_onnx(rounded, images)
    got = FloatNetwork(model.module).run(images)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected - run_onnx(proto, images)).max() > 1e-4


def test_unsupported_operator_names_operator_node_and_opset(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Det", ["image"])
    path = saved(tmp_path, net.model(x, image=(4, 4), classes=1))
    with pytest.raises(UnsupportedError) as caught:
        load(path)
    for part in (str(path), "Det", f"'{x}'", "opset 17"):
        assert part in str(caught.value)


def test_operator_of_another_domain(tmp_path: Path) -> None:
    net = Net()
    net.nodes.append(helper.make_node("Gelu", ["image"], ["y"], "act", domain="com.example"))
    flat = net.node("Flatten", ["y"])
    graph = helper.make_graph(
        net.nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info(flat, TensorProto.FLOAT, ["N", 192])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(UnsupportedError, match=r"com\.example\.Gelu of node 'act'"):
        load(saved(tmp_path, proto))


def two_inputs() -> onnx.ModelProto:
    shape = ["N", 4]
    kinds = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("a", "b", "y")]
    node = helper.make_node("Add", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "g", kinds[:2], kinds[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def integer_input(through: str = "") -> onnx.ModelProto:
    entry = helper.make_tensor_value_info("a", TensorProto.UINT8, ["N", 4])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    nodes = [helper.make_node(through, ["a"], ["b"])] if through else []
    source = "b" if through else "a"
    nodes.append(helper.make_node("Cast", [source], ["y"], to=TensorProto.FLOAT))
    graph = helper.make_graph(nodes, "g", [entry], [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def constant_output() -> onnx.ModelProto:
    net = Net()
    return net.model(net.node("Add", [net.constant("c", np.ones((1, 4), np.float32)), "c"]))


def antialiased() -> onnx.ModelProto:
    net = Net()
    factors = net.constant("factors", np.array([1, 1, 0.5, 0.5], np.float32))
    x = net.node("Resize", ["image", "", factors], mode="linear", antialias=1)
    return net.model(net.node("Flatten", [x]), classes=48, opset=18)


def infinite_weight() -> onnx.ModelProto:
    net = Net()
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [net.conv("c", "image", (3, 4))])])
    net.weights["c.weight"][0, 0, 0, 0] = np.inf
    return net.model(flat)


def image_output() -> onnx.ModelProto:
    net = Net()
    return net.model(net.conv("c", "image", (3, 4)), classes=4)


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (two_inputs(), "exactly one input is supported; it has: a, b"),
        (
            integer_input(through="Identity"),
            "input 'a' is UINT8; FLOAT is expected, or integers that",
        ),
        (infinite_weight(), "weight 'c.weight' holds NaN or infinity; export the network"),
        (constant_output(), "does not depend on its input; name another output .*--model-output"),
        (antialiased(), r"Resize of node 'resize_0' .* taken: antialias; export without it$"),
        (onnx.ModelProto(), "not an ONNX model, or one without operators"),
    ],
    ids=["two inputs", "uint8 input", "infinite weight", "constant output", "own remedy", "empty"],
)
def test_refuses(tmp_path: Path, proto: onnx.ModelProto, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(saved(tmp_path, proto))


def test_integers_that_are_cast_at_once_are_an_input(tmp_path: Path) -> None:
    """Pixels as uint8; images are given as float32 of the same values."""
    model = load(saved(tmp_path, integer_input()))
    pixels = np.array([[0, 1, 128, 255]], np.float32)
    np.testing.assert_array_equal(FloatNetwork(model.module).run(pixels), pixels)


def test_an_output_that_is_no_class_vector_has_no_accuracy(small: Case, tmp_path: Path) -> None:
    net = Net()
    x = net.conv("c", "image", (3, 4))
    entry = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", 4, 8, 8])
    weights = [numpy_helper.from_array(v, k) for k, v in net.weights.items()]
    graph = helper.make_graph(net.nodes, "g", [entry], [output], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = load(saved(tmp_path, proto))
    assert (model.output_shape, model.classes) == ((4, 8, 8), 0)
    images = images_for(False, 3, seed=1)
    got = FloatNetwork(model.module).run(images)
    np.testing.assert_allclose(got, run_onnx(proto, images), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"accuracy needs a model whose output is \[batch, cl"):
        float_correct(model, load_dataset(small.search.path))


def test_refuses_dynamic_image_size(tmp_path: Path) -> None:
    proto = small_net()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"
    with pytest.raises(UnsupportedError, match=r"dynamic axes|cannot import"):
        load(saved(tmp_path, proto))


@pytest.mark.parametrize("keep", [1, 100, 0.5, 0.99])
def test_refuses_truncated_files(tmp_path: Path, keep: float) -> None:
    whole = small_net().SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(InputError, match=r"net\.onnx: not a"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"hello, world\n" * 50, b"\x00" * 64, b"PK\x03\x04 zip"])
def test_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"net\.onnx: not a"):
        load(path)


def test_refuses_missing_file_and_other_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.onnx")
    with pytest.raises(InputError, match=r"format '\.h5' is not supported"):
        load(tmp_path / "net.h5")


def of_many_operators(opset: int) -> onnx.ModelProto:
    """What exporters write since opset 11, spelled as `opset` spells it."""
    net = Net(4)
    x = net.node("Relu", [net.block("c1", "image", (3, 8))])
    bounds = [net.constant(n, np.array(v, np.float32)) for n, v in (("low", 0.0), ("high", 6.0))]
    x = net.node("Clip", [net.conv("c2", x, (8, 8), groups=4), *bounds])
    gate = net.node("GlobalAveragePool", [x])
    x = net.node("Mul", [x, net.node("HardSigmoid", [net.conv("gate", gate, (8, 8), kernel=1)])])
    size = net.constant("size", np.array([1, 1, 2, 2], np.float32))
    region = net.constant("region", np.zeros(0, np.float32))
    x = net.node("Resize", [x, region, size], mode="nearest", nearest_mode="floor")
    x = net.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    halves = net.node("Split", [x], axis=1, **({"num_outputs": 2} if opset >= 18 else {}))
    net.nodes[-1].output.append(f"{halves}_2")
    x = net.node("Concat", [f"{halves}_2", net.node("LeakyRelu", [halves], alpha=0.2)], axis=1)
    if opset >= 18:
        x = net.node("ReduceMean", [x, net.constant("axes", np.array([2, 3]))], keepdims=0)
    else:
        x = net.node("ReduceMean", [x], axes=[2, 3], keepdims=0)
    if opset >= 13:
        x = net.node("Unsqueeze", [x, net.constant("one", np.array([1]))])
        x = net.node("Squeeze", [x, "one"])
    else:
        x = net.node("Squeeze", [net.node("Unsqueeze", [x], axes=[1])], axes=[1])
    weight = net.constant("fc.weight", net.random.normal(0, 1, (8, CLASSES)).astype(np.float32))
    logits = net.node("MatMul", [x, weight])
    return net.model(net.node("Softmax", [logits], axis=-1), opset=opset)


@pytest.mark.parametrize("opset", range(11, 22))
def test_opsets(opset: int, tmp_path: Path) -> None:
    path = saved(tmp_path, of_many_operators(opset))
    images = images_for(False, 3, seed=6)
    got = FloatNetwork(load(path).module).run(images)
    np.testing.assert_allclose(got, run_onnx(path, images), rtol=1e-4, atol=1e-6)


def test_a_node_without_a_name_is_called_by_its_output(tmp_path: Path) -> None:
    net = Net()
    x = net.node("ArgMax", [net.conv("c", "image", (3, 4))], axis=1, select_last_index=1)
    net.nodes[-1].name = ""
    x = net.node("Cast", [x], to=TensorProto.FLOAT)
    path = saved(tmp_path, net.model(net.node("Flatten", [x]), classes=64))
    with pytest.raises(UnsupportedError, match=r"operator ArgMax of node 'argmax_1' \(opset 17\)"):
        load(path)
