"""Netlists as genes and back: one row (kind, a, b) a gate, wires numbered as in `Netlist`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alwann_c.targets.evolve.mutation import AND
from alwann_c.targets.netlist import FIRST_INPUT, Gate, GateKind, Netlist, simplify

KIND_NAMES: tuple[GateKind, ...] = ("and", "or", "xor", "nand", "nor", "xnor", "not")

Genes = NDArray[np.int64]


def genes_of(netlist: Netlist, spare: int, seed: int = 0) -> tuple[Genes, Genes]:
    """Genes [gates + spare, 3] and outputs; `spare` unused gates are strewn among the others.

    Unused gates give mutations room for what the circuit did not have.
    """
    first = FIRST_INPUT + netlist.inputs
    total = len(netlist.gates) + spare
    generator = np.random.default_rng(seed)
    places = np.sort(generator.choice(total, len(netlist.gates), replace=False))
    wire = np.concatenate([np.arange(first), first + places]).astype(np.int64)
    genes = np.zeros((total, 3), dtype=np.int64)
    for place in range(total):
        genes[place] = (AND, *generator.integers(0, first + place, 2))
    for place, gate in zip(places, netlist.gates, strict=True):
        genes[place] = (KIND_NAMES.index(gate.kind), wire[gate.a], wire[gate.b])
    return genes, wire[list(netlist.outputs)]


def netlist_of(genes: Genes, outputs: Genes, inputs: int) -> Netlist:
    """The circuit the genes describe, simplified."""
    gates = []
    for kind, a, b in genes.tolist():
        name = KIND_NAMES[kind]
        gates.append(Gate(name, a, a if name == "not" else b))
    return simplify(Netlist(inputs, tuple(gates), tuple(outputs.tolist())))
