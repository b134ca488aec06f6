"""Evolve and write the `alwann` multiplier library.

python tools/generate_alwann_library.py evolve STATE [--rounds 5] [--workers 1]
python tools/generate_alwann_library.py write STATE
python tools/generate_alwann_library.py extend STATE

`evolve` goes on where it stopped and gives the same circuits however often it is cut off; `write` makes
the library of what has been found. `extend` evolves from the shipped circuits for the bounds of EXTRA
and adds what is found.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alwann_c.targets import Multiplier, exact_products, load_library
from alwann_c.targets.arrays import exact_array
from alwann_c.targets.evolve.campaign import (
    STATE_FILE,
    Found,
    Operands,
    Seed,
    Task,
    load_found,
    run_campaign,
)
from alwann_c.targets.evolve.search import Options
from alwann_c.targets.gate_model import estimate
from alwann_c.targets.inverters import fuse_inverters
from alwann_c.targets.library_writer import Circuit, write_library
from alwann_c.targets.netlist import Netlist, product_table
from alwann_c.targets.verilog_reader import read_netlist_file

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


EXTRA = ((True, 1.2), (True, 50.0), (True, 140.0))
"""Signed or not, and bounds on the mean error, between the circuits of the campaign."""
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
    write_library(folder, "alwann", "Apache-2.0", circuits, comment(spent))
    return circuits


def extend(state: Path, folder: Path, options: Options, rounds: int, workers: int) -> list[str]:
    """Evolves circuits for EXTRA from those of the library and adds them to it; their names."""
    library = load_library(folder)
    known = {m.name: circuit_of(netlist_in(m), m.name, signed=m.signed) for m in library}
    wanted = [
        Task(Operands(8, signed), "mae", bound, int(WORST_TO_MEAN * bound))
        for signed, bound in EXTRA
    ]
    found = run_campaign(
        wanted,
        state,
        rounds=rounds,
        options=options,
        workers=workers,
        seeds=[Seed(c.netlist, 8, c.multiplier.signed) for c in known.values()],
        progress=lambda text: print(text, flush=True),
    )
    latest = {f.task: f for f in sorted(found, key=lambda entry: entry.round)}
    added = []
    for index, (signed, _) in enumerate(EXTRA):
        circuit = circuit_of(latest[index].netlist, "candidate", signed=signed)
        letter = "s" if signed else "u"
        share = 100 * power_of(circuit) / power_of(known[f"mul8{letter}_exact"])
        name = f"mul8{letter}_p{share:02.0f}"
        while name in known:
            name += "x"
        known[name] = Circuit(replace(circuit.multiplier, name=name), circuit.netlist)
        added.append(name)
    text = (folder / "library.toml").read_text(encoding="utf-8")
    before = re.search(r"(\d+) million evaluations", text)
    spent = (int(before.group(1)) if before else 0) * 1_000_000
    spent += sum(entry.evaluations for entry in found)
    ordered = sorted(known.values(), key=lambda c: (c.multiplier.signed, -power_of(c)))
    write_library(folder, "alwann", "Apache-2.0", ordered, comment(spent))
    return added


def netlist_in(multiplier: Multiplier) -> Netlist:
    """The circuit of a multiplier of the library."""
    assert multiplier.netlist is not None
    netlist = read_netlist_file(multiplier.netlist)
    assert netlist is not None
    return netlist


def comment(evaluations: int) -> str:
    """What library.toml begins with."""
    return (
        "Evolved multipliers, 8 x 8 bits, unsigned and signed, with their netlists.\n"
        f"Generated by tools/generate_alwann_library.py: {evaluations / 1e6:.0f} million evaluations.\n"
        "Tables: 256 rows, one per activation code, of 256 products, one per weight code, each a\n"
        "little-endian 16-bit integer; codes and products of signed ones are two's complement.\n"
        "power_mw, area_um2, delay_ns: estimates of targets/gate_model.py, for comparison."
    )


def main() -> None:
    """The three commands above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["evolve", "write", "extend"])
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
    options = Options(evaluations=arguments.evaluations)
    if arguments.action == "extend":
        effort = options, arguments.rounds, arguments.workers
        print("added", *extend(arguments.state, arguments.output, *effort))
        return
    run_campaign(
        tasks(),
        arguments.state,
        rounds=arguments.rounds,
        options=options,
        workers=arguments.workers,
        progress=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    main()
