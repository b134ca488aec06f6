"""TensorFlow Lite models beside the interpreter: `make test-tflite`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

interpreters = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="needs ai-edge-litert: make test-tflite"
)
pytest.importorskip("tflite", reason="needs tflite: pip install alwann-c[tflite]")

import alwann_c as ax  # noqa: E402
from alwann_c.codegen.float_network import FloatNetwork  # noqa: E402

FIXTURES = Path(__file__).parents[1] / "fixtures" / "tflite"
Array = npt.NDArray[Any]
IMAGES = np.random.default_rng(21).normal(0, 1, (6, 16, 16, 3)).astype(np.float32)


def interpreted(name: str, images: Array) -> Array:
    """Real outputs of the interpreter; codes are made and read by its own scales."""
    runner = interpreters.Interpreter(model_path=str(FIXTURES / f"{name}.tflite"), num_threads=1)
    runner.allocate_tensors()
    (entry,), (result,) = runner.get_input_details(), runner.get_output_details()
    outputs = []
    for image in images:
        given = image[None]
        if entry["dtype"] == np.int8:
            scale, zero = entry["quantization"]
            given = np.clip(np.rint(given / scale) + zero, -128, 127).astype(np.int8)
        runner.set_tensor(entry["index"], given)
        runner.invoke()
        output = runner.get_tensor(result["index"]).astype(np.float32)
        if result["dtype"] == np.int8:
            scale, zero = result["quantization"]
            output = (output - zero) * scale
        outputs.append(output)
    return np.concatenate(outputs)


@pytest.mark.parametrize("name", ["residual", "segmenting"])
def test_float_networks(name: str) -> None:
    model = ax.load(FIXTURES / f"{name}.tflite")
    got = FloatNetwork(model.module).run(np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(got, interpreted(name, IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "step"), [("residual_int8", 1 / 256), ("segmenting_int8", 1 / 128)]
)
def test_integer_networks(name: str, step: float) -> None:
    """Within the codes that single differences of one grow to, see docs/frontends.md."""
    quantized = ax.quantize(ax.load(FIXTURES / f"{name}.tflite"))
    got = quantized.network.run(np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)))
    gap = np.abs(got - interpreted(name, IMAGES)) / step
    assert gap.max() < 4.5
    assert (gap < 1.5).mean() > 0.9
