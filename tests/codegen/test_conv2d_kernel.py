"""`alwann.conv2d` on CPUs against the numpy reference, at tolerance zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import TABLES, Kernel, exact_table, random_operands

from alwann_c.codegen.cpu.conv2d import conv2d_primfunc
from alwann_c.codegen.cpu.pipeline import TIR_PIPELINE
from alwann_c.codegen.cpu.strategy import (
    ByPixels,
    ByTable,
    Dot,
    Gather,
    KernelRows,
    Panels,
    Strategy,
    choose_strategy,
)
from alwann_c.codegen.machine import host_target
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization

TARGET = host_target()
SMALL_PANELS = Panels(16, 8, taps=5, tile=7, unroll=3, chunk=1 << 15, task_bytes=512)
STRATEGIES: dict[str, Strategy | None] = {
    "chosen": None,
    "gather": Gather(),
    "kernel rows": KernelRows(),
    "panels in chunks": SMALL_PANELS,
    "wide panels": Panels(64, 32, taps=16, tile=64),
    "dot": Dot(16, 3),
    "wide dot": Dot(32, 5),
    "narrow panels": Panels(8, 8, taps=3, segments=(3, 1), tile=5),
}
QUANTIZED = Epilogue("relu", output=Quantization(0.05, 3))

codes = st.builds(
    Quantization,
    scale=st.floats(2.0**-10, 1.0, width=32),
    zero_point=st.integers(0, 127),
    signed=st.booleans(),
)


@st.composite
def epilogues(draw: st.DrawFn) -> Epilogue:
    """Every combination of residual, activation and output."""
    residual = draw(st.sampled_from(["none", "float", "codes"]))
    return Epilogue(
        activation=draw(st.sampled_from(["none", "relu", "clip"])),
        clip_min=-1.5,
        clip_max=2.5,
        residual=residual,
        residual_code=draw(codes) if residual == "codes" else None,
        output=draw(st.none() | codes),
    )


@st.composite
def specs(draw: st.DrawFn) -> ConvSpec:
    """Small convolutions: odd sizes, strides, asymmetric padding, dilation, groups, depthwise."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    depthwise = draw(st.booleans()) and groups > 1
    width_in = 1 if depthwise else draw(st.integers(1, 9))
    width_out = 1 if depthwise else draw(st.integers(1, 40))
    signed = draw(st.booleans())
    return ConvSpec(
        height=draw(st.integers(5, 8)),
        width=draw(st.integers(5, 8)),
        in_channels=groups * width_in,
        out_channels=groups * width_out,
        kernel=kernel,
        strides=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        padding=draw(st.tuples(*[st.integers(0, 2)] * 4)),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        zero_point=draw(st.integers(-128, 127) if signed else st.integers(0, 255)),
        signed=signed,
        epilogue=draw(epilogues()),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=6, deadline=None)
@given(spec=specs(), batch=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_equals_reference(strategy: str, spec: ConvSpec, batch: int, seed: int) -> None:
    """Any convolution, any table, any epilogue; one kernel serves all tables and weights."""
    kernel, rng = Kernel(spec, TARGET, STRATEGIES[strategy]), np.random.default_rng(seed)
    for make_table in TABLES.values():
        for spread in (60, 256):
            table = make_table(rng, spec.signed)
            kernel.check(random_operands(spec, batch, rng, table, spread))


@pytest.mark.parametrize(
    ("kernel", "groups", "ins", "outs"),
    [
        ((3, 3), 19, 1, 1),
        ((5, 5), 8, 1, 1),
        ((3, 7), 3, 2, 3),
        ((7, 2), 16, 1, 2),
        ((9, 9), 4, 1, 1),
    ],
)
def test_few_channels_a_group(kernel: tuple[int, int], groups: int, ins: int, outs: int) -> None:
    """Depthwise and grouped convolutions whose blocks of channels, strips and lanes do not divide."""
    spec = ConvSpec(
        *(70, 61, groups * ins, groups * outs, kernel, (1, 2)),
        padding=(1, 2, 3, 4),
        groups=groups,
        zero_point=7,
        epilogue=QUANTIZED,
    )
    compiled, rng = Kernel(spec, TARGET), np.random.default_rng(0)
    for name in ("noisy", "uint16", "exact"):
        compiled.check(random_operands(spec, 2, rng, TABLES[name](rng, False)))


@pytest.fixture(scope="module")
def bound_kernel() -> Kernel:
    return Kernel(ConvSpec(6, 6, 8, 16, (2, 2)), TARGET, replace(SMALL_PANELS, taps=8))


@pytest.mark.parametrize(
    "rise", [16381, 16382, 16383, 16384, 32765, 32766, 32767, 32768, 65533, 65534, 65535]
)
def test_int16_bound(bound_kernel: Kernel, rise: int) -> None:
    """Rows that alternate between 0 and `rise`: sums of 4, 2, 1 rows at the int16 bound and past it.

    Half of `rise` times 4, 2 or 1 crosses 32767 within the parameters above.
    """
    table = np.zeros((256, 256), np.int32)
    table[1::2] = rise
    operands = random_operands(bound_kernel.spec, 2, np.random.default_rng(rise), table)
    operands.weight[:] = 0
    operands.weight_zero_point[:] = 0
    for codes_kind in ("random", "highest", "lowest"):
        if codes_kind != "random":
            operands.x[:] = 255 if codes_kind == "highest" else 0
        bound_kernel.check(operands)


@pytest.mark.parametrize("signed", [False, True])
def test_weights_at_the_bound(signed: bool) -> None:
    """Exact products whose slopes sum to 257 +- 1 over a pair of taps."""
    spec = ConvSpec(4, 4, 4, 16, (1, 1), signed=signed)
    kernel = Kernel(spec, TARGET, SMALL_PANELS)
    rng = np.random.default_rng(0)
    low = -128 if signed else 0
    for distance in range(126, 131):
        operands = random_operands(spec, 2, rng, exact_table(signed))
        operands.weight_zero_point[:] = low
        operands.weight[:] = (low + distance) & 255
        operands.weight[0, 0, ::2] = (low + 257 - distance) & 255
        kernel.check(operands)


def test_sums_near_the_int32_limit() -> None:
    """The most taps a layer may have, all products at their greatest."""
    spec = ConvSpec(1, 1, 33_000, 8)
    kernel = Kernel(spec, TARGET, Panels(8, 8))
    table = np.full((256, 256), 65_025, np.int32)
    operands = random_operands(spec, 1, np.random.default_rng(0), table)
    operands.weight_zero_point[:] = 0
    kernel.check(operands)


@pytest.mark.parametrize(
    ("cpu", "needs"),
    [("x86-64", {"sse2"}), ("haswell", {"avx2", "fma"}), ("skylake-avx512", {"avx512bw"})],
)
def test_other_targets(cpu: str, needs: set[str]) -> None:
    """The schedule follows the target's features, not this machine's."""
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu})
    if not needs <= {str(name) for name in tvm.target.codegen.llvm_get_cpu_features(TARGET)}:
        pytest.skip(f"this machine cannot run {cpu} code")
    spec = ConvSpec(7, 7, 5, 33, (3, 3), padding=(1, 1, 1, 1), epilogue=QUANTIZED)
    for strategy in (None, Dot(16, 3)):
        kernel, rng = Kernel(spec, target, strategy), np.random.default_rng(0)
        for name in ("noisy", "low rank"):
            kernel.check(random_operands(spec, 2, rng, TABLES[name](rng, False)))


def test_compiles_for_neon() -> None:
    """Cross-compilation to 64-bit Arm."""
    target = tvm.target.Target(
        {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76"}
    )
    spec = ConvSpec(8, 8, 16, 32, (3, 3), padding=(1, 1, 1, 1), epilogue=QUANTIZED)
    module = tvm.IRModule({"conv2d": conv2d_primfunc(spec, target)})
    assembly = tvm.compile(module, target, tir_pipeline=TIR_PIPELINE).mod.inspect_source("asm")
    assert ".8h" in assembly


def test_strategy_follows_shape_and_target() -> None:
    """Panels for many pixels where a row of products fills a vector, otherwise look-ups."""
    dense, depthwise = ConvSpec(8, 8, 16, 64, (3, 3)), ConvSpec(8, 8, 16, 16, (3, 3), groups=16)
    narrow = tvm.target.Target({"kind": "llvm", "mcpu": "haswell"})
    chosen = choose_strategy(dense, narrow)
    assert isinstance(chosen, ByTable)
    assert chosen.few_terms.lanes <= 32
    by_pixels = chosen.other
    assert isinstance(by_pixels, ByPixels)
    assert isinstance(by_pixels.few, Gather)
    assert isinstance(by_pixels.many, Panels)
    assert by_pixels.many.lanes <= 32
    few_channels = choose_strategy(depthwise, narrow)
    assert isinstance(few_channels, ByPixels)
    assert isinstance(few_channels.many, KernelRows)
    assert isinstance(choose_strategy(replace(depthwise, kernel=(1, 1)), narrow), Gather)
