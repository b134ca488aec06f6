"""Networks exported by PyTorch's own exporters: float, int8 and approximate inference."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install alwann-c[torch]")
pytest.importorskip("onnxscript", reason="needs onnxscript: pip install alwann-c[torch]")

from architectures import ARCHITECTURES, SIZE, make  # noqa: E402
from tiny import random_multiplier, run_onnx  # noqa: E402

from alwann_c.codegen.float_network import FloatNetwork  # noqa: E402
from alwann_c.dataset import Dataset, DatasetFile  # noqa: E402
from alwann_c.ir import ops, reference  # noqa: E402
from alwann_c.ir.ops import static_shape  # noqa: E402
from alwann_c.ir.rewrite import apply, bindings  # noqa: E402
from alwann_c.model import load  # noqa: E402
from alwann_c.passes.approximate import Approximate, uncompensated  # noqa: E402
from alwann_c.passes.layers import constant  # noqa: E402
from alwann_c.passes.observe import Observe  # noqa: E402
from alwann_c.quantized import KINDS, QuantizationScheme, quantize  # noqa: E402

EXPORTS = ("dynamo", "dynamo-fixed", "legacy-11", "legacy-17")
IMAGES = np.random.default_rng(0).normal(0, 1, (3, 3, SIZE, SIZE)).astype(np.float32)


def export(name: str, how: str, folder: Path) -> Path:
    """The network as an ONNX file, by one of PyTorch's exporters."""
    path, example = folder / f"{name}.onnx", torch.zeros(2, 3, SIZE, SIZE)
    network = make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        if how == "dynamo":
            batch = ({0: torch.export.Dim("batch")},)
            torch.onnx.export(network, (example,), path, dynamo=True, dynamic_shapes=batch)
        elif how == "dynamo-fixed":
            torch.onnx.export(network, (example[:1],), path, dynamo=True, external_data=False)
        else:
            torch.onnx.export(
                network,
                (example,),
                str(path),
                dynamo=False,
                input_names=["image"],
                dynamic_axes={"image": {0: "batch"}},
                opset_version=int(how.split("-")[1]),
            )
        logging.disable(logging.NOTSET)
    return path


@pytest.mark.parametrize("how", EXPORTS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_float_equals_onnx_runtime(name: str, how: str, tmp_path: Path) -> None:
    path = export(name, how, tmp_path)
    model = load(path)
    assert static_shape(model.module["main"].params[0]) == (None, 3, SIZE, SIZE)
    got = FloatNetwork(model.module).run(IMAGES)
    expected = run_onnx(path, IMAGES)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    with torch.no_grad():
        np.testing.assert_allclose(got, make(name)(torch.tensor(IMAGES)), rtol=1e-3, atol=1e-4)


def dataset(images: Any) -> Dataset:
    """Unlabelled images in memory."""
    description = DatasetFile.model_validate({"file": "images.npz", "layout": "NCHW"})
    return Dataset(Path("images.toml"), images, None, description, "0" * 64)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_integer_layers_equal_the_reference(name: str, tmp_path: Path) -> None:
    """int8 stays near float, and every approximate layer computes what numpy defines: dense layers
    on tokens and products of activations too."""
    model = load(export(name, "dynamo", tmp_path))
    quantized = quantize(model, dataset(IMAGES), QuantizationScheme(approximate=KINDS))
    expected = FloatNetwork(model.module).run(IMAGES)
    got = quantized.network.run(IMAGES)
    assert got.shape == expected.shape
    spread = np.abs(expected - expected.mean()).max()
    assert np.abs(got - expected).max() < 0.35 * spread

    multiplier = random_multiplier(7)
    chosen = {n: uncompensated(layer, multiplier) for n, layer in quantized.layers.items()}
    module = apply(Approximate(chosen), quantized.module)
    layers = [(var, value) for var, value in bindings(module) if ops.is_layer(value)]
    assert len(layers) == len(quantized.layers) > 0
    watched = []
    for var, call in layers:
        watched += [call.args[0], var, *call.args[6:]]
    _, *seen = next(FloatNetwork(apply(Observe(watched), module)).batches(IMAGES))
    for _, call in layers:
        inputs, output = seen.pop(0), seen.pop(0)
        residual = seen.pop(0) if len(call.args) > 6 else None
        spec = ops.conv_spec(call)
        if ops.op_name(call) == ops.MATMUL:
            factors = [constant(argument) for argument in call.args[2:6]]
            exact = reference.matmul(inputs, residual, *factors, spec)
            np.testing.assert_array_equal(output, exact)
            continue
        shape = (-1, spec.height, spec.width, spec.in_channels)
        operands: list[Any] = [constant(argument) for argument in call.args[1:6]]
        wanted = reference.conv2d(
            inputs.reshape(shape),
            *operands,
            None if residual is None else residual.reshape(-1, *_out(spec)),
            spec,
        )
        np.testing.assert_array_equal(output, wanted.reshape(output.shape))


def _out(spec: Any) -> tuple[int, int, int]:
    return (spec.out_height, spec.out_width, spec.out_channels)
