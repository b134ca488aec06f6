"""Quantize: integer operators on the exact table, every tensor stored as codes once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import Case, Net, calls, fixed_codes, images_for, plain_text, small_net

from alwann_c.dataset import load_dataset
from alwann_c.ir import ops
from alwann_c.ir.interpret import interpret
from alwann_c.ir.reference import code_values
from alwann_c.ir.rewrite import apply, bindings
from alwann_c.ir.spec import Quantization
from alwann_c.model import load
from alwann_c.passes.calibrate import CodeFormat
from alwann_c.passes.layers import FloatLayer
from alwann_c.passes.quantize import LayerCodes, Quantize, layer_codes, quantize_weight
from alwann_c.plan import codes_hash
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.targets import exact_products

SIGNED = pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])


def quantized_values(layer: LayerCodes) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = code_values(layer.weight, layer.signed) - layer.weight_zero_point
    return np.asarray(values * layer.weight_scale.astype(np.float64))


def test_golden(small: Case, golden: Callable[[str, str], None]) -> None:
    mod = apply(Quantize(fixed_codes(small.model), exact_products(False)), small.model.module)
    golden("quantize", plain_text(mod))


def test_refuses_layers_without_codes(small: Case) -> None:
    codes = fixed_codes(small.model)
    del codes["c1"]
    mod = apply(Quantize(codes, exact_products(False)), small.model.module)
    kept = [op for op in calls(mod) if op == "relax.nn.conv2d" or op == ops.CONV2D]
    assert kept == ["relax.nn.conv2d", ops.CONV2D]
    layers = [ops.layer_name(value) for _, value in bindings(mod) if ops.is_layer(value)]
    assert layers == ["c2", "fc"]


@SIGNED
@pytest.mark.parametrize("per_channel", [True, False])
def test_weight_codes(small: Case, signed: bool, per_channel: bool) -> None:
    code = Quantization(0.05, 0, signed)
    for layer in small.model.layers:
        made = layer_codes(layer, code, per_channel=per_channel)
        error = np.abs(quantized_values(made) - layer.weight)
        assert (error <= made.weight_scale * 0.5001).all()
        if per_channel:
            expected = np.abs(layer.weight).max(axis=(0, 1, 2)) / 127
            np.testing.assert_allclose(made.weight_scale, expected, rtol=1e-6)
        else:
            assert len(set(made.weight_scale.tolist())) == 1
        if signed:
            assert not made.weight_zero_point.any()
        elif per_channel:
            assert (made.weight_zero_point == 128).all()
        else:
            values = quantized_values(made)
            assert values.min() <= layer.weight.min() + made.weight_scale[0]
            assert values.max() >= layer.weight.max() - made.weight_scale[0]


@SIGNED
def test_bias_in_accumulator_units(small: Case, signed: bool) -> None:
    layer = small.model.layers[0]
    made = layer_codes(layer, Quantization(0.05, 0, signed))
    unit = np.float64(np.float32(0.05)) * made.weight_scale
    assert np.abs(made.bias * unit - layer.bias).max() <= 0.5001 * unit.max()
    np.testing.assert_allclose(made.scale, unit, rtol=1e-6)
    correction = np.arange(6, dtype=np.int32)
    np.testing.assert_array_equal(made.offset(correction) - made.offset(), correction)


def test_a_channel_of_zeros_has_a_scale(small: Case) -> None:
    weight = small.model.layers[0].weight.copy()
    weight[..., 2] = 0
    layer = dataclasses.replace(small.model.layers[0], weight=weight)
    codes, zero_point, scale = quantize_weight(layer, True, CodeFormat())
    assert (codes[..., 2] == zero_point[2]).all()
    assert scale[2] == 1.0


@SIGNED
def test_layers_are_the_quantized_float_layers(small: Case, signed: bool) -> None:
    """Tolerance zero on codes: the network is float arithmetic on grid values."""
    scheme = QuantizationScheme("per-channel", "minmax", signed)
    made = quantize(small.model, load_dataset(small.calibration.path), scheme)
    images = small.search.images[:6]
    got = interpret(made.module, images)
    expected = interpret(small.model.module, images)
    noise = np.abs(got - expected).max() / expected.std()
    assert 0 < noise < 0.1
    assert all(layer.signed == signed for layer in made.layers.values())


def test_each_tensor_is_stored_once(residual: Case) -> None:
    model = residual.model
    mod = apply(Quantize(fixed_codes(model), exact_products(False)), model.module)
    sources = {layer.source for layer in model.layers}
    names = calls(mod)
    assert names.count(ops.QUANTIZE) == len(sources) == 6
    # read again: stem's output by a residual addition, the first block's by the shortcut
    assert names.count(ops.DEQUANTIZE) == 2
    assert "relax.nn.conv2d" not in names
    assert "relax.matmul" not in names


def test_two_layers_of_one_input_share_its_codes(tmp_path: Path) -> None:
    net = Net()
    stem = net.node("Relu", [net.conv("stem", "image", (3, 5))])
    left = net.conv("left", stem, (5, 4))
    right = net.conv("right", stem, (5, 4), kernel=1)
    pooled = net.node("GlobalAveragePool", [net.node("Relu", [net.node("Add", [left, right])])])
    onnx.save(net.model(net.node("Flatten", [pooled])), str(tmp_path / "net.onnx"))
    model = load(tmp_path / "net.onnx")
    mod = apply(Quantize(fixed_codes(model), exact_products(False)), model.module)
    assert calls(mod).count(ops.QUANTIZE) == 2
    images = images_for(False, 3, seed=0)
    got, expected = interpret(mod, images), interpret(model.module, images)
    np.testing.assert_allclose(got, expected, atol=0.1)


def test_names_survive(small: Case) -> None:
    names: list[str] = [layer.name for layer in small.model.layers]
    assert names == ["c1", "c2", "fc"]
    assert list(small.quantized.layers) == names
    assert small.quantized.network.layer_names == names
    kinds: list[FloatLayer] = small.model.layers
    assert [layer.kind for layer in kinds] == ["conv2d", "conv2d", "dense"]


def test_deterministic(small: Case, tmp_path: Path) -> None:
    onnx.save(small_net(), str(tmp_path / "net.onnx"))
    again = quantize(load(tmp_path / "net.onnx"), load_dataset(small.calibration.path))
    assert codes_hash(again) == codes_hash(small.quantized)
