"""Your own accelerator: `accelerator.toml` describes it, the search finds who computes what.

Prints where the energy of an image goes: multiplications, adders, buffers, memory, leakage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from demo_files import arguments, job

import alwann_c as ax

PARTS = ("multiplication_pj", "overhead_pj", "buffer_pj", "dram_pj", "leakage_pj")


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Energy of an image by origin, pJ."""
    parser = arguments(__doc__)
    parser.add_argument("--target", default=Path(__file__).with_name("accelerator.toml"))
    chosen = parser.parse_args(argv)
    target, work = ax.load_target(chosen.target), job(chosen)
    quantized = ax.quantize(ax.load(work.model), work.calibration)
    found = ax.search(quantized, target, work.search, options=work.options)
    for layer in found.plan.layers:
        print(f"{layer.name:24} {layer.unit or '(exact)':10} {layer.multiplier}")
    layers = found.plan.energy["layers"]
    total = {part: sum(layer[part] for layer in layers) for part in PARTS}
    for part, picojoule in total.items():
        print(f"{part.removesuffix('_pj'):16} {picojoule / 1e6:8.3f} uJ")
    print(f"{1 - found.best.relative_energy:.1%} of the multiplication energy saved")
    return total


if __name__ == "__main__":
    main()
