"""Gate-level netlists of multipliers: evaluation on all operand pairs, simplification, estimates.

The power and area estimates are linear in the gate counts. The coefficients are a least-squares fit
over 71 EvoApproxLib circuits, their gates counted in the published C netlists, against the power
and area published for them (45 nm): R^2 0.993 for power, 0.991 for area.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

GateKind = Literal["and", "or", "xor", "nand", "nor", "xnor", "not"]

OPERAND_BITS = 8
MAX_OPERAND_BITS = OPERAND_BITS
FIRST_INPUT = 2

POWER_MW_PER_GATE = {"xor": 0.0032, "or": 0.0012, "and": 0.0}
AREA_UM2_PER_GATE = {"xor": 2.51, "or": 2.33, "and": 2.00}

_CLASS_OF: dict[GateKind, str | None] = {
    "and": "and",
    "nand": "and",
    "or": "or",
    "nor": "or",
    "xor": "xor",
    "xnor": "xor",
    "not": None,
}
_INVERTED: dict[GateKind, GateKind] = {"nand": "and", "nor": "or", "xnor": "xor"}


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate reading wires `a` and `b`; `not` reads `a` only (its `b` equals `a`)."""

    kind: GateKind
    a: int
    b: int


@dataclass(frozen=True)
class Netlist:
    """A combinational circuit in topological order.

    Wire 0 is constant 0 and wire 1 constant 1; wires 2 .. inputs + 1 are the inputs, and gate g
    drives wire inputs + 2 + g. For a multiplier the first half of the inputs are the activation's
    bits and the second half the weight's; buses, outputs included, run from the least significant
    bit up.
    """

    inputs: int
    gates: tuple[Gate, ...]
    outputs: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises ValueError where a gate or an output reads a wire that is not driven before it."""
        first_gate = FIRST_INPUT + self.inputs
        for index, gate in enumerate(self.gates):
            if not (0 <= gate.a < first_gate + index and 0 <= gate.b < first_gate + index):
                raise ValueError(f"gate {index} reads a wire that no earlier gate drives")
        if any(not 0 <= wire < first_gate + len(self.gates) for wire in self.outputs):
            raise ValueError("an output reads a wire that no gate drives")


def gate_counts(netlist: Netlist) -> dict[str, int]:
    """Number of gates per class of the model: inverted kinds count as their base, `not` is free."""
    counts = dict.fromkeys(POWER_MW_PER_GATE, 0)
    for gate in netlist.gates:
        cell = _CLASS_OF[gate.kind]
        if cell is not None:
            counts[cell] += 1
    return counts


def estimate_power_mw(netlist: Netlist) -> float:
    """Power in mW: 0.0032 XOR + 0.0012 OR, AND gates having no weight of their own in the fit.

    In an array multiplier the AND gates rise with the adders, so the adders carry their share. The
    estimate is meaningless for circuits without adders, for which it tends to 0.
    """
    counts = gate_counts(netlist)
    return sum(POWER_MW_PER_GATE[cell] * count for cell, count in counts.items())


def estimate_area_um2(netlist: Netlist) -> float:
    """Area in square micrometres: 2.51 XOR + 2.00 AND + 2.33 OR."""
    counts = gate_counts(netlist)
    return sum(AREA_UM2_PER_GATE[cell] * count for cell, count in counts.items())


def operand_bits(netlist: Netlist) -> int:
    """Width n of the operands of an n x n multiplier of 2n inputs and 2n outputs.

    Raises ValueError for any other number of inputs and outputs, and for n above 8.
    """
    bits = netlist.inputs // 2
    if netlist.inputs != 2 * bits or len(netlist.outputs) != 2 * bits or not 1 <= bits <= 8:
        raise ValueError(
            f"{netlist.inputs} input bits and {len(netlist.outputs)} output bits; a product table"
            " needs n + n input bits and 2 n output bits, n at most 8"
        )
    return bits


def wire_words(netlist: Netlist) -> NDArray[np.uint64]:
    """Every wire on all 65,536 pairs of codes: [wires, 1024], bit p & 63 of word p >> 6 for pair p.

    Pair p has activation code p >> 8 and weight code p & 255; operands narrower than 8 bits read
    the low bits of either code.
    """
    bits = operand_bits(netlist)
    pairs = 1 << (2 * OPERAND_BITS)
    first_gate = FIRST_INPUT + netlist.inputs
    wires = np.zeros((first_gate + len(netlist.gates), pairs // 64), dtype=np.uint64)
    wires[1] = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
    index = np.arange(pairs, dtype=np.uint32)
    for bit in range(bits):
        wires[FIRST_INPUT + bit] = _pack(index >> np.uint32(OPERAND_BITS + bit))
        wires[FIRST_INPUT + bits + bit] = _pack(index >> np.uint32(bit))
    for row, gate in enumerate(netlist.gates, start=first_gate):
        wires[row] = _apply(gate.kind, wires[gate.a], wires[gate.b])
    return wires


def product_table(netlist: Netlist, *, signed: bool) -> NDArray[np.int32]:
    """Product of every pair of codes, shape (256, 256), row = activation code, column = weight code.

    `signed` reads the output bits as two's complement. Operands narrower than 8 bits read the low
    bits of either code. Raises ValueError as `operand_bits` does.
    """
    bits = operand_bits(netlist)
    wires = wire_words(netlist)
    products = np.zeros(1 << (2 * OPERAND_BITS), dtype=np.int32)
    for bit, wire in enumerate(netlist.outputs):
        ones = np.unpackbits(wires[wire].view(np.uint8), bitorder="little").astype(np.int32)
        sign_bit = signed and bit == 2 * bits - 1
        products += -(ones << bit) if sign_bit else ones << bit
    return products.reshape(256, 256)


def simplify(netlist: Netlist, fixed: Mapping[int, bool] | None = None) -> Netlist:
    """An equivalent circuit without constant, repeated or unread gates.

    `fixed` ties wires (numbered as in `netlist`) to a constant first: this is how partial products
    are left out of a multiplier.
    """
    builder = Builder(netlist.inputs)
    ties = {} if fixed is None else fixed
    new = [0, 1]
    for wire in range(FIRST_INPUT, FIRST_INPUT + netlist.inputs):
        new.append(int(ties[wire]) if wire in ties else wire)
    for wire, gate in enumerate(netlist.gates, start=FIRST_INPUT + netlist.inputs):
        tied = wire in ties
        new.append(int(ties[wire]) if tied else builder.add(gate.kind, new[gate.a], new[gate.b]))
    return _without_dead_gates(
        Netlist(netlist.inputs, tuple(builder.gates), tuple(new[wire] for wire in netlist.outputs))
    )


class Builder:
    """Appends gates, folding constants and sharing equal ones."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.first_gate = FIRST_INPUT + inputs
        self.gates: list[Gate] = []
        self._known: dict[Gate, int] = {}

    def add(self, kind: GateKind, a: int, b: int) -> int:
        """Wire carrying the gate's output; a new gate only where nothing simpler does."""
        low, high = min(a, b), max(a, b)
        if kind == "not":
            return self._invert(a)
        if low > 1 and low != high:
            return self._emit(Gate(kind, low, high))
        if kind in _INVERTED:
            return self._invert(self.add(_INVERTED[kind], low, high))
        if kind == "and":
            return high if low in (1, high) else 0
        if kind == "or":
            return high if low in (0, high) else 1
        if low == high:
            return 0
        return self._invert(high) if low == 1 else high

    def _invert(self, wire: int) -> int:
        if wire <= 1:
            return 1 - wire
        source = self.gates[wire - self.first_gate] if wire >= self.first_gate else None
        if source is not None and source.kind == "not":
            return source.a
        return self._emit(Gate("not", wire, wire))

    def _emit(self, gate: Gate) -> int:
        if gate not in self._known:
            self._known[gate] = self.first_gate + len(self.gates)
            self.gates.append(gate)
        return self._known[gate]


def _without_dead_gates(netlist: Netlist) -> Netlist:
    first_gate = FIRST_INPUT + netlist.inputs
    read = set(netlist.outputs)
    for wire in range(first_gate + len(netlist.gates) - 1, first_gate - 1, -1):
        if wire in read:
            gate = netlist.gates[wire - first_gate]
            read.update((gate.a, gate.b))
    new = {wire: wire for wire in range(first_gate)}
    kept: list[Gate] = []
    for wire, gate in enumerate(netlist.gates, start=first_gate):
        if wire in read:
            new[wire] = first_gate + len(kept)
            kept.append(Gate(gate.kind, new[gate.a], new[gate.b]))
    return Netlist(netlist.inputs, tuple(kept), tuple(new[wire] for wire in netlist.outputs))


def _pack(bits: NDArray[np.uint32]) -> NDArray[np.uint64]:
    ones = (bits & np.uint32(1)).astype(np.uint8)
    return np.packbits(ones, bitorder="little").view(np.uint64)


def _apply(kind: GateKind, a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    if kind == "not":
        return ~a
    base = _INVERTED.get(kind, kind)
    if base == "and":
        value = a & b
    elif base == "or":
        value = a | b
    else:
        value = a ^ b
    return ~value if kind in _INVERTED else value
