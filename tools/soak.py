"""Searches again and again in one process and watches its memory: `python tools/soak.py`.

Every round searches the demo network, an eighth of the shipped library on it, with another seed
and starts a store anew. Prints a line per round, writes `build/soak.json`, and exits 1 if the median
memory of the last quarter of the rounds is more than 5 % above that of the second quarter (the first
one fills caches).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import alwann_c as ax
from alwann_c.compensation import Effort
from alwann_c.search.store import SqliteMemory
from alwann_c.targets.library import load_builtin_library

BUILD = Path(__file__).resolve().parent.parent / "build"
MAX_GROWTH = 0.05


def resident() -> float:
    """Memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def growth(memory: list[float]) -> float:
    """Relative growth between the medians of the second and the last quarter."""
    quarter = max(1, len(memory) // 4)
    early = statistics.median(memory[quarter : 2 * quarter] or memory)
    return statistics.median(memory[-quarter:]) / early - 1


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    demo = Path(str(files("alwann_c") / "demo"))
    calibration = ax.load_dataset(demo / "calibration.toml").limited(100)
    quantized = ax.quantize(ax.load(demo / "resnet8_cifar10.onnx"), calibration)
    target = ax.load_target("power-gated-4")
    whole = load_builtin_library()
    few = dict(list(whole.multipliers.items())[::8])  # enough to search, and a round is short
    library = replace(whole, multipliers=few)
    data = ax.load_dataset(demo / "search.toml").limited(options.images)
    quick = Effort(rows=2_048, sweeps=1)
    rounds: list[dict[str, Any]] = []
    began = time.monotonic()
    while time.monotonic() - began < 60 * options.minutes or len(rounds) < 8:
        wanted = ax.SearchOptions(
            seed=len(rounds),
            population=8,
            generations=4,
            in_order=4,
            refine=2,
            quick=quick,
            thorough=quick,
        )
        with (
            tempfile.TemporaryDirectory() as folder,
            SqliteMemory(Path(folder) / "e.sqlite", {"soak": "1"}, resume=False) as memory,
        ):
            found = ax.search(
                quantized, target, data, library=library, options=wanted, memory=memory
            )
        entry = {
            "seconds": round(time.monotonic() - began, 1),
            "evaluations": len(found.evaluations),
            "resident_mib": round(resident(), 1),
        }
        rounds.append(entry)
        print(json.dumps(entry), flush=True)
    grown = growth([entry["resident_mib"] for entry in rounds])
    BUILD.mkdir(exist_ok=True)
    report = {"rounds": rounds, "growth": round(grown, 4)}
    (BUILD / "soak.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rounds)} rounds, memory grew by {grown:.1%}")
    return 0 if grown <= MAX_GROWTH else 1


if __name__ == "__main__":
    raise SystemExit(main())
