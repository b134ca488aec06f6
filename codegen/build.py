"""Compiles an approximated module and writes it as a shared library."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tvm

from alwann_c.atomic import replacing, write_text
from alwann_c.codegen.device import foreign_triple, is_gpu, resolve_device
from alwann_c.codegen.gpu.cuda_binary import compile_cuda, pack_imports, use_exact_nvcc
from alwann_c.codegen.lower import lower
from alwann_c.codegen.machine import use_all_cores, without_native_warnings
from alwann_c.codegen.parallel_build import compile_lowered
from alwann_c.codegen.portable import lower_portable
from alwann_c.errors import InputError

__all__ = ["c_source", "check_tools", "compile_module", "device_source", "export", "resolve_device"]

_COMPILERS = ("g++", "clang++", "c++", "gcc", "clang", "cc")

Linker = Callable[..., None]


def compile_module(mod: tvm.IRModule, target: tvm.target.Target) -> Any:
    """Relax executable of a module with all operands constant.

    Raises InputError when a GPU's compiler is missing or refuses the code.
    """
    use_all_cores()
    if target.kind.name == "llvm":
        return compile_lowered(lower(mod, target), target)
    lowered = lower_portable(mod, target)
    if target.kind.name == "cuda":
        use_exact_nvcc()
    try:
        return tvm.compile(lowered, target, relax_pipeline=None)
    except (RuntimeError, OSError, ValueError) as e:
        if not is_gpu(target):
            raise
        reason = str(e).strip().splitlines()[-1]
        raise InputError(f"--device: {target.kind.name}: cannot compile: {reason}") from e


def _modules(executable: Any) -> list[Any]:
    found, pending = [], [executable.mod]
    while pending:
        module = pending.pop()
        found.append(module)
        pending += list(module.imports)
    return found


def device_source(executable: Any) -> str:
    """Source of a GPU module's kernels (CUDA C++ or OpenCL C); empty without any."""
    kinds = ("cuda", "opencl")
    return "\n".join(m.inspect_source() for m in _modules(executable) if m.kind in kinds)


def c_source(executable: Any) -> str:
    """C source of a module built with TVM's `c` target; empty for others."""
    return "\n".join(m.inspect_source() for m in _modules(executable) if m.kind == "c")


def _with_compiler(name: str) -> Linker:
    from tvm.support import cc

    def link(output: str, objects: Any, **options: Any) -> None:
        include = [f"-I{folder}" for folder in _include_folders()]
        wanted = list(options.get("options") or [])
        cc.create_shared(
            output, objects, options=["-O3", "-ffp-contract=off", *include, *wanted], cc=name
        )

    return link


def _include_folders() -> list[Path]:
    """Headers that C source of TVM includes."""
    import tvm_ffi

    ffi = Path(tvm_ffi.__file__).parent / "include"
    return [ffi, Path(tvm.__file__).parent / "include"]


def _with_zig(triple: str | None) -> Linker:
    def link(output: str, objects: Any, **_: Any) -> None:
        parts = [objects] if isinstance(objects, str) else list(objects)
        command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-o", output]
        command += [f"-I{folder}" for folder in _include_folders()]
        if triple is not None:
            command += ["-target", triple]
        subprocess.run([*command, *parts], check=True, capture_output=True)

    return link


def _linker(triple: str | None) -> Linker:
    """Links object files (and C files) with the system's compiler or the `ziglang` package."""
    compilers = _COMPILERS if triple is None else tuple(f"{triple}-{c}" for c in ("g++", "gcc"))
    for name in compilers:
        if shutil.which(name):
            return _with_compiler(name)
    if importlib.util.find_spec("ziglang") is not None:
        return _with_zig(triple)
    wanted = "g++ or clang" if triple is None else f"{triple}-g++ (Debian: g++-{triple})"
    raise InputError(
        f"no C compiler to link the module with; install {wanted}, or `pip install ziglang`"
    )


def check_tools(target: tvm.target.Target) -> None:
    """Raises InputError when this machine cannot link for the target, or has no nvcc that knows its
    architecture."""
    _linker(foreign_triple(target))
    if target.kind.name == "cuda":
        compile_cuda("", str(target.attrs["arch"]))


def export(executable: Any, path: Path, target: tvm.target.Target | None = None) -> str:
    """Links the executable into `path` (atomically); returns the file's SHA-256.

    `target`: what it was compiled for; another machine's needs a cross compiler, CUDA needs nvcc.
    """
    link = _linker(None if target is None else foreign_triple(target))
    options: dict[str, Any] = {}
    if target is not None and target.kind.name == "cuda":
        options["fpack_imports"] = pack_imports(str(target.attrs["arch"]))
    try:
        with replacing(path) as temporary, without_native_warnings():
            executable.export_library(str(temporary), fcompile=link, **options)
    except (OSError, RuntimeError) as e:
        raise InputError(f"{path}: cannot link the module: {str(e).splitlines()[0]}") from e
    return hashlib.sha256(path.read_bytes()).hexdigest()


SOURCES = {"c": "module.c", "cuda": "module.cu", "opencl": "module.cl"}
"""File that holds the readable source of a module, by kind of target."""


def write_source(executable: Any, folder: Path, target: tvm.target.Target) -> str | None:
    """Writes the kernels' source beside the module where the target has one; its name."""
    kind = target.kind.name
    if kind not in SOURCES:
        return None
    text = c_source(executable) if kind == "c" else device_source(executable)
    write_text(folder / SOURCES[kind], text)
    return SOURCES[kind]
