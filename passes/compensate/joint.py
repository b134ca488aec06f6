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

import numpy as np
import numpy.typing as npt

from alwann_c.cores import in_threads
from alwann_c.passes.compensate.data import (
    LayerData,
    TapCosts,
    TapResidual,
    group_codes,
    wanted_sums,
)
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import exact_products

Codes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]

_MARGIN = 1e-6
"""What another code must be cheaper by, relative to a tap's mean energy: more than sums in 32 bits
may be wrong by."""


def _parts(channels: int) -> list[slice]:
    """Channels of a group that are worked on at once.

    Many are split, however many cores there are: results must not depend on it.
    """
    widths = (n for n in (32, 16, 8) if channels % n == 0 and channels > n)
    width = next(widths, channels)
    return [slice(n, n + width) for n in range(0, channels, width)]


def _tuned(
    layer: LayerCodes,
    table: Int32,
    data: LayerData,
    start: Codes,
    assumed: Int32,
    *,
    sweeps: int,
    margin: float,
) -> Codes:
    """Codes after at most `sweeps` passes over the taps, from `start`, whose products are `assumed`
    until a tap is visited."""
    parts: list[tuple[TapCosts, Codes, TapResidual]] = []
    for g in range(layer.spec.groups):
        wanted, _ = wanted_sums(layer, data.fit, g)
        codes, columns = group_codes(layer, start, g), data.fit.columns[g]
        costs = TapCosts.of(data.fit.histograms[g], table, columns.shape[1], margin)
        for part in _parts(codes.shape[1]):
            own = np.ascontiguousarray(codes[:, part])
            residual = data.residual(columns, np.ascontiguousarray(wanted[:, part]))
            residual.subtract(own, assumed)
            residual.center()
            parts.append((costs, own, residual))

    def swept(part: tuple[TapCosts, Codes, TapResidual]) -> Codes:
        costs, codes, residual = part
        for _ in range(sweeps):
            codes, moved = residual.sweep(costs, codes, assumed.astype(np.float64))
            if moved == 0:
                break
        return codes

    return np.concatenate(in_threads(swept, parts), axis=1).reshape(start.shape)


def feed_errors(layer: LayerCodes, table: Int32, data: LayerData) -> Codes:
    """Codes chosen tap by tap, the error of each fed to those after it. Deterministic.

    As in GPTQ (E. Frantar et al., ICLR 2023) taps not chosen yet are as the float network has them,
    here up to the rounding of their codes; a tap's choice makes up for the errors before it.
    """
    exact = exact_products(layer.signed)
    return _tuned(layer, table, data, layer.weight, exact, sweeps=1, margin=-np.inf)


def reconstruct(
    layer: LayerCodes, table: Int32, data: LayerData, start: Codes, *, sweeps: int
) -> Codes:
    """Tuned codes [kh, kw, c_in/groups, n] that minimise the output error on the rows to fit.

    Starts from `start` (for example the original codes or a per-tap tuning). Deterministic.
    """
    return _tuned(layer, table, data, start, table, sweeps=sweeps, margin=_MARGIN)
