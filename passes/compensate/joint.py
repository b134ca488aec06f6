"""Joint reconstruction: the tuned codes of a filter chosen together, against its real inputs.

Coordinate descent over the taps. With rows r of calibration patches x[r, k], targets T[r, n] (the
accumulator the float network asks for, its mean left to the bias) and the residual

    R[r, n] = T[r, n] - sum_j M(x[r, j], c[j, n])  +  M(x[r, k], c[k, n])      (without tap k)

the cost of code c at tap k of channel n, all 256 codes as candidates, is

    sum_r (M(x[r,k], c) - mean)^2  -  2 sum_r R[r, n] (M(x[r, k], c) - mean).

Both sums depend on a row only through its activation code a = x[r, k]. With count[a] rows of code
a and S[a, n] the residual summed over them, the cost of all codes for all channels is one product
S^T M: a tap costs rows x n additions and 256 x 256 x n multiplications. Channels do not depend on
each other, so that parts of them are worked on by several threads.

`feed_errors` makes one such pass in which the taps not visited yet are exact: what the descent starts
from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alwann_c.cores import in_threads
from alwann_c.passes.compensate.data import LayerData, TapResidual, group_codes, wanted_sums
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import exact_products

Codes = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Taps:
    """What the costs of a group's taps are made of, see the module's formula."""

    products: Float64  # [a, c]
    counts: Float64  # [K, a]
    means: Float64  # [K, c]
    energy: Float64  # [K, c]

    @staticmethod
    def of(histograms: Float64, table: npt.NDArray[np.int32], rows: int) -> _Taps:
        """From histograms [K, 256] of the rows' codes."""
        products = table.astype(np.float64)
        means, counts = histograms @ products, histograms * rows
        energy = counts @ (products * products) - rows * means * means
        return _Taps(products, counts, means, energy)

    def costs(self, k: int, sums: Float64, own: Float64) -> Float64:
        """Cost [n, c] of every code at tap k.

        `sums` [a, n] are those of the residual with tap k, which contributes `own` [a, n] to it.
        """
        sums = sums + self.counts[k][:, None] * own
        gain = sums.T @ self.products - sums.sum(axis=0)[:, None] * self.means[k]
        return np.asarray(self.energy[k] - 2.0 * gain)


def _feed_group(taps: _Taps, codes: Codes, exact: Float64, residual: TapResidual) -> Codes:
    """Codes [K, n], each chosen with the errors of those before it in the residual."""
    fed = np.empty_like(codes)
    previous, change = 0, np.zeros((256, codes.shape[1]), np.float32)
    for k in range(len(codes)):
        sums = residual.step(previous, change, k).astype(np.float64)
        own = exact[:, codes[k]]
        fed[k] = taps.costs(k, sums, own).argmin(axis=1).astype(np.uint8)
        previous, change = k, (taps.products[:, fed[k]] - own).astype(np.float32)
    return fed


def _reconstruct_group(taps: _Taps, start: Codes, residual: TapResidual, sweeps: int) -> Codes:
    """Codes [K, n] after at most `sweeps` passes over the taps."""
    codes = start.copy()
    channels = np.arange(codes.shape[1])
    nothing = np.zeros((256, codes.shape[1]), np.float32)
    previous, change = 0, nothing
    for _ in range(sweeps):
        moved = 0
        for k in range(len(codes)):
            sums = residual.step(previous, change, k).astype(np.float64)
            own = taps.products[:, codes[k]]
            cost = taps.costs(k, sums, own)
            kept = codes[k].astype(np.intp)
            best = cost.argmin(axis=1)
            margin = 1e-6 * taps.energy[k].mean()
            better = cost[channels, best] < cost[channels, kept] - margin
            chosen = np.where(better, best, kept)
            moved += int(better.sum())
            previous, change = k, nothing
            if better.any():
                change = (taps.products[:, chosen] - own).astype(np.float32)
                codes[k] = chosen.astype(np.uint8)
        if moved == 0:
            break
    return codes


def _parts(channels: int) -> list[slice]:
    """Channels of a group that are worked on at once.

    Many are split, however many cores there are: results must not depend on it.
    """
    widths = (n for n in (32, 16, 8) if channels % n == 0 and channels > n)
    width = next(widths, channels)
    return [slice(n, n + width) for n in range(0, channels, width)]


def _by_part(
    layer: LayerCodes,
    data: LayerData,
    table: npt.NDArray[np.int32],
    subtracted: tuple[Codes, npt.NDArray[np.int32]],
    choose: Callable[[_Taps, Codes, TapResidual], Codes],
) -> Codes:
    """Codes chosen part by part; the residual starts without `subtracted` (weights, table)."""
    weight, products = subtracted
    parts: list[tuple[_Taps, Codes, TapResidual]] = []
    for g in range(layer.spec.groups):
        wanted, _ = wanted_sums(layer, data.fit, g)
        codes, columns = group_codes(layer, weight, g), data.fit.columns[g]
        taps = _Taps.of(data.fit.histograms[g], table, columns.shape[1])
        for part in _parts(codes.shape[1]):
            residual = data.residual(columns, np.ascontiguousarray(wanted[:, part]))
            residual.subtract(np.ascontiguousarray(codes[:, part]), products)
            residual.center()
            parts.append((taps, codes[:, part], residual))
    found = in_threads(lambda part: choose(*part), parts)
    return np.concatenate(found, axis=1).reshape(weight.shape)


def feed_errors(layer: LayerCodes, table: npt.NDArray[np.int32], data: LayerData) -> Codes:
    """Codes chosen tap by tap, the error of each fed to those after it. Deterministic.

    As in GPTQ (E. Frantar et al., ICLR 2023) taps not chosen yet are as the float network has them,
    here up to the rounding of their codes; a tap's choice makes up for the errors before it.
    """
    exact = exact_products(layer.signed)
    return _by_part(
        layer,
        data,
        table,
        (layer.weight, exact),
        lambda taps, codes, residual: _feed_group(taps, codes, exact.astype(np.float64), residual),
    )


def reconstruct(
    layer: LayerCodes,
    table: npt.NDArray[np.int32],
    data: LayerData,
    start: Codes,
    *,
    sweeps: int,
) -> Codes:
    """Tuned codes [kh, kw, c_in/groups, n] that minimise the output error on the rows to fit.

    Starts from `start` (for example the original codes or a per-tap tuning). Deterministic.
    """
    return _by_part(
        layer,
        data,
        table,
        (start, table),
        lambda taps, codes, residual: _reconstruct_group(taps, codes, residual, sweeps),
    )
