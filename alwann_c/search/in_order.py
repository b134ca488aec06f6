"""The search goes on with plans fitted layers in order, near the limit.

During the main search every layer was fitted after exact ones, once for thousands of candidates. Fitted
in order, as the final plans are, a candidate diverges half as much, but which one diverges least is
known to 15 % only. Here some dozens of candidates are fitted in order, with the search's effort. They
are chosen by a model of what a plan in order diverges (see `alwann_c.search.additive`), which learns
from each of them: on the model's front, among all the search has seen, the guided assignments under the
model's errors, and the neighbours of those on the front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.evaluation import Outcome
from alwann_c.search.additive import AdditiveModel
from alwann_c.search.evaluator import Evaluation
from alwann_c.search.explore import Chromosomes, Exploration, Third
from alwann_c.search.front import near_front, spread
from alwann_c.search.moves import moves
from alwann_c.search.seeds import guided_assignments
from alwann_c.targets import Assignment

Float64 = npt.NDArray[np.float64]
Names = tuple[str, ...]

BATCH = 8
"""Candidates fitted between two looks at the model."""

BAND = 2.5
"""Candidates are fitted whose divergence is predicted within this factor of the limit's."""

NEAR = 0.05
"""Divergence over the front's that still makes a candidate worth fitting, as a share."""

GUIDED = 64
"""Guided assignments looked at."""

STEPS = 3
"""How many moves away from what is known candidates are looked for."""

FAR = 0.05
"""Accuracy lost by candidates that say nothing about the line near its origin."""


@dataclass(frozen=True, eq=False)
class InOrderSearch:
    """What is searched. `fitted` fits choices in order and judges them; `names` and `errors` as in
    `alwann_c.search.methods.Problem`; `exact_accuracy` is that of the exact network on the images
    that `fitted` judges on."""

    accelerator: Accelerator
    names: Sequence[str]
    errors: Float64
    fitted: Callable[[Sequence[Names]], Iterable[Outcome]]
    exact_accuracy: float
    max_drop: float
    third: Third | None = None


def loss_slope(evaluations: Iterable[Evaluation], exact_accuracy: float) -> float:
    """Accuracy lost per unit of divergence, by least squares; 0 when nothing is lost."""
    lost = [(e.divergence, exact_accuracy - e.accuracy) for e in evaluations if not e.stopped]
    pairs = np.array([pair for pair in lost if pair[1] <= FAR and pair[0] > 0]).reshape(-1, 2)
    squares = float((pairs[:, 0] ** 2).sum())
    return max(float((pairs[:, 0] * pairs[:, 1]).sum()) / squares, 0.0) if squares else 0.0


class _Knowledge:
    """Every candidate thought of, what was observed of some, and the model that predicts the rest."""

    def __init__(self, search: InOrderSearch, start: Exploration) -> None:
        self._search, self._usable = search, set(search.names)
        self._units = Chromosomes(search.accelerator, search.names).candidates
        self.assignments: dict[Names, Assignment] = {}
        self._energies: dict[Names, float] = {}
        self._extra: dict[Names, float] = {}
        self.observed: dict[Names, Evaluation] = {}
        self._slope = loss_slope(start.evaluations, search.exact_accuracy)
        self._model = AdditiveModel(search.names, search.errors, {})
        self._add(start.assignments.values())

    def _add(self, found: Iterable[Assignment]) -> None:
        accelerator, third = self._search.accelerator, self._search.third
        for assignment in found:
            names = assignment.layer_multipliers
            known = names in self.assignments
            if (known and third is None) or not self._usable.issuperset(names):
                continue
            if accelerator.reasons(assignment):
                continue
            extra = 0.0 if third is None else third(assignment)
            if known and extra >= self._extra[names]:
                continue
            self.assignments[names] = accelerator.canonical(assignment)
            self._energies[names] = accelerator.relative_energy(names)
            self._extra[names] = extra

    def observe(self, names: Names, outcome: Outcome) -> None:
        """Takes in what a candidate fitted in order does."""
        energy = self._energies[names]
        self.observed[names] = Evaluation(names, outcome.accuracy, energy, outcome.divergence)

    def learn(self) -> None:
        """Fits the model again and looks for candidates on its front."""
        search, seen = self._search, self.observed
        divergences = {names: e.divergence for names, e in seen.items()}
        self._model = AdditiveModel(search.names, search.errors, divergences)
        self._slope = loss_slope(seen.values(), search.exact_accuracy) or self._slope
        errors = self._model.errors
        self._add(guided_assignments(search.accelerator, errors, search.names, GUIDED))
        for _ in range(STEPS):
            for e in self.near_limit(margin=0.0):
                self._add(moves(self._units, self.assignments[e.names]))

    def _evaluation(self, names: Names) -> Evaluation:
        divergence = self._model.predict(names)
        accuracy = self._search.exact_accuracy - self._slope * divergence
        return Evaluation(names, accuracy, self._energies[names], divergence)

    def evaluations(self) -> list[Evaluation]:
        """Of every candidate, observed or predicted."""
        return [self.observed.get(n) or self._evaluation(n) for n in self.assignments]

    def near_limit(self, margin: float) -> list[Evaluation]:
        """Those near the front whose drop is expected within a factor `BAND` of the limit."""
        extra = self._extra if self._search.third is not None else None
        front = near_front(self.evaluations(), margin, extra)
        if self._slope == 0:
            return front
        limit = self._search.max_drop / self._slope
        return [e for e in front if limit / BAND <= e.divergence <= limit * BAND]


def search_in_order(
    search: InOrderSearch,
    exploration: Exploration,
    *,
    count: int,
    progress: Callable[[int, int, Sequence[Evaluation]], None] | None = None,
) -> Exploration:
    """Fits at most `count` candidates in order; `progress` gets those fitted so far.

    Returns everything known or thought of with its divergence in order, observed or predicted.
    """
    known = _Knowledge(search, exploration)
    known.learn()
    while len(known.observed) < count:
        fresh: list[Evaluation] = []
        for margin in (0.0, NEAR):
            fresh = fresh or [e for e in known.near_limit(margin) if e.names not in known.observed]
        if not fresh:
            break
        batch = [e.names for e in spread(fresh, min(BATCH, count - len(known.observed)))]
        for names, outcome in zip(batch, search.fitted(batch), strict=True):
            known.observe(names, outcome)
            if progress is not None:
                progress(len(known.observed), count, list(known.observed.values()))
        known.learn()
    return Exploration(known.evaluations(), known.assignments)
