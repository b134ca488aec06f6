"""The inner loop of joint reconstruction, compiled: `alwann_c.passes.compensate.TapResidual`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script import tirx as T

from alwann_c.codegen.machine import host_target, use_all_cores

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


def _step_primfunc(channels: int, lanes: int) -> Any:
    """`TapResidual.step`, block of `lanes` channels by block; serial: a step is shorter than waking
    a thread."""

    @T.prim_func(s_tir=True)
    def main(
        columns_handle: T.handle,
        previous: T.int64,
        change: T.Buffer((256, channels), "float32"),
        following: T.int64,
        residual_handle: T.handle,
        sums: T.Buffer((256, channels), "float32"),
    ):
        T.func_attr({"tirx.noalias": True})
        rows = T.int64()
        taps = T.int64()
        columns = T.match_buffer(columns_handle, (taps, rows), "uint8")
        residual = T.match_buffer(residual_handle, (rows, channels), "float32")
        for block in range(channels // lanes):
            for a in range(256):
                for v in T.vectorized(lanes):
                    sums[a, block * lanes + v] = T.float32(0)
            for r in range(rows):
                for v in T.vectorized(lanes):
                    residual[r, block * lanes + v] = (
                        residual[r, block * lanes + v]
                        - change[T.cast(columns[previous, r], "int32"), block * lanes + v]
                    )
                for v in T.vectorized(lanes):
                    sums[T.cast(columns[following, r], "int32"), block * lanes + v] = (
                        sums[T.cast(columns[following, r], "int32"), block * lanes + v]
                        + residual[r, block * lanes + v]
                    )

    return main


class _TapResidual:
    """Columns and residual on the device."""

    def __init__(self, function: Any, columns: Codes, residual: Float32) -> None:
        tensor = tvm.runtime.tensor
        self._function = function
        self._columns, self._residual = tensor(columns), tensor(residual)
        blank = np.zeros((256, residual.shape[1]), np.float32)
        self._change, self._sums = tensor(blank), tensor(blank)

    def step(self, previous: int, change: Float32, following: int) -> Float32:
        """See `TapResidual`."""
        self._change.copyfrom(change)
        self._function(self._columns, previous, self._change, following, self._residual, self._sums)
        return np.asarray(self._sums.numpy())

    def center(self) -> None:
        """See `TapResidual`."""
        residual = self._residual.numpy()
        self._residual.copyfrom(residual - residual.mean(axis=0, dtype=np.float64))


class TapKernels:
    """Makes tap residuals; compiles one kernel per number of channels."""

    def __init__(self, target: tvm.target.Target | None = None) -> None:
        use_all_cores()
        self._target = target or host_target()
        self._functions: dict[int, Any] = {}

    def residual(self, columns: Codes, residual: Float32) -> _TapResidual:
        """A `TapResidual` of codes [K, rows] and residual [rows, n]."""
        channels = residual.shape[1]
        if channels not in self._functions:
            lanes = next(n for n in (16, 8, 4, 2, 1) if channels % n == 0)
            module = tvm.IRModule({"main": _step_primfunc(channels, lanes)})
            self._functions[channels] = tvm.compile(module, self._target)["main"]
        return _TapResidual(self._functions[channels], columns, residual)
