"""Netlists as short text: `16;and 2 10;xor 18 19;…;18 20 …` is inputs; gates; outputs."""

from __future__ import annotations

from typing import get_args

from alwann_c.targets.netlist import Gate, GateKind, Netlist

_KINDS: dict[str, GateKind] = {kind: kind for kind in get_args(GateKind)}


def netlist_to_text(netlist: Netlist) -> str:
    """One line; `netlist_from_text` reads it back."""
    gates = [
        f"{g.kind} {g.a}" if g.kind == "not" else f"{g.kind} {g.a} {g.b}" for g in netlist.gates
    ]
    return ";".join([str(netlist.inputs), *gates, " ".join(map(str, netlist.outputs))])


def netlist_from_text(text: str) -> Netlist:
    """The netlist; raises ValueError for anything else."""
    inputs, *middle, outputs = text.split(";")
    gates = []
    for item in middle:
        name, *wires = item.split(" ")
        if name not in _KINDS or len(wires) != (1 if name == "not" else 2):
            raise ValueError(f"no gate: {item[:40]!r}")
        gates.append(Gate(_KINDS[name], int(wires[0]), int(wires[-1])))
    return Netlist(int(inputs), tuple(gates), tuple(int(wire) for wire in outputs.split(" ")))
