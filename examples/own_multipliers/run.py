"""Your own multipliers: three product tables, a library around them, a search that chooses.

`mine_rounded` rounds the product to multiples of 64, `mine_logarithm` is Mitchell's: it adds
logarithms whose fractions are taken as linear. Power figures of your circuits come from your synthesis
tool; those below are invented, as the names of the multipliers are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from demo_files import arguments, job

import alwann_c as ax

POWER_MW = {"mine_exact": 0.40, "mine_rounded": 0.33, "mine_logarithm": 0.15}
TARGET = """
name = "mine"
architecture = "power-gated"
clock_mhz = 200.0
[[unit]]
name = "tile"
count = 2
"""


def logarithm(a: npt.NDArray[np.int64], w: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Mitchell's product of codes 0..255; 0 where an operand is 0."""
    both = np.stack([a, w])
    exponent = np.frexp(np.maximum(both, 1).astype(np.float64))[1] - 1
    fraction = both / 2.0**exponent - 1
    total, carried = exponent.sum(axis=0), fraction.sum(axis=0)
    product = np.where(carried < 1, 2.0**total * (1 + carried), 2.0 ** (total + 1) * carried)
    return np.where((a == 0) | (w == 0), 0, np.floor(product)).astype(np.int64)


def write_library(folder: Path) -> Path:
    """`library.toml` and three tables: row = activation, column = weight."""
    folder.mkdir(parents=True, exist_ok=True)
    a, w = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    tables = {
        "mine_exact": a * w,
        "mine_rounded": a * w // 64 * 64,
        "mine_logarithm": logarithm(a, w),
    }
    lines = ["schema = 1", 'name = "mine"', 'license = "MIT"']
    for name, table in tables.items():
        (folder / f"{name}.bin").write_bytes(table.astype("<u2").tobytes())
        entry = [f'name = "{name}"', f'table = "{name}.bin"', "signed = false"]
        lines += ["", "[[multiplier]]", *entry, f"power_mw = {POWER_MW[name]}"]
    (folder / "library.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Multipliers of the chosen plan's units."""
    parser = arguments(__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("own-multipliers"))
    chosen = parser.parse_args(argv)
    library = ax.load_library(write_library(chosen.output))
    for multiplier in library:
        print(f"{multiplier.name:16} MAE {multiplier.mae:8.2f}  WCE {multiplier.wce:6}")
    target = chosen.output / "target.toml"
    target.write_text(TARGET, encoding="utf-8")
    work = job(chosen)
    quantized = ax.quantize(ax.load(work.model), work.calibration)
    found = ax.search(
        quantized, ax.load_target(target), work.search, library=library, options=work.options
    )
    for layer in found.plan.layers:
        print(f"{layer.name:24} {layer.unit or '(exact)':8} {layer.multiplier}")
    print(f"{1 - found.best.relative_energy:.1%} saved, accuracy {found.best.accuracy:.1%}")
    return [unit.multiplier for unit in found.plan.units]


if __name__ == "__main__":
    main()
