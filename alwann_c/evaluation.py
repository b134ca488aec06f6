"""Accuracy of a network, plain or approximated, on labelled images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.codegen.network import Operands
from alwann_c.codegen.stepwise import StepwiseNetwork
from alwann_c.dataset import Dataset
from alwann_c.divergence import Reference
from alwann_c.errors import InputError
from alwann_c.model import Model

Bools = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
CHUNK = 500

_FLOAT: WeakKeyDictionary[Model, FloatNetwork] = WeakKeyDictionary()
"""Compiled float networks of models in use."""


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` reports; accuracies are top-1 on `samples` images."""

    float_accuracy: float
    int8_accuracy: float
    accuracy: float
    samples: int
    images_per_second: float
    macs_per_image: int
    relative_energy: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def float_correct(model: Model, data: Dataset) -> Bools:
    """Which images the float network classifies correctly. Raises InputError on unfit data."""
    data.check(model.input_shape, model.classes, need_labels=True)
    assert data.labels is not None
    if model not in _FLOAT:
        _FLOAT[model] = FloatNetwork(model.module)
    network = _FLOAT[model]
    parts = [
        network.run(data.images(start, start + CHUNK)).argmax(axis=1)
        for start in range(0, len(data), CHUNK)
    ]
    return np.asarray(np.concatenate(parts) == data.labels)


@dataclass(frozen=True)
class Timed:
    """Correctness per image and the speed it was found at (data preparation excluded)."""

    correct: Bools
    images_per_second: float

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy."""
        return float(self.correct.mean())


def network_outputs(
    network: StepwiseNetwork, data: Dataset, bindings: Mapping[str, Operands] | None = None
) -> tuple[npt.NDArray[np.float32], float]:
    """Outputs of a compiled network, and the images per second they were found at."""
    parts, seconds = [], 0.0
    for start in range(0, len(data), CHUNK):
        images = data.images(start, start + CHUNK)
        began = time.perf_counter()
        parts.append(network.run(images, bindings))
        seconds += time.perf_counter() - began
    return np.concatenate(parts), len(data) / max(seconds, 1e-9)


def network_correct(
    network: StepwiseNetwork, data: Dataset, bindings: Mapping[str, Operands] | None = None
) -> Timed:
    """Which images a compiled network classifies correctly."""
    if data.labels is None:
        raise InputError(f"{data.path}: accuracy needs labels")
    outputs, speed = network_outputs(network, data, bindings)
    return Timed(np.asarray(outputs.argmax(axis=1) == data.labels), speed)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one network does on labelled images: which it classifies correctly, and how far its
    outputs are from the exact integer network's, image by image."""

    correct: Bools
    divergences: Float32

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy."""
        return float(self.correct.mean())

    @property
    def divergence(self) -> float:
        """Mean over the images."""
        return float(self.divergences.mean(dtype=np.float64))

    def first(self, images: int) -> Outcome:
        """The outcome on the first images alone."""
        return Outcome(self.correct[:images], self.divergences[:images])


Stop = Callable[[int, Float32], bool]
"""Whether the candidate of a number, with these divergences on the first images, goes no further."""


class Judge:
    """Compares rebindings of a network with its own exact outputs on labelled images."""

    def __init__(self, network: StepwiseNetwork, data: Dataset) -> None:
        if data.labels is None:
            raise InputError(f"{data.path}: accuracy needs labels")
        self._network, self._data, self._labels = network, data, data.labels
        outputs, self.images_per_second = network_outputs(network, data)
        self._reference = Reference(outputs)
        nothing = np.zeros(len(data), np.float32)
        self.exact = Outcome(np.asarray(outputs.argmax(axis=1) == data.labels), nothing)

    def __call__(self, bindings: Mapping[str, Operands]) -> Outcome:
        """Outcome of the network with these layers' operands."""
        ((_, outcome),) = self.many([bindings])
        return outcome

    def many(
        self,
        candidates: Sequence[Mapping[str, Operands]],
        *,
        stop: Stop | None = None,
        step: int = CHUNK,
    ) -> Iterator[tuple[int, Outcome]]:
        """Number and outcome of each candidate, as they finish; candidates that begin with the same
        operands share those layers.

        After every `step` images `stop` is asked about each, and what it ends has the outcome on
        the images seen until then.
        """
        names, defaults = self._network.layer_names, self._network.defaults
        operands = [[given.get(name, defaults[name]) for name in names] for given in candidates]
        correct: list[list[Bools]] = [[] for _ in candidates]
        divergences: list[Float32] = [np.zeros(0, np.float32) for _ in candidates]
        alive = list(range(len(candidates)))
        for start in range(0, len(self._data), step):
            images = self._data.images(start, start + step)
            labels = self._labels[start : start + step]
            outputs = self._network.run_many(images, [operands[i] for i in alive])
            for i, found in zip(alive, outputs, strict=True):
                correct[i].append(np.asarray(found.argmax(axis=1) == labels))
                fresh = self._reference.divergences(found, start)
                divergences[i] = np.concatenate([divergences[i], fresh])
            last = start + step >= len(self._data)
            ended = [i for i in alive if last or (stop is not None and stop(i, divergences[i]))]
            for i in ended:
                yield i, Outcome(np.concatenate(correct[i]), divergences[i])
            alive = [i for i in alive if i not in ended]
            if not alive:
                break
