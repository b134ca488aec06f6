"""Residual blocks are reconstructed as a whole: targets make up for the shortcut's error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tiny import Case, random_multiplier

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.compensation import THOROUGH, Compensator, bound
from alwann_c.ir.reference import dequantize
from alwann_c.ir.rewrite import apply
from alwann_c.passes.approximate import uncompensated
from alwann_c.passes.compensate.sampling import targets_at
from alwann_c.passes.observe import Observe


def test_probes_give_what_is_added(residual: Case) -> None:
    """The shortcut of the first block is its first convolution's input."""
    run = residual.quantized.network.run_probed(residual.search.images[:5])
    assert "a2" in run.residuals
    np.testing.assert_array_equal(run.residuals["a2"], run.codes["a1"])


def test_target_is_float_block_minus_approximate_shortcut(residual: Case) -> None:
    quantized = residual.quantized
    compensator, network = Compensator(quantized), quantized.network
    stem = uncompensated(quantized.layers["stem"], random_multiplier(3, error=2000))
    images = quantized.calibration.images(0, 512)
    run = network.run_probed(images, {"stem": bound(stem)})
    data = compensator._data("a2", run, THOROUGH)
    layers = {layer.name: layer for layer in quantized.model.layers}
    watched = [layers["a2"].output, layers["a1"].source]
    observed = FloatNetwork(apply(Observe(watched), quantized.model.module))
    parts = [tensors for _, *tensors in observed.batches(images)]
    output, shortcut = (np.concatenate(column) for column in zip(*parts, strict=True))
    code = network.residual_codes["a2"]
    assert code is not None
    wanted = output + shortcut - dequantize(run.codes["a1"], code)
    layer = quantized.layers["a2"]
    rows = targets_at(wanted, layer.spec, compensator._pixels(layer, THOROUGH))
    found = np.concatenate([data.fit.target, data.choose.target])
    np.testing.assert_allclose(found, rows, atol=1e-5)
    plain = targets_at(output, layer.spec, compensator._pixels(layer, THOROUGH))
    assert np.abs(found - plain).max() > 0.01


def test_a_layer_without_shortcut_aims_at_its_float_output(residual: Case) -> None:
    quantized = residual.quantized
    run = quantized.network.run_probed(quantized.calibration.images(0, 512))
    data = Compensator(quantized)._data("a1", run, THOROUGH)
    without = replace(run, residuals={})
    again = Compensator(quantized)._data("a1", without, THOROUGH)
    np.testing.assert_array_equal(data.fit.target, again.fit.target)
