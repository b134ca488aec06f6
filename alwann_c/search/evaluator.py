"""What assignments do on labelled images, each choice of multipliers evaluated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alwann_c.accelerator import Accelerator
from alwann_c.evaluation import Outcome
from alwann_c.search import racing
from alwann_c.search.pool import Pool

Names = tuple[str, ...]


class Memory(Protocol):
    """Remembers evaluations by the multipliers of the layers."""

    def get(self, names: Names) -> Outcome | None:
        """The outcome, if known."""

    def put(self, names: Names, outcome: Outcome) -> None:
        """Stores it."""


@dataclass(frozen=True)
class Evaluation:
    """What one choice of multipliers per layer achieves.

    Candidates are ranked by `divergence` from the exact integer network, see
    `alwann_c.divergence`: two accuracies on the same 1,000 images must differ by about half a point
    to mean anything, divergences by a few per cent of themselves. Of a candidate that is `stopped`
    (see `alwann_c.search.racing`) the divergence is an estimate, the accuracy that on the images
    seen.
    """

    names: Names
    accuracy: float
    relative_energy: float
    divergence: float
    stopped: bool = False


class Evaluator:
    """Evaluates choices of a multiplier per approximable layer in a pool, on `images` images.

    With `race`, candidates clearly beaten by an evaluation of an earlier call are stopped early.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        pool: Pool,
        images: int,
        memory: Memory | None = None,
        *,
        race: bool = False,
    ) -> None:
        self.accelerator = accelerator
        self.pool = pool
        self.images = images
        self.memory = memory
        self.race = race
        self.seen: dict[Names, Evaluation] = {}
        self._front: list[racing.Finisher] = []

    def evaluate(
        self, candidates: Sequence[Names], extra: Sequence[tuple[float, ...]] | None = None
    ) -> list[Evaluation]:
        """Accuracy and energy of each candidate: one multiplier name per approximable layer.

        `extra`: what each costs beside energy, for a race on more than two objectives.
        """
        beside = dict(zip(candidates, extra or [()] * len(candidates), strict=True))
        fresh = [names for names in beside if names not in self.seen]
        energies = {names: self.accelerator.relative_energy(names) for names in fresh}
        costs = {names: (energies[names], *beside[names]) for names in fresh}
        rivals = {names: racing.rival(self._front, costs[names]) for names in fresh}
        finishers = list(self._front)
        found = {names: self._recall(names, rivals[names]) for names in fresh}
        missing = [names for names, outcome in found.items() if outcome is None]
        against = [rivals[names] for names in missing]
        limits = [None if one is None else one.divergences for one in against]
        for i, outcome in self.pool.judge(missing, limits):
            if self.memory is not None:
                self.memory.put(missing[i], outcome)
            found[missing[i]] = outcome
        for names, known in found.items():
            assert known is not None
            self._remember(names, energies[names], known, rivals[names])
            if self.race and len(known.correct) == self.images:
                finishers.append(racing.Finisher(costs[names], known.divergences, known.divergence))
        self._front = racing.front(finishers)
        return [self.seen[names] for names in candidates]

    def _recall(self, names: Names, rival: racing.Finisher | None) -> Outcome | None:
        """What is remembered, if it goes as far as an evaluation now would; cut to that."""
        outcome = self.memory.get(names) if self.memory is not None else None
        if outcome is None or len(outcome.correct) > self.images:
            return None
        if rival is None:
            return outcome if len(outcome.correct) == self.images else None
        needed = racing.images_needed(outcome.divergences, rival.divergences)
        return None if needed is None else outcome.first(needed)

    def _remember(
        self, names: Names, energy: float, outcome: Outcome, rival: racing.Finisher | None
    ) -> None:
        accuracy, stopped = float(outcome.correct.mean()), len(outcome.correct) < self.images
        divergence = outcome.divergence
        if stopped:
            assert rival is not None
            divergence = racing.estimate(outcome.divergences, rival.divergences)
        self.seen[names] = Evaluation(names, accuracy, energy, divergence, stopped)
