"""Codes of fewer bits, affine signed activations, sign and magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Case, random_multiplier

from alwann_c.compensation import Compensator, bound
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.ir.interpret import interpret
from alwann_c.ir.reference import code_values
from alwann_c.ir.rewrite import apply
from alwann_c.passes.approximate import Approximate
from alwann_c.passes.calibrate import CodeFormat, affine_code
from alwann_c.quantized import QuantizationScheme, QuantizedModel, quantize
from alwann_c.targets import (
    Multiplier,
    code_pattern,
    exact_products,
    narrowed,
    operand_values,
    sign_magnitude,
)

SCHEMES = {
    "4-bit weights": QuantizationScheme(weight_bits=4),
    "5-bit activations": QuantizationScheme(activation_bits=5),
    "signed, 5 and 4 bits": QuantizationScheme(signed=True, activation_bits=5, weight_bits=4),
    "signed, affine": QuantizationScheme(signed=True, activations="affine"),
    "per tensor, 6 bits": QuantizationScheme("per-tensor", activation_bits=6, weight_bits=6),
}


def quantized_with(case: Case, scheme: QuantizationScheme) -> QuantizedModel:
    return quantize(case.model, load_dataset(case.calibration.path), scheme)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())
def test_codes_keep_their_width_and_kernels_agree(
    residual: Case, scheme: QuantizationScheme
) -> None:
    """Of every layer, also with tuned weights; the compiled network equals the reference."""
    quantized = quantized_with(residual, scheme)
    images = residual.search.images[:4]
    bits = max(scheme.activation_bits, scheme.weight_bits)
    table = random_multiplier(3, signed=scheme.signed).table
    columns = code_pattern(scheme.signed, bits)
    narrow = Multiplier("m", table[np.ix_(columns, columns)], signed=scheme.signed, bits=bits)
    chosen = Compensator(quantized).network(dict.fromkeys(quantized.layers, narrow), "full")
    operands = {name: bound(approximation) for name, approximation in chosen.items()}
    run = quantized.network.run_probed(images, operands)
    expected = interpret(apply(Approximate(chosen), quantized.module), images)
    np.testing.assert_array_equal(quantized.network.run(images, operands), expected)
    for name, layer in quantized.layers.items():
        for codes, width in (
            (run.codes[name], scheme.activation_bits),
            (layer.weight, scheme.weight_bits),
            (chosen[name].weight, scheme.weight_bits),
        ):
            values = code_values(codes, scheme.signed)
            form = CodeFormat(scheme.signed, width)
            assert form.low <= values.min() <= values.max() <= form.high


def test_fewer_bits_lose_accuracy_gracefully(residual: Case) -> None:
    """Outputs drift from the 8-bit ones, the more the fewer bits."""
    images = residual.search.images
    expected = quantized_with(residual, QuantizationScheme()).network.run(images)
    errors = []
    for bits in (7, 5, 3):
        scheme = QuantizationScheme(activation_bits=bits, weight_bits=bits)
        found = quantized_with(residual, scheme).network.run(images)
        errors.append(float(np.mean((found - expected) ** 2)))
    assert 0 < errors[0] < errors[1] < errors[2]


def test_affine_signed_codes_are_shifted_unsigned_ones() -> None:
    low, high = -0.3, 2.0
    unsigned = affine_code(low, high, CodeFormat())
    signed = affine_code(low, high, CodeFormat(True, symmetric=False))
    assert signed.scale == unsigned.scale
    assert signed.zero_point == unsigned.zero_point - 128


@pytest.mark.parametrize("field", ["activation_bits", "weight_bits"])
def test_widths_are_checked(field: str) -> None:
    with pytest.raises(InputError, match=f"{field}: 9; give 2 to 8"):
        QuantizationScheme(**{field: 9})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8))
def test_sign_magnitude(seed: int, bits: int) -> None:
    """sgn(a) sgn(w) M(|a|, |w|) for all codes the core can take."""
    core = np.random.default_rng(seed).integers(0, 32768, (256, 256)).astype(np.int32)
    columns = code_pattern(False, bits)
    made = sign_magnitude(Multiplier("m", core[np.ix_(columns, columns)], bits=bits))
    assert made.signed
    assert made.bits == min(bits + 1, 8)
    values = operand_values(signed=True, bits=made.bits)
    a, w = np.random.default_rng(seed).integers(0, 256, (2, 200))
    most = (1 << bits) - 1
    x, y = np.minimum(np.abs(values[a]), most), np.minimum(np.abs(values[w]), most)
    expected = np.sign(values[a]) * np.sign(values[w]) * core[x, y]
    np.testing.assert_array_equal(made.table[a, w], expected)


def test_sign_magnitude_of_the_exact_core() -> None:
    made = sign_magnitude(Multiplier("m", exact_products(False)))
    np.testing.assert_array_equal(made.table, exact_products(True))
    with pytest.raises(InputError, match="signed already"):
        sign_magnitude(made)


def test_narrowed_tables_repeat() -> None:
    multiplier = random_multiplier(1, signed=True)
    table = narrowed(multiplier, 4).table
    np.testing.assert_array_equal(table[:, 0x0F], multiplier.table[:, 0xFF])
    np.testing.assert_array_equal(table[:, 0xF7], multiplier.table[:, 0x07])
    assert narrowed(multiplier, 8) is multiplier
