"""Power, area and delay of a netlist: unit gates, weighted by how often they switch.

A two-input AND, NAND, OR or NOR counts 1 cell, an XOR or XNOR 2, an inverter a half: the unit-gate
model. With p the share of operand pairs for which a gate's output is 1, it switches with
probability 2 p (1 - p) from one random pair to the next (zero delay: glitches are not counted).

    power_mw = MW_PER_SWITCH * sum_g cells(g) * (2 p_g (1 - p_g) + IDLE)
    area_um2 = UM2_PER_CELL * sum_g cells(g)
    delay_ns = NS_PER_CELL * largest sum of cells on a path

The three factors are least-squares fits to published figures of EvoApproxLib (45 nm): of the 14
of its circuits whose tables are those of an array multiplier with partial products left out, so
that their structure is known. `tools/fit_gate_model.py` repeats the fit and
prints how well it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alwann_c.targets.netlist import FIRST_INPUT, GateKind, Netlist, operand_bits, wire_words

CELLS: dict[GateKind, float] = {
    "and": 1.0,
    "nand": 1.0,
    "or": 1.0,
    "nor": 1.0,
    "xor": 2.0,
    "xnor": 2.0,
    "not": 0.5,
}
IDLE = 0.02
"""Cost of a gate that never switches, relative to one that always does; leakage, by assumption."""

MW_PER_SWITCH = 0.002403
UM2_PER_CELL = 1.729
NS_PER_CELL = 0.02947


@dataclass(frozen=True)
class Estimate:
    """What the model says of a circuit; `origin` goes with the figures wherever they go."""

    power_mw: float
    area_um2: float
    delay_ns: float
    origin: str


def estimate(
    netlist: Netlist,
    activations: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Estimate:
    """The model's figures, switching under the given operand distribution (see `ones_shares`)."""
    where = "" if activations is None and weights is None else ", operands as measured"
    return Estimate(
        power_mw=MW_PER_SWITCH * switched_cells(netlist, activations, weights),
        area_um2=UM2_PER_CELL * sum(CELLS[gate.kind] for gate in netlist.gates),
        delay_ns=NS_PER_CELL * depth(netlist),
        origin=f"gate model: {len(netlist.gates)} gates{where}",
    )


def ones_shares(
    netlist: Netlist,
    activations: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Share of multiplications for which each wire is 1, exhaustively simulated; [wires].

    `activations` and `weights` are shares of the 2^bits codes (any scale), taken as independent;
    all codes are alike where they are not given.
    """
    words = wire_words(netlist)
    if activations is None and weights is None:
        counts: NDArray[np.int64] = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
        return counts / 65536.0
    bits = operand_bits(netlist)
    first, second = (_shares_of_256(shares, bits) for shares in (activations, weights))
    found = np.empty(len(words))
    for wire, row in enumerate(words):
        ones = np.unpackbits(row.view(np.uint8), bitorder="little").reshape(256, 256)
        found[wire] = first @ (ones @ second)
    return found


def switched_cells(
    netlist: Netlist,
    activations: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Sum over gates of cells x (2 p (1 - p) + IDLE): power in units of the model."""
    p = ones_shares(netlist, activations, weights)[FIRST_INPUT + netlist.inputs :]
    cells = np.array([CELLS[gate.kind] for gate in netlist.gates])
    return float(np.sum(cells * (2 * p * (1 - p) + IDLE)))


def depth(netlist: Netlist) -> float:
    """Cells on the longest path from an input to an output."""
    reached = [0.0] * (FIRST_INPUT + netlist.inputs)
    for gate in netlist.gates:
        reached.append(max(reached[gate.a], reached[gate.b]) + CELLS[gate.kind])
    return max((reached[wire] for wire in netlist.outputs), default=0.0)


def _shares_of_256(shares: NDArray[np.float64] | None, bits: int) -> NDArray[np.float64]:
    """Shares of 256 codes that repeat every 2^bits, adding up to 1."""
    codes = np.ones(256) if shares is None else np.resize(shares, 256).astype(np.float64)
    if shares is not None and len(shares) != 1 << bits:
        raise ValueError(f"a distribution of {1 << bits} codes is needed")
    return np.asarray(codes / codes.sum(), dtype=np.float64)
