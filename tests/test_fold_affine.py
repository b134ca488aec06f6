"""Normalisation: batch norms and constant scaling folded, one canonical form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny import IMAGE, Net, calls, images_for, plain_text, residual_net, run_onnx

from alwann_c.frontend.onnx import import_onnx
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply
from alwann_c.model import load
from alwann_c.passes.layers import find_layers
from alwann_c.passes.normalise import normalise

AFFINE = {"relax.multiply", "relax.divide", "relax.subtract"}


def head(net: Net, x: str, channels: int) -> onnx.ModelProto:
    """Pools `x` into the output: every channel is a class."""
    pooled = net.node("GlobalAveragePool", [x])
    return net.model(net.node("Flatten", [pooled]), classes=channels)


def imported(folder: Path, proto: onnx.ModelProto) -> Any:
    onnx.save(proto, str(folder / "net.onnx"))
    return import_onnx(folder / "net.onnx").module


def test_golden(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    golden(
        "normalise",
        plain_text(apply(normalise(), imported(tmp_path, residual_net(conv_bias=True)))),
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"conv_bias": True, "shortcut": "pool", "softmax": True},
        {"normalised": True, "batch": 1},
    ],
    ids=["slice", "pool-bias-softmax", "pixels"],
)
def test_same_outputs_as_onnx_runtime(tmp_path: Path, options: dict[str, Any]) -> None:
    proto = residual_net(**options)
    images = images_for(bool(options.get("normalised")), 5, seed=4)
    mod = apply(normalise(), imported(tmp_path, proto))
    expected = run_onnx(proto, images)
    np.testing.assert_allclose(interpret(mod, images), expected, rtol=1e-5, atol=2e-5)
    after_input = calls(mod)[calls(mod).index("relax.nn.conv2d") :]
    assert not AFFINE & set(after_input)


def _scalar(net: Net, value: float) -> str:
    return net.constant("k", np.array(value, np.float32))


def _vector(net: Net) -> str:
    values = net.random.uniform(0.5, 2, (1, 6, 1, 1)).astype(np.float32)
    return net.constant("k", values)


FOLDED: dict[str, Callable[[Net, str], str]] = {
    "layer * k": lambda n, x: n.node("Mul", [x, _vector(n)]),
    "k * layer": lambda n, x: n.node("Mul", [_scalar(n, 0.5), x]),
    "layer / k": lambda n, x: n.node("Div", [x, _vector(n)]),
    "layer + k": lambda n, x: n.node("Add", [x, _vector(n)]),
    "layer - k": lambda n, x: n.node("Sub", [x, _vector(n)]),
    "k - layer": lambda n, x: n.node("Sub", [_scalar(n, 0.5), x]),
    "scalar": lambda n, x: n.node("Mul", [x, _scalar(n, -1.5)]),
    "batch norm twice": lambda n, x: n.batch_norm("q", n.batch_norm("p", x, 6), 6),
}


@pytest.mark.parametrize("make", FOLDED.values(), ids=FOLDED.keys())
def test_folds_into_the_layer(tmp_path: Path, make: Callable[[Net, str], str]) -> None:
    net = Net()
    after = make(net, net.conv("c", "image", (3, 6), bias=True))
    proto = head(net, net.node("Relu", [after]), 6)
    mod = apply(normalise(), imported(tmp_path, proto))
    assert not AFFINE & set(calls(mod))
    assert calls(mod).count("relax.add") == 1
    images = images_for(False, 3, seed=0)
    np.testing.assert_allclose(
        interpret(mod, images), run_onnx(proto, images), rtol=1e-5, atol=1e-5
    )


def _twice(net: Net, x: str) -> str:
    return net.node("Add", [net.node("Mul", [x, _vector(net)]), net.node("Relu", [x])])


def _spatial(net: Net, x: str) -> str:
    ramp = np.linspace(1, 2, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    return net.node("Mul", [x, net.constant("k", ramp)])


def _reciprocal(net: Net, x: str) -> str:
    return net.node("Div", [_vector(net), net.node("Add", [x, _scalar_named(net, "far", 50.0)])])


def _scalar_named(net: Net, name: str, value: float) -> str:
    return net.constant(name, np.array(value, np.float32))


NOT_FOLDED: dict[str, tuple[Callable[[Net, str], str], str]] = {
    "TVM's layout conversion stops at a tensor constant on the left": (
        lambda n, x: n.node("Mul", [_vector(n), x]),
        "relax.multiply",
    ),
    "the layer is read twice": (_twice, "relax.multiply"),
    "the factor varies over pixels": (_spatial, "relax.multiply"),
    "constant / layer is not affine": (_reciprocal, "relax.divide"),
}


@pytest.mark.parametrize(("make", "left"), NOT_FOLDED.values(), ids=NOT_FOLDED.keys())
def test_refuses(tmp_path: Path, make: Callable[[Net, str], str], left: str) -> None:
    net = Net()
    proto = head(net, make(net, net.conv("c", "image", (3, 6))), 6)
    mod = apply(normalise(), imported(tmp_path, proto))
    assert left in calls(mod)
    images = images_for(False, 3, seed=0)
    np.testing.assert_allclose(
        interpret(mod, images), run_onnx(proto, images), rtol=1e-5, atol=1e-5
    )


def test_layers_without_activation_between_keep_their_names(tmp_path: Path) -> None:
    net = Net()
    narrow = net.block("project", "image", (3, 6), kernel=1)
    wide = net.block("expand", narrow, (6, 10), kernel=3)
    last = net.conv("last", wide, (10, 7), kernel=1, bias=True)
    path = tmp_path / "net.onnx"
    onnx.save(head(net, last, 7), str(path))
    found = {layer.name: layer.weight.shape for layer in load(path).layers}
    assert found == {
        "project": (1, 1, 3, 6),
        "expand": (3, 3, 6, 10),
        "last": (1, 1, 10, 7),
    }


def test_layer_descriptions(tmp_path: Path) -> None:
    net = Net()
    padded = net.conv("c", "image", (3, 6), pads=[0, 1, 2, 3], strides=[2, 1], dilations=[1, 2])
    deep = net.conv("d", net.node("Relu", [padded]), (6, 6), groups=6, bias=True)
    proto = head(net, deep, 6)
    first, second = find_layers(apply(normalise(), imported(tmp_path, proto)))
    assert first.spec is not None
    assert second.spec is not None
    assert (first.spec.height, first.spec.width, first.spec.in_channels) == IMAGE[1:] + IMAGE[:1]
    assert first.spec.padding == (0, 1, 2, 3)
    assert first.spec.strides == (2, 1)
    assert first.spec.dilation == (1, 2)
    assert (first.spec.out_height, first.spec.out_width) == (4, 8)
    assert first.spec.macs == 4 * 8 * 6 * 27
    assert (first.kind, second.kind) == ("conv2d", "depthwise_conv2d")
    np.testing.assert_array_equal(first.bias, np.zeros(6))
    np.testing.assert_array_equal(second.bias, net.weights["d.bias"])
    np.testing.assert_array_equal(second.weight, net.weights["d.weight"].transpose(2, 3, 1, 0))


def test_refusal_of_too_many_taps(tmp_path: Path) -> None:
    net = Net()
    flat = net.node("Flatten", ["image"])
    weight = net.constant("w", np.ones((33_024, 2), np.float32))
    output = net.node("MatMul", [flat, weight])
    path = tmp_path / "wide.onnx"
    onnx.save(net.model(output, image=(3, 128, 86), classes=2), str(path))
    (layer,) = load(path).layers
    assert layer.spec is None
    assert layer.refusal == "33024 taps exceed the 33000 an int32 accumulator holds"
