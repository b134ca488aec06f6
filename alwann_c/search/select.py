"""From the evaluations of a search to a front of plans, and to the plan that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.compensation import Compensator
from alwann_c.dataset import Dataset
from alwann_c.evaluation import network_correct
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.passes.compensate import Method
from alwann_c.search.evaluator import Evaluation
from alwann_c.search.explore import Exploration
from alwann_c.statistics import Drop, paired_drop
from alwann_c.targets import Assignment

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FrontPoint:
    """A plan of the front, compensated layers in order and judged on all search images.

    `drop` is against the float network on the same images.
    """

    assignment: Assignment
    approximations: dict[str, LayerApproximation]
    accuracy: float
    relative_energy: float
    drop: Drop


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (accuracy, energy) no other point beats, by falling energy."""
    order = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0]))
    kept: list[int] = []
    best = -np.inf
    for i in order:
        if points[i][0] > best:
            kept.append(i)
            best = points[i][0]
    return kept[::-1]


def _worth_refining(
    evaluations: list[Evaluation], floor: float, margin: float, count: int
) -> list[Evaluation]:
    """Candidates near the front, densest where the selection is going to look.

    Takes the front and, as accuracies are noisy, what lies within `margin` below it in accuracy;
    the most accurate one alone where nothing reaches `floor`.
    """
    front = pareto([(e.accuracy, e.relative_energy) for e in evaluations])
    kept = [evaluations[i] for i in front if evaluations[i].accuracy >= floor]
    if not kept:
        return [evaluations[front[0]]]
    if len(kept) <= count:
        spare = [
            e
            for e in sorted(evaluations, key=lambda e: e.relative_energy)
            if e not in kept
            and any(
                k.relative_energy >= e.relative_energy - 1e-9 and k.accuracy <= e.accuracy + margin
                for k in kept
            )
            and e.accuracy >= floor
        ]
        return kept + spare[: count - len(kept)]
    picks = np.linspace(0, len(kept) - 1, count).round().astype(int)
    return [kept[i] for i in dict.fromkeys(int(p) for p in picks)]


def approximate_correct(
    compensator: Compensator, approximations: Mapping[str, LayerApproximation], data: Dataset
) -> Bools:
    """Which images the network with these layers classifies correctly."""
    quantized, store = compensator.quantized, compensator.store
    bound = {n: store.operands(quantized.layers[n], a) for n, a in approximations.items()}
    return network_correct(quantized.network, data, bound).correct


def refine(
    accelerator: Accelerator,
    exploration: Exploration,
    compensator: Compensator,
    data: Dataset,
    reference: Bools,
    *,
    method: Method = "full",
    floor: float,
    count: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[FrontPoint]:
    """Compensates the best candidates again, layers in order, and judges them on all search images.

    Args:
        data: all search images.
        reference: which of them the float network classifies correctly.
        floor: candidates whose accuracy in the search lies below are left out, unless all do.
        count: at most so many candidates.
    """
    wanted = _worth_refining(exploration.evaluations, floor, 0.01, count)
    points = []
    for done, candidate in enumerate(wanted):
        assignment = exploration.assignments[candidate.names]
        approximations = compensator.network(accelerator.multipliers(assignment), method)
        correct = approximate_correct(compensator, approximations, data)
        points.append(
            FrontPoint(
                assignment,
                approximations,
                float(correct.mean()),
                candidate.relative_energy,
                paired_drop(reference, correct),
            )
        )
        if progress is not None:
            progress(done + 1, len(wanted))
    kept = pareto([(p.accuracy, p.relative_energy) for p in points])
    return [points[i] for i in kept]


def select(front: Sequence[FrontPoint], max_drop: float, *, z: float = 1.0) -> int:
    """Index of the cheapest plan whose drop stays within `max_drop`, by its upper confidence bound
    (mean + z standard errors); when none does, the one with the smallest bound."""
    bounds = [point.drop.upper_bound(z) for point in front]
    allowed = [i for i, bound in enumerate(bounds) if bound <= max_drop]
    if not allowed:
        return int(np.argmin(bounds))
    return min(allowed, key=lambda i: front[i].relative_energy)
