"""Layers on tables of few terms: every unit's kernel executed through PoCL, against the reference.

PoCL has no tensor cores. There, what `mma.sync` does with the registers of a warp is written out: lanes
put their registers into shared memory and read those of others, placed as the PTX ISA says ("Matrix
fragments for mma.m8n8k16" and "for mma.m16n8k32"). All other code is what CUDA compiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from tiny import random_table

from alwann_c.codegen import gpu
from alwann_c.codegen.gpu import emit, units
from alwann_c.codegen.gpu.emit import Expr, T
from alwann_c.codegen.gpu.matrix_conv import THREADS
from alwann_c.codegen.gpu.units import MatrixUnit
from alwann_c.ir import reference
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.targets import exact_products

pytest.importorskip("pyopencl", reason="needs pyopencl[pocl]: the extra gpu")
pocl = pytest.importorskip("pocl")
pytestmark = pytest.mark.skipif(pocl.pocl_device() is None, reason="needs PoCL: the extra gpu")

CODE = Quantization(0.0371234, 3)
SIGNED = Quantization(0.0212345, -7, True)
Table = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Emulated(MatrixUnit):
    """A tensor core instruction by exchange through shared memory."""

    def multiply(self, totals: Any, at: Expr, lefts: Any, first: Expr, rights: Any) -> None:
        scratch = emit.shared(THREADS * (self.lefts + self.rights), "int32")
        thread = emit.named(T.cast(T.call_extern("int64", "get_local_id", T.int32(0)), "int32"))
        group, member = emit.named(thread % 32 // 4), emit.named(thread % 4)
        warp = emit.named(thread // 32 * 32)
        count = self.lefts + self.rights
        emit.barrier()
        for i in range(self.lefts):
            emit.store(scratch, thread * count + i, lefts[first + i])
        for i in range(self.rights):
            emit.store(scratch, thread * count + self.lefts + i, rights[T.int32(i)])
        emit.barrier()
        for i in range(self.totals):
            row = group + (8 if i >= 2 else 0)
            column = member * 2 + (i & 1)
            with emit.serial(4 * self.words) as k:  # C[row][column] += A[row][k] * B[k][column]
                lane = warp + row % 8 * 4 + k % 16 // 4
                register = T.if_then_else(row >= 8, 1, 0) + T.if_then_else(k >= 16, 2, 0)
                left = scratch[lane * count + register]
                left = T.shift_right(left, k % 4 * 8) & T.int32(255)
                other = warp + column * 4 + k % 16 // 4
                right = scratch[other * count + self.lefts + k // 16]
                right = T.shift_right(T.shift_left(right, 24 - k % 4 * 8), T.int32(24))
                emit.store(totals, at + i, totals[at + i] + left * right)


UNITS = {
    "plain": units.PLAIN,
    "m8n8k16": Emulated(**vars(units.TURING)),
    "m16n8k32": Emulated(**vars(units.AMPERE)),
}


def low_rank(signed: bool, terms: int) -> Table:
    """The exact product less some products of bits of the patterns."""
    table = exact_products(signed).astype(np.int32)
    bits = np.arange(256)
    for term in range(terms - 1):
        table -= np.outer(bits & (3 << term), bits >> term & 5).astype(np.int32)
    return table


TABLES = {
    "exact": lambda signed: low_rank(signed, 1),
    "three": lambda signed: low_rank(signed, 3),
    "five": lambda signed: low_rank(signed, 5),
    "rank 1": lambda signed: np.outer(np.arange(256) // 4, np.arange(256) // 2 % 32),
}

SHAPES = {
    "words": ConvSpec(9, 8, 8, 20, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=130),
    "bytes": ConvSpec(11, 9, 3, 9, kernel=(3, 2), strides=(2, 1), padding=(0, 1, 2, 0)),
    "two sides": ConvSpec(6, 5, 12, 70, kernel=(1, 3), dilation=(1, 2), zero_point=255),
    "dense": ConvSpec(1, 1, 100, 10),
    "few": ConvSpec(5, 5, 4, 3, kernel=(2, 2), padding=(1, 0, 0, 1), zero_point=7),
}

EPILOGUES = (
    Epilogue(),
    Epilogue("relu", output=CODE),
    Epilogue("relu", residual="codes", residual_code=CODE, output=CODE),
    Epilogue("clip", -0.5, 6.0, residual="float", output=SIGNED),
)


def operands_of(
    spec: ConvSpec, table: Table, rng: np.random.Generator, zero: npt.NDArray[Any]
) -> list[Any]:
    """Operands of `reference.conv2d`, three images."""
    n, shape = spec.out_channels, (3, spec.out_height, spec.out_width, spec.out_channels)
    arrays: list[Any] = [
        rng.integers(0, 256, (3, spec.height, spec.width, spec.in_channels)).astype(np.uint8),
        rng.integers(0, 256, (*spec.kernel, spec.in_channels, n)).astype(np.uint8),
        table.astype(np.int32),
        zero.astype(np.int32),
        rng.integers(-100_000, 100_000, n).astype(np.int32),
        (10.0 ** rng.uniform(-6, -4, n)).astype(np.float32),
        None,
    ]
    if spec.epilogue.residual == "codes":
        arrays[6] = rng.integers(0, 256, shape).astype(np.uint8)
    elif spec.epilogue.residual == "float":
        arrays[6] = rng.normal(0, 3, shape).astype(np.float32)
    return arrays


def check(spec: ConvSpec, arrays: list[Any], unit: MatrixUnit) -> gpu.MatrixForm:
    """The kernel's output equals the reference, bit for bit; what the kernel was made for."""
    expected = reference.conv2d(*arrays, spec)
    made = gpu.matrix_operands(spec, *arrays[1:5])
    assert made is not None
    function = gpu.matrix_primfunc(spec, made.form, "opencl", unit)
    run = pocl.Kernels({"matrix": function})["matrix"]
    given = [arrays[0], made.packed, made.lefts, made.offset, arrays[5]]
    given += [array for array in arrays[6:] if array is not None]
    output = tvm.runtime.tensor(np.zeros(expected.shape, expected.dtype))
    run(*(tvm.runtime.tensor(array) for array in given), output)
    np.testing.assert_array_equal(output.numpy(), expected)
    return made.form


CASES = [
    (unit, shape, table)
    for unit in UNITS
    for shape in SHAPES
    for table in TABLES
    if unit == "plain" or (table in ("exact", "five") and shape != "few")
]


@pytest.mark.parametrize(("unit", "shape", "table"), CASES)
def test_equals_the_reference(
    unit: str, shape: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if unit != "plain":  # PoCL takes minutes for dozens of barriers
        monkeypatch.setattr(emit, "unrolled", emit.serial)
    index = list(SHAPES).index(shape) + list(TABLES).index(table)
    signed = index % 3 == 1
    spec = replace(SHAPES[shape], signed=signed, epilogue=EPILOGUES[index % 4])
    spec = replace(spec, zero_point=spec.zero_point - (128 if signed else 0))
    rng = np.random.default_rng(index)
    middle = np.full(spec.out_channels, 0 if signed else 128)
    arrays = operands_of(spec, TABLES[table](signed), rng, middle)
    form = check(spec, arrays, UNITS[unit])
    assert (form.flip is not None) == (table == "exact")


def test_zero_points_anywhere() -> None:
    """Right factors beyond 8 bits are split in two."""
    spec, rng = SHAPES["words"], np.random.default_rng(5)
    zero = rng.integers(0, 256, spec.out_channels)
    arrays = operands_of(spec, low_rank(False, 3), rng, zero)
    centred = gpu.matrix_operands(spec, *arrays[1:3], np.full_like(arrays[3], 128), arrays[4])
    assert centred is not None
    assert check(spec, arrays, units.PLAIN).terms == centred.form.terms + 1


def test_sums_wrap_around() -> None:
    spec, rng = SHAPES["dense"], np.random.default_rng(6)
    arrays = operands_of(spec, low_rank(False, 1), rng, np.full(10, 128))
    arrays[4] = np.full(10, 2**31 - 1, np.int32)
    arrays[0][0], arrays[1][:] = 255, 255
    check(spec, arrays, units.PLAIN)


def test_refusals() -> None:
    """Tables of many terms, groups, and offsets of zero points that cannot be expressed."""
    spec, rng = SHAPES["words"], np.random.default_rng(7)
    arrays = operands_of(spec, random_table(7), rng, np.full(20, 128))
    assert gpu.matrix_operands(spec, *arrays[1:5]) is None
    grouped = replace(spec, groups=2)
    arrays = operands_of(grouped, low_rank(False, 1), rng, np.full(20, 128))
    assert gpu.matrix_operands(grouped, arrays[1][:, :, :4], *arrays[2:5]) is None


def test_units_of_architectures() -> None:
    names = {
        arch: gpu.matrix_unit("cuda", arch).name
        for arch in ("sm_61", "sm_75", "sm_80", "sm_90a", "")
    }
    assert names == {
        "sm_61": "dp4a", "sm_75": "m8n8k16", "sm_80": "m16n8k32", "sm_90a": "m16n8k32", "": "dp4a",
    }  # fmt: skip
    assert gpu.matrix_unit("opencl").name == "plain"
