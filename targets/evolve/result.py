"""From what a campaign found to a library of multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alwann_c.targets.arrays import exact_array
from alwann_c.targets.evolve.campaign import Found, Operands, Task
from alwann_c.targets.gate_model import estimate
from alwann_c.targets.inverters import fuse_inverters
from alwann_c.targets.library_writer import Circuit, write_library
from alwann_c.targets.multiplier import Multiplier
from alwann_c.targets.netlist import Netlist, product_table


def write_found(
    folder: Path, name: str, tasks: Sequence[Task], found: Sequence[Found]
) -> list[Multiplier]:
    """Writes the exact array and the latest circuit of every task as a library; returns them.

    Equal tables are taken once, the cheaper circuit. Figures are the gate model's, all operands
    alike, so that libraries can be compared; where a task has a distribution, the power under it is
    told in `origin`.
    """
    operands = tasks[0].operands
    latest = {entry.task: entry for entry in sorted(found, key=lambda entry: entry.round)}
    circuits = {"": _circuit(exact_array(operands.bits, signed=operands.signed), operands, "")}
    for index in sorted(latest):
        task = tasks[index]
        made = _circuit(latest[index].netlist, operands, _bound(task, latest[index]))
        if made.multiplier.is_exact:
            if _power(made) < _power(circuits[""]):
                circuits[""] = made
            continue
        known = circuits.setdefault(made.multiplier.content_hash, made)
        if _power(made) < _power(known):
            circuits[made.multiplier.content_hash] = made
    ordered = sorted(circuits.values(), key=_power, reverse=True)
    exact = _power(circuits[""])
    named = [_named(circuit, exact) for circuit in ordered]
    spent = sum(entry.evaluations for entry in found)
    write_library(folder, name, "", named, f"Evolved: {spent:,} evaluations of circuits.")
    return [circuit.multiplier for circuit in named]


def _circuit(netlist: Netlist, operands: Operands, bound: str) -> Circuit:
    netlist = fuse_inverters(netlist)
    figures = estimate(netlist)
    origin = figures.origin
    if operands.activations is not None or operands.weights is not None:
        shares = [
            None if s is None else np.array(s) for s in (operands.activations, operands.weights)
        ]
        measured = estimate(netlist, *shares).power_mw
        origin += f"; {measured:.5g} mW under the operands it was evolved for"
    multiplier = Multiplier(
        "evolved",
        product_table(netlist, signed=operands.signed),
        signed=operands.signed,
        bits=operands.bits,
        power_mw=figures.power_mw,
        area_um2=figures.area_um2,
        delay_ns=figures.delay_ns,
        origin=origin + bound,
    )
    return Circuit(multiplier, netlist)


def _bound(task: Task, entry: Found) -> str:
    if task.limit is not None:
        return f"; evolved for a worst error of at most {task.limit}"
    return f"; evolved for a {task.metric} of at most {task.bound:g}, reaching {entry.error:.6g}"


def _power(circuit: Circuit) -> float:
    return circuit.multiplier.power_mw or 0.0


def _named(circuit: Circuit, exact: float) -> Circuit:
    m = circuit.multiplier
    stem = f"mul{m.bits}{'s' if m.signed else 'u'}"
    share = round(100 * _power(circuit) / exact)
    name = f"{stem}_exact" if m.is_exact else f"{stem}_p{share:02d}_{m.content_hash[:6]}"
    return Circuit(replace(m, name=name), circuit.netlist)
