"""A float module compiled for this machine; returns what it was asked to observe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.codegen.lower import lower
from alwann_c.codegen.machine import host_target, use_all_cores
from alwann_c.codegen.parallel_build import compile_lowered
from alwann_c.ir.ops import fixed_batch

Float32 = npt.NDArray[np.float32]


class FloatNetwork:
    """Runs a float IRModule in batches."""

    def __init__(
        self, mod: tvm.IRModule, target: tvm.target.Target | None = None, *, batch: int = 125
    ) -> None:
        use_all_cores()
        target = target or host_target()
        executable = compile_lowered(lower(mod, target), target, load=True)
        self._vm = relax.VirtualMachine(executable, tvm.cpu())
        self.batch = fixed_batch(mod) or batch

    def batches(self, images: Float32) -> Iterator[list[Float32]]:
        """[output, *observed] of each batch of images, in order."""
        for start in range(0, len(images), self.batch):
            chunk = np.ascontiguousarray(images[start : start + self.batch])
            result = self._vm["main"](tvm.runtime.tensor(chunk))
            parts = [result] if hasattr(result, "numpy") else list(result)
            yield [part.numpy() for part in parts]

    def run(self, images: Float32) -> Float32:
        """Outputs of all images."""
        return np.concatenate([parts[0] for parts in self.batches(images)])
