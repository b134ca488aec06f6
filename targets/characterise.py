"""What can be said of a multiplier beyond its error statistics."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alwann_c.targets.gate_model import CELLS, estimate
from alwann_c.targets.multiplier import Multiplier, exact_products
from alwann_c.targets.netlist import Netlist
from alwann_c.targets.verilog_reader import read_netlist_file

Float64 = NDArray[np.float64]


def error_matrix(multiplier: Multiplier) -> NDArray[np.int64]:
    """M(a, w) - a w for the operands' 2^bits codes, int64 [2^bits, 2^bits]."""
    side = 1 << multiplier.bits
    error = multiplier.table.astype(np.int64) - exact_products(multiplier.signed, multiplier.bits)
    return np.asarray(error[:side, :side])


def circuit_of(multiplier: Multiplier) -> Netlist | None:
    """The multiplier's netlist, None where its library has none, or none in our form."""
    return None if multiplier.netlist is None else read_netlist_file(multiplier.netlist)


def characterise(multiplier: Multiplier) -> dict[str, Any]:
    """Error statistics and structure, as plain data.

    `symmetric` is the share of operand pairs with M(a, b) = M(b, a); `zero_weight` and
    `zero_activation` the largest |M(a, 0)| and |M(0, w)|; `rank` that of the error matrix, so that
    M(a, w) = a w + a sum of `rank` products; `gates` the netlist's, by kind.
    """
    side = 1 << multiplier.bits
    table = multiplier.table[:side, :side]
    netlist = circuit_of(multiplier)
    kinds = [] if netlist is None else [gate.kind for gate in netlist.gates]
    return {
        **asdict(multiplier.statistics),
        "symmetric": float(np.mean(table == table.T)),
        "zero_weight": int(np.abs(table[:, 0]).max()),
        "zero_activation": int(np.abs(table[0]).max()),
        "rank": int(np.linalg.matrix_rank(error_matrix(multiplier).astype(np.float64))),
        "gates": None if netlist is None else len(kinds),
        "gates_by_kind": {kind: kinds.count(kind) for kind in CELLS if kind in kinds} or None,
    }


def under_operands(
    multiplier: Multiplier, reference: Multiplier | None, activations: Float64, weights: Float64
) -> dict[str, Any]:
    """The same for operands that come with the given shares of their 2^bits codes.

    `mae`, `mse`, `bias` are means over them; `spread` is the RMS error once the mean error of every
    weight code is taken out, which a bias correction can do. Power is the gate model's, None
    without a netlist, `relative_power` that of `reference` being 1.
    """
    error = error_matrix(multiplier).astype(np.float64)
    mean = activations @ error
    variance = activations @ (error - mean) ** 2
    powers: list[float | None] = []
    for chosen in (multiplier, reference):
        netlist = None if chosen is None else circuit_of(chosen)
        powers.append(None if netlist is None else estimate(netlist, activations, weights).power_mw)
    power, base = powers
    return {
        "mae": float(activations @ np.abs(error) @ weights),
        "mse": float(activations @ error**2 @ weights),
        "bias": float(mean @ weights),
        "spread": float(np.sqrt(variance @ weights)),
        "power_mw": power,
        "relative_power": power / base if power is not None and base else None,
    }
