"""Seconds that one table on every layer takes to compensate: `python tools/measure_fit.py`.

    python tools/measure_fit.py [--model …] [--calibration …] [--library …] [--multiplier NAME]
        [--method full] [--images 500] [--repeat 3]

Prints a line for each repetition; threads are `TVM_NUM_THREADS`, else every core. The first
repetition compiles kernels too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import alwann_c as ax
from alwann_c.compensation import Compensator
from alwann_c.cores import allowed_threads
from alwann_c.libraries import open_libraries
from alwann_c.passes.compensate import METHODS

DEMO = Path(ax.__file__).parent / "demo"


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=DEMO / "resnet8_cifar10.onnx")
    parser.add_argument("--calibration", type=Path, default=DEMO / "calibration.toml")
    parser.add_argument("--library", type=Path)
    parser.add_argument("--multiplier", default="mul8u_p81")
    parser.add_argument("--method", choices=METHODS, default="full")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    quantized = ax.quantize(ax.load(given.model), ax.load_dataset(given.calibration))
    library = open_libraries([given.library] if given.library else [])
    chosen = dict.fromkeys(quantized.network.layer_names, library.find(given.multiplier))
    for _ in range(given.repeat):
        compensator = Compensator(quantized, images=given.images)
        began = time.monotonic()
        compensator.network(chosen, given.method)
        seconds = round(time.monotonic() - began, 1)
        print(json.dumps({"seconds": seconds, "threads": allowed_threads()}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
