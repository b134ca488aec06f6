"""Accuracy of assignments on labelled images, each choice of multipliers evaluated once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.compensation import Compensator
from alwann_c.dataset import Dataset
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.passes.compensate import Method

Bools = npt.NDArray[np.bool_]
CHUNK = 500


class Memory(Protocol):
    """Remembers evaluations by the multipliers of the layers."""

    def get(self, names: tuple[str, ...]) -> Bools | None:
        """Correctness of each image, if known."""

    def put(self, names: tuple[str, ...], correct: Bools) -> None:
        """Stores it."""


class InMemory:
    """Evaluations of this process."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Bools] = {}

    def get(self, names: tuple[str, ...]) -> Bools | None:
        """Correctness of each image, if known."""
        return self._known.get(names)

    def put(self, names: tuple[str, ...], correct: Bools) -> None:
        """Stores it."""
        self._known[names] = correct


@dataclass(frozen=True)
class Evaluation:
    """What one choice of multipliers per layer achieves."""

    names: tuple[str, ...]
    accuracy: float
    relative_energy: float


class Evaluator:
    """Evaluates choices of a multiplier per approximable layer with cached compensations."""

    def __init__(
        self,
        accelerator: Accelerator,
        compensator: Compensator,
        data: Dataset,
        *,
        method: Method = "full",
        memory: Memory | None = None,
    ) -> None:
        assert data.labels is not None
        self.accelerator = accelerator
        self.compensator = compensator
        self.method = method
        self.labels = data.labels
        self.memory = memory or InMemory()
        self._images = [data.images(i, i + CHUNK) for i in range(0, len(data), CHUNK)]
        self.seen: dict[tuple[str, ...], Evaluation] = {}

    def correct(self, approximations: Mapping[str, LayerApproximation]) -> Bools:
        """Which images the network with these layers classifies correctly."""
        quantized, store = self.accelerator.quantized, self.compensator.store
        bound = {n: store.operands(quantized.layers[n], a) for n, a in approximations.items()}
        outputs = [quantized.network.run(images, bound) for images in self._images]
        return np.asarray(np.concatenate(outputs).argmax(axis=1) == self.labels)

    def evaluate(self, names: Sequence[str]) -> Evaluation:
        """Accuracy and energy of one multiplier name per approximable layer."""
        key = tuple(names)
        if key not in self.seen:
            correct = self.memory.get(key)
            if correct is None or len(correct) != len(self.labels):
                chosen = {
                    layer: self.compensator.cached(
                        layer, self.accelerator.multiplier(name), self.method
                    ).approximation
                    for layer, name in zip(self.accelerator.approximable, key, strict=True)
                }
                correct = self.correct(chosen)
                self.memory.put(key, correct)
            energy = self.accelerator.relative_energy(key)
            self.seen[key] = Evaluation(key, float(correct.mean()), energy)
        return self.seen[key]
