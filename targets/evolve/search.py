"""Evolution of one circuit: the least power that keeps to an error bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alwann_c.targets.evolve.genome import KIND_NAMES, genes_of, netlist_of
from alwann_c.targets.evolve.kernel import MAE, MSE, NO_LIMIT, Goal, climb
from alwann_c.targets.evolve.problem import Problem
from alwann_c.targets.gate_model import CELLS, IDLE
from alwann_c.targets.netlist import FIRST_INPUT, Netlist

Metric = Literal["mae", "mse"]

CHUNK = 50_000
"""Evaluations between two looks at the clock; the slack falls from chunk to chunk."""

_METRICS = {"mae": MAE, "mse": MSE}
_CELLS = np.array([CELLS[kind] for kind in KIND_NAMES])


@dataclass(frozen=True)
class Options:
    """How a circuit is evolved.

    Up to `most` active genes change at a time; candidates may cost (1 + slack) times the best, the
    slack falling linearly to 0; `spare` gates beyond those of the seed are there to be used.
    """

    evaluations: int = 1_000_000
    most: int = 2
    slack: float = 0.004
    spare: int = 60


@dataclass(frozen=True)
class Outcome:
    """The best circuit, its mean error (or mean square), its power in units of `switched_cells`."""

    netlist: Netlist
    error: float
    cost: float
    evaluations: int
    seconds: float


def evolve_circuit(
    start: Netlist,
    problem: Problem,
    *,
    metric: Metric = "mae",
    bound: float,
    limit: int | None = None,
    options: Options | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Outcome:
    """The circuit of least power found whose mean error is at most `bound`.

    `metric` says which mean, over the problem's operand distribution: of |e| or of e^2. `limit`
    bounds every single |e|, the worst-case error. `start` must keep to both bounds; ValueError
    otherwise. The same arguments give the same circuit; no evaluations give the start itself.
    """
    chosen = Options() if options is None else options
    genes, outputs = genes_of(start, chosen.spare, seed)
    first = FIRST_INPUT + start.inputs
    pairs, work = problem.pairs(), problem.work(len(genes))
    tolerance = 1e-9 * max(bound, 1e-6)
    goal = Goal(
        _METRICS[metric], bound + tolerance, NO_LIMIT if limit is None else limit, _CELLS, IDLE
    )
    best_genes, best_outputs = genes.copy(), outputs.copy()
    best = np.array([np.inf, np.inf])
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1)
    began, done = time.monotonic(), 0
    while True:
        chunk = min(CHUNK, chosen.evaluations - done)
        slack = chosen.slack * max(0.0, 1.0 - (done + chunk) / max(1, chosen.evaluations))
        climb(
            genes, outputs, first, pairs, goal, work, chosen.most, slack, chunk, state,
            best_genes, best_outputs, best,
        )  # fmt: skip
        if not np.isfinite(best[0]):
            raise ValueError(f"the start has more error than the bound {bound:g} allows")
        done += chunk
        if progress is not None:
            progress(done, float(best[0]))
        if done >= chosen.evaluations:
            break
    netlist = netlist_of(best_genes, best_outputs, start.inputs)
    return Outcome(netlist, float(best[1]), float(best[0]), done, time.monotonic() - began)
