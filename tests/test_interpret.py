"""The interpreter: every operator the frontend brings, against ONNX Runtime and the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm
from tiny import Case, Net, images_for, module_of, operands, random_table, run_onnx
from tvm import relax

from alwann_c.frontend.onnx import import_onnx
from alwann_c.ir import ops, reference
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.passes.observe import Observe

OPERATORS: dict[str, Callable[[Net], str]] = {
    "MaxPool": lambda n: n.node("MaxPool", ["image"], kernel_shape=[3, 3], strides=[2, 2]),
    "AveragePool": lambda n: n.node("AveragePool", ["image"], kernel_shape=[2, 2], strides=[2, 2]),
    "Identity": lambda n: n.node("Identity", ["image"]),
    "Concat": lambda n: n.node("Concat", ["image", n.node("Relu", ["image"])], axis=1),
    "Pad": lambda n: n.node("Pad", ["image", n.constant("p", np.array([0, 1, 2, 0, 0, 1, 0, 2]))]),
    "Clip": lambda n: n.node(
        "Clip",
        [
            "image",
            n.constant("l", np.array(-0.5, np.float32)),
            n.constant("h", np.array(6.0, np.float32)),
        ],
    ),
    "grouped Conv": lambda n: n.conv("c", "image", (3, 6), groups=3, pads=[1, 0, 2, 1]),
}


@pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS.keys())
def test_float_operators(tmp_path: Path, make: Callable[[Net], str]) -> None:
    net = Net()
    output = make(net)
    pooled = net.node("GlobalAveragePool", [output])
    channels = 6 if output.startswith(("concat", "conv")) else 5 if output.startswith("pad") else 3
    proto = net.model(net.node("Flatten", [pooled]), classes=channels)
    onnx.save(proto, str(tmp_path / "net.onnx"))
    mod = import_onnx(tmp_path / "net.onnx").module
    images = images_for(False, 3, seed=1)
    got = interpret(mod, images)
    assert got.shape == (3, channels)
    np.testing.assert_allclose(got, run_onnx(proto, images), rtol=1e-5, atol=1e-6)


def test_takes_the_first_of_a_tuple(small: Case) -> None:
    images = small.search.images[:2]
    model = small.model
    watched = apply(Observe([model.layers[0].output]), model.module)
    np.testing.assert_array_equal(interpret(watched, images), interpret(model.module, images))


@pytest.mark.parametrize("residual", ["none", "float", "codes"])
def test_dense_with_residual_is_the_contract(residual: str) -> None:
    """x is quantized, multiplied on a table with M(a, 0) != 0, and its own codes are added."""
    code = Quantization(0.25, 10)
    epilogue = Epilogue(
        activation="relu",
        residual=residual,  # type: ignore[arg-type]
        residual_code=code if residual == "codes" else None,
    )
    spec = ConvSpec(1, 1, 4, 4, zero_point=10, epilogue=epilogue)
    random, table = np.random.default_rng(2), random_table(2)
    weight = random.integers(0, 256, (1, 1, 4, 4), np.uint8)
    zero, offset = np.full(4, 128, np.int32), np.array([1, -50, 7, 0], np.int32)
    scale = np.full(4, 0.125, np.float32)
    x = relax.Var("x", relax.TensorType((tvm.tirx.Var("N", "int64"), 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            codes = builder.emit(ops.quantize(x, code))
            constants = [relax.const(v) for v in (weight, table, zero, offset, scale)]
            extra = {"none": [], "float": [x], "codes": [codes]}[residual]
            layer = builder.emit(ops.dense("fc", spec, [codes, *constants, *extra]))
            output = builder.emit_output(layer)
        builder.emit_func_output(output)
    images = random.normal(0, 5, (3, 4)).astype(np.float32)
    got = interpret(builder.get(), images)
    q = reference.quantize(images, code).astype(int)
    products = table[q[:, :, None], weight[0, 0][None]].sum(axis=1)
    acc = products - 128 * q.sum(axis=1)[:, None] + offset
    expected = acc.astype(np.float32) * scale
    if residual == "float":
        expected = expected + images
    elif residual == "codes":
        expected = expected + np.float32(0.25) * (q - 10).astype(np.float32)
    np.testing.assert_array_equal(got, np.maximum(expected, 0))
    assert (got > 0).any()


def test_inference_of_an_interpreted_module_agrees() -> None:
    spec = ConvSpec(5, 6, 2, 3, kernel=(2, 3), strides=(2, 1), padding=(1, 0, 0, 2))
    mod = module_of(ops.conv2d("l", spec, operands(spec)), operands(spec))
    assert mod["main"].ret_ty.dtype == "float32"
