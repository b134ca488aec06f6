"""Approximate: constants bound layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny import Case, fixed_codes, plain_text, random_multiplier, random_table

from alwann_c.compensation import bound
from alwann_c.errors import InputError
from alwann_c.ir import ops
from alwann_c.ir.interpret import interpret
from alwann_c.ir.rewrite import apply, bindings
from alwann_c.passes.approximate import Approximate, LayerApproximation, refusal, uncompensated
from alwann_c.passes.fuse_epilogue import FuseEpilogue
from alwann_c.passes.layers import constant
from alwann_c.passes.quantize import Quantize
from alwann_c.targets import Multiplier, exact_products


def chosen_for(case: Case) -> dict[str, LayerApproximation]:
    """Each convolution its own random table, weights and offset."""
    random = np.random.default_rng(0)
    chosen = {}
    for seed, name in enumerate(case.convolutions):
        plain = uncompensated(case.quantized.layers[name], random_multiplier(seed, error=100))
        chosen[name] = dataclasses.replace(
            plain,
            weight=random.integers(0, 256, plain.weight.shape, np.uint8),
            offset=plain.offset + 5,
            scale=plain.scale * np.float32(1.25),
        )
    return chosen


def test_golden(small: Case, golden: Callable[[str, str], None]) -> None:
    codes = fixed_codes(small.model)
    mod = apply(FuseEpilogue(), apply(Quantize(codes, exact_products(False)), small.model.module))
    tables = {name: uncompensated(codes[name], random_multiplier(1)) for name in ("c1", "c2")}
    golden("approximate", plain_text(apply(Approximate(tables), mod)))


def test_constants_equal_runtime_operands(small: Case) -> None:
    quantized, chosen = small.quantized, chosen_for(small)
    mod = apply(Approximate(chosen), quantized.module)
    operands = {name: bound(a) for name, a in chosen.items()}
    images = small.search.images[:6]
    expected = interpret(mod, images)
    np.testing.assert_array_equal(quantized.network.run(images, operands), expected)
    assert (expected != quantized.network.run(images)).any()


def test_other_layers_stay(small: Case) -> None:
    chosen = {"c2": chosen_for(small)["c2"]}
    mod = apply(Approximate(chosen), small.quantized.module)

    def tables(name: str) -> list[list[Any]]:
        found: list[list[Any]] = []
        for module in (small.quantized.module, mod):
            for _, value in bindings(module):
                if ops.is_layer(value) and ops.layer_name(value) == name:
                    found.append([constant(arg) for arg in value.args[1:6]])
        return found

    for name in ("c1", "fc"):
        before, after = tables(name)
        for left, right in zip(before, after, strict=True):
            np.testing.assert_array_equal(left, right)
    _, after = tables("c2")
    np.testing.assert_array_equal(after[0], chosen["c2"].weight)
    np.testing.assert_array_equal(after[1], chosen["c2"].multiplier.table)


def test_tables_of_one_name_are_told_apart(small: Case) -> None:
    layers = small.quantized.layers
    made = {
        name: uncompensated(layers[name], Multiplier("same", random_table(seed)))
        for seed, name in enumerate(small.convolutions)
    }
    mod = apply(Approximate(made), small.quantized.module)
    for _, value in bindings(mod):
        if ops.is_layer(value) and ops.layer_name(value) in made:
            table = constant(value.args[2])
            np.testing.assert_array_equal(table, made[ops.layer_name(value)].multiplier.table)


def test_refuses_the_other_signedness(small: Case) -> None:
    layer = small.quantized.layers["c1"]
    signed = random_multiplier(1, signed=True)
    reason = "layer 'c1' has unsigned codes, multiplier 'random1' is signed"
    assert refusal(layer, signed) == reason
    assert refusal(layer, random_multiplier(1)) is None
    with pytest.raises(InputError, match=reason):
        uncompensated(layer, signed)
