"""Accuracy of a network, plain or approximated, on labelled images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.codegen.network import CompiledNetwork, Operands
from alwann_c.dataset import Dataset
from alwann_c.divergence import divergence, log_probabilities
from alwann_c.errors import InputError
from alwann_c.model import Model

Bools = npt.NDArray[np.bool_]
CHUNK = 500


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
    network = FloatNetwork(model.module)
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
    network: CompiledNetwork, data: Dataset, bindings: Mapping[str, Operands] | None = None
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
    network: CompiledNetwork, data: Dataset, bindings: Mapping[str, Operands] | None = None
) -> Timed:
    """Which images a compiled network classifies correctly."""
    if data.labels is None:
        raise InputError(f"{data.path}: accuracy needs labels")
    outputs, speed = network_outputs(network, data, bindings)
    return Timed(np.asarray(outputs.argmax(axis=1) == data.labels), speed)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one network does on labelled images: which it classifies correctly, and the mean
    divergence of its outputs from the exact integer network's."""

    correct: Bools
    divergence: float


class Judge:
    """Compares rebindings of a network with its own exact outputs on labelled images."""

    def __init__(self, network: CompiledNetwork, data: Dataset) -> None:
        if data.labels is None:
            raise InputError(f"{data.path}: accuracy needs labels")
        self._network, self._data, self._labels = network, data, data.labels
        outputs, self.images_per_second = network_outputs(network, data)
        self._reference = log_probabilities(outputs)
        self.exact = Outcome(np.asarray(outputs.argmax(axis=1) == data.labels), 0.0)

    def __call__(self, bindings: Mapping[str, Operands]) -> Outcome:
        """Outcome of the network with these layers' operands."""
        outputs, _ = network_outputs(self._network, self._data, bindings)
        correct = np.asarray(outputs.argmax(axis=1) == self._labels)
        return Outcome(correct, divergence(self._reference, outputs))
