"""Fit the gate model's factors to the published figures of a multiplier library.

    python tools/fit_gate_model.py [LIBRARY] [--json]

LIBRARY defaults to that of docs/reproduce.md. Only circuits of known structure enter: those whose table
is that of an array multiplier with some partial products left out (either operand being the row),
and of several such the cheapest. Every factor is a least-squares fit through the origin of the
published figure against the model's sum, `alwann_c/targets/gate_model.py`.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from shared_folder import SHARED

from alwann_c.targets import Library, load_library
from alwann_c.targets.arrays import Cut, truncated_arrays
from alwann_c.targets.gate_model import CELLS, depth, switched_cells
from alwann_c.targets.netlist import Netlist, product_table

DEFAULT = SHARED / "evoapprox"
FIGURES = ("power_mw", "area_um2", "delay_ns")


def known_structures(library: Library) -> dict[str, tuple[Cut, Netlist]]:
    """Netlists of the library's circuits that are arrays with partial products left out."""
    wanted: dict[bytes, list[str]] = {}
    for m in library:
        for table in (m.table, m.table.T):
            wanted.setdefault(np.ascontiguousarray(table).tobytes(), []).append(m.name)
    found: dict[str, tuple[Cut, Netlist]] = {}
    for signed in (False, True):
        for cut, netlist in truncated_arrays(8, signed=signed):
            for name in wanted.get(product_table(netlist, signed=signed).tobytes(), ()):
                known = found.get(name)
                if known is None or switched_cells(netlist) < switched_cells(known[1]):
                    found[name] = (cut, netlist)
    return found


def sums(netlist: Netlist) -> tuple[float, float, float]:
    """What the three factors multiply."""
    area = sum(CELLS[gate.kind] for gate in netlist.gates)
    return switched_cells(netlist), area, depth(netlist)


def fit(library: Library) -> dict[str, object]:
    """Factors, R^2 and ratios model / published, per figure."""
    known = known_structures(library)
    names = [name for name in known if library.find(name).power_mw]
    result: dict[str, object] = {"circuits": {name: known[name][0] for name in names}}
    x = np.array([sums(known[name][1]) for name in names])
    for column, figure in enumerate(FIGURES):
        y = np.array([getattr(library.find(name), figure) for name in names], dtype=np.float64)
        factor = float(x[:, column] @ y / (x[:, column] @ x[:, column]))
        model = factor * x[:, column]
        result[figure] = {
            "factor": factor,
            "r2": float(1 - np.sum((model - y) ** 2) / np.sum((y - y.mean()) ** 2)),
            "ratio": {name: float(r) for name, r in zip(names, model / y, strict=True)},
        }
    return result


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--json"]
    outcome = fit(load_library(arguments[0] if arguments else DEFAULT))
    print(json.dumps(outcome, indent=None if "--json" in sys.argv else 1))
