"""Evolve and write the `alwann` multiplier library.

python tools/generate_alwann_library.py evolve STATE [--rounds 5] [--workers 1]
python tools/generate_alwann_library.py write STATE
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alwann_c.targets import Multiplier, exact_products
from alwann_c.targets.arrays import exact_array
from alwann_c.targets.evolve.campaign import (
    STATE_FILE,
    Found,
    Operands,
    Task,
    load_found,
    run_campaign,
)
from alwann_c.targets.evolve.search import Options
from alwann_c.targets.gate_model import estimate
from alwann_c.targets.inverters import fuse_inverters
from alwann_c.targets.library_writer import Circuit, write_library
from alwann_c.targets.netlist import Netlist, product_table

FOLDER = Path(__file__).resolve().parents[1] / "targets" / "libraries" / "alwann"
MAE_BOUNDS = {False: (0.4, 2500.0, 40), True: (0.4, 2000.0, 16)}
MSE_BOUNDS = {False: (20.0, 1500.0, 14), True: (20.0, 800.0, 6)}
"""Smallest and largest bound and how many, logarithmically spaced; the MSE's as its root."""


def tasks() -> list[Task]:
    """The campaign: exact circuits, bounds on the mean error, bounds on the mean square."""
    found = []
    for signed in (False, True):
        operands = Operands(8, signed)
        found.append(Task(operands, "mae", 0.0))
        for bound in np.geomspace(*MAE_BOUNDS[signed]):
            found.append(Task(operands, "mae", round(float(bound), 3)))
        for bound in np.geomspace(*MSE_BOUNDS[signed]):
            found.append(Task(operands, "mse", round(float(bound) ** 2, 1)))
    return found


SLICES = {False: (40, 16), True: (20, 8)}
"""Slices of the exact array's power: one circuit each by mean error, and by spread."""
WORST_TO_MEAN = 30
"""Circuits that are far off on a few pairs (-128 x -128 of signed ones) are left out."""
LEAST_POWER = 0.03
"""Relative to the exact array; below, the model says nothing and little is left of the product."""


def circuit_of(netlist: Netlist, name: str, *, signed: bool) -> Circuit:
    """The netlist with its table and the gate model's figures."""
    netlist = fuse_inverters(netlist)
    figures = estimate(netlist)
    multiplier = Multiplier(
        name,
        product_table(netlist, signed=signed),
        signed=signed,
        power_mw=figures.power_mw,
        area_um2=figures.area_um2,
        delay_ns=figures.delay_ns,
        library="alwann",
        origin=figures.origin,
    )
    return Circuit(multiplier, netlist)


def spread(multiplier: Multiplier) -> float:
    """RMS error once the mean error of every weight code is taken out, all operands alike."""
    error = (multiplier.table - exact_products(multiplier.signed)).astype(np.float64)
    return float(np.sqrt(error.var(axis=0).mean()))


def power_of(circuit: Circuit) -> float:
    """Power in mW by the gate model."""
    assert circuit.multiplier.power_mw is not None
    return circuit.multiplier.power_mw


def best_by(
    circuits: Sequence[Circuit], figure: Callable[[Multiplier], float], exact: float, slices: int
) -> dict[int, Circuit]:
    """The circuits no other beats in power and `figure`, the best one of each slice."""
    best: dict[int, Circuit] = {}
    least = np.inf
    for circuit in sorted(circuits, key=lambda c: (power_of(c), figure(c.multiplier))):
        if figure(circuit.multiplier) >= least:
            continue
        least = figure(circuit.multiplier)
        best[int(slices * power_of(circuit) / exact)] = circuit
    return best


def selection(found: Sequence[Found], wanted: Sequence[Task], *, signed: bool) -> list[Circuit]:
    """The circuits worth shipping, by falling power, the exact array first."""
    letter = "s" if signed else "u"
    exact = circuit_of(exact_array(8, signed=signed), f"mul8{letter}_exact", signed=signed)
    full = power_of(exact)
    netlists = [f.netlist for f in found if wanted[f.task].operands.signed == signed]
    family = [circuit_of(netlist, "candidate", signed=signed) for netlist in netlists]
    family = [
        c
        for c in family
        if LEAST_POWER * full < power_of(c) < full
        and 0 < c.multiplier.wce <= WORST_TO_MEAN * c.multiplier.mae
    ]
    fine, coarse = SLICES[signed]
    chosen: dict[str, Circuit] = {}
    for figure, slices, mark in ((lambda m: m.mae, fine, ""), (spread, coarse, "r")):
        for circuit in best_by(family, figure, full, slices).values():
            multiplier = circuit.multiplier
            name = f"mul8{letter}_p{100 * power_of(circuit) / full:02.0f}{mark}"
            while name in (c.multiplier.name for c in chosen.values()):
                name += "x"
            named = Circuit(replace(multiplier, name=name), circuit.netlist)
            chosen.setdefault(multiplier.content_hash, named)
    return [exact, *sorted(chosen.values(), key=power_of, reverse=True)]


def write(state: Path, folder: Path) -> list[Circuit]:
    """Writes the library from what the campaign in `state` has found so far."""
    found, wanted = load_found(state / STATE_FILE), tasks()
    circuits = [c for signed in (False, True) for c in selection(found, wanted, signed=signed)]
    spent = sum(entry.evaluations for entry in found)
    comment = (
        "Evolved multipliers, 8 x 8 bits, unsigned and signed, with their netlists.\n"
        f"Generated by tools/generate_alwann_library.py: {spent / 1e6:.0f} million evaluations.\n"
        "Tables: 256 rows, one per activation code, of 256 products, one per weight code, each a\n"
        "little-endian 16-bit integer; codes and products of signed ones are two's complement.\n"
        "power_mw, area_um2, delay_ns: estimates of targets/gate_model.py, for comparison."
    )
    write_library(folder, "alwann", "Apache-2.0", circuits, comment)
    return circuits


def main() -> None:
    """The two commands above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["evolve", "write"])
    parser.add_argument("state", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=1_000_000)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    if arguments.action == "write":
        print(f"{len(write(arguments.state, arguments.output))} multipliers written")
        return
    arguments.state.mkdir(parents=True, exist_ok=True)
    run_campaign(
        tasks(),
        arguments.state,
        rounds=arguments.rounds,
        options=Options(evaluations=arguments.evaluations),
        workers=arguments.workers,
        progress=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    main()
