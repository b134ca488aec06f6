"""Codes without a zero point, and of types the file states: taken as stated, others refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tiny import Net, images_for, run_onnx

from alwann_c.errors import UnsupportedError
from alwann_c.ir.interpret import interpret
from alwann_c.model import load


def pooled(folder: Path, codes: Callable[[Net], str], opset: int = 21) -> Path:
    """A network of 3 means per image, of what `codes` makes of it."""
    net = Net()
    proto = net.model(
        net.node("Flatten", [net.node("GlobalAveragePool", [codes(net)])]), classes=3, opset=opset
    )
    proto.ir_version = 10
    onnx.save(proto, str(folder / "net.onnx"))
    return folder / "net.onnx"


MOVES: dict[str, Callable[[Net, str], str]] = {
    "nothing": lambda _, codes: codes,
    "a MaxPool": lambda net, codes: net.node("MaxPool", [codes], kernel_shape=[2, 2]),
    "a Transpose": lambda net, codes: net.node("Transpose", [codes], perm=[0, 1, 3, 2]),
}


@pytest.mark.parametrize("between", MOVES)
@pytest.mark.parametrize("kind", [TensorProto.INT8, TensorProto.UINT8, None])
def test_codes_without_a_zero_point_have_the_type_that_is_stated(
    kind: int | None, between: str, tmp_path: Path
) -> None:
    """Opset 21 states it in `output_dtype`; without either they are uint8."""

    def codes(net: Net) -> str:
        scale = net.constant("s", np.array(0.03, np.float32))
        stated = {} if kind is None else {"output_dtype": kind}
        made = net.node("QuantizeLinear", ["image", scale], **stated)
        return net.node("DequantizeLinear", [MOVES[between](net, made), scale])

    path = pooled(tmp_path, codes)
    images = images_for(False, 4, seed=5)
    expected = run_onnx(path, images)
    assert (expected < 0).any() == (kind == TensorProto.INT8)
    np.testing.assert_allclose(interpret(load(path).module, images), expected, atol=1e-5)


def test_an_int8_input_without_a_zero_point(tmp_path: Path) -> None:
    def codes(net: Net) -> str:
        return net.node("DequantizeLinear", ["image", net.constant("s", np.float32(0.03))])

    path = pooled(tmp_path, codes)
    proto = onnx.load(str(path))
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8
    onnx.save(proto, str(path))
    images = np.random.default_rng(1).integers(-128, 128, (2, 3, 8, 8)).astype(np.int8)
    expected = run_onnx(path, images)  # type: ignore[arg-type]
    assert (expected < 0).any()
    got = interpret(load(path).module, images.astype(np.float32) * np.float32(0.03))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "zero", "message"),
    [
        (TensorProto.INT16, None, "'quantizelinear_0' has output_dtype INT16; quantize to UINT8"),
        (TensorProto.INT8, np.uint8(0), "output_dtype INT8 and a zero point of type UINT8; quant"),
    ],
)
def test_other_types_of_codes_are_refused(
    kind: int, zero: Any, message: str, tmp_path: Path
) -> None:
    def codes(net: Net) -> str:
        names = [net.constant("s", np.float32(0.03))]
        if zero is not None:
            names.append(net.constant("z", np.array(zero)))
        made = net.node("QuantizeLinear", ["image", *names], output_dtype=kind)
        return net.node("DequantizeLinear", [made, *names])

    with pytest.raises(UnsupportedError, match=message):
        load(pooled(tmp_path, codes))


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_a_pad_without_a_value_fills_with_the_code_0(kind: type, tmp_path: Path) -> None:
    def codes(net: Net) -> str:
        names = [net.constant("s", np.float32(0.03)), net.constant("z", np.array(100, kind))]
        widths = net.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        padded = net.node("Pad", [net.node("QuantizeLinear", ["image", *names]), widths])
        return net.node("DequantizeLinear", [padded, *names])

    path = pooled(tmp_path, codes)
    images = images_for(False, 3, seed=5)
    got = interpret(load(path).module, images)
    np.testing.assert_allclose(got, run_onnx(path, images), atol=1e-5)
