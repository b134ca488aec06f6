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

from alwann_c.ir.reference import code_values
from alwann_c.passes.compensate.data import LayerData, ResidualFactory
from alwann_c.passes.quantize import LayerCodes

Codes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

SWEEPS = 3


def _target_sums(layer: LayerCodes, patches: Codes, target: Float32, group: slice) -> Float32:
    """What the multiplier array should sum to, [rows, n of the group], each column's mean removed.

    The accumulator's exact zero-point term is taken off: sum_k M = acc + z_w * sum_k x - offset.
    """
    values = code_values(patches, layer.signed).sum(axis=1, dtype=np.int64)
    wanted = target[:, group].astype(np.float64) / layer.scale[group]
    wanted += values[:, None] * layer.weight_zero_point[group].astype(np.float64)
    return np.ascontiguousarray(wanted - wanted.mean(axis=0), np.float32)


def _reconstruct_group(
    patches: Codes,
    wanted: Float32,
    start: Codes,
    table: npt.NDArray[np.int32],
    make_residual: ResidualFactory,
    sweeps: int,
) -> Codes:
    """Codes [K, n] after at most `sweeps` passes over the taps; patches [rows, K]."""
    rows, taps = patches.shape
    columns = np.ascontiguousarray(patches.T)
    codes = start.copy()
    channels = np.arange(codes.shape[1])
    products = table.astype(np.float64)
    counts = np.stack([np.bincount(column, minlength=256) for column in columns])
    means = counts @ products / rows  # [K, c]
    energy = counts @ (products * products) - rows * means * means
    nothing = np.zeros((256, codes.shape[1]), np.float32)
    residual = make_residual(columns, wanted)
    for k in range(taps):
        residual.step(k, products[:, codes[k]].astype(np.float32), k)
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
    sweeps: int = SWEEPS,
) -> Codes:
    """Tuned codes [kh, kw, c_in/groups, n] that minimise the output error on the fit images.

    Starts from `start` (for example the original codes or a per-tap tuning). Deterministic.
    """
    spec = layer.spec
    patches, target = data.rows
    per_group = spec.out_channels // spec.groups
    columns = start.reshape(spec.taps, spec.groups, per_group)
    tuned = np.empty_like(columns)
    for g in range(spec.groups):
        group = slice(g * per_group, (g + 1) * per_group)
        wanted = _target_sums(layer, patches[:, g], target, group)
        tuned[:, g] = _reconstruct_group(
            np.ascontiguousarray(patches[:, g]), wanted, columns[:, g], table, data.residual, sweeps
        )
    return tuned.reshape(start.shape)
