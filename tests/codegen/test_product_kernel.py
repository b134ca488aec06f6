"""Products of two activations: the kernels equal the numpy reference bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import TABLES, exact_table

from alwann_c.codegen.cpu import prepare_table
from alwann_c.codegen.cpu.pipeline import TIR_PIPELINE
from alwann_c.codegen.cpu.product import matmul_primfunc
from alwann_c.codegen.gpu.product import matmul_primfunc as portable_primfunc
from alwann_c.codegen.machine import host_target
from alwann_c.ir import reference
from alwann_c.ir.spec import ConvSpec

Array = npt.NDArray[Any]


def product_spec(
    rows: int, taps: int, channels: int, matrices: int, zero_point: int, signed: bool
) -> ConvSpec:
    height = matrices * rows
    return ConvSpec(
        height, 1, taps, channels, zero_point=zero_point, signed=signed, matrices=matrices
    )


def operands(spec: ConvSpec, shape: list[int], table: str, seed: int) -> list[Array]:
    """Arguments of `reference.matmul` before the specification."""
    random = np.random.default_rng(seed)
    rows, taps, n = spec.height // spec.matrices, spec.in_channels, spec.out_channels
    low, high = (-128, 128) if spec.signed else (0, 256)
    return [
        random.integers(0, 256, (*shape, rows, taps)).astype(np.uint8),
        random.integers(0, 256, (*shape, taps, n)).astype(np.uint8),
        TABLES[table](random, spec.signed),
        random.integers(low, high, 1).astype(np.int32),
        random.integers(-100_000, 100_000, 1).astype(np.int32),
        (10.0 ** random.uniform(-6, -3, 1)).astype(np.float32),
    ]


def run(function: tvm.tirx.PrimFunc, given_operands: list[Array]) -> Array:
    a, b, table, other, offset, scale = given_operands
    module = tvm.IRModule({"matmul": function})
    built = tvm.compile(module, host_target(), tir_pipeline=TIR_PIPELINE)["matmul"]
    output = tvm.runtime.tensor(np.zeros((*a.shape[:-1], b.shape[-1]), np.float32))
    arrays = [a, np.zeros((1, 1, 1, 1), np.uint8), table, other, offset, scale, b]
    built(*(tvm.runtime.tensor(np.ascontiguousarray(array)) for array in arrays), output)
    return np.asarray(output.numpy())


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 37)),
    lead=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    table=st.sampled_from(sorted(TABLES)),
    code=st.tuples(st.booleans(), st.integers(0, 255)),
    seed=st.integers(0, 2**31),
)
def test_cpu_kernel_equals_the_reference(
    sizes: tuple[int, int, int],
    lead: list[int],
    table: str,
    code: tuple[bool, int],
    seed: int,
) -> None:
    signed, point = code
    spec = product_spec(*sizes, int(np.prod(lead[1:])), point - 128 * signed, signed)
    values = operands(spec, lead, table, seed)
    kernel_operands = list(values)
    kernel_operands[2] = prepare_table(values[2], signed)
    got = run(matmul_primfunc(spec, len(lead) + 2), kernel_operands)
    np.testing.assert_array_equal(got, reference.matmul(*values, spec))


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 9)),
    lead=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    table=st.sampled_from(sorted(TABLES)),
    signed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_portable_kernel_equals_the_reference(
    sizes: tuple[int, int, int], lead: list[int], table: str, signed: bool, seed: int
) -> None:
    """The plain loop that the `c` target gets."""
    spec = product_spec(*sizes, int(np.prod(lead[1:])), 7, signed)
    values = operands(spec, lead, table, seed)
    got = run(portable_primfunc(spec, len(lead) + 2, "c"), values)
    np.testing.assert_array_equal(got, reference.matmul(*values, spec))


@pytest.mark.parametrize("signed", [False, True])
def test_exact_products_are_those_of_the_integers(signed: bool) -> None:
    """With the exact table the accumulator is the product of the codes less their zero points."""
    spec = product_spec(4, 30, 5, 2, -3 if signed else 100, signed)
    a, b, _, other, _, scale = operands(spec, [3, 2], "exact", 1)
    nothing = np.zeros(1, np.int32)
    got = reference.matmul(a, b, exact_table(signed), other, nothing, np.ones_like(scale), spec)
    left = reference.code_values(a, signed) - spec.zero_point
    right = reference.code_values(b, signed) - other[0]
    np.testing.assert_array_equal(got, left @ right)
