"""Compare the shipped `alwann` library with another: mean error at equal relative power.

    python tools/compare_libraries.py [LIBRARY] [-o FILE.json]

LIBRARY defaults to that of docs/reproduce.md, its power figures as published. Power is relative to each
library's own exact multiplier. For circuits of LIBRARY whose structure is known (arrays with
partial products left out, see fit_gate_model.py) the gate model's estimate is compared as well.
At each of 91 powers from 10 % to 100 % the best circuit of at most that power counts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from fit_gate_model import DEFAULT, known_structures

from alwann_c.targets import Library, load_builtin_library, load_library
from alwann_c.targets.gate_model import estimate

POWERS = np.linspace(0.10, 1.0, 91)

Points = list[tuple[float, float]]


def points(library: Library, *, signed: bool) -> Points:
    """(relative power, MAE) by the library's own figures."""
    exact = library.exact(signed=signed).power_mw
    assert exact
    return [(m.power_mw / exact, m.mae) for m in library.select(signed=signed) if m.power_mw]


def modelled(library: Library, *, signed: bool) -> Points:
    """(relative power, MAE) by the gate model, circuits of known structure only."""
    known = {n: c[1] for n, c in known_structures(library).items()}
    chosen = [m for m in library.select(signed=signed) if m.name in known]
    exact = estimate(known[library.exact(signed=signed).name]).power_mw
    return [(estimate(known[m.name]).power_mw / exact, m.mae) for m in chosen]


def compare(ours: Points, theirs: Points) -> dict[str, float]:
    """Shares of POWERS at which our MAE is no worse, and within 1.3 times; the median ratio."""

    def best(front: Points, power: float) -> float:
        return min((mae for p, mae in front if p <= power + 1e-9), default=np.inf)

    a = np.array([best(ours, power) for power in POWERS])
    b = np.array([best(theirs, power) for power in POWERS])
    ratio = [x / y for x, y in zip(a, b, strict=True) if np.isfinite(y) and y > 0]
    return {
        "circuits": len(theirs),
        "no_worse": float(np.mean(a <= b)),
        "within_1.3": float(np.mean(a <= 1.3 * b)),
        "median_ratio": float(np.median(ratio)),
        "worst_ratio": float(np.max(ratio)),
    }


def main() -> None:
    """Prints the comparison as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library", nargs="?", default=DEFAULT)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    ours, theirs = load_builtin_library("alwann"), load_library(arguments.library)
    result = {}
    for signed in (False, True):
        kind = "signed" if signed else "unsigned"
        mine = points(ours, signed=signed)
        result[f"{kind}, as published"] = compare(mine, points(theirs, signed=signed))
        known = modelled(theirs, signed=signed)
        if len(known) > 1:
            result[f"{kind}, gate model"] = compare(mine, known)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
