"""Machine code for NVIDIA GPUs, made by nvcc and put into an exported module.

TVM stores a CUDA module as source where it has no GPU, and compiles it when it is loaded, with NVRTC and
approximate arithmetic. Here nvcc compiles it when it is exported, every float operation rounded on its
own, for the architecture asked for and as PTX for later ones, so that loading needs the driver alone.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi

from alwann_c.errors import InputError

FLAGS = ("-O3", "-w", "-fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=false")

_SYMBOL = "__tvm_ffi__library_bin"
_SELF = b"_lib"


def compile_cuda(source: str, arch: str) -> bytes:
    """A fat binary of `source`: code for `arch` (like `sm_90`) and its PTX.

    Raises InputError when nvcc is missing or refuses the source or the architecture.
    """
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise InputError("--device: cuda: no nvcc on PATH; install the CUDA toolkit")
    version = arch.removeprefix("sm_")
    with tempfile.TemporaryDirectory() as name:
        text, binary = Path(name) / "kernels.cu", Path(name) / "kernels.fatbin"
        text.write_text(source, encoding="utf-8")
        codes = [
            f"-gencode=arch=compute_{version},code={kind}_{version}" for kind in ("sm", "compute")
        ]
        command = [nvcc, "-fatbin", *FLAGS, *codes, "-o", str(binary), str(text)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr + done.stdout).strip().splitlines() or ["it failed"]
            raise InputError(f"--device: cuda: nvcc for {arch}: {said[0]}")
        return binary.read_bytes()


def use_exact_nvcc() -> None:
    """TVM compiles CUDA source it meets in this process with `compile_cuda`, for the GPU that is
    here."""

    def compile_here(source: str) -> bytes:
        target = tvm.target.Target.current(allow_none=True)
        arch = "" if target is None else str(target.attrs.get("arch", ""))
        if not re.match(r"sm_\d", arch):
            arch = "sm_" + str(tvm.cuda(0).compute_version).replace(".", "")
        return compile_cuda(source, arch)

    tvm_ffi.register_global_func("tvm_callback_cuda_compile", compile_here, override=True)


class _Reader:
    """Reads what TVM serializes: little-endian 64-bit numbers, and bytes after their count."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def number(self) -> int:
        self.at += 8
        return int(struct.unpack_from("<Q", self.content, self.at - 8)[0])

    def text(self) -> bytes:
        count = self.number()
        self.at += count
        return self.content[self.at - count : self.at]


def _text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def with_binaries(packed: bytes, binaries: Mapping[str, bytes]) -> bytes:
    """Serialized imports of a module in which the source of every CUDA module is replaced by its binary.

    The layout: size; where each module's imports begin, and the imports; then for each module its kind
    and content, which for kind `cuda` is format, launch parameters and source.
    """
    reader = _Reader(packed)
    if reader.number() != len(packed) - 8:
        raise AssertionError("this TVM packs modules in another way")
    begins = [reader.number() for _ in range(reader.number())]
    _imports = [reader.number() for _ in range(reader.number())]
    parts = [packed[8 : reader.at]]
    for _ in begins[1:]:
        kind = reader.text()
        parts.append(_text(kind))
        if kind != _SELF:
            content = reader.text()
            parts.append(_text(_replaced(content, binaries) if kind == b"cuda" else content))
    result = b"".join(parts)
    return struct.pack("<Q", len(result)) + result


def _replaced(content: bytes, binaries: Mapping[str, bytes]) -> bytes:
    """The content of a CUDA module, its source replaced."""
    reader = _Reader(content)
    if reader.text() != b"cuda":
        return content  # compiled already: there is a GPU here
    for source, binary in binaries.items():
        end = _text(source.encode())
        if content.endswith(end):
            return _text(b"fatbin") + content[reader.at : -len(end)] + _text(binary)
    raise AssertionError("this TVM stores CUDA modules in another way")


def _cuda_sources(module: Any) -> list[str]:
    found = [module.inspect_source()] if module.kind == "cuda" else []
    return found + [source for part in module.imports for source in _cuda_sources(part)]


def pack_imports(arch: str) -> Callable[..., str]:
    """For `export_library(fpack_imports=...)`: CUDA modules as machine code."""

    def pack(module: Any, _is_system_lib: bool, prefix: str, workspace: str) -> str:
        made = tvm.get_global_func("runtime.ModulePackImportsToTensor")(module)
        binaries = {source: compile_cuda(source, arch) for source in _cuda_sources(module)}
        packed = with_binaries(made.numpy().tobytes(), binaries)
        content, assembly = Path(workspace) / "imports.bin", Path(workspace) / "imports.S"
        content.write_bytes(packed)
        symbol = prefix + _SYMBOL
        assembly.write_text(
            f'.section .rodata\n.balign 64\n.globl {symbol}\n{symbol}:\n.incbin "{content}"\n'
            '.section .note.GNU-stack,"",%progbits\n',
            encoding="utf-8",
        )
        return str(assembly)

    return pack
