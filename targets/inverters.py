"""Gates and inverters as one cell: AND and NOT become NAND, and so on."""

from __future__ import annotations

from collections import Counter

from alwann_c.targets.netlist import FIRST_INPUT, Gate, GateKind, Netlist, simplify

_INVERSE: dict[GateKind, GateKind] = {
    "and": "nand",
    "or": "nor",
    "xor": "xnor",
    "nand": "and",
    "nor": "or",
    "xnor": "xor",
}


def fuse_inverters(netlist: Netlist) -> Netlist:
    """The same circuit with every inverter taken into the gate before it, if nothing else reads it."""
    first = FIRST_INPUT + netlist.inputs
    readers = Counter(netlist.outputs)
    for gate in netlist.gates:
        readers.update({gate.a, gate.b})
    gates = list(netlist.gates)
    for index, gate in enumerate(netlist.gates):
        source = gate.a - first
        if gate.kind != "not" or source < 0 or readers[gate.a] > 1:
            continue
        before = gates[source]
        if before.kind in _INVERSE:
            gates[index] = Gate(_INVERSE[before.kind], before.a, before.b)
    return simplify(Netlist(netlist.inputs, tuple(gates), netlist.outputs))
