"""Evolve and write the `alwann` multiplier library.

python tools/generate_alwann_library.py evolve STATE [--rounds 5] [--workers 1]
python tools/generate_alwann_library.py write STATE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from alwann_c.targets.evolve.campaign import Operands, Task, run_campaign
from alwann_c.targets.evolve.search import Options

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


def main() -> None:
    """The two commands above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["evolve"])
    parser.add_argument("state", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--evaluations", type=int, default=1_000_000)
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    run_campaign(
        tasks(),
        arguments.state,
        rounds=arguments.rounds,
        options=Options(evaluations=arguments.evaluations),
        workers=arguments.workers,
        progress=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    main()
