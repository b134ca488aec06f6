"""From the evaluations of a search to a front of plans, and to the plan that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.compensation import Compensator, bound_all
from alwann_c.dataset import Dataset
from alwann_c.evaluation import Judge, network_correct
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.passes.compensate import Method
from alwann_c.search.evaluator import Evaluation
from alwann_c.search.expectation import expected_drops
from alwann_c.search.explore import Exploration, Third
from alwann_c.search.front import near_front, pareto, spread_by_divergence
from alwann_c.statistics import Drop, paired_drop
from alwann_c.targets import Assignment

Bools = npt.NDArray[np.bool_]

CONFIDENCE = 1.0
"""Standard errors added to an expected drop before it is compared with the limit."""

WORST_DROP = 0.15
"""Candidates that lose more in the search are not judged again."""


@dataclass(frozen=True, eq=False)
class FrontPoint:
    """A plan of the front, compensated layers in order and judged on all search images.

    `drop` is against the float network on the same images. `expected` is what to expect on new
    ones: the drop that `loss` (against the exact integer network) and `divergence` promise (see
    `alwann_c.search.expectation`), and what that network lost itself. Where it won against the
    float network, by chance, that is not counted.
    """

    assignment: Assignment
    approximations: dict[str, LayerApproximation]
    accuracy: float
    relative_energy: float
    drop: Drop
    divergence: float
    loss: Drop
    expected: Drop

    @property
    def bound(self) -> float:
        """Upper confidence bound of the expected drop: what is compared with the limit."""
        return self.expected.upper_bound(CONFIDENCE)


def next_candidate(
    waiting: Sequence[Evaluation], judged: Sequence[FrontPoint], max_drop: float
) -> Evaluation | None:
    """The candidate to judge next, where the limit is: between the cheapest plan that keeps it and
    the dearest cheaper one that does not; by bisection in energy. None when nothing can be gained.
    """
    keeping = [p.relative_energy for p in judged if p.bound <= max_drop]
    cheapest = min(keeping, default=np.inf)
    failing = [p.relative_energy for p in judged if p.relative_energy < cheapest]
    dearest = max(failing, default=-np.inf)
    cheaper = [e for e in waiting if e.relative_energy < cheapest]
    between = [e for e in cheaper if e.relative_energy > dearest]
    if between:
        return sorted(between, key=lambda e: e.relative_energy)[len(between) // 2]
    return max(cheaper, key=lambda e: (e.relative_energy, -e.divergence), default=None)


def approximate_correct(
    compensator: Compensator, approximations: Mapping[str, LayerApproximation], data: Dataset
) -> Bools:
    """Which images the network with these layers classifies correctly."""
    return network_correct(compensator.quantized.network, data, bound_all(approximations)).correct


def _with_expectations(judged: Sequence[FrontPoint], exact: Drop) -> list[FrontPoint]:
    found = expected_drops([p.loss for p in judged], [p.divergence for p in judged])
    lost = max(exact.mean, 0.0)
    return [
        replace(p, expected=replace(drop, mean=lost + drop.mean))
        for p, drop in zip(judged, found, strict=True)
    ]


def refine(
    accelerator: Accelerator,
    exploration: Exploration,
    compensator: Compensator,
    data: Dataset,
    reference: Bools,
    *,
    max_drop: float,
    method: Method = "full",
    count: int = 12,
    third: Third | None = None,
    progress: Callable[[int, int, Sequence[FrontPoint]], None] | None = None,
) -> list[FrontPoint]:
    """Compensates the best candidates again, layers in order, and judges them on all search images.

    A third of the `count` candidates are spread over the front the search found, by divergence, the
    others are chosen one by one where plans stop keeping `max_drop`, see `next_candidate`.

    Args:
        data: all search images.
        reference: which of them the float network classifies correctly.
        third: what the search minimised beside divergence and energy.
        progress: gets the number of plans judged, how many there will be, and the plans.
    """
    floor = float(reference.mean()) - WORST_DROP
    finished = [e for e in exploration.evaluations if not e.stopped]
    useful = [e for e in finished if e.accuracy >= floor] or finished
    extra = None
    if third is not None:
        extra = {names: third(a) for names, a in exploration.assignments.items()}
    waiting = near_front(useful, margin=0.05, extra=extra)
    front = near_front(useful, margin=0.0, extra=extra)
    queue = spread_by_divergence(front, -(-count // 3))
    judge = Judge(compensator.quantized.network, data)
    exact = paired_drop(reference, judge.exact.correct)
    judged: list[FrontPoint] = []
    while len(judged) < count:
        if queue:
            candidate: Evaluation | None = queue.pop(0)
        else:
            candidate = next_candidate(waiting, judged, max_drop)
        if candidate is None:
            break
        waiting = [e for e in waiting if e.names != candidate.names]
        assignment = exploration.assignments[candidate.names]
        approximations = compensator.network(accelerator.multipliers(assignment), method)
        outcome = judge(bound_all(approximations))
        loss = paired_drop(judge.exact.correct, outcome.correct)
        judged.append(
            FrontPoint(
                assignment,
                approximations,
                float(outcome.correct.mean()),
                candidate.relative_energy,
                paired_drop(reference, outcome.correct),
                outcome.divergence,
                loss,
                loss,
            )
        )
        judged = _with_expectations(judged, exact)
        if progress is not None:
            progress(len(judged), count, judged)
    costs = [
        (p.relative_energy, *(() if third is None else (third(p.assignment),))) for p in judged
    ]
    judged = _at_least_as_good(judged, costs)
    kept = pareto([(p.accuracy, *cost) for p, cost in zip(judged, costs, strict=True)])
    return [judged[i] for i in kept]


def _at_least_as_good(
    judged: Sequence[FrontPoint], costs: Sequence[tuple[float, ...]]
) -> list[FrontPoint]:
    """The plans, each expected to do no worse than any it beats: one that costs as much or more and
    was less accurate on the same images. That one leaves the front, and what it promises must not
    be lost with it."""
    found = []
    for p, cost in zip(judged, costs, strict=True):
        beaten = [
            other
            for other, its in zip(judged, costs, strict=True)
            if other.accuracy <= p.accuracy and bool(np.less_equal(cost, its).all())
        ]
        found.append(replace(p, expected=min(beaten, key=lambda other: other.bound).expected))
    return found


def select(front: Sequence[FrontPoint], max_drop: float) -> int:
    """Index of the cheapest plan whose bound (see `FrontPoint`) stays within `max_drop`; when none
    does, of the one with the smallest bound."""
    allowed = [i for i, point in enumerate(front) if point.bound <= max_drop]
    if not allowed:
        return min(range(len(front)), key=lambda i: front[i].bound)
    return min(allowed, key=lambda i: front[i].relative_energy)
