"""Evaluations a second of the evolution of 8x8 multipliers, on one core: `make bench-evolution`.

Each row is one run of EVALUATIONS mutations of a circuit of 400 gates (those of the start and unused
ones), the compiled code warm. `exact` bounds the mean error at 0, so that every candidate that is
accepted has been compared on all 65,536 products; the others start from a truncated array whose error is
the bound. `weighted` has operands distributed as in a network: half of the activations 0, weights around
128.
"""

from __future__ import annotations

import json
import time

import numpy as np

from alwann_c.targets.arrays import exact_array, without_partial_products
from alwann_c.targets.evolve.problem import problem
from alwann_c.targets.evolve.search import Metric, Options, evolve_circuit
from alwann_c.targets.multiplier import exact_products
from alwann_c.targets.netlist import Netlist, product_table

GATES = 400
EVALUATIONS = 200_000
CODES = np.arange(256)
ACTIVATIONS = np.where(CODES == 0, 1.0, np.exp(-CODES / 30.0) / 30.0)
WEIGHTS = np.exp(-(((CODES - 128) / 40.0) ** 2) / 2)


def error(netlist: Netlist, metric: Metric) -> float:
    """Mean error or mean square of a circuit, all operands alike."""
    size = np.abs(product_table(netlist, signed=False) - exact_products(False)).astype(np.float64)
    return float((size if metric == "mae" else size**2).mean())


def measure(name: str, start: Netlist, metric: Metric, *, weighted: bool) -> dict[str, object]:
    """One row."""
    shares = {"activations": ACTIVATIONS, "weights": WEIGHTS} if weighted else {}
    pairs = problem(8, signed=False, **shares)
    bound = 2 * error(start, metric)
    spare = GATES - len(start.gates)
    options = Options(evaluations=2_000, spare=spare)
    evolve_circuit(start, pairs, metric=metric, bound=bound, options=options)
    options = Options(evaluations=EVALUATIONS, spare=spare)
    began = time.process_time()
    outcome = evolve_circuit(start, pairs, metric=metric, bound=bound, options=options)
    seconds = time.process_time() - began
    return {
        "run": name,
        "gates_of_the_start": len(start.gates),
        "evaluations": outcome.evaluations,
        "evaluations_per_second": round(outcome.evaluations / outcome.seconds),
        "evaluations_per_cpu_second": round(outcome.evaluations / seconds),
    }


def main() -> None:
    """Prints one JSON object a run."""
    exact = exact_array(8, signed=False)
    truncated = without_partial_products(exact, (0, 0, 6))
    runs: list[tuple[str, Netlist, Metric, bool]] = [
        ("exact, mae", exact, "mae", False),
        ("truncated, mae", truncated, "mae", False),
        ("truncated, mse", truncated, "mse", False),
        ("truncated, mae, weighted", truncated, "mae", True),
        ("truncated, mse, weighted", truncated, "mse", True),
    ]
    for name, start, metric, weighted in runs:
        print(json.dumps(measure(name, start, metric, weighted=weighted)), flush=True)


if __name__ == "__main__":
    main()
