# mypy: disable-error-code="valid-type,untyped-decorator,no-untyped-def"
# (TVMScript is parsed from its source, its annotations are not types)
"""The inner loop of joint reconstruction, compiled: `alwann_c.passes.compensate.TapResidual`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.script import tirx as T

from alwann_c.codegen.machine import host_target, use_all_cores

if TYPE_CHECKING:
    from alwann_c.passes.compensate.data import TapCosts

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def _sweep_primfunc(channels: int, lanes: int) -> Any:
    """`TapResidual.sweep`. Serial: several parts of a layer run at once.

    Of a tap, first one pass over the rows, block of `lanes` channels by block, which finishes the tap
    before and sums the residual by code; then the costs, the sums times the products, a tile of
    channels and 8 codes in registers.
    """
    tile = next(n for n in (4, 3, 2, 1) if channels % n == 0)

    @T.prim_func(s_tir=True)
    def main(
        columns_handle: T.handle,
        residual_handle: T.handle,
        products: T.Buffer((256, 256), "float64"),
        assumed: T.Buffer((256, 256), "float64"),
        counts_handle: T.handle,
        means_handle: T.handle,
        energy_handle: T.handle,
        margins_handle: T.handle,
        codes_handle: T.handle,
        moves: T.Buffer((1,), "int32"),
    ):
        T.func_attr({"tirx.noalias": True})
        rows = T.int64()
        taps = T.int64()
        columns = T.match_buffer(columns_handle, (taps, rows), "uint8")
        residual = T.match_buffer(residual_handle, (rows, channels), "float32")
        counts = T.match_buffer(counts_handle, (taps, 256), "float64")
        means = T.match_buffer(means_handle, (taps, 256), "float64")
        energy = T.match_buffer(energy_handle, (taps, 256), "float64")
        margins = T.match_buffer(margins_handle, (taps,), "float64")
        codes = T.match_buffer(codes_handle, (taps, channels), "int32")
        change = T.alloc_buffer((256, channels), "float32")
        sums = T.alloc_buffer((256, channels), "float32")
        with_tap = T.alloc_buffer((256, channels), "float64")
        total = T.alloc_buffer((channels,), "float64")
        gain = T.alloc_buffer((tile * 8,), "float64", scope="local")
        best = T.alloc_buffer((channels,), "float64")
        kept = T.alloc_buffer((channels,), "float64")
        chosen = T.alloc_buffer((channels,), "int32")
        moved = T.alloc_buffer((1,), "int32")
        moved[0] = 0
        moves[0] = 0
        for k in range(taps + 1):
            for block in range(channels // lanes):
                for a in range(256):
                    for v in T.vectorized(lanes):
                        sums[a, block * lanes + v] = T.float32(0)
                if moved[0] > 0:
                    for r in range(rows):
                        for v in T.vectorized(lanes):
                            residual[r, block * lanes + v] = (
                                residual[r, block * lanes + v]
                                - change[T.cast(columns[k - 1, r], "int32"), block * lanes + v]
                            )
                        if k < taps:
                            for v in T.vectorized(lanes):
                                sums[T.cast(columns[k, r], "int32"), block * lanes + v] = (
                                    sums[T.cast(columns[k, r], "int32"), block * lanes + v]
                                    + residual[r, block * lanes + v]
                                )
                else:
                    if k < taps:
                        for r in range(rows):
                            for v in T.vectorized(lanes):
                                sums[T.cast(columns[k, r], "int32"), block * lanes + v] = (
                                    sums[T.cast(columns[k, r], "int32"), block * lanes + v]
                                    + residual[r, block * lanes + v]
                                )
            if k < taps:
                for n in range(channels):
                    total[n] = T.float64(0)
                    best[n] = T.float64("inf")
                for a in range(256):
                    for n in range(channels):
                        with_tap[a, n] = (
                            T.cast(sums[a, n], "float64") + counts[k, a] * assumed[a, codes[k, n]]
                        )
                        total[n] = total[n] + with_tap[a, n]
                for codes_block in range(32):
                    for part in range(channels // tile):
                        for i in T.unroll(tile):
                            for v in T.vectorized(8):
                                gain[i * 8 + v] = T.float64(0)
                        for a in range(256):
                            for i in T.unroll(tile):
                                for v in T.vectorized(8):
                                    gain[i * 8 + v] = (
                                        gain[i * 8 + v]
                                        + with_tap[a, part * tile + i]
                                        * products[a, codes_block * 8 + v]
                                    )
                        for i in T.unroll(tile):
                            for v in T.vectorized(8):
                                gain[i * 8 + v] = energy[k, codes_block * 8 + v] - T.float64(2) * (
                                    gain[i * 8 + v]
                                    - total[part * tile + i] * means[k, codes_block * 8 + v]
                                )
                            for v in range(8):
                                if gain[i * 8 + v] < best[part * tile + i]:
                                    best[part * tile + i] = gain[i * 8 + v]
                                    chosen[part * tile + i] = codes_block * 8 + v
                                if codes_block * 8 + v == codes[k, part * tile + i]:
                                    kept[part * tile + i] = gain[i * 8 + v]
                moved[0] = 0
                for n in range(channels):
                    if best[n] < kept[n] - margins[k]:
                        moved[0] = moved[0] + 1
                    else:
                        chosen[n] = -1
                moves[0] = moves[0] + moved[0]
                if moved[0] > 0:
                    for a in range(256):
                        for n in range(channels):
                            change[a, n] = T.float32(0)
                            if chosen[n] >= 0:
                                change[a, n] = T.cast(
                                    products[a, chosen[n]] - assumed[a, codes[k, n]], "float32"
                                )
                    for n in range(channels):
                        if chosen[n] >= 0:
                            codes[k, n] = chosen[n]

    return main


def _subtract_primfunc(channels: int, lanes: int) -> Any:
    """`TapResidual.subtract`: first the panels table[a, codes[k, n]]; then, parallel over blocks of
    rows, large enough to use each panel often and small enough to stay in a core's cache."""
    block = max(64, (1 << 16) // channels)

    @T.prim_func(s_tir=True)
    def main(
        columns_handle: T.handle,
        table: T.Buffer((256, 256), "float32"),
        codes_handle: T.handle,
        panels_handle: T.handle,
        residual_handle: T.handle,
    ):
        T.func_attr({"tirx.noalias": True})
        rows = T.int64()
        taps = T.int64()
        columns = T.match_buffer(columns_handle, (taps, rows), "uint8")
        codes = T.match_buffer(codes_handle, (taps, channels), "uint8")
        panels = T.match_buffer(panels_handle, (taps, 256, channels), "float32")
        residual = T.match_buffer(residual_handle, (rows, channels), "float32")
        for k in T.parallel(taps):
            for a in range(256):
                for n in range(channels):
                    panels[k, a, n] = table[a, T.cast(codes[k, n], "int32")]
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

    def __init__(self, kernels: TapKernels, columns: Any, residual: Float32) -> None:
        self._kernels, self._columns = kernels, columns
        self._sweep, self._subtract = kernels.compiled(residual.shape[1])
        self._residual = tvm.runtime.tensor(residual)

    def sweep(self, costs: TapCosts, codes: Codes, assumed: Float64) -> tuple[Codes, int]:
        """See `TapResidual`."""
        given = (costs.products, assumed, costs.counts, costs.means, costs.energy, costs.margins)
        operands = [tvm.runtime.tensor(np.ascontiguousarray(part)) for part in given]
        chosen = tvm.runtime.tensor(codes.astype(np.int32))
        moves = tvm.runtime.tensor(np.zeros(1, np.int32))
        self._sweep(self._columns, self._residual, *operands, chosen, moves)
        return chosen.numpy().astype(np.uint8), int(moves.numpy()[0])

    def subtract(self, codes: Codes, table: npt.NDArray[np.int32]) -> None:
        """See `TapResidual`."""
        panels = self._kernels.panels(*codes.shape)
        operands = (table.astype(np.float32), np.ascontiguousarray(codes))
        given = [tvm.runtime.tensor(operand) for operand in operands]
        self._subtract(self._columns, *given, panels, self._residual)

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
        self._functions: dict[int, tuple[Any, Any]] = {}
        self._columns: dict[int, tuple[Codes, Any]] = {}
        self._panels: Any = None

    def compiled(self, channels: int) -> tuple[Any, Any]:
        """Kernels of `TapResidual.sweep` and `subtract`."""
        if channels not in self._functions:
            lanes = next(n for n in (16, 8, 4, 2, 1) if channels % n == 0)
            made = {
                "sweep": _sweep_primfunc(channels, lanes),
                "subtract": _subtract_primfunc(channels, lanes),
            }
            named = {k: f.with_attr("global_symbol", k) for k, f in made.items()}
            library = tvm.compile(tvm.IRModule(named), self._target)
            self._functions[channels] = (library["sweep"], library["subtract"])
        return self._functions[channels]

    def panels(self, taps: int, channels: int) -> Any:
        """Room for a layer's panels, kept for the next one: pages new to the process cost more than
        what is written to them."""
        shape = (taps, 256, channels)
        if self._panels is None or tuple(self._panels.shape) != shape:
            self._panels = tvm.runtime.empty(shape, "float32")
        return self._panels

    def residual(self, columns: Codes, residual: Float32) -> _TapResidual:
        """A `TapResidual` of codes [K, rows] and residual [rows, n]. Columns are copied once."""
        known = self._columns.get(id(columns))
        if known is None or known[0] is not columns:
            if len(self._columns) > 64:
                self._columns.clear()
            known = (columns, tvm.runtime.tensor(columns))
            self._columns[id(columns)] = known
        return _TapResidual(self, known[1], residual)
