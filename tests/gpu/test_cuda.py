"""The CUDA build: resources read from nvcc's binaries, and runs where there is a GPU."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from gpu_resources import (
    KERNELS,
    SHARED,
    cuobjdump,
    dump,
    matrix_rate,
    panel_rate,
    resources,
    source_of,
    wavefronts,
)
from tiny import Case

from alwann_c.builder import build
from alwann_c.codegen.build import SOURCES, check_tools, device_source, write_source
from alwann_c.codegen.device import resolve_device, why_not_here
from alwann_c.codegen.gpu import units
from alwann_c.codegen.gpu.cuda_binary import compile_cuda, with_binaries
from alwann_c.codegen.gpu.matrix_conv import SLACK
from alwann_c.codegen.gpu.matrix_operands import MatrixForm
from alwann_c.errors import InputError

FATBIN = b"\x50\xed\x55\xba"
"""How a fat binary begins; 8 bytes further its size without the 16 bytes of this header."""


needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
needs_cuobjdump = pytest.mark.skipif(cuobjdump() is None, reason="needs cuobjdump: the extra gpu")
needs_gpu = pytest.mark.skipif(
    why_not_here(resolve_device("cuda")) is not None, reason="needs an NVIDIA GPU"
)


@pytest.mark.parametrize("terms", range(1, 7))
@pytest.mark.parametrize("unit", [units.AMPERE, units.TURING, units.DP4A], ids=lambda u: u.name)
def test_reads_of_shared_memory_have_no_conflicts(unit: units.MatrixUnit, terms: int) -> None:
    """The lanes of a warp ask every bank for at most one word."""
    line = MatrixForm(terms, None).words + SLACK
    registers = [(unit.left, i) for i in range(unit.lefts)]
    registers += [(unit.right, i) for i in range(unit.rights)]
    for place, index in registers:
        at = [place(index, lane // 4, lane % 4) for lane in range(32)]
        assert wavefronts(int(row) * line + int(word) for row, word in at) == 1


@needs_nvcc
@needs_cuobjdump
@pytest.mark.parametrize("arch", SHARED)
@pytest.mark.parametrize("kernel", KERNELS)
def test_resources(tmp_path: Path, kernel: str, arch: str) -> None:
    make, threads = KERNELS[kernel]
    function, shared = make(arch)
    source = source_of(function, arch)
    assert "__fmul_rn" in source
    binary = tmp_path / "kernel.fatbin"
    binary.write_bytes(compile_cuda(source, arch))
    used = resources(binary, threads, arch)
    assert used.spilled == 0  # the sums stay in registers
    assert used.blocks >= (1 if "panels" in kernel else 2)
    assert 0.9 * shared < used.shared <= shared + 1024  # the driver keeps a KiB for itself
    text = dump("--dump-ptx", binary)
    assert f".target {arch}" in text
    shape = "m8n8k16" if arch == "sm_75" else "m16n8k32"
    assert (f"mma.sync.aligned.{shape}.row.col.s32.u8.s8.s32" in text) == ("panels" not in kernel)
    assert ".ftz" not in text
    assert "fma.rn.f32" not in text


def test_bounds_that_the_documentation_quotes() -> None:
    assert panel_rate() == 25.6
    rates = [matrix_rate(terms) for terms in (1, 3, 6)]
    np.testing.assert_allclose(rates, [1365.3, 267.7, 133.9], atol=0.1)


@needs_nvcc
@needs_cuobjdump
def test_an_exported_module_holds_machine_code(small: Case, tmp_path: Path) -> None:
    target = resolve_device("cuda:sm_90")
    module = build(small.quantized, device="cuda:sm_90")
    source = device_source(module._executable)
    names = set(re.findall(r"__global__ void [^(]*\([^)]*\) (\w+)\(", source))
    assert any(name.startswith("alwann_matrix") for name in names)
    assert write_source(module._executable, tmp_path, target) == SOURCES["cuda"]
    module.export(tmp_path / "module.so")
    content = (tmp_path / "module.so").read_bytes()
    assert source.encode() not in content
    start = content.index(FATBIN)
    (size,) = struct.unpack_from("<Q", content, start + 8)
    binary = tmp_path / "module.fatbin"
    binary.write_bytes(content[start : start + 16 + size])
    assert names == set(re.findall(r"Function (\w+):", dump("--dump-resource-usage", binary)))
    if why_not_here(target) is not None:
        with pytest.raises(InputError, match="no NVIDIA GPU here"):
            module(small.search.images[:1])


@needs_nvcc
@pytest.mark.parametrize("arch", ["sm_10", "sm_999"])
def test_architectures_that_nvcc_does_not_know(arch: str) -> None:
    with pytest.raises(InputError, match=f"nvcc for {arch}: "):
        check_tools(resolve_device(f"cuda:{arch}"))


def test_without_nvcc(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("g++") or shutil.which("gcc")
    monkeypatch.setattr(
        shutil, "which", lambda name: None if name == "nvcc" else compiler or f"/bin/{name}"
    )
    with pytest.raises(InputError, match="no nvcc on PATH"):
        check_tools(resolve_device("cuda"))


def test_binaries_replace_sources() -> None:
    """Only those of CUDA modules, and every count is right."""

    def text(content: bytes) -> bytes:
        return struct.pack("<Q", len(content)) + content

    def packed(cuda: bytes) -> bytes:
        tree = struct.pack("<5Q", 3, 0, 1, 1, 1) + struct.pack("<Q", 1)
        body = tree + text(b"_lib") + text(b"cuda") + text(cuda)
        return struct.pack("<Q", len(body)) + body

    launch = b"launch parameters"
    before = packed(text(b"cuda") + launch + text(b"source"))
    after = packed(text(b"fatbin") + launch + text(b"binary code"))
    assert with_binaries(before, {"other": b"", "source": b"binary code"}) == after
    assert with_binaries(after, {}) == after


@needs_gpu
def test_whole_network_on_a_gpu(residual: Case) -> None:
    images = residual.search.images
    module = build(residual.quantized, device="cuda")
    np.testing.assert_array_equal(module(images), residual.quantized.network.run(images))
