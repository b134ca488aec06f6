"""Observe: the watched tensors, in order, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tiny import Case, calls, plain_text

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply
from alwann_c.passes.observe import Observe


def test_golden(small: Case, golden: Callable[[str, str], None]) -> None:
    watched = [layer.output for layer in small.model.layers]
    golden("observe", plain_text(apply(Observe(watched), small.model.module)))


def test_watches_the_tensors_themselves(small: Case) -> None:
    model, images = small.model, small.search.images[:5]
    layers = model.layers
    watched = [layers[2].source, layers[0].output, layers[1].output]
    mod = apply(Observe(watched), model.module)
    assert calls(mod) == calls(model.module)
    network = FloatNetwork(mod, batch=2)
    parts = list(network.batches(images))
    assert [len(part) for part in parts] == [4, 4, 4]
    output, pooled, first, second = (
        np.concatenate(tensors) for tensors in zip(*parts, strict=True)
    )
    np.testing.assert_allclose(output, interpret(model.module, images), rtol=1e-5, atol=1e-5)
    assert first.shape == (5, 4, 4, 6)
    np.testing.assert_allclose(
        np.maximum(second, 0).mean(axis=(1, 2)), pooled, rtol=1e-5, atol=1e-6
    )
    weight = model.layers[2].weight.reshape(6, 4)
    np.testing.assert_allclose(pooled @ weight + layers[2].bias, output, rtol=1e-4, atol=1e-5)


def test_refuses_a_variable_of_another_module(small: Case, residual: Case) -> None:
    with pytest.raises(KeyError, match="before it is defined"):
        apply(Observe([residual.model.layers[0].output]), small.model.module)
