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


def network_correct(
    network: CompiledNetwork, data: Dataset, bindings: Mapping[str, Operands] | None = None
) -> Timed:
    """Which images a compiled network classifies correctly."""
    if data.labels is None:
        raise InputError(f"{data.path}: accuracy needs labels")
    parts, seconds = [], 0.0
    for start in range(0, len(data), CHUNK):
        images = data.images(start, start + CHUNK)
        began = time.perf_counter()
        parts.append(network.run(images, bindings).argmax(axis=1))
        seconds += time.perf_counter() - began
    correct = np.asarray(np.concatenate(parts) == data.labels)
    return Timed(correct, len(data) / max(seconds, 1e-9))
