"""NSGA-II (Deb et al. 2002, pymoo) over assignments: loss against multiplication energy. The loss
is the divergence from the exact network, see `Evaluation`.

Chromosome, as in ALWANN: [multiplier of each unit, unit of each layer], genes are indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.duplicate import ElementwiseDuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.operators.crossover.ux import UniformCrossover

from alwann_c.accelerator import Accelerator
from alwann_c.search.evaluator import Evaluation, Evaluator
from alwann_c.targets import Assignment

Genes = npt.NDArray[np.int64]
Progress = Callable[[int, int, int, list[Evaluation]], None]
"""generation, generations, evaluations, evaluations of this generation"""


class Chromosomes:
    """Genes <-> assignments of one accelerator. Candidates are ordered by energy in every unit."""

    def __init__(self, accelerator: Accelerator, allowed: Sequence[str]) -> None:
        self.accelerator = accelerator
        binding = accelerator.binding
        keep = set(allowed)
        self.candidates = [
            sorted((n for n in unit if n in keep), key=lambda n: (binding.cost[n], n))
            for unit in binding.candidates
        ]
        self.units, self.layers = len(self.candidates), len(accelerator.approximable)

    @property
    def upper(self) -> Genes:
        """Largest value of each gene."""
        unit_genes = [len(names) - 1 for names in self.candidates]
        return np.array(unit_genes + [self.units - 1] * self.layers, np.int64)

    def decode(self, genes: Genes) -> Assignment:
        """Assignment of a chromosome, in canonical form."""
        names = tuple(self.candidates[u][int(g)] for u, g in enumerate(genes[: self.units]))
        places = tuple(int(g) for g in genes[self.units :])
        return self.accelerator.canonical(Assignment(names, places))

    def encode(self, assignment: Assignment) -> Genes:
        """Chromosome of an assignment."""
        units = [
            self.candidates[u].index(n) if n in self.candidates[u] else 0
            for u, n in enumerate(assignment.units)
        ]
        return np.array([*units, *assignment.layers], np.int64)

    def repaired(self, genes: Genes) -> Genes:
        """Integer genes within bounds; pipelined units in order, each with a layer."""
        fixed = np.clip(np.rint(genes).astype(np.int64), 0, self.upper)
        if self.accelerator.target.architecture == "pipelined":
            places = np.sort(fixed[self.units :])
            lowest = np.maximum(0, self.units - self.layers + np.arange(self.layers))
            highest = np.minimum(np.arange(self.layers), self.units - 1)
            places = np.clip(places, lowest, highest)
            for i in range(1, self.layers):
                places[i] = min(max(places[i], places[i - 1], lowest[i]), places[i - 1] + 1)
            fixed[self.units :] = places
        return self.encode(self.decode(fixed))


class _Problem(Problem):  # type: ignore[misc]
    def __init__(self, chromosomes: Chromosomes, objectives: int) -> None:
        upper = chromosomes.upper
        super().__init__(
            n_var=len(upper),
            n_obj=objectives,
            n_ieq_constr=1,
            xl=np.zeros(len(upper)),
            xu=upper,
            vtype=int,
        )


class _Repair(Repair):  # type: ignore[misc]
    def __init__(self, chromosomes: Chromosomes) -> None:
        super().__init__()
        self.chromosomes = chromosomes

    def _do(self, _problem: Any, genes: Any, **_: Any) -> Any:
        return np.array([self.chromosomes.repaired(row) for row in genes])


class _Mutation(Mutation):  # type: ignore[misc]
    """Moves a unit to a multiplier of similar energy or to any; moves a layer to any unit."""

    def __init__(self, chromosomes: Chromosomes) -> None:
        super().__init__()
        self.chromosomes = chromosomes

    def _do(self, _problem: Any, genes: Any, *, random_state: Any, **_: Any) -> Any:
        random = random_state
        mutated = genes.astype(np.int64).copy()
        upper, units = self.chromosomes.upper, self.chromosomes.units
        for row in mutated:
            chosen = random.random(len(row)) < 1.5 / len(row)
            chosen[random.integers(len(row))] = True
            for i in np.flatnonzero(chosen):
                if i < units and random.random() < 0.6:
                    row[i] = np.clip(row[i] + random.integers(-2, 3), 0, upper[i])
                else:
                    row[i] = random.integers(upper[i] + 1)
        return mutated


class _Duplicates(ElementwiseDuplicateElimination):  # type: ignore[misc]
    def is_equal(self, a: Any, b: Any) -> bool:
        return bool(np.array_equal(a.X, b.X))


Third = Callable[[Assignment], float]
"""A third objective, to be small: a known cost of an assignment."""


@dataclass(frozen=True)
class Exploration:
    """Every distinct evaluation of a search, and the assignments that stand for them."""

    evaluations: list[Evaluation]
    assignments: dict[tuple[str, ...], Assignment]


def explore(
    accelerator: Accelerator,
    evaluator: Evaluator,
    first: Sequence[Assignment],
    allowed: Sequence[str],
    *,
    population: int = 50,
    generations: int = 30,
    seed: int = 0,
    third: Third | None = None,
    progress: Progress | None = None,
) -> Exploration:
    """Runs NSGA-II. Same seed, same data: same result.

    `first` starts the population, filled up with random individuals where there are fewer;
    `allowed` names the multipliers the genes range over. Invalid individuals count as dominated by
    their violations.
    `third`: an objective beside divergence and energy; of assignments with the same multipliers per
    layer the one with the least of it stands for them.
    """
    chromosomes = Chromosomes(accelerator, allowed)
    random = np.random.default_rng(seed)
    rows = {tuple(chromosomes.encode(a)): None for a in first}
    tries = 0
    while len(rows) < population and tries < 50 * population:
        genes = random.integers(0, chromosomes.upper + 1)
        rows.setdefault(tuple(chromosomes.repaired(genes)))
        tries += 1
    start = np.array(list(rows), np.int64)
    algorithm = NSGA2(
        pop_size=population,
        sampling=Population.new("X", start),
        crossover=UniformCrossover(prob=0.9),
        mutation=_Mutation(chromosomes),
        repair=_Repair(chromosomes),
        eliminate_duplicates=_Duplicates(),
    )
    objectives = 2 if third is None else 3
    algorithm.setup(
        _Problem(chromosomes, objectives), termination=("n_gen", generations), seed=seed
    )
    assignments: dict[tuple[str, ...], Assignment] = {}
    for generation in range(generations):
        asked = algorithm.ask()
        if asked is None or len(asked) == 0:
            break
        valid = []
        for individual in asked:
            assignment = chromosomes.decode(np.asarray(individual.X))
            reasons = accelerator.reasons(assignment)
            if reasons:
                individual.F = np.ones(objectives)
                individual.G = np.array([float(len(reasons))])
            else:
                valid.append((individual, assignment))
        extra: list[tuple[float, ...]] = [
            () if third is None else (third(assignment),) for _, assignment in valid
        ]
        names = [assignment.layer_multipliers for _, assignment in valid]
        results = evaluator.evaluate(names, extra)
        for (individual, assignment), cost, result in zip(valid, extra, results, strict=True):
            known = assignments.setdefault(result.names, assignment)
            if third is not None and cost[0] < third(known):
                assignments[result.names] = assignment
            individual.F = np.array([result.divergence, result.relative_energy, *cost])
            individual.G = np.zeros(1)
        for individual in asked:
            individual.evaluated.update({"F", "G", "H"})
        algorithm.tell(infills=asked)
        if progress is not None:
            progress(generation + 1, generations, len(evaluator.seen), results)
    found = [evaluator.seen[names] for names in assignments]
    return Exploration(found, assignments)
