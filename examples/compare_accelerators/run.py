"""Two accelerators for one network: layers one after another on two tiles, or a pipeline of two.

Prints, for the cheapest plan of either within the allowed drop, energy, accuracy and speed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from demo_files import FEW, arguments, job

import alwann_c as ax
from alwann_c.targets import Target


def accelerator(architecture: str) -> Target:
    """Two tiles of 16 x 16 MACs at 200 MHz."""
    unit = {"name": "tile", "count": 2, "rows": 16, "columns": 16, "multipliers": list(FEW)}
    document: dict[str, Any] = {
        "name": f"two-{architecture}",
        "architecture": architecture,
        "clock_mhz": 200.0,
        "unit": [unit],
    }
    return Target.model_validate(document)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Relative energy of either accelerator's plan."""
    chosen = arguments(__doc__).parse_args(argv)
    work = job(chosen)
    quantized = ax.quantize(ax.load(work.model), work.calibration)
    print(f"{'accelerator':20} {'energy':>7} {'accuracy':>9} {'images/s':>9}")
    energies = {}
    for architecture in ("power-gated", "pipelined"):
        target = accelerator(architecture)
        found = ax.search(quantized, target, work.search, options=work.options)
        rate = found.plan.energy["images_per_second"]
        best = found.best
        print(f"{target.name:20} {best.relative_energy:7.3f} {best.accuracy:9.1%} {rate:9.0f}")
        energies[architecture] = best.relative_energy
    return energies


if __name__ == "__main__":
    main()
