"""The CUDA build: resources read from nvcc's binaries, and runs where there is a GPU."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tvm
from tiny import Case

from alwann_c.builder import build
from alwann_c.codegen import gpu
from alwann_c.codegen.build import SOURCES, device_source, write_source
from alwann_c.codegen.device import resolve_device, why_not_here
from alwann_c.errors import InputError
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization

CODE = Quantization(0.01, 3)
FUSED = Epilogue("relu", residual="codes", residual_code=CODE, output=CODE)
SPEC = ConvSpec(32, 32, 64, 64, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=128, epilogue=FUSED)
REGISTERS, SHARED = 65536, {"sm_75": 64 << 10, "sm_80": 163 << 10, "sm_90": 227 << 10}


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


@needs_nvcc
@needs_cuobjdump
@pytest.mark.parametrize("arch", SHARED)
def test_resources(tmp_path: Path, arch: str) -> None:
    tiles = gpu.tiles_of(SPEC)
    assert tiles is not None
    function = gpu.conv2d_primfunc(SPEC, tiles, "cuda")
    library = tvm.compile(tvm.IRModule({"conv2d": function}), resolve_device(f"cuda:{arch}"))
    (source,) = (m.inspect_source() for m in library.mod.imports if m.kind == "cuda")
    assert "__fmul_rn" in source
    (tmp_path / "k.cu").write_text(source)
    cubin = str(tmp_path / "k.cubin")
    command = ["nvcc", "-O3", "-w", "-cubin", "-arch", arch, "-o", cubin, str(tmp_path / "k.cu")]
    subprocess.run(command, check=True)
    dump = [str(cuobjdump()), "--dump-resource-usage", cubin]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    used = {key: int(value) for key, value in re.findall(r"([A-Z]+):(\d+)", text)}
    assert used["STACK"] == used["LOCAL"] == 0  # the sums stay in registers
    assert used["REG"] * tiles.threads <= REGISTERS
    assert 4 * 256 * tiles.words < used["SHARED"] <= min(tiles.shared_bytes + 1024, SHARED[arch])


def test_whole_network_builds_offline(small: Case, tmp_path: Path) -> None:
    target = resolve_device("cuda:sm_90")
    module = build(small.quantized, device="cuda:sm_90")
    assert "alwann_direct" in device_source(module._executable)
    assert write_source(module._executable, tmp_path, target) == SOURCES["cuda"]
    module.export(tmp_path / "module.so")
    if why_not_here(target) is not None:
        with pytest.raises(InputError, match="no NVIDIA GPU here"):
            module(small.search.images[:1])


@needs_gpu
def test_whole_network_on_a_gpu(residual: Case) -> None:
    images = residual.search.images
    module = build(residual.quantized, device="cuda")
    np.testing.assert_array_equal(module(images), residual.quantized.network.run(images))
