"""Measure the search: what shared layers and races save, and how it scales over workers.

    python tools/measure_search.py generation [--candidates 48] [--images 1000] [--multipliers 8]
    python tools/measure_search.py workers [--workers 1 2] [--candidates 48] …
    python tools/measure_search.py methods [--candidates 40] [--generations 6] [--seeds 3] …

All take `--model, --calibration, --search, --library, --target` and default to what ships with the
package. `generation` evaluates one generation of the search three ways and gives CPU seconds of
this process: set TVM_NUM_THREADS=1. The generation is that after `--after` others which a stand-in
for the network evaluated (the sum of the layers' own divergences); its rivals, the front until
then, are evaluated by the network first. `workers` evaluates one generation on local Dask workers
of one thread each, and gives wall-clock seconds: keep the machine quiet. `methods` searches with
NSGA-II, greedy and random at the same number of evaluations, candidates x generations, and gives
the share of the rectangle energy 0..1, divergence 0..`--worst` that each front dominates, and the
least energy within some divergences.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import alwann_c as ax
from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.codegen.stepwise import StepwiseNetwork
from alwann_c.compensation import Compensator
from alwann_c.dataset import Dataset
from alwann_c.errors import InputError
from alwann_c.evaluation import Outcome
from alwann_c.libraries import open_libraries
from alwann_c.search import (
    DaskPool,
    Evaluation,
    Evaluator,
    LocalPool,
    explore,
    racing,
    worker_setup,
)
from alwann_c.search.methods import MethodName, Problem, search_with
from alwann_c.search.seeds import guided_assignments, uniform_assignments
from alwann_c.targets import Library

DEMO = Path(ax.__file__).parent / "demo"
Names = tuple[str, ...]


class Predicted:
    """A pool without a network: divergences of layers alone add up."""

    def __init__(self, accelerator: Accelerator, names: Sequence[str], errors: Any) -> None:
        self.column = {name: j for j, name in enumerate(names)}
        self.errors = errors
        self.asked: list[list[Names]] = []

    def divergence(self, names: Names) -> float:
        """Predicted divergence."""
        return float(sum(self.errors[i, self.column[n]] for i, n in enumerate(names)))

    def judge(self, candidates: Sequence[Names], _rivals: Any) -> Iterator[tuple[int, Outcome]]:
        """See `alwann_c.search.pool.Pool`."""
        self.asked.append(list(candidates))
        for i, names in enumerate(candidates):
            value = np.array([self.divergence(names)], np.float32)
            yield i, Outcome(np.ones(1, bool), value)


class Job:
    """A network on a target, and a generation of candidates for it."""

    def __init__(self, given: argparse.Namespace) -> None:
        model = ax.load(given.model)
        self.data: Dataset = ax.load_dataset(given.search).limited(given.images)
        self.quantized = ax.quantize(model, ax.load_dataset(given.calibration))
        self.library: Library = open_libraries([given.library] if given.library else [])
        target = ax.load_target(given.target)
        self.accelerator = place(self.quantized, target, self.library)
        binding = self.accelerator.binding
        ordered = sorted(binding.candidates[0], key=lambda n: binding.cost[n])
        picks = np.linspace(0, len(ordered) - 1, given.multipliers).round().astype(int)
        self.names = [ordered[i] for i in dict.fromkeys(picks)]

    def generation(self, pool: Any, after: int, count: int) -> tuple[list[Names], list[Names]]:
        """The front before a generation, and that generation."""
        fits = list(pool.fit(self.names))
        errors = np.array([f.divergences for f in fits]).T
        predicted = Predicted(self.accelerator, self.names, errors)
        first = uniform_assignments(self.accelerator, self.names)
        first += guided_assignments(self.accelerator, errors, self.names, count)
        stand_in = Evaluator(self.accelerator, predicted, 1)  # type: ignore[arg-type]
        explore(
            self.accelerator, stand_in, first, self.names, population=count, generations=after + 1
        )
        before = [names for asked in predicted.asked[:-1] for names in asked]
        energy = {names: self.accelerator.relative_energy(names) for names in before}
        front: list[Names] = []
        for names in sorted(before, key=lambda n: (energy[n], predicted.divergence(n))):
            if not front or predicted.divergence(names) < predicted.divergence(front[-1]):
                front.append(names)
        return front, predicted.asked[-1]


def _counted(network: StepwiseNetwork) -> list[int]:
    """Counts images x layers from now on."""
    count, advance = [0], network.advance

    def counting(state: Any, operands: Any = None) -> Any:
        count[0] += state.images
        return advance(state, operands)

    network.advance = counting  # type: ignore[method-assign]
    return count


def measure_generation(given: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds of one generation: alone, with shared layers, with shared layers and races."""
    job = Job(given)
    pool = LocalPool(job.accelerator, Compensator(job.quantized), job.data, "full")
    began = time.process_time()
    front, asked = job.generation(pool, given.after, given.candidates)
    fitting = time.process_time() - began
    layers = len(job.quantized.network.layer_names)
    count = _counted(job.quantized.network)
    finishers = [
        racing.Finisher(
            (job.accelerator.relative_energy(front[i]),), outcome.divergences, outcome.divergence
        )
        for i, outcome in pool.judge(front, [None] * len(front))
    ]
    kept = racing.front(finishers)
    found = [racing.rival(kept, (job.accelerator.relative_energy(n),)) for n in asked]
    rivals = [None if one is None else one.divergences for one in found]
    nobody = [None] * len(asked)
    rows: dict[str, Any] = {}
    outcomes: dict[str, dict[int, Outcome]] = {}
    for name, parts, against in (
        ("alone", [[i] for i in range(len(asked))], nobody),
        ("shared layers", [list(range(len(asked)))], nobody),
        ("shared layers and races", [list(range(len(asked)))], rivals),
    ):
        count[0], began = 0, time.process_time()
        outcomes[name] = {}
        for part in parts:
            judged = pool.judge([asked[i] for i in part], [against[i] for i in part])
            outcomes[name] |= {part[j]: outcome for j, outcome in judged}
        seconds = time.process_time() - began
        whole = layers * len(asked) * len(job.data)
        rows[name] = {"cpu_seconds": round(seconds, 2), "layers_computed": count[0] / whole}
    for i, outcome in outcomes["alone"].items():
        for other in list(outcomes.values())[1:]:
            same = outcome.first(len(other[i].correct))
            assert np.array_equal(same.divergences, other[i].divergences)
            assert np.array_equal(same.correct, other[i].correct)
    raced = outcomes["shared layers and races"]
    stopped = [len(o.correct) for o in raced.values() if len(o.correct) < len(job.data)]
    return {
        "candidates": len(asked),
        "images": len(job.data),
        "fits": {"multipliers": len(job.names), "cpu_seconds": round(fitting, 2)},
        "generation": rows,
        "stopped": len(stopped),
        "images_of_stopped": float(np.mean(stopped)) if stopped else None,
    }


def measure_workers(given: argparse.Namespace) -> dict[str, Any]:
    """Wall-clock seconds of one generation on one and more workers of one thread."""
    from distributed import Client, LocalCluster

    job = Job(given)
    setup = worker_setup(job.accelerator, job.library, Exclusions(), job.data, "full")
    rows: list[dict[str, Any]] = []
    asked: list[Names] = []
    results = []
    for workers in given.workers:
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                env={"TVM_NUM_THREADS": "1"},
            ) as cluster,
            Client(cluster) as client,
        ):
            pool = DaskPool(client, setup)
            began = time.perf_counter()
            pool.prepare()
            _, made = job.generation(pool, given.after, given.candidates)
            fitted = time.perf_counter() - began
            asked = asked or made
            began = time.perf_counter()
            judged = dict(pool.judge(asked, [None] * len(asked)))
            seconds = time.perf_counter() - began
        results.append([judged[i].divergence for i in range(len(asked))])
        rows.append(
            {"workers": workers, "start_and_fits": round(fitted, 1), "seconds": round(seconds, 2)}
        )
        rows[-1]["efficiency"] = round(
            rows[0]["seconds"] * rows[0]["workers"] / (seconds * workers), 3
        )
        print(rows[-1], file=sys.stderr, flush=True)
    assert all(found == results[0] for found in results), "workers disagree"
    return {"candidates": len(asked), "images": len(job.data), "workers": rows}


WITHIN = (0.005, 0.01, 0.02, 0.05)
"""Divergences at which methods are compared, nats."""


def _figures(evaluations: Sequence[Evaluation], worst: float) -> dict[str, float]:
    """Hypervolume, and the least energy within each of `WITHIN`."""
    area, ceiling = 0.0, worst
    finished = [e for e in evaluations if not e.stopped]
    for one in sorted(finished, key=lambda e: (e.relative_energy, e.divergence)):
        if one.divergence < ceiling:
            area += max(1 - one.relative_energy, 0.0) * (ceiling - one.divergence)
            ceiling = one.divergence
    least = {
        str(limit): min((e.relative_energy for e in finished if e.divergence <= limit), default=1.0)
        for limit in WITHIN
    }
    return {"hypervolume": area / worst, "evaluations": len(evaluations), **least}


def measure_methods(given: argparse.Namespace) -> dict[str, Any]:
    """Fronts of the methods at an equal number of evaluations; means over the seeds."""
    job = Job(given)
    pool = LocalPool(job.accelerator, Compensator(job.quantized), job.data, "full")
    errors = np.array([f.divergences for f in pool.fit(job.names)]).T
    rows: dict[str, Any] = {}
    methods: tuple[MethodName, ...] = ("nsga2", "greedy", "random")
    for method in methods:
        found = []
        for seed in range(1 if method == "greedy" else given.seeds):
            evaluator = Evaluator(job.accelerator, pool, len(job.data), race=True)
            problem = Problem(
                job.accelerator,
                evaluator,
                job.names,
                errors,
                population=given.candidates,
                generations=given.generations,
                seed=seed,
            )
            found.append(_figures(search_with(method, problem).evaluations, given.worst))
            print(method, seed, found[-1], file=sys.stderr, flush=True)
        rows[method] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    return {
        "images": len(job.data),
        "multipliers": job.names,
        "seeds": given.seeds,
        "worst": given.worst,
        "methods": rows,
    }


def arguments() -> argparse.ArgumentParser:
    """What a measurement is made on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEMO / "resnet8_cifar10.onnx")
    parser.add_argument("--calibration", type=Path, default=DEMO / "calibration.toml")
    parser.add_argument("--search", type=Path, default=DEMO / "search.toml")
    parser.add_argument("--library", type=Path)
    parser.add_argument("--target", default="power-gated-4")
    parser.add_argument("--candidates", type=int, default=48)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--multipliers", type=int, default=8)
    return parser


def main() -> int:
    """Prints the measurement as JSON."""
    parser = arguments()
    parser.add_argument("what", choices=("generation", "workers", "methods"))
    parser.add_argument("--after", type=int, default=10)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--generations", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--worst", type=float, default=0.1)
    given = parser.parse_args()
    measures = {
        "generation": measure_generation,
        "workers": measure_workers,
        "methods": measure_methods,
    }
    try:
        print(json.dumps(measures[given.what](given), indent=1))
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
