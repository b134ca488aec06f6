"""Prints the tables of docs/gpu.md: what nvcc's binaries need of an SM, and what bounds the kernels.

    python tools/gpu_resources.py [--arch sm_75 --arch sm_80 …]

Needs nvcc and cuobjdump (`pip install 'alwann-c[gpu]'` brings the latter), no GPU. The bounds count
wavefronts of shared memory, 32 banks of 4 bytes a clock and SM, by going through the addresses of the
kernels' loops; look-ups whose addresses depend on data are simulated.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from alwann_c.codegen import gpu
from alwann_c.codegen.device import resolve_device
from alwann_c.codegen.gpu import units
from alwann_c.codegen.gpu.cuda_binary import compile_cuda
from alwann_c.codegen.gpu.matrix_conv import PIXELS, SLACK, THREADS, WARP_PIXELS, shared_bytes
from alwann_c.codegen.gpu.matrix_operands import CHUNK, MatrixForm, columns_of
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.targets import exact_products

CODE = Quantization(0.01, 3)
FUSED = Epilogue("relu", residual="codes", residual_code=CODE, output=CODE)
SPEC = ConvSpec(32, 32, 64, 64, kernel=(3, 3), padding=(1, 1, 1, 1), zero_point=128, epilogue=FUSED)
"""The layer of both tables."""

REGISTERS = 65536
SHARED = {"sm_75": 64 << 10, "sm_80": 163 << 10, "sm_90": 227 << 10}
"""Bytes of shared memory of an SM that blocks may have (CUDA C++ Programming Guide, compute
capabilities)."""
WARPS = {"sm_75": 32, "sm_80": 64, "sm_90": 64}
"""Warps an SM can hold."""
GPUS = {
    "A100": (108, 1.41),
    "H100 PCIe": (114, 1.755),
    "RTX A6000": (84, 1.80),
}
"""SMs and clock in GHz; docs/gpu.md names the sources."""
BANKS = 32
DRAWS = 20_000


@dataclass(frozen=True)
class Resources:
    """Of one kernel in one architecture's binary: registers of a thread, bytes of shared memory of a
    block, and what follows for an SM."""

    registers: int
    shared: int
    threads: int
    arch: str
    spilled: int

    @property
    def blocks(self) -> int:
        """Blocks that an SM holds at a time."""
        rounded = -(-self.registers // 8) * 8
        fit = REGISTERS // (rounded * self.threads), SHARED[self.arch] // self.shared
        return min(*fit, WARPS[self.arch] // (self.threads // 32))

    @property
    def warps(self) -> int:
        """Warps of these blocks."""
        return self.blocks * self.threads // 32


def matrix_kernel(arch: str, terms: int) -> tuple[Any, int]:
    """The layer on the exact table, or on one of `terms` terms; its bytes of shared memory."""
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


def panel_kernel(_arch: str) -> tuple[Any, int]:
    """The layer on product panels; its bytes of shared memory."""
    tiles = gpu.tiles_of(SPEC)
    assert tiles is not None
    return gpu.conv2d_primfunc(SPEC, tiles, "cuda"), tiles.shared_bytes


KERNELS: dict[str, tuple[Callable[[str], tuple[Any, int]], int]] = {
    "conv2d on panels": (panel_kernel, 512),
    "matrix, 1 term": (lambda arch: matrix_kernel(arch, 1), THREADS),
    "matrix, 3 terms": (lambda arch: matrix_kernel(arch, 3), THREADS),
}
"""What makes the function of each, and the threads of its blocks."""


def cuobjdump() -> str | None:
    """From PATH, or from the wheel nvidia-cuda-cuobjdump."""
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    found = [path for folder in folders for path in Path(folder).glob("*/bin/cuobjdump")]
    return shutil.which("cuobjdump") or (str(found[0]) if found else None)


def dump(what: str, file: Path) -> str:
    """What cuobjdump says of a binary."""
    command = [str(cuobjdump()), what, str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def source_of(function: Any, arch: str) -> str:
    """CUDA C++ of a kernel."""
    library = tvm.compile(tvm.IRModule({"kernel": function}), resolve_device(f"cuda:{arch}"))
    (source,) = (m.inspect_source() for m in library.mod.imports if m.kind == "cuda")
    return str(source)


def resources(binary: Path, threads: int, arch: str) -> Resources:
    """Read from nvcc's binary of one kernel."""
    said = re.findall(r"([A-Z]+):(\d+)", dump("--dump-resource-usage", binary))
    used = {key: int(value) for key, value in said}
    return Resources(used["REG"], used["SHARED"], threads, arch, used["STACK"] + used["LOCAL"])


def wavefronts(words: Iterable[int]) -> int:
    """Clocks that one access of a warp takes: the fullest bank's distinct words."""
    distinct = np.array(sorted(set(words)))
    return int(np.bincount(distinct % BANKS).max())


def drawn_wavefronts(words: int) -> float:
    """Mean over random accesses of 32 lanes to a table of that many words."""
    drawn = np.random.default_rng(0).integers(0, words, (DRAWS, BANKS))
    return float(np.mean([wavefronts(row) for row in drawn.tolist()]))


def panel_rate() -> float:
    """MACs a clock and SM of `conv2d`: every tap's panel is written, a row and a code read a pixel."""
    tiles = gpu.tiles_of(SPEC)
    assert tiles is not None
    assert tiles.words == BANKS
    written = 256 * tiles.words // BANKS
    read = 2 * tiles.pixels
    return tiles.pixels * 2 * tiles.words / (written + read)


def matrix_rate(terms: int) -> float:
    """MACs a clock and SM of `matrix` with `m16n8k32`, for one chunk of 32 taps."""
    unit, columns = units.AMPERE, columns_of(SPEC)
    line = MatrixForm(terms, None).words + SLACK
    tiles = WARP_PIXELS // unit.rows, columns // units.COLUMNS
    places = [(unit.left, i, tiles[0]) for i in range(unit.lefts)]
    places += [(unit.right, i, tiles[1]) for i in range(unit.rights)]
    reads = 0
    for place, index, times in places:
        at = [place(index, lane // 4, lane % 4) for lane in range(32)]
        reads += times * wavefronts(int(row) * line + int(word) for row, word in at)
    reads *= (THREADS // 32) * terms * CHUNK // unit.words
    slots = PIXELS + columns
    writes = sum(
        wavefronts((first + lane // CHUNK) * line + lane % CHUNK for lane in range(32))
        for first in range(0, slots, 32 // CHUNK)
    )
    parts = 0 if terms == 1 else -(-terms // 4)
    look_ups = parts * PIXELS * 4 * CHUNK / 32 * drawn_wavefronts(256)
    return PIXELS * columns * 4 * CHUNK / (reads + terms * writes + look_ups)


def print_resources(architectures: list[str]) -> None:
    """The table of registers, shared memory and occupancy."""
    print("| kernel | architecture | registers | shared memory | threads | blocks per SM | warps |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kernel, (make, threads) in KERNELS.items():
            for arch in architectures:
                binary = Path(folder) / "kernel.fatbin"
                binary.write_bytes(compile_cuda(source_of(make(arch)[0], arch), arch))
                r = resources(binary, threads, arch)
                row = [kernel, arch, r.registers, f"{r.shared:,} B", threads, r.blocks]
                print("|", *(f"{cell} |" for cell in row), f"{r.warps} of {WARPS[arch]} |")
                if r.spilled:
                    raise SystemExit(f"error: {kernel} {arch}: {r.spilled} bytes in local memory")


def print_bounds() -> None:
    """The table of MACs a clock, and of what that is a second on some GPUs."""
    rates = [panel_rate(), *(matrix_rate(terms) for terms in (1, 3, 6))]
    print("| GPU | panels | exact, 1 term | 3 terms | 6 terms |\n|---|---|---|---|---|")
    print("| MAC per clock and SM |", *(f"{rate:,.1f} |" for rate in rates))
    for name, (sms, clock) in GPUS.items():
        print(f"| {name}, T MAC/s |", *(f"{rate * sms * clock / 1000:.1f} |" for rate in rates))
    print(f"\n32 draws from 128 words: {drawn_wavefronts(128):.2f} wavefronts,", end=" ")
    print(f"from 256: {drawn_wavefronts(256):.2f}")


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arch", action="append", choices=list(SHARED))
    arguments = parser.parse_args()
    print_bounds()
    print()
    if shutil.which("nvcc") is None or cuobjdump() is None:
        raise SystemExit("error: registers need nvcc and cuobjdump: pip install 'alwann-c[gpu]'")
    print_resources(arguments.arch or list(SHARED))


if __name__ == "__main__":
    main()
