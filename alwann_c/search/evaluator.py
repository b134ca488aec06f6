"""Accuracy of assignments on labelled images, each choice of multipliers evaluated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.search.pool import Pool

Bools = npt.NDArray[np.bool_]
Names = tuple[str, ...]


class Memory(Protocol):
    """Remembers evaluations by the multipliers of the layers."""

    def get(self, names: Names) -> Bools | None:
        """Correctness of each image, if known."""

    def put(self, names: Names, correct: Bools) -> None:
        """Stores it."""


@dataclass(frozen=True)
class Evaluation:
    """What one choice of multipliers per layer achieves."""

    names: Names
    accuracy: float
    relative_energy: float


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
        for names, correct in zip(missing, self.pool.correct(missing), strict=True):
            if self.memory is not None:
                self.memory.put(names, correct)
            self._remember(names, correct)
        return [self.seen[names] for names in candidates]

    def _recall(self, names: Names) -> bool:
        correct = self.memory.get(names) if self.memory is not None else None
        if correct is None or len(correct) != self.images:
            return False
        self._remember(names, correct)
        return True

    def _remember(self, names: Names, correct: Bools) -> None:
        energy = self.accelerator.relative_energy(names)
        self.seen[names] = Evaluation(names, float(correct.mean()), energy)
