"""FuseEpilogue: exact rewrites only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tiny import Case, calls, fixed_codes, operands, plain_text, random_multiplier
from tvm import relax

from alwann_c.compensation import bound
from alwann_c.ir import ops
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply, bindings
from alwann_c.ir.spec import ConvSpec, Quantization
from alwann_c.passes.approximate import Approximate, uncompensated
from alwann_c.passes.fuse_epilogue import FuseEpilogue
from alwann_c.passes.quantize import Quantize
from alwann_c.targets import exact_products

CODE = Quantization(0.5, 3)
SPEC = ConvSpec(4, 4, 2, 2)
Build = Callable[[relax.BlockBuilder, relax.Expr], relax.Expr]


def unfused(case: Case) -> tvm.IRModule:
    """The quantized module before fusion."""
    return apply(Quantize(case.quantized.layers, exact_products(False)), case.model.module)


def fused_chain(build: Build, spec: ConvSpec = SPEC) -> tvm.IRModule:
    """`build` appended to one integer layer, then FuseEpilogue."""
    params = operands(spec)
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            layer = builder.emit(ops.conv2d("layer", spec, params))
            output = builder.emit_output(build(builder, layer))
        builder.emit_func_output(output)
    return apply(FuseEpilogue(), builder.get())


def test_golden(residual: Case, golden: Callable[[str, str], None]) -> None:
    mod = apply(Quantize(fixed_codes(residual.model), exact_products(False)), residual.model.module)
    golden("fuse_epilogue", plain_text(apply(FuseEpilogue(), mod)))


def test_fuses_what_follows_a_layer(residual: Case) -> None:
    before, after = calls(unfused(residual)), calls(residual.quantized.module)
    assert before.count("relax.nn.relu") == 5
    assert after.count("relax.nn.relu") <= 1  # that of the strided block, behind a transposition
    assert after.count("relax.add") <= 1
    assert after.count(ops.QUANTIZE) < before.count(ops.QUANTIZE) - 2
    assert after.count(ops.CONV2D) == before.count(ops.CONV2D) == 5


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "random"])
def test_same_codes_and_outputs(residual: Case, exact: bool) -> None:
    """Tolerance zero: reference before and after fusion, and the compiled network."""
    quantized = residual.quantized
    images = residual.search.images[:4]
    before, after, operands = unfused(residual), quantized.module, {}
    if not exact:
        chosen = {
            name: uncompensated(layer, random_multiplier(seed))
            for seed, (name, layer) in enumerate(quantized.layers.items())
        }
        before, after = apply(Approximate(chosen), before), apply(Approximate(chosen), after)
        operands = {n: bound(a) for n, a in chosen.items()}
    expected = interpret(before, images)
    np.testing.assert_array_equal(interpret(after, images), expected)
    np.testing.assert_array_equal(quantized.network.run(images, operands), expected)
    if not exact:
        assert (expected != interpret(unfused(residual), images)).any()


def _relu(builder: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
    return builder.emit(relax.op.nn.relu(x))


def test_relu_and_quantization(golden: Callable[[str, str], None]) -> None:
    mod = fused_chain(lambda b, x: b.emit(ops.quantize(_relu(b, x), CODE)))
    assert calls(mod) == [ops.CONV2D]
    golden("fuse_relu_quantize", plain_text(mod))


def test_clip() -> None:
    mod = fused_chain(lambda b, x: b.emit(relax.op.clip(x, -1.0, 6.0)))
    (call,) = [value for value in _values(mod) if ops.is_layer(value)]
    epilogue = ops.conv_spec(call).epilogue
    assert (epilogue.activation, epilogue.clip_min, epilogue.clip_max) == ("clip", -1.0, 6.0)
    assert calls(mod) == [ops.CONV2D]


@pytest.mark.parametrize(
    ("low", "high", "merged"),
    [(0.0, 6.0, (0.0, 6.0)), (-2.0, 1.0, (0.0, 1.0)), (-2.0, -1.0, (-1.0, -1.0))],
)
def test_activations_in_a_row(low: float, high: float, merged: tuple[float, float]) -> None:
    mod = fused_chain(lambda b, x: b.emit(relax.op.clip(_relu(b, x), low, high)))
    (call,) = [value for value in _values(mod) if ops.is_layer(value)]
    epilogue = ops.conv_spec(call).epilogue
    assert (epilogue.activation, epilogue.clip_min, epilogue.clip_max) == ("clip", *merged)
    assert calls(mod) == [ops.CONV2D]


def _values(mod: tvm.IRModule) -> list[relax.Expr]:

    return [value for _, value in bindings(mod)]


def _read_twice(builder: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
    return builder.emit(relax.op.multiply(_relu(builder, x), x))


def _after_activation(builder: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
    relu = _relu(builder, x)
    codes = builder.lookup_binding(x).args[0]  # of the shape of the output
    return builder.emit(relax.op.add(relu, builder.emit(ops.dequantize(codes, CODE))))


def _broadcast(builder: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
    other = builder.emit(relax.op.zeros((1, 1, 1, 2), "float32"))
    return builder.emit(relax.op.add(x, other))


def _to_itself(builder: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
    return builder.emit(relax.op.add(x, x))


def _after_codes(builder: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
    codes = builder.emit(ops.quantize(x, CODE))
    return _relu(builder, builder.emit(ops.dequantize(codes, CODE)))


REFUSED: dict[str, tuple[Build, str]] = {
    "the output is read twice": (_read_twice, "relax.nn.relu"),
    "addition follows the activation": (_after_activation, "relax.add"),
    "the addend is broadcast": (_broadcast, "relax.add"),
    "added to itself": (_to_itself, "relax.add"),
    "activation of rounded values": (_after_codes, "relax.nn.relu"),
}


@pytest.mark.parametrize(("build", "left"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(build: Build, left: str) -> None:
    mod = fused_chain(build)
    assert left in calls(mod)
    (call,) = [value for value in _values(mod) if ops.is_layer(value)]
    assert ops.conv_spec(call).epilogue.residual == "none"
