"""Ways to search, behind one interface: NSGA-II, and what it is compared with.

Every method evaluates at most `population * generations` distinct choices, `population` at a time,
and begins with the uniform assignments (NSGA-II with all of them in its first population, be they more
than `population`), except that `exhaustive` evaluates all there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.errors import InputError
from alwann_c.search.evaluator import Evaluation, Evaluator
from alwann_c.search.explore import Chromosomes, Exploration, Progress, Third, explore
from alwann_c.search.moves import moves
from alwann_c.search.seeds import guided_assignments, uniform_assignments
from alwann_c.targets import Assignment

MethodName = Literal["nsga2", "exhaustive", "greedy", "random"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)

MOST_CHROMOSOMES = 200_000
"""Chromosomes that the exhaustive search goes through; many of them mean the same."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a method searches: `errors[l, m]` is the divergence of the network with layer l alone on
    the multiplier `names[m]`."""

    accelerator: Accelerator
    evaluator: Evaluator
    names: Sequence[str]
    errors: npt.NDArray[np.float64]
    population: int = 50
    generations: int = 30
    seed: int = 0
    third: Third | None = None
    progress: Progress | None = None


def search_with(method: MethodName, problem: Problem) -> Exploration:
    """Searches with the method. Raises InputError when the problem is too large for it."""
    return _RUN[method](problem)


def _uniform(problem: Problem) -> list[Assignment]:
    return uniform_assignments(problem.accelerator, problem.names)


def _guided(problem: Problem) -> list[Assignment]:
    return guided_assignments(
        problem.accelerator, problem.errors, problem.names, problem.population
    )


def _nsga2(problem: Problem) -> Exploration:
    uniform, guided = _uniform(problem), _guided(problem)
    first = list(dict.fromkeys([*uniform, *guided]))[: max(problem.population, len(uniform))]
    return explore(
        problem.accelerator,
        problem.evaluator,
        first,
        problem.names,
        population=problem.population,
        generations=problem.generations,
        seed=problem.seed,
        third=problem.third,
        progress=problem.progress,
    )


def _evaluated(problem: Problem, assignments: Iterator[Assignment], most: float) -> Exploration:
    """Evaluates valid assignments of distinct choices, `population` at a time, `most` at most."""
    chosen: dict[tuple[str, ...], Assignment] = {}
    waiting: list[Assignment] = []
    generations = -1 if math.isinf(most) else math.ceil(most / problem.population)

    def evaluate() -> None:
        results = problem.evaluator.evaluate([a.layer_multipliers for a in waiting])
        waiting.clear()
        if problem.progress is not None:
            done = math.ceil(len(chosen) / problem.population)
            of = max(done, generations)
            problem.progress(done, of, len(problem.evaluator.seen), results)

    for assignment in assignments:
        names = assignment.layer_multipliers
        if names in chosen or problem.accelerator.reasons(assignment):
            continue
        chosen[names] = assignment
        waiting.append(assignment)
        if len(waiting) == problem.population:
            evaluate()
        if len(chosen) >= most:
            break
    if waiting:
        evaluate()
    found: list[Evaluation] = [problem.evaluator.seen[names] for names in chosen]
    return Exploration(found, chosen)


def _budget(problem: Problem) -> int:
    return problem.population * problem.generations


def _random(problem: Problem) -> Exploration:
    chromosomes = Chromosomes(problem.accelerator, problem.names)
    random = np.random.default_rng(problem.seed)

    def drawn() -> Iterator[Assignment]:
        yield from _uniform(problem)
        for _ in range(50 * _budget(problem)):
            genes = random.integers(0, chromosomes.upper + 1)
            yield chromosomes.decode(chromosomes.repaired(genes))

    return _evaluated(problem, drawn(), _budget(problem))


def _exhaustive(problem: Problem) -> Exploration:
    chromosomes = Chromosomes(problem.accelerator, problem.names)
    count = math.prod(int(upper) + 1 for upper in chromosomes.upper)
    if count > MOST_CHROMOSOMES:
        raise InputError(
            f"method exhaustive: {chromosomes.layers} layers on {chromosomes.units} units with "
            f"{len(problem.names)} multipliers are {count:.3g} chromosomes, at most "
            f"{MOST_CHROMOSOMES} are gone through; exclude layers, name fewer multipliers in the "
            "target, or take another method"
        )
    genes = itertools.product(*(range(int(upper) + 1) for upper in chromosomes.upper))
    every = (chromosomes.decode(np.array(row, np.int64)) for row in genes)
    return _evaluated(problem, every, math.inf)


def _greedy(problem: Problem) -> Exploration:
    """From the most exact uniform assignment on (guided, where no multiplier fits every layer),
    always the step that saves most energy for the divergence it is predicted to add (the sum of the
    layers' own)."""
    accelerator, column = problem.accelerator, {n: j for j, n in enumerate(problem.names)}
    candidates = Chromosomes(accelerator, problem.names).candidates
    macs = np.array([work.macs for work in accelerator.works], np.float64)

    def predicted(assignment: Assignment) -> tuple[float, float]:
        names = assignment.layer_multipliers
        energies = np.array([accelerator.binding.relative_cost(name) for name in names])
        error = sum(problem.errors[i, column[name]] for i, name in enumerate(names))
        return float(error), float((macs * energies).sum() / macs.sum())

    def steps() -> Iterator[Assignment]:
        start = sorted(_uniform(problem) or _guided(problem), key=predicted)
        yield from start
        now = next(iter(start), None)
        while now is not None:
            yield now
            error, energy = predicted(now)
            best: tuple[float, float] = (0.0, 0.0)
            chosen = None
            for move in moves(candidates, now):
                new_error, new_energy = predicted(move)
                saved = energy - new_energy
                if saved <= 1e-12 or accelerator.reasons(move):
                    continue
                # no added divergence is best, then the most energy for it
                rank = (1.0, saved) if new_error <= error else (0.0, saved / (new_error - error))
                if rank > best:
                    best, chosen = rank, accelerator.canonical(move)
            now = chosen

    return _evaluated(problem, steps(), _budget(problem))


_RUN: dict[MethodName, Callable[[Problem], Exploration]] = {
    "nsga2": _nsga2,
    "exhaustive": _exhaustive,
    "greedy": _greedy,
    "random": _random,
}
