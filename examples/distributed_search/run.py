"""One search, many workers: on this machine, or on the cluster behind `--scheduler ADDRESS`.

Needs `pip install 'alwann-c[distributed]'`. The front is the same however many workers there are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from compare_accelerators.run import accelerator
from demo_files import arguments, job
from distributed import Client

import alwann_c as ax

Point = tuple[float, float]


def main(argv: Sequence[str] | None = None) -> tuple[list[Point], list[Point]]:
    """Front (accuracy, relative energy) found by the workers, and by this process alone."""
    parser = arguments(__doc__)
    parser.add_argument("--scheduler", help="tcp://HOST:8786; default: two workers here")
    parser.add_argument("--threads", action="store_true", help="workers in this process")
    chosen = parser.parse_args(argv)
    work = job(chosen)
    quantized = ax.quantize(ax.load(work.model), work.calibration)
    target = accelerator("power-gated")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    cluster = {"address": chosen.scheduler} if chosen.scheduler else options
    if chosen.threads:
        cluster |= {"processes": False, "n_workers": 1}
    with Client(**cluster) as client:
        together = ax.search(quantized, target, work.search, options=work.options, client=client)
    alone = ax.search(quantized, target, work.search, options=work.options)
    fronts = tuple([(p.accuracy, p.relative_energy) for p in r.front] for r in (together, alone))
    print("the same front" if fronts[0] == fronts[1] else "DIFFERENT fronts")
    for accuracy, energy in fronts[0]:
        print(f"accuracy {accuracy:.1%}  relative energy {energy:.3f}")
    return fronts[0], fronts[1]


if __name__ == "__main__":
    main()
