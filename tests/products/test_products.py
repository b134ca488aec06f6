"""Dense layers on tokens and products of two activations, from the model to the module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import alwann_c, only_json
from tiny import Case, images_for, make_case, make_target, random_multiplier, run_onnx, tiny_library
from vision_transformer import HEADS, TOKENS, WIDTH, vision_transformer

import alwann_c as ax
from alwann_c.accelerator import Exclusions, approximable_layers, layer_work
from alwann_c.builder import build
from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.compensation import Compensator, Effort, bound
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.ir import ops, reference
from alwann_c.ir.rewrite import apply, bindings
from alwann_c.libraries import open_libraries
from alwann_c.passes.approximate import Approximate, uncompensated
from alwann_c.passes.layers import constant
from alwann_c.passes.observe import Observe
from alwann_c.plan import codes_hash, load_plan, scheme_of
from alwann_c.quantized import KINDS, QuantizationScheme, QuantizedModel, quantize
from alwann_c.search.store import SqliteMemory

DENSE = ["q", "k", "v", "out", "up", "down", "fc"]
PRODUCTS = ["matmul0", "matmul1"]
UNIT = {
    "name": "u",
    "count": 2,
    "rows": 4,
    "columns": 4,
    "multipliers": ["mul8u_exact", "mul8u_p64", "mul8u_p50"],
}
SMALL = Effort(rows=2_048, sweeps=1, every=False)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("transformer"), vision_transformer())


@pytest.fixture(scope="module")
def whole(case: Case) -> QuantizedModel:
    """Every kind of layer quantized and open to approximation."""
    return quantize(
        case.model, load_dataset(case.calibration.path), QuantizationScheme(approximate=KINDS)
    )


def test_float_network_equals_onnx_runtime(case: Case) -> None:
    images = images_for(False, 9, seed=4)
    got = FloatNetwork(case.model.module).run(images)
    np.testing.assert_allclose(got, run_onnx(case.path, images), rtol=1e-4, atol=1e-5)


def test_dense_layers_on_tokens_are_layers(case: Case) -> None:
    layers = {layer.name: layer for layer in case.model.layers}
    assert list(layers) == ["patch", *DENSE]
    assert all(layer.refusal is None for layer in layers.values())
    assert layers["up"].spec is not None
    assert (layers["up"].spec.height, layers["up"].spec.macs) == (TOKENS, TOKENS * 2 * WIDTH**2)


def test_products_have_the_macs_they_issue(case: Case) -> None:
    scores, mixed = case.model.products
    assert scores.spec is not None
    assert mixed.spec is not None
    assert scores.spec.macs == mixed.spec.macs == TOKENS * TOKENS * WIDTH
    assert scores.spec.matrices == HEADS


def test_the_default_converts_no_product_and_approximates_convolutions(case: Case) -> None:
    assert list(case.quantized.layers) == ["patch", *DENSE]
    names, refusals = approximable_layers(case.quantized, Exclusions())
    assert names == ("patch",)
    assert refusals["q"] == "dense layers stay exact unless asked"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (("conv2d", "dense"), ["patch", *DENSE]),
        (("dense",), DENSE),
        (("matmul",), PRODUCTS),
        (KINDS, ["patch", *DENSE, *PRODUCTS]),
    ],
)
def test_what_is_asked_may_be_approximated(
    whole: QuantizedModel, asked: tuple[str, ...], wanted: list[str]
) -> None:
    scheme = replace(whole.scheme, approximate=asked)
    names, refusals = approximable_layers(replace(whole, scheme=scheme), Exclusions())
    assert sorted(names) == sorted(wanted)
    assert all("unless asked" in reason for reason in refusals.values())


def test_integer_network_is_close_to_float(case: Case, whole: QuantizedModel) -> None:
    images = case.search.images
    wanted = FloatNetwork(case.model.module).run(images)
    got = whole.network.run(images)
    assert np.abs(got - wanted).mean() < 0.1 * wanted.std()
    assert (got.argmax(1) == wanted.argmax(1)).mean() > 0.9


def test_every_integer_operator_equals_the_reference(whole: QuantizedModel) -> None:
    """In the compiled network, on a wild table: what a layer reads leads to what it gives."""
    wild = random_multiplier(5)
    chosen = {name: uncompensated(layer, wild) for name, layer in whole.layers.items()}
    module = apply(Approximate(chosen), whole.module)
    layers = [(var, value) for var, value in bindings(module) if ops.is_layer(value)]
    assert len(layers) == len(whole.layers)
    watched = [v for var, call in layers for v in (call.args[0], var, *call.args[6:])]
    images = images_for(False, 3, seed=8)
    _, *seen = next(FloatNetwork(apply(Observe(watched), module)).batches(images))
    for _, call in layers:
        given, output = seen.pop(0), seen.pop(0)
        last = seen.pop(0) if len(call.args) > 6 else None
        spec, values = ops.conv_spec(call), [constant(argument) for argument in call.args[1:6]]
        if ops.op_name(call) == ops.MATMUL:
            wanted = reference.matmul(given, last, *values[1:], spec)
        else:
            shape = (-1, spec.height, spec.width, spec.in_channels)
            if last is not None:
                last = last.reshape(-1, spec.out_height, spec.out_width, spec.out_channels)
            wanted = reference.conv2d(given.reshape(shape), *values, last, spec)
        np.testing.assert_array_equal(output, wanted.reshape(output.shape))


def test_compensation_lessens_the_error_of_products(whole: QuantizedModel) -> None:
    """Truncation has a mean error: scale and bias take most of it away."""
    cut = tiny_library().find("cut9")
    compensator = Compensator(whole, images=64, quick=SMALL, thorough=SMALL)
    for name in PRODUCTS:
        plain = compensator.cached(name, cut, "none")
        full = compensator.cached(name, cut, "full")
        assert full.error < 0.5 * plain.error
        assert full.approximation.scale.shape == full.approximation.offset.shape == (1,)


def test_work_of_a_product_counts_both_operands(whole: QuantizedModel) -> None:
    work = layer_work(whole.layers["matmul1"])
    assert (work.kind, work.macs) == ("matmul", TOKENS * TOKENS * WIDTH)
    assert work.input_bytes == HEADS * TOKENS * TOKENS
    assert work.weight_bytes == TOKENS * WIDTH


def test_compile_evaluate_and_module(case: Case, tmp_path: Path) -> None:
    """The whole job: every kind on approximate multipliers, the plan loaded again, the module
    equal to the plan's network."""
    calibration = load_dataset(case.calibration.path)
    quantized = quantize(case.model, calibration, QuantizationScheme(approximate=KINDS))
    options = ax.SearchOptions(
        population=4, generations=1, refine=2, search_images=32, max_drop=0.2, quick=SMALL,
        thorough=SMALL,
    )  # fmt: skip
    refused: list[object] = []

    def say(message: object) -> None:
        if message == "building for cpu":  # the folder is taken until all is written
            with pytest.raises(InputError, match="another process"):
                SqliteMemory(tmp_path / "out" / "evaluations.sqlite", {}, resume=True)
            refused.append(message)

    result = ax.compile(
        case.model,
        target=make_target(unit=[UNIT]),
        calibration=case.calibration.path,
        search_data=case.search.path,
        output=tmp_path / "out",
        options=options,
        approximate=KINDS,
        say=say,
    )
    assert refused
    plan = load_plan(tmp_path / "out" / "plan.json")
    assert [layer.kind for layer in plan.layers if layer.weight] == [
        x.kind for x in quantized.layers.values()
    ]
    assert scheme_of(plan).approximate == KINDS
    assert plan.quantization.codes_sha256 == codes_hash(quantized)
    approximations = plan.approximations(quantized, open_libraries(()))
    operands = {name: bound(a) for name, a in approximations.items()}
    images = images_for(False, 7, seed=6)
    module = ax.load_module(tmp_path / "out")
    assert module.self_test()
    np.testing.assert_array_equal(module(images), build(quantized, plan)(images))
    close = quantized.network.run(images, operands)
    np.testing.assert_allclose(module(images), close, rtol=0.05, atol=0.05 * close.std())
    assert "matmul0" in (tmp_path / "out" / "operands.json").read_text(encoding="utf-8")
    assert result.summary["selected"]["relative_energy"] <= 1.0
    front = ax.load_results(tmp_path / "out").front
    assert front.command.startswith("ax.compile(<Model ")
    assert "options=SearchOptions(max_drop=0.2, population=4, generations=1," in front.command
    assert f"output={str(tmp_path / 'out')!r}, " in front.command
    assert front.options["approximate"] == list(KINDS)


def test_inspect_tells(case: Case) -> None:
    rows = {
        row["name"]: row for row in only_json(alwann_c("inspect", case.path, "--json"))["layers"]
    }
    assert rows["up"]["runs"] == "int8"
    assert rows["up"]["reason"] == "dense: exact unless asked"
    assert rows["matmul0"]["runs"] == "float"
    assert rows["matmul0"]["reason"] == "product of two activations: float unless asked"
    asked = ["--approximate", "dense,matmul", "--json"]
    rows = {row["name"]: row for row in only_json(alwann_c("inspect", case.path, *asked))["layers"]}
    assert rows["up"]["reason"] is None
    assert (rows["matmul0"]["runs"], rows["matmul0"]["reason"]) == ("int8", None)
    assert rows["patch"]["reason"].startswith("conv2d: exact")
    done = alwann_c("inspect", case.path, "--approximate", "matmull")
    assert done.code == 2
    assert "matmul" in done.err


def test_evaluate_on_a_uniform_multiplier(case: Case) -> None:
    done = alwann_c(
        *("evaluate", case.path, "--calibration", case.calibration.path, "--test"),
        *(case.search.path, "--multiplier", "mul8u_p64", "--approximate", "conv2d,dense,matmul"),
        *("--compensation", "bias", "--limit", 32, "--json"),
    )
    data = only_json(done)
    assert data["relative_energy"] == pytest.approx(0.64, abs=0.05)
    assert data["accuracy"] > 0.5


def test_products_that_repeat_an_operand_stay_float_with_a_reason(tmp_path: Path) -> None:
    proto = vision_transformer()
    node = next(n for n in proto.graph.node if n.op_type == "MatMul" and n.input[1] not in
                {t.name for t in proto.graph.initializer})  # fmt: skip
    sizes = onnx.numpy_helper.from_array(np.array([0, 1]), "axes01")
    proto.graph.initializer.append(sizes)
    position = list(proto.graph.node).index(node)
    mean = onnx.helper.make_node("ReduceMean", [node.input[1]], ["one"], axes=[1], keepdims=1)
    proto.graph.node.insert(position, mean)
    node.input[1] = "one"
    path = tmp_path / "net.onnx"
    onnx.save(proto, str(path))
    model = ax.load(path)
    assert "repeated" in str(model.products[0].refusal)


def test_a_batch_of_one_counts_rows_as_well(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    onnx.save(vision_transformer(batch=1), str(path))
    model = ax.load(path)
    assert [layer.spec for layer in model.layers] == [layer.spec for layer in case.model.layers]
    with pytest.raises(InputError, match="needs calibration"):
        quantize(model, None)
