"""Networks exported for one image: which of them take a batch, and that none mixes its images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import IMAGE, Net, images_for, run_onnx

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.ir.ops import fixed_batch
from alwann_c.model import Model, load

IMAGES = images_for(False, 3, seed=9)
SIZE = int(np.prod(IMAGE))


def turned(net: Net, x: str, *axes: int) -> str:
    return net.node("Transpose", [x], perm=list(axes))


def reshaped(net: Net, x: str, *shape: int) -> str:
    name = net.constant(f"shape{len(net.nodes)}", np.array(shape, np.int64))
    return net.node("Reshape", [x, name])


def softmax_over_images(net: Net) -> str:
    weights = net.node("Softmax", [turned(net, "image", 1, 0, 2, 3)], axis=1)
    return turned(net, net.node("Add", [weights, turned(net, "image", 1, 0, 2, 3)]), 1, 0, 2, 3)


def rows_of_pixels(net: Net) -> str:
    """[c, n, h, w] as n rows: in another order than one by one."""
    return reshaped(net, turned(net, "image", 1, 0, 2, 3), -1, SIZE)


def attention_between_images(net: Net) -> str:
    flat = reshaped(net, "image", -1, SIZE)
    scores = net.node("MatMul", [flat, turned(net, flat, 1, 0)])
    return net.node("MatMul", [net.node("Softmax", [scores], axis=-1), flat])


def pooling_over_images(net: Net) -> str:
    rows = turned(net, "image", 1, 2, 0, 3)
    pooled = net.node("MaxPool", [rows], kernel_shape=[3, 1], pads=[1, 0, 1, 0])
    return turned(net, pooled, 2, 0, 1, 3)


def reversed_images(net: Net) -> str:
    bounds = {"starts": [-1], "ends": [-(1 << 40)], "axes": [0], "steps": [-1]}
    names = [net.constant(key, np.array(value, np.int64)) for key, value in bounds.items()]
    return net.node("Slice", ["image", *names])


def loaded(folder: Path, make: Callable[[Net], str]) -> tuple[Model, onnx.ModelProto]:
    net = Net()
    result = net.node("Flatten", [make(net)])
    proto = net.model(result, classes=SIZE, batch=1)
    onnx.save(proto, str(folder / "net.onnx"))
    return load(folder / "net.onnx"), proto


@pytest.mark.parametrize(
    "make",
    [
        softmax_over_images,
        rows_of_pixels,
        attention_between_images,
        pooling_over_images,
        reversed_images,
    ],
)
def test_what_mixes_images_runs_one_by_one(make: Callable[[Net], str], tmp_path: Path) -> None:
    model, proto = loaded(tmp_path, make)
    assert fixed_batch(model.module) == 1
    got = FloatNetwork(model.module, batch=1).run(IMAGES)
    np.testing.assert_allclose(got, run_onnx(proto, IMAGES), rtol=1e-4, atol=1e-5)


def tokens_first(net: Net) -> str:
    """Attention as PyTorch's MultiheadAttention lays it out: [tokens, images * heads, width]."""
    tokens = reshaped(net, turned(net, reshaped(net, "image", 1, 3, 64), 2, 0, 1), 64, 3, 1)
    q = turned(net, tokens, 1, 0, 2)
    scores = net.node("MatMul", [q, turned(net, tokens, 1, 2, 0)])
    mixed = net.node("MatMul", [net.node("Softmax", [scores], axis=-1), q])
    back = reshaped(net, turned(net, mixed, 1, 0, 2), 64, 1, 3)
    return turned(net, net.node("Relu", [back]), 1, 2, 0)


def token_at_the_front(net: Net) -> str:
    """Slices and concatenations beside the images' axis."""
    rows = reshaped(net, "image", 1, 64, 3)
    bounds = {"starts": [1], "ends": [64], "axes": [1], "steps": [1]}
    names = [net.constant(key, np.array(value, np.int64)) for key, value in bounds.items()]
    token = net.constant("token", np.full((1, 1, 3), 0.5, np.float32))
    return net.node("Concat", [token, net.node("Slice", [rows, *names])], axis=1)


@pytest.mark.parametrize("make", [tokens_first, token_at_the_front])
def test_what_does_not_takes_a_batch(make: Callable[[Net], str], tmp_path: Path) -> None:
    model, proto = loaded(tmp_path, make)
    if make is not tokens_first:  # its reshapes name the one image on a later axis
        assert fixed_batch(model.module) is None
    got = FloatNetwork(model.module).run(IMAGES)
    np.testing.assert_allclose(got, run_onnx(proto, IMAGES), rtol=1e-4, atol=1e-5)
