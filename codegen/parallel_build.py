"""Compiling a lowered module with one thread per core.

LLVM takes nearly all the time and TVM gives it one thread. The kernels of a module are independent,
so that they can be split into as many libraries as there are cores, which the executable then links.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tvm
from tvm import relax
from tvm.relax import vm_build

from alwann_c.codegen import cpu
from alwann_c.cores import available_cores

_FEWEST = 4
"""Fewest kernels worth a library of their own."""


def _size(kernel: tuple[Any, Any]) -> int:
    """Sorts heavy kernels first: their text is about as long as their code."""
    return -len(str(kernel[1]))


def _build(kernels: Sequence[Any], target: tvm.target.Target, load: bool) -> Any:
    library = tvm.tirx.build(tvm.IRModule(dict(kernels)), target, pipeline=cpu.TIR_PIPELINE)
    if load:  # machine code is made when the first function is asked for
        library.get_function(kernels[0][0].name_hint)
    return library


def compile_lowered(
    mod: tvm.IRModule, target: tvm.target.Target, *, load: bool = False
) -> relax.VMExecutable:
    """Relax executable of a lowered module.

    Args:
        load: make machine code at once (for use in this process) instead of on first use.
    """
    builder = relax.ExecBuilder()
    rest = vm_build._vmcodegen(builder, mod, "bytecode")
    kernels = [
        (name, func) for name, func in rest.functions.items() if isinstance(func, tvm.tirx.PrimFunc)
    ]
    *kernels, last = sorted(kernels, key=_size)
    count = max(1, min(available_cores(), len(kernels) // _FEWEST))
    shares = [kernels[i::count] for i in range(count)] if kernels else []
    with ThreadPoolExecutor(count) as pool:
        libraries = list(pool.map(lambda share: _build(share, target, load), shares))
    # Without a function of its own the executable would have to be linked by a C compiler.
    own = tvm.IRModule(dict([last]))
    return vm_build._vmlink(builder, target, own, cpu.TIR_PIPELINE, libraries)
