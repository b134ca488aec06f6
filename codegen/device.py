"""Devices a network can be built for, and whether this machine can run what was built."""

from __future__ import annotations

import platform
import re
from typing import Any

import tvm

from alwann_c.codegen.machine import host_target
from alwann_c.errors import InputError

DEFAULT_CUDA_ARCH = "sm_80"

_SAME_MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}


def resolve_device(device: str) -> tvm.target.Target:
    """TVM target of a device: `cpu` (this machine), `llvm [-mtriple=... -mcpu=... -mattr=...]`, `c`
    (portable C source), `cuda[:sm_90]` or `opencl`.

    Raises InputError for anything else.
    """
    if device == "cpu":
        return host_target()
    kind, _, arch = device.partition(":")
    if device == "c":
        return tvm.target.Target({"kind": "c"})
    if device == "opencl":
        return tvm.target.Target({"kind": "opencl", "host": {"kind": "llvm"}})
    if kind == "cuda":
        if device != "cuda" and not re.fullmatch(r"sm_[1-9]\d{1,2}a?", arch):
            raise InputError(f"--device: '{arch}' is not a GPU architecture like sm_90")
        config = {"kind": "cuda", "arch": arch or DEFAULT_CUDA_ARCH, "host": {"kind": "llvm"}}
        return tvm.target.Target(config)
    if device.split()[:1] == ["llvm"]:
        return _llvm(device)
    raise InputError(
        f"--device: '{device}' is not known; give cpu, 'llvm -mtriple=...', c, cuda[:sm_90] or opencl"
    )


def _llvm(device: str) -> tvm.target.Target:
    config: dict[str, Any] = {"kind": "llvm"}
    for word in device.split()[1:]:
        key, _, value = word.lstrip("-").partition("=")
        if key not in ("mtriple", "mcpu", "mattr") or not value:
            raise InputError(f"--device: '{word}' is not -mtriple=, -mcpu= or -mattr=")
        config[key] = value.split(",") if key == "mattr" else value
    try:
        return tvm.target.Target(config)
    except (ValueError, tvm.error.TVMError) as e:
        raise InputError(f"--device: TVM refuses '{device}': {e}") from e


def foreign_triple(target: tvm.target.Target) -> str | None:
    """Triple of another machine's architecture or system, which needs a cross linker; else None."""
    triple = str(target.attrs.get("mtriple", "")) if target.kind.name == "llvm" else ""
    if not triple:
        return None
    here = platform.machine().lower()
    names = (_SAME_MACHINE.get(here, here), platform.system().lower())
    parts = triple.lower().split("-")
    arch = _SAME_MACHINE.get(parts[0], parts[0])
    return triple if arch != names[0] or names[1] not in triple.lower() else None


def why_not_here(target: tvm.target.Target) -> str | None:
    """Why this process cannot run what is built for the target, or None."""
    kind = target.kind.name
    if kind == "llvm":
        triple = foreign_triple(target)
        return None if triple is None else f"it was built for {triple}"
    if kind == "cuda" and not tvm.cuda(0).exist:
        return "it was built for cuda and there is no NVIDIA GPU here"
    if kind == "opencl" and not _has_runtime("opencl"):
        return "it was built for opencl and this TVM has no OpenCL runtime"
    return None


def _has_runtime(kind: str) -> bool:
    return tvm.get_global_func(f"device_api.{kind}", allow_missing=True) is not None


def runtime_device(target: tvm.target.Target) -> Any:
    """TVM device that runs what is built for the target."""
    return tvm.runtime.device(target.kind.name, 0) if is_gpu(target) else tvm.cpu()


def is_gpu(target: tvm.target.Target) -> bool:
    """Whether kernels run on a GPU."""
    return target.kind.name in ("cuda", "opencl")
