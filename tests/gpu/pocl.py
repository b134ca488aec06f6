"""Runs OpenCL builds without TVM's OpenCL runtime, which its wheel does not have.

TVM compiles host code and kernels as ever, but the host code is told that its device is the CPU,
and finds every kernel as a global function of its name. That function launches the kernel's OpenCL
source through pyopencl on PoCL, which reads and writes TVM's own memory (shared virtual memory).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pyopencl as cl
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.s_tir.pipeline import finalize_device_passes, finalize_host_passes
from tvm.tirx.compilation_pipeline import register_tir_pipeline

from alwann_c.codegen.device import resolve_device

PIPELINE = "alwann_pocl"
OPENCL = resolve_device("opencl")
LLVM = tvm.target.Target("llvm")


def pocl_device() -> Any:
    """PoCL's CPU device, or None."""
    for platform in cl.get_platforms():
        if "Portable Computing Language" in platform.name:
            return platform.get_devices()[0]
    return None


@tvm.transform.module_pass(opt_level=0)
class _HostOnCpu:
    """Host functions believe in a CPU device: their tensors lie in host memory."""

    def transform_module(self, mod: tvm.IRModule, _: Any) -> tvm.IRModule:
        result = tvm.IRModule(mod.functions, attrs=mod.attrs)
        for name, func in mod.functions.items():
            if isinstance(func, tirx.PrimFunc) and not func.attrs.get("tirx.is_global_func", False):
                result[name] = func.with_attr("target", LLVM.with_host(LLVM))
        return result


class _Collector:
    """Keeps the device functions of a build and registers a launcher for each."""

    def __init__(self) -> None:
        self.kernels: dict[str, Any] = {}
        self.source = ""
        device = pocl_device()
        self.context = cl.Context([device])
        self.queue = cl.CommandQueue(self.context)

    def take(self, mod: tvm.IRModule) -> tvm.IRModule:
        mod = finalize_device_passes()(mod)
        built = tvm.get_global_func("target.build.opencl")(mod, OPENCL)
        self.source = built.inspect_source()
        program = cl.Program(self.context, self.source).build()
        for func in mod.functions.values():
            name = str(func.attrs["global_symbol"])
            tags = [str(tag) for tag in func.attrs["tirx.kernel_launch_params"]]
            types = [
                str(param.ty.dtype) if hasattr(param.ty, "dtype") else "handle"
                for param in func.params
            ]
            self.kernels[name] = (cl.Kernel(program, name), types, tags)
            tvm_ffi.register_global_func(name, self._launcher(name), override=True)
        return tvm.IRModule({})

    def _launcher(self, name: str) -> Any:
        def launch(*args: Any) -> None:
            kernel, types, tags = self.kernels[name]
            for index, (value, kind) in enumerate(zip(args, types, strict=False)):
                kernel.set_arg(index, self._argument(value, kind))
            extents = dict(zip(tags, args[len(types) :], strict=True))
            local = [int(extents.get(f"threadIdx.{axis}", 1)) for axis in "xyz"]
            groups = [int(extents.get(f"blockIdx.{axis}", 1)) for axis in "xyz"]
            total = [a * b for a, b in zip(local, groups, strict=True)]
            cl.enqueue_nd_range_kernel(self.queue, kernel, total, local)
            self.queue.finish()

        return launch

    @staticmethod
    def _argument(value: Any, kind: str) -> Any:
        if kind in ("int32", "int64", "float32"):
            return np.dtype(kind).type(value)
        address = value if isinstance(value, int) else value.value
        byte = np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8)), (1,))
        return cl.SVM(byte)


def _pipeline_for(collector: _Collector) -> Any:
    def make() -> Any:
        default, _, _ = tirx.get_tir_pipeline("s_tir")

        @tvm.transform.module_pass(opt_level=0)
        def passes(mod: tvm.IRModule, _: Any) -> tvm.IRModule:
            original = tirx.transform.MakePackedAPI
            tirx.transform.MakePackedAPI = lambda: tvm.ir.transform.Sequential(  # type: ignore[assignment,misc]
                [_HostOnCpu(), original()]
            )
            try:
                return default(mod)
            finally:
                tirx.transform.MakePackedAPI = original  # type: ignore[misc]

        return passes, finalize_host_passes, lambda: collector.take

    return make


def compile_for_pocl(lowered: tvm.IRModule) -> tuple[relax.VirtualMachine, _Collector]:
    """A machine that runs a module lowered for `opencl`, and what holds its kernels."""
    collector = _Collector()
    register_tir_pipeline(PIPELINE, _pipeline_for(collector))
    executable = tvm.compile(lowered, OPENCL, relax_pipeline=None, tir_pipeline=PIPELINE)
    return relax.VirtualMachine(executable, tvm.cpu()), collector


class Kernels:
    """PrimFuncs built for OpenCL, by name; arguments are tensors in host memory."""

    def __init__(self, functions: dict[str, Any]) -> None:
        self.collector = _Collector()
        register_tir_pipeline(PIPELINE, _pipeline_for(self.collector))
        named = {k: f.with_attr("global_symbol", k) for k, f in functions.items()}
        self.library = tvm.compile(tvm.IRModule(named), OPENCL, tir_pipeline=PIPELINE)

    def __getitem__(self, name: str) -> Any:
        return self.library[name]
