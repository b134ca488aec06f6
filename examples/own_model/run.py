"""Your own model: describe its images, look at its layers, let the search approximate it.

`python examples/own_model/run.py --model net.onnx -o folder` writes a data set description as you
would for your own images, and a plan.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from demo_files import FEW, arguments, job

import alwann_c as ax
from alwann_c.plan import write_plan

TARGET = """
name = "two-units"
architecture = "power-gated"
clock_mhz = 200.0
[[unit]]
name = "tile"
count = 2
multipliers = {multipliers}
"""


def describe(folder: Path, data: ax.Dataset) -> Path:
    """Writes images as float32 in NCHW, already prepared, and what that means."""
    np.savez(folder / "mine.npz", images=data.images(), labels=data.labels)
    text = 'file = "mine.npz"\nlayout = "NCHW"\nscale = 1.0\n'
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return folder / "mine.toml"


def main(argv: Sequence[str] | None = None) -> float:
    """The relative energy of the chosen plan."""
    parser = arguments(__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("own-model"))
    chosen = parser.parse_args(argv)
    chosen.output.mkdir(parents=True, exist_ok=True)
    work = job(chosen)
    model = ax.load(work.model)
    for layer in model.layers:
        print(f"{layer.name:24} weights {layer.weight.shape}")
    mine = ax.load_dataset(describe(chosen.output, work.search))
    target = chosen.output / "target.toml"
    target.write_text(TARGET.format(multipliers=list(FEW)), encoding="utf-8")
    quantized = ax.quantize(model, work.calibration)
    found = ax.search(quantized, ax.load_target(target), mine, options=work.options)
    write_plan(found.plan, chosen.output / "plan.json")
    best = found.best
    print(f"float {found.float_accuracy:.1%}, approximate {best.accuracy:.1%}")
    print(f"{1 - best.relative_energy:.1%} of the multiplication energy saved")
    return best.relative_energy


if __name__ == "__main__":
    main()
