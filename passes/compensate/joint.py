"""Joint reconstruction: the tuned codes of a filter chosen together, against its real inputs.

Coordinate descent over the taps. With rows r of calibration patches x[r, k], targets T[r, n] (the
accumulator the float network asks for, its mean left to the bias) and the residual

    R[r, n] = T[r, n] - sum_j M(x[r, j], c[j, n])  +  M(x[r, k], c[k, n])      (without tap k)

the cost of code c at tap k of channel n, all 256 codes as candidates, is

    sum_r (M(x[r,k], c) - mean)^2  -  2 sum_r R[r, n] (M(x[r, k], c) - mean).

Both sums depend on a row only through its activation code a = x[r, k]. With count[a] rows of code
a and S[a, n] the residual summed over them, the cost of all codes for all channels is one product
S^T M: a tap costs rows x n additions and 256 x 256 x n multiplications.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alwann_c.passes.compensate.data import LayerData, TapResidual, group_codes, wanted_sums
from alwann_c.passes.quantize import LayerCodes

Codes = npt.NDArray[np.uint8]


def _reconstruct_group(
    columns: Codes,
    histograms: npt.NDArray[np.float64],
    start: Codes,
    table: npt.NDArray[np.int32],
    residual: TapResidual,
    sweeps: int,
) -> Codes:
    """Codes [K, n] after at most `sweeps` passes over the taps; columns [K, rows]."""
    taps, rows = columns.shape
    codes = start.copy()
    channels = np.arange(codes.shape[1])
    products = table.astype(np.float64)
    counts = histograms * rows
    means = histograms @ products  # [K, c]
    energy = counts @ (products * products) - rows * means * means
    nothing = np.zeros((256, codes.shape[1]), np.float32)
    residual.subtract(codes, table)
    residual.center()
    previous, change = 0, nothing
    for _ in range(sweeps):
        moved = 0
        for k in range(taps):
            sums = residual.step(previous, change, k).astype(np.float64)
            own = products[:, codes[k]]
            sums += counts[k][:, None] * own
            gain = sums.T @ products - sums.sum(axis=0)[:, None] * means[k]
            cost = energy[k] - 2.0 * gain  # [n, c]
            kept = codes[k].astype(np.intp)
            best = cost.argmin(axis=1)
            margin = 1e-6 * energy[k].mean()
            better = cost[channels, best] < cost[channels, kept] - margin
            chosen = np.where(better, best, kept)
            moved += int(better.sum())
            previous, change = k, nothing
            if better.any():
                change = (products[:, chosen] - own).astype(np.float32)
                codes[k] = chosen.astype(np.uint8)
        if moved == 0:
            break
    return codes


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
    tuned = np.empty((layer.spec.taps, layer.spec.groups, start.shape[-1] // layer.spec.groups))
    for g in range(layer.spec.groups):
        wanted, _ = wanted_sums(layer, data.fit, g)
        codes = group_codes(layer, start, g)
        residual = data.residual(data.fit.columns[g], wanted)
        tuned[:, g] = _reconstruct_group(
            data.fit.columns[g], data.fit.histograms[g], codes, table, residual, sweeps
        )
    return tuned.astype(np.uint8).reshape(start.shape)
