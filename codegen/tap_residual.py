# mypy: disable-error-code="valid-type,untyped-decorator,no-untyped-def"
# (TVMScript is parsed from its source, its annotations are not types)
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


def _subtract_primfunc(channels: int, lanes: int) -> Any:
    """`TapResidual.subtract` with the panels table[a, codes[k, n]] given; parallel over blocks of
    rows, large enough to use each panel often and small enough to stay in a core's cache."""
    block = max(64, (1 << 16) // channels)

    @T.prim_func(s_tir=True)
    def main(columns_handle: T.handle, panels_handle: T.handle, residual_handle: T.handle):
        T.func_attr({"tirx.noalias": True})
        rows = T.int64()
        taps = T.int64()
        columns = T.match_buffer(columns_handle, (taps, rows), "uint8")
        panels = T.match_buffer(panels_handle, (taps, 256, channels), "float32")
        residual = T.match_buffer(residual_handle, (rows, channels), "float32")
        for chunk in T.parallel((rows + block - 1) // block):
            for k in range(taps):
                for r in range(T.min(T.int64(block), rows - chunk * block)):
                    for n in range(channels // lanes):
                        for v in T.vectorized(lanes):
                            residual[chunk * block + r, n * lanes + v] = (
                                residual[chunk * block + r, n * lanes + v]
                                - panels[
                                    k,
                                    T.cast(columns[k, chunk * block + r], "int32"),
                                    n * lanes + v,
                                ]
                            )

    return main


class _TapResidual:
    """Columns and residual on the device."""

    def __init__(self, functions: Any, columns: Any, residual: Float32) -> None:
        tensor = tvm.runtime.tensor
        self._step, self._subtract = functions
        self._columns, self._residual = columns, tensor(residual)
        blank = np.zeros((256, residual.shape[1]), np.float32)
        self._change, self._sums = tensor(blank), tensor(blank)

    def step(self, previous: int, change: Float32, following: int) -> Float32:
        """See `TapResidual`."""
        self._change.copyfrom(change)
        self._step(self._columns, previous, self._change, following, self._residual, self._sums)
        return np.asarray(self._sums.numpy())

    def subtract(self, codes: Codes, table: npt.NDArray[np.int32]) -> None:
        """See `TapResidual`."""
        products = table.astype(np.float32)
        panels = np.empty((len(codes), *products.shape[:1], codes.shape[1]), np.float32)
        for panel, chosen in zip(panels, codes, strict=True):
            np.take(products, chosen, axis=1, out=panel, mode="clip")
        self._subtract(self._columns, tvm.runtime.tensor(panels), self._residual)

    def center(self) -> None:
        """See `TapResidual`."""
        residual = self._residual.numpy()
        self._residual.copyfrom(residual - residual.mean(axis=0, dtype=np.float64))

    def values(self) -> Float32:
        """See `TapResidual`."""
        return np.asarray(self._residual.numpy())


class TapKernels:
    """Makes tap residuals; compiles its kernels once per number of channels."""

    def __init__(self, target: tvm.target.Target | None = None) -> None:
        use_all_cores()
        self._target = target or host_target()
        self._functions: dict[int, Any] = {}
        self._columns: dict[int, tuple[Codes, Any]] = {}

    def _compiled(self, channels: int) -> Any:
        if channels not in self._functions:
            lanes = next(n for n in (16, 8, 4, 2, 1) if channels % n == 0)
            made = {
                "step": _step_primfunc(channels, lanes),
                "subtract": _subtract_primfunc(channels, lanes),
            }
            named = {k: f.with_attr("global_symbol", k) for k, f in made.items()}
            library = tvm.compile(tvm.IRModule(named), self._target)
            self._functions[channels] = (library["step"], library["subtract"])
        return self._functions[channels]

    def residual(self, columns: Codes, residual: Float32) -> _TapResidual:
        """A `TapResidual` of codes [K, rows] and residual [rows, n]. Columns are copied once."""
        known = self._columns.get(id(columns))
        if known is None or known[0] is not columns:
            if len(self._columns) > 64:
                self._columns.clear()
            known = (columns, tvm.runtime.tensor(columns))
            self._columns[id(columns)] = known
        return _TapResidual(self._compiled(residual.shape[1]), known[1], residual)
