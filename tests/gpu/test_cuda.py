"""The CUDA build: resources read from nvcc's binaries, and runs where there is a GPU."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tiny import Case

from alwann_c.builder import build
from alwann_c.codegen import gpu
from alwann_c.codegen.build import SOURCES, check_tools, device_source, write_source
from alwann_c.codegen.device import resolve_device, why_not_here
from alwann_c.codegen.gpu import units
from alwann_c.codegen.gpu.cuda_binary import compile_cuda, with_binaries
from alwann_c.codegen.gpu.matrix_conv import SLACK, shared_bytes
from alwann_c.codegen.gpu.matrix_operands import MatrixForm
from alwann_c.errors import InputError
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.targets import exact_products

CODE = Quantization(0.01, 3)
FUSED = Epilogue("relu", residual="codes", residual_code=CODE, output=CODE)
SPEC = ConvSpec(32, 32, 64, 64, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=128, epilogue=FUSED)
REGISTERS, SHARED = 65536, {"sm_75": 64 << 10, "sm_80": 163 << 10, "sm_90": 227 << 10}
FATBIN = b"\x50\xed\x55\xba"
"""How a fat binary begins; 8 bytes further its size without the 16 bytes of this header."""


def cuobjdump() -> str | None:
    """From PATH, or from the wheel nvidia-cuda-cuobjdump."""
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    found = [path for folder in folders for path in Path(folder).glob("*/bin/cuobjdump")]
    return shutil.which("cuobjdump") or (str(found[0]) if found else None)


needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
needs_cuobjdump = pytest.mark.skipif(cuobjdump() is None, reason="needs cuobjdump: the extra gpu")
needs_gpu = pytest.mark.skipif(
    why_not_here(resolve_device("cuda")) is not None, reason="needs an NVIDIA GPU"
)


def matrix_kernel(arch: str, terms: int) -> Any:
    """The layer on the exact table, or on one of three terms."""
    table = exact_products(False).astype(np.int32)
    for bit in range(terms - 1):
        table -= np.outer(np.arange(256) & (3 << bit), np.arange(256) >> bit & 5).astype(np.int32)
    weight = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64)).astype(np.uint8)
    zeros = np.full(64, 128, np.int32)
    made = gpu.matrix_operands(SPEC, weight, table, zeros, zeros)
    assert made is not None
    assert made.form.terms == terms
    unit = gpu.matrix_unit("cuda", arch)
    return gpu.matrix_primfunc(SPEC, made.form, "cuda", unit), shared_bytes(SPEC, made.form)


def panel_kernel(_arch: str) -> Any:
    """The layer on product panels."""
    tiles = gpu.tiles_of(SPEC)
    assert tiles is not None
    return gpu.conv2d_primfunc(SPEC, tiles, "cuda"), tiles.shared_bytes


KERNELS: dict[str, tuple[Callable[[str], Any], int]] = {
    "panels": (panel_kernel, 512),
    "1 term": (lambda arch: matrix_kernel(arch, 1), 128),
    "3 terms": (lambda arch: matrix_kernel(arch, 3), 128),
}


@pytest.mark.parametrize("terms", range(1, 7))
@pytest.mark.parametrize("unit", [units.AMPERE, units.TURING, units.DP4A], ids=lambda u: u.name)
def test_reads_of_shared_memory_have_no_conflicts(unit: units.MatrixUnit, terms: int) -> None:
    """The lanes of a warp ask every bank for at most one word."""
    line = MatrixForm(terms, None).words + SLACK
    registers = [(unit.left, i) for i in range(unit.lefts)]
    registers += [(unit.right, i) for i in range(unit.rights)]
    for place, index in registers:
        words = set()
        for lane in range(32):
            row, word = (int(part) for part in place(index, lane // 4, lane % 4))
            words.add(row * line + word)
        assert len({word % 32 for word in words}) == len(words)


def dump(what: str, file: Path) -> str:
    command = [str(cuobjdump()), what, str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@needs_nvcc
@needs_cuobjdump
@pytest.mark.parametrize("arch", SHARED)
@pytest.mark.parametrize("kernel", KERNELS)
def test_resources(tmp_path: Path, kernel: str, arch: str) -> None:
    make, threads = KERNELS[kernel]
    function, shared = make(arch)
    library = tvm.compile(tvm.IRModule({"kernel": function}), resolve_device(f"cuda:{arch}"))
    (source,) = (m.inspect_source() for m in library.mod.imports if m.kind == "cuda")
    assert "__fmul_rn" in source
    binary = tmp_path / "kernel.fatbin"
    binary.write_bytes(compile_cuda(source, arch))
    used = {
        key: int(value)
        for key, value in re.findall(r"([A-Z]+):(\d+)", dump("--dump-resource-usage", binary))
    }
    assert used["STACK"] == used["LOCAL"] == 0  # the sums stay in registers
    blocks = min(REGISTERS // (-(-used["REG"] // 8) * 8 * threads), SHARED[arch] // used["SHARED"])
    assert blocks >= (1 if kernel == "panels" else 2)
    assert 0.9 * shared < used["SHARED"] <= shared + 1024  # the driver keeps a KiB for itself
    text = dump("--dump-ptx", binary)
    assert f".target {arch}" in text
    shape = "m8n8k16" if arch == "sm_75" else "m16n8k32"
    assert (f"mma.sync.aligned.{shape}.row.col.s32.u8.s8.s32" in text) == (kernel != "panels")
    assert ".ftz" not in text
    assert "fma.rn.f32" not in text


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
