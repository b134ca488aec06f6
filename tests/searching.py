"""What the tests of the search share: a library, an evaluator without a network, a memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tiny import tiny_library

from alwann_c.accelerator import Accelerator
from alwann_c.evaluation import Outcome
from alwann_c.search import Evaluation, LocalPool, explore
from alwann_c.search.seeds import uniform_assignments

LIBRARY = tiny_library()
NAMES = ["cut12", "cut9", "cut6", "exact"]
Names = tuple[str, ...]


class Stub:
    """An evaluator whose accuracy is a fixed function; counts what it is asked."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.seen: dict[tuple[str, ...], Evaluation] = {}

    def evaluate(
        self, candidates: Sequence[tuple[str, ...]], extra: object = None
    ) -> list[Evaluation]:
        return [self._evaluate(key) for key in candidates]

    def _evaluate(self, key: tuple[str, ...]) -> Evaluation:
        loss = {"exact": 0.0, "cut6": 0.01, "cut9": 0.05, "cut12": 0.2}
        layers = [1.0, 0.3, 0.55, 0.8, 0.15][: len(key)]
        total = sum(w * loss[n] for w, n in zip(layers, key, strict=True))
        # not separable: a mixture of two approximate neighbours costs more
        total += 0.013 * sum(a != b for a, b in itertools.pairwise(key))
        energy = self.accelerator.relative_energy(key)
        return self.seen.setdefault(key, Evaluation(key, 0.95 - total, energy, total))


def explored(accelerator: Accelerator, **options: Any) -> list[Evaluation]:
    """Explores with a fresh stub."""
    allowed = options.pop("allowed", NAMES)
    first = uniform_assignments(accelerator)
    stub: Any = Stub(accelerator)
    return explore(accelerator, stub, first, allowed, **options).evaluations


class Counting(LocalPool):
    """Counts runs of the network."""

    runs = 0

    def judge(
        self, candidates: Sequence[Names], rivals: Sequence[npt.NDArray[np.float32] | None]
    ) -> Iterator[tuple[int, Outcome]]:
        self.runs += len(candidates)
        return super().judge(candidates, rivals)


class InMemory:
    """A memory that keeps everything."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], Any] = {}

    def get(self, names: tuple[str, ...]) -> Any:
        return self.known.get(names)

    def put(self, names: tuple[str, ...], outcome: Outcome) -> None:
        known = self.known.get(names)
        assert known is None or len(known.correct) != len(outcome.correct)
        self.known[names] = outcome
