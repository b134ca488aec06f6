"""What assignments do on labelled images, each choice of multipliers evaluated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alwann_c.accelerator import Accelerator
from alwann_c.evaluation import Outcome
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
    to mean anything, divergences by a few per cent of themselves.
    """

    names: Names
    accuracy: float
    relative_energy: float
    divergence: float


class Evaluator:
    """Evaluates choices of a multiplier per approximable layer in a pool, on `images` images."""

    def __init__(
        self, accelerator: Accelerator, pool: Pool, images: int, memory: Memory | None = None
    ) -> None:
        self.accelerator = accelerator
        self.pool = pool
        self.images = images
        self.memory = memory
        self.seen: dict[Names, Evaluation] = {}

    def evaluate(self, candidates: Sequence[Names]) -> list[Evaluation]:
        """Accuracy and energy of each candidate: one multiplier name per approximable layer."""
        fresh = [names for names in dict.fromkeys(candidates) if names not in self.seen]
        missing = [names for names in fresh if not self._recall(names)]
        for names, outcome in zip(missing, self.pool.judge(missing), strict=True):
            if self.memory is not None:
                self.memory.put(names, outcome)
            self._remember(names, outcome)
        return [self.seen[names] for names in candidates]

    def _recall(self, names: Names) -> bool:
        outcome = self.memory.get(names) if self.memory is not None else None
        if outcome is None or len(outcome.correct) != self.images:
            return False
        self._remember(names, outcome)
        return True

    def _remember(self, names: Names, outcome: Outcome) -> None:
        energy = self.accelerator.relative_energy(names)
        accuracy = float(outcome.correct.mean())
        self.seen[names] = Evaluation(names, accuracy, energy, outcome.divergence)
