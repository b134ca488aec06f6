"""Networks that ONNX Runtime quantized: its codes are kept, its results met, nothing calibrated."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from command_line import alwann_c, only_json
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from tiny import Case, Net, images_for, residual_net, run_onnx, small_net

from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError, UnsupportedError
from alwann_c.ir import ops, reference
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import bindings
from alwann_c.model import Model, load
from alwann_c.quantized import QuantizationScheme, quantize

U8, S8 = QuantType.QUInt8, QuantType.QInt8
KINDS = {"u8u8": (U8, U8), "u8s8": (U8, S8), "s8s8": (S8, S8)}
FORMATS = {"QDQ": QuantFormat.QDQ, "QOperator": QuantFormat.QOperator}


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """A few images, one by one."""

    def __init__(self) -> None:
        self.left: Iterator[Any] = iter(images_for(False, 16, seed=8)[:, None])

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.left, None)
        return None if image is None else {"image": image}


def fold_batch_norm(proto: onnx.ModelProto, path: Path) -> None:
    """What ONNX Runtime's own preprocessing does before it quantizes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def quantized_file(
    folder: Path, proto: onnx.ModelProto, form: str, kind: str, per_channel: bool, **extra: Any
) -> Path:
    fold_batch_norm(proto, folder / "float.onnx")
    logging.disable(logging.WARNING)
    activation, weight = KINDS[kind]
    quantize_static(
        str(folder / "float.onnx"),
        str(folder / "net.onnx"),
        Reader(),
        quant_format=FORMATS[form],
        activation_type=activation,
        weight_type=weight,
        per_channel=per_channel,
        reduce_range=True,  # ONNX Runtime's kernels saturate on 8-bit weights without VNNI
        extra_options={"ActivationSymmetric": kind == "s8s8", **extra},
    )
    logging.disable(logging.NOTSET)
    return folder / "net.onnx"


def stored_codes(path: Path, images: Any) -> dict[str, Any]:
    """Every tensor that ONNX Runtime stores as 8-bit codes, moved to unsigned."""
    proto = onnx.load(str(path))
    names = [
        node.output[0]
        for node in proto.graph.node
        if node.op_type.startswith("QLinear") or node.op_type in ("QuantizeLinear", "QGemm")
    ]
    known = {value.name for value in proto.graph.output}
    proto.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = session.run(names, {"image": images})
    moved = [v.astype(np.int32) + (128 if v.dtype == np.int8 else 0) for v in values]
    return dict(zip(names, moved, strict=True))


def layer_nodes(path: Path) -> list[tuple[str, str]]:
    """Names of the codes each convolution reads and writes, in order."""
    graph = onnx.load(str(path)).graph
    made = {output: node for node in graph.node for output in node.output}
    read = {name: node for node in graph.node for name in node.input}
    pairs = []
    for node in graph.node:
        if node.op_type == "QLinearConv":
            pairs.append((node.input[0], node.output[0]))
        elif node.op_type == "Conv":
            following = read[node.output[0]]
            while following.op_type != "QuantizeLinear":
                following = read[following.output[0]]
            pairs.append((made[node.input[0]].input[0], following.output[0]))
    return pairs


def layer_calls(model: Model, scheme: QuantizationScheme) -> list[Any]:
    quantized = quantize(model, None, scheme)
    return [value for _, value in bindings(quantized.module) if ops.is_layer(value)]


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMATS)
def test_each_layer_is_within_one_code(
    form: str, kind: str, per_channel: bool, tmp_path: Path
) -> None:
    path = quantized_file(tmp_path, residual_net(conv_bias=True), form, kind, per_channel)
    images = images_for(False, 6, seed=21)
    model = load(path)
    codes = stored_codes(path, images)
    calls = [c for c in layer_calls(model, QuantizationScheme()) if ops.op_name(c) == ops.CONV2D]
    pairs = layer_nodes(path)
    assert len(calls) == len(pairs) == 5
    for call, (source, target) in zip(calls, pairs, strict=True):
        given = codes[source].transpose(0, 2, 3, 1).astype(np.uint8)
        operands = [argument.value.numpy() for argument in call.args[1:6]]
        spec = ops.conv_spec(call)
        assert spec.epilogue.output is not None
        output = reference.conv2d(given, *operands, None, spec)
        wanted = codes[target].transpose(0, 2, 3, 1)
        assert np.abs(output.astype(int) - wanted).max() <= 1
        assert (output != wanted).mean() < 0.01
        assert len(np.unique(wanted)) > 20


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("form", FORMATS)
def test_whole_network(form: str, signed: bool, tmp_path: Path) -> None:
    """Both signednesses are the same network, and that is ONNX Runtime's."""
    path = quantized_file(tmp_path, small_net(), form, "u8s8", True)
    images = images_for(False, 12, seed=22)
    model = load(path)
    assert model.is_quantized
    quantized = quantize(model, None, QuantizationScheme(signed=signed))
    assert len(quantized.layers) == 3
    assert all(layer.signed == signed for layer in quantized.layers.values())
    got = interpret(quantized.module, images)
    expected = run_onnx(path, images)
    step = np.abs(expected).max() / 100
    assert np.abs(got - expected).max() <= 3 * step
    if not signed:
        np.testing.assert_array_equal(quantized.network.run(images), got)
    with pytest.raises(InputError, match="without calibration images; give some"):
        _ = quantized.calibration


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
def test_weights_stored_as_a_pair_of_operators(per_channel: bool, tmp_path: Path) -> None:
    """AddQDQPairToWeight, and what is exported after training with simulated quantization: the
    float weight goes through QuantizeLinear and DequantizeLinear. The codes are the same."""
    folded = []
    for pair in (False, True):
        folder = tmp_path / str(pair)
        folder.mkdir()
        kind = {"AddQDQPairToWeight": pair}
        path = quantized_file(folder, small_net(), "QDQ", "u8s8", per_channel, **kind)
        makers = {n.output[0]: n for n in onnx.load(str(path)).graph.node}
        weights = [n.input[1] for n in makers.values() if n.op_type == "Conv"]
        made = [makers[makers[name].input[0]].op_type for name in weights] if pair else []
        assert made == ["QuantizeLinear"] * len(made)
        folded.append(quantize(load(path)))
    assert made
    stored, computed = folded
    assert list(computed.layers) == list(stored.layers)
    assert not computed.refusals
    for name, layer in computed.layers.items():
        np.testing.assert_array_equal(layer.weight, stored.layers[name].weight)
        np.testing.assert_array_equal(layer.bias, stored.layers[name].bias)
        np.testing.assert_array_equal(
            layer.weight_zero_point, stored.layers[name].weight_zero_point
        )


def test_layers_the_file_keeps_in_float(tmp_path: Path) -> None:
    proto = small_net()
    fold_batch_norm(proto, tmp_path / "float.onnx")
    first = onnx.load(str(tmp_path / "float.onnx")).graph.node[0].name
    quantize_static(
        str(tmp_path / "float.onnx"),
        str(tmp_path / "net.onnx"),
        Reader(),
        nodes_to_exclude=[first],
    )
    quantized = quantize(load(tmp_path / "net.onnx"))
    assert quantized.refusals == {"ConvBnFusion_W_c1": "the file keeps it in float"}
    assert list(quantized.layers) == ["ConvBnFusion_W_c2", "fc"]
    data = only_json(alwann_c("inspect", tmp_path / "net.onnx", "--json"))
    assert data["quantized"] is True
    assert [layer["runs"] for layer in data["layers"]] == ["float", "int8", "int8"]
    assert data["layers"][0]["reason"] == "the file keeps it in float"
    assert {f["operator"] for f in data["float_operators"]} >= {"mean"}


def test_a_float_model_needs_calibration(small: Case) -> None:
    with pytest.raises(InputError, match="a float model needs calibration images"):
        quantize(small.model)


def reshaping_net() -> onnx.ModelProto:
    """A Pad and a Resize between convolutions, which ONNX Runtime leaves on codes."""
    net = Net(4)
    x = net.conv("c1", "image", (3, 6), bias=True)
    widths = net.constant("pads", np.array([0, 0, 1, 2, 0, 0, 2, 1], np.int64))
    fill = net.constant("fill", np.array(0.4, np.float32))
    x = net.conv("c2", net.node("Pad", [x, widths, fill]), (6, 6), bias=True)
    factors = net.constant("factors", np.array([1, 1, 2, 2], np.float32))
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    x = net.node("Resize", [x, "", factors], mode="nearest", **how)
    x = net.conv("c3", x, (6, 4), bias=True)
    return net.model(net.node("Flatten", [net.node("GlobalAveragePool", [x])]))


GATES = {
    *("Mul", "Sigmoid", "LeakyRelu", "AveragePool", "Concat", "Add", "GlobalAveragePool", "Conv"),
    "Softmax",
}


def gates_net() -> onnx.ModelProto:
    """What ONNX Runtime has operators on codes for, each between convolutions."""
    net = Net(6)
    x = net.node("LeakyRelu", [net.conv("c1", "image", (3, 6), bias=True)], alpha=0.2)
    gate = net.node("Sigmoid", [net.conv("c2", x, (6, 6), bias=True)])
    gated = net.node("Add", [net.node("Mul", [x, gate]), x])
    pooled = net.node("AveragePool", [gated], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    joined = net.node("Concat", [pooled, gate, net.node("Softmax", [gated], axis=1)], axis=1)
    y = net.node("GlobalAveragePool", [net.conv("c3", joined, (18, 8), bias=True)])
    weight = net.constant("head.weight", net.random.normal(0, 1, (8, 4)).astype(np.float32))
    bias = net.constant("head.bias", net.random.normal(0, 1, 4).astype(np.float32))
    return net.model(net.node("Gemm", [net.node("Flatten", [y]), weight, bias]))


@pytest.mark.parametrize("kind", KINDS)
def test_operators_on_codes(kind: str, tmp_path: Path) -> None:
    path = quantized_file(tmp_path, gates_net(), "QOperator", kind, False)
    made = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert {"QGemm", *(f"QLinear{name}" for name in GATES)} <= made
    quantized = quantize(load(path))
    assert list(quantized.layers) == ["c1", "c2", "c3", "head"]
    images = images_for(False, 8, seed=24)
    expected = run_onnx(path, images)
    step = np.ptp(expected) / 100
    assert np.abs(interpret(quantized.module, images) - expected).max() <= 3 * step


@pytest.mark.parametrize("kind", ["u8u8", "s8s8"])
@pytest.mark.parametrize("form", FORMATS)
def test_pad_and_resize_on_codes(form: str, kind: str, tmp_path: Path) -> None:
    path = quantized_file(tmp_path, reshaping_net(), form, kind, False)
    made = {o: n.op_type for n in onnx.load(str(path)).graph.node for o in n.output}
    before = {n.op_type: made.get(n.input[0]) for n in onnx.load(str(path)).graph.node}
    assert form == "QDQ" or (before["Pad"], before["Resize"]) == ("QLinearConv", "QLinearConv")
    quantized = quantize(load(path))
    assert list(quantized.layers) == ["c1", "c2", "c3"]
    images = images_for(False, 6, seed=23)
    expected = run_onnx(path, images)
    step = np.ptp(expected) / 100
    assert np.abs(interpret(quantized.module, images) - expected).max() <= 2 * step


def test_weights_alone_in_8_bits_are_a_float_network(small: Case, tmp_path: Path) -> None:
    """Its activations have no codes: it is calibrated like any other."""
    proto = small_net()
    graph = proto.graph
    for tensor in list(graph.initializer):
        if not tensor.name.endswith(".weight"):
            continue
        weight = numpy_helper.to_array(tensor)
        scale = np.float32(np.abs(weight).max() / 127)
        codes = np.rint(weight / scale).astype(np.int8)
        graph.initializer.remove(tensor)
        parts = {f"{tensor.name}.codes": codes, f"{tensor.name}.scale": np.asarray(scale)}
        graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in parts.items())
        graph.node.insert(0, helper.make_node("DequantizeLinear", [*parts], [tensor.name]))
    onnx.save(proto, str(tmp_path / "net.onnx"))
    model = load(tmp_path / "net.onnx")
    assert len(model.layers) == 3
    assert not model.is_quantized
    images = images_for(False, 3, seed=2)
    expected = run_onnx(tmp_path / "net.onnx", images)
    np.testing.assert_allclose(interpret(model.module, images), expected, rtol=1e-4, atol=1e-5)
    assert len(quantize(model, load_dataset(small.search.path), images=20).layers) == 3


def test_dynamic_quantization_is_refused(tmp_path: Path) -> None:
    net = Net()
    codes, scale, zero = "codes", "scale", "zero"
    net.nodes.append(
        helper.make_node("DynamicQuantizeLinear", ["image"], [codes, scale, zero], "dynamic")
    )
    back = net.node("DequantizeLinear", [codes, scale, zero])
    flat = net.node("Flatten", [back])
    proto = net.model(flat, classes=192)
    onnx.save(proto, str(tmp_path / "net.onnx"))
    with pytest.raises(UnsupportedError, match=r"DynamicQuantizeLinear of node 'dynamic'.*static"):
        load(tmp_path / "net.onnx")


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    net = Net()
    scale = net.constant("s", np.array(0.1, np.float32))
    zero = net.constant("z", np.array(0, np.int16))
    codes = net.node("QuantizeLinear", ["image", scale, zero])
    back = net.node("DequantizeLinear", [codes, scale, zero])
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [back])])
    proto = net.model(flat, classes=3, opset=21)
    assert proto.graph.initializer[1].data_type == TensorProto.INT16
    onnx.save(proto, str(tmp_path / "net.onnx"))
    with pytest.raises(UnsupportedError, match="codes of type int16; quantize to 8 bits"):
        load(tmp_path / "net.onnx")
