"""Where candidates are evaluated: in this process, or on a cluster (`alwann_c.search.cluster`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.codegen.network import Operands
from alwann_c.compensation import Compensator, bound, bound_all
from alwann_c.dataset import Dataset
from alwann_c.evaluation import Judge, Outcome
from alwann_c.passes.compensate import Compensation, Method
from alwann_c.search.racing import STEP, beaten

Names = tuple[str, ...]
Float32 = npt.NDArray[np.float32]

ALONE_IMAGES = 500
"""Search images on which layers approximated alone are measured."""


TOGETHER = 16
"""Candidates evaluated together at most; what they find is kept when all of them are done."""


def parts(candidates: Sequence[Names], size: int) -> list[list[int]]:
    """Numbers of the candidates in alphabetical order, so that those which share their first layers
    are neighbours, cut into parts."""
    order = sorted(range(len(candidates)), key=lambda i: candidates[i])
    return [order[start : start + size] for start in range(0, len(order), size)]


@dataclass(frozen=True, eq=False)
class Fits:
    """Compensations of every approximable layer on one multiplier, and the divergence of the
    network with that layer alone approximated."""

    multiplier: str
    compensations: list[Compensation]
    divergences: list[float]


class Pool(Protocol):
    """Fits layers and evaluates choices of a multiplier per approximable layer."""

    def fit(self, multipliers: Sequence[str]) -> Iterator[Fits]:
        """Compensation of every approximable layer on each multiplier, as they finish."""

    def judge(
        self, candidates: Sequence[Names], rivals: Sequence[Float32 | None]
    ) -> Iterator[tuple[int, Outcome]]:
        """What each candidate does on the search images, by its number, as they finish; on the first
        images only, where its rival, of these divergences, clearly beats it (see
        `alwann_c.search.racing`)."""

    def in_order(self, candidates: Sequence[Names]) -> Iterator[Outcome]:
        """What each candidate does on the search images when it is fitted layers in order, with the
        search's effort."""


class LocalPool:
    """Evaluates in this process."""

    def __init__(
        self, accelerator: Accelerator, compensator: Compensator, data: Dataset, method: Method
    ) -> None:
        self.accelerator = accelerator
        self.compensator = compensator
        self.method = method
        self._judge = Judge(accelerator.quantized.network, data)
        self._judge_alone = Judge(accelerator.quantized.network, data.limited(ALONE_IMAGES))

    def fit(self, multipliers: Sequence[str]) -> Iterator[Fits]:
        """See `Pool`."""
        layers = self.accelerator.approximable
        for name in multipliers:
            chosen = self.accelerator.multiplier(name)
            found = [self.compensator.cached(n, chosen, self.method) for n in layers]
            alone = [{n: bound(f.approximation)} for n, f in zip(layers, found, strict=True)]
            outcomes = dict(self._judge_alone.many(alone))
            yield Fits(name, found, [outcomes[i].divergence for i in range(len(layers))])

    def judge(
        self, candidates: Sequence[Names], rivals: Sequence[Float32 | None]
    ) -> Iterator[tuple[int, Outcome]]:
        """See `Pool`."""
        for part in parts(candidates, TOGETHER):
            yield from self._judge_part(part, candidates, rivals)

    def _judge_part(
        self, part: list[int], candidates: Sequence[Names], rivals: Sequence[Float32 | None]
    ) -> Iterator[tuple[int, Outcome]]:
        layers = self.accelerator.approximable
        chosen = [list(zip(layers, candidates[i], strict=True)) for i in part]
        operands = {pair: self._operands(*pair) for pair in {p for pairs in chosen for p in pairs}}
        given = [{layer: operands[layer, name] for layer, name in pairs} for pairs in chosen]

        def stop(i: int, divergences: Float32) -> bool:
            rival = rivals[part[i]]
            return rival is not None and beaten(divergences, rival)

        for i, outcome in self._judge.many(given, stop=stop, step=STEP):
            yield part[i], outcome

    def in_order(self, candidates: Sequence[Names]) -> Iterator[Outcome]:
        """See `Pool`."""
        for names in candidates:
            chosen = map(self.accelerator.multiplier, names)
            multipliers = dict(zip(self.accelerator.approximable, chosen, strict=True))
            fitted = self.compensator.network(multipliers, self.method, self.compensator.quick)
            yield self._judge(bound_all(fitted))

    def _operands(self, layer: str, multiplier: str) -> Operands:
        chosen = self.accelerator.multiplier(multiplier)
        return bound(self.compensator.cached(layer, chosen, self.method).approximation)
