"""A tiny vision transformer in ONNX: patches, one encoder block written out, a dense head."""

from __future__ import annotations

import numpy as np
import onnx
from tiny import CLASSES, IMAGE, Net, images_for, run_onnx

WIDTH, HEADS, TOKENS = 8, 2, 16


def _dense(net: Net, name: str, x: str, inputs: int, outputs: int) -> str:
    spread = 1.2 / np.sqrt(inputs)
    weight = net.random.normal(0, spread, (inputs, outputs)).astype(np.float32)
    bias = net.random.normal(0, 0.2, outputs).astype(np.float32)
    product = net.node("MatMul", [x, net.constant(f"{name}.weight", weight)])
    return net.node("Add", [product, net.constant(f"{name}.bias", bias)])


def _norm(net: Net, name: str, x: str) -> str:
    ones = net.constant(f"{name}.gamma", np.ones(WIDTH, np.float32))
    zeros = net.constant(f"{name}.beta", np.zeros(WIDTH, np.float32))
    return net.node("LayerNormalization", [x, ones, zeros], axis=-1)


def _heads(net: Net, name: str, x: str, order: list[int]) -> str:
    sizes = np.array([0, TOKENS, HEADS, WIDTH // HEADS])
    split = net.node("Reshape", [x, net.constant(f"{name}.split", sizes)])
    return net.node("Transpose", [split], perm=order)


def _attention(net: Net, x: str) -> str:
    q, k, v = (_dense(net, name, x, WIDTH, WIDTH) for name in ("q", "k", "v"))
    left, right = _heads(net, "q", q, [0, 2, 1, 3]), _heads(net, "k", k, [0, 2, 3, 1])
    scale = net.constant("scale", np.array((WIDTH // HEADS) ** -0.5, np.float32))
    scores = net.node("Mul", [net.node("MatMul", [left, right]), scale])
    mixed = net.node(
        "MatMul", [net.node("Softmax", [scores], axis=-1), _heads(net, "v", v, [0, 2, 1, 3])]
    )
    joined = net.node("Transpose", [mixed], perm=[0, 2, 1, 3])
    flat = net.node("Reshape", [joined, net.constant("join", np.array([0, TOKENS, WIDTH]))])
    return _dense(net, "out", flat, WIDTH, WIDTH)


def vision_transformer(*, batch: str | int = "N", seed: int = 11) -> onnx.ModelProto:
    """Images [N, 3, 8, 8] to 4 classes; 7 layers with constant weights, 2 products."""
    net = Net(seed)
    patches = net.conv("patch", "image", (IMAGE[0], WIDTH), kernel=2, pads=[0] * 4, strides=[2, 2])
    shape = net.constant("tokens", np.array([0, WIDTH, TOKENS]))
    tokens = net.node("Transpose", [net.node("Reshape", [patches, shape])], perm=[0, 2, 1])
    x = net.node("Add", [tokens, _attention(net, _norm(net, "n1", tokens))])
    up = net.node("Relu", [_dense(net, "up", _norm(net, "n2", x), WIDTH, 2 * WIDTH)])
    x = net.node("Add", [x, _dense(net, "down", up, 2 * WIDTH, WIDTH)])
    flat = net.node("ReduceMean", [x], axes=[1], keepdims=0)
    weight = net.constant("fc.weight", net.random.normal(0, 1, (CLASSES, WIDTH)).astype(np.float32))
    bias = net.constant("fc.bias", np.zeros(CLASSES, np.float32))
    logits = net.node("Gemm", [flat, weight, bias], transB=1)
    seen = run_onnx(net.model(logits), images_for(False, 64, seed=99))
    gain = (2.0 / seen.std(axis=0)).astype(np.float32)
    net.weights["fc.weight"] = net.weights["fc.weight"] * gain[:, None]
    net.weights["fc.bias"] = (-seen.mean(axis=0) * gain).astype(np.float32)
    return net.model(logits, batch=batch)
