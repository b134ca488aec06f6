"""Compiles an approximated module and writes it as a shared library."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm

from alwann_c.atomic import replacing
from alwann_c.codegen.lower import lower
from alwann_c.codegen.machine import host_target, use_all_cores, without_native_warnings
from alwann_c.codegen.parallel_build import compile_lowered
from alwann_c.errors import InputError

_COMPILERS = ("g++", "clang++", "c++", "gcc", "clang", "cc")


def resolve_device(device: str) -> tvm.target.Target:
    """TVM target of a device: `cpu` (this machine) or `llvm [-mtriple=... -mcpu=... -mattr=...]`.

    Raises InputError for anything else.
    """
    if device == "cpu":
        return host_target()
    words = device.split()
    if words and words[0] == "llvm":
        config: dict[str, Any] = {"kind": "llvm"}
        for word in words[1:]:
            key, _, value = word.lstrip("-").partition("=")
            if key not in ("mtriple", "mcpu", "mattr") or not value:
                raise InputError(f"--device: '{word}' is not -mtriple=, -mcpu= or -mattr=")
            config[key] = value.split(",") if key == "mattr" else value
        try:
            return tvm.target.Target(config)
        except (ValueError, tvm.error.TVMError) as e:
            raise InputError(f"--device: TVM refuses '{device}': {e}") from e
    raise InputError(f"--device: '{device}' is not known; give cpu or 'llvm -mtriple=...'")


def compile_module(mod: tvm.IRModule, target: tvm.target.Target) -> Any:
    """Relax executable of a module with all operands constant."""
    use_all_cores()
    return compile_lowered(lower(mod, target), target)


def _linker(options: Sequence[str]) -> Any:
    """A function linking object files, with the system's compiler or the `ziglang` package."""
    from tvm.support import cc

    for name in _COMPILERS:
        if shutil.which(name):
            return lambda output, objects, **_: cc.create_shared(
                output, objects, options=list(options), cc=name
            )
    if importlib.util.find_spec("ziglang") is None:
        raise InputError(
            "no C compiler to link the module with; install g++ or clang, or `pip install ziglang`"
        )

    def link_with_zig(output: str, objects: Any, **_: Any) -> None:
        import subprocess

        parts = [objects] if isinstance(objects, str) else list(objects)
        command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-o", output]
        subprocess.run([*command, *parts, *options], check=True, capture_output=True)

    return link_with_zig


def export(executable: Any, path: Path) -> str:
    """Links the executable into `path` (atomically); returns the file's SHA-256."""
    link = _linker(())
    try:
        with replacing(path) as temporary, without_native_warnings():
            executable.export_library(str(temporary), fcompile=link)
    except (OSError, RuntimeError) as e:
        raise InputError(f"{path}: cannot link the module: {str(e).splitlines()[0]}") from e
    return hashlib.sha256(path.read_bytes()).hexdigest()
