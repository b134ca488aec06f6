"""Cross-layer equalisation: the same function, weight ranges shared between neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import CLASSES, Case, Net, images_for, run_onnx

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.ir.rewrite import apply
from alwann_c.model import load
from alwann_c.passes.equalize import Equalize, equalization_factors
from alwann_c.passes.layers import FloatLayer, find_layers


def chain() -> onnx.ModelProto:
    """Convolution, depthwise, grouped, one read through LeakyReLU, one before a clip."""
    net = Net(3)
    x = net.node("Relu", [net.conv("a", "image", (3, 8), bias=True)])
    x = net.node("Relu", [net.conv("dw", x, (8, 8), groups=8, bias=True)])
    x = net.node("LeakyRelu", [net.conv("g", x, (8, 12), groups=2)], alpha=0.1)
    ends = [net.constant(f"clip.{end}", np.array(end, np.float32)) for end in (0.0, 6.0)]
    x = net.node("Clip", [net.conv("b", x, (12, 6), kernel=1, bias=True), *ends])
    x = net.conv("c", x, (6, CLASSES))
    pooled = net.node("GlobalAveragePool", [x])
    for name in ("a", "dw", "g", "b"):  # very uneven channels
        weight = net.weights[f"{name}.weight"]
        spread = 10.0 ** net.random.uniform(-1.5, 1.5, len(weight))
        net.weights[f"{name}.weight"] = (weight * spread[:, None, None, None]).astype(np.float32)
    return net.model(net.node("Flatten", [pooled]))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("chain") / "chain.onnx"
    onnx.save(chain(), str(found))
    return found


def output_ranges(layer: FloatLayer) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(np.abs(layer.weight).max(axis=(0, 1, 2)), np.float64)


def test_computes_the_same(path: Path) -> None:
    module = apply(Equalize(), load(path).module)
    images = images_for(False, 8, seed=1)
    found, expected = FloatNetwork(module).run(images), run_onnx(path, images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_neighbours_share_their_ranges(path: Path) -> None:
    """Depthwise layers too; nothing passes a clip."""
    before = find_layers(load(path).module)
    a, dw, g, b, c = find_layers(apply(Equalize(), load(path).module))
    np.testing.assert_allclose(output_ranges(a), output_ranges(dw), rtol=1e-3)
    for channel, own in enumerate(output_ranges(dw)):
        group = g.weight[:, :, channel % 4, 6 * (channel // 4) : 6 * (channel // 4 + 1)]
        assert own == pytest.approx(np.abs(group).max(), rel=1e-3)
    np.testing.assert_allclose(output_ranges(g), np.abs(b.weight).max(axis=(0, 1, 3)), rtol=1e-3)
    np.testing.assert_array_equal(c.weight, before[-1].weight)
    uneven, even = (output_ranges(layer) for layer in (before[1], dw))
    assert even.max() / even.min() < uneven.max() / uneven.min()


def test_residual_networks_keep_their_shortcuts(residual: Case) -> None:
    """What is read twice has no factors; what is left computes the same."""
    factors = equalization_factors(residual.model.module)
    assert factors
    assert len(factors) < len(residual.model.layers)
    images = residual.search.images[:8]
    module = apply(Equalize(), residual.model.module)
    expected = FloatNetwork(residual.model.module).run(images)
    np.testing.assert_allclose(FloatNetwork(module).run(images), expected, rtol=1e-3, atol=1e-4)
