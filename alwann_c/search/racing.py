"""Stopping candidates that are clearly beaten, on part of the images.

A candidate races against its *rival*: of the plans that were evaluated on all images before this
generation and cost no more (energy, and a third objective where there is one), the one that diverges
least. After every `STEP` images, with
c_i and r_i the divergences of both on image i, n the images seen, and

    d_i = c_i - (1 + MARGIN) r_i,

the candidate goes no further if the one-sided lower bound of the mean,

    mean(d) - CONFIDENCE * standard deviation(d) / sqrt(n) > 0,

that is, if it is worse than the rival by more than the margin. A stopped candidate counts with the
difference estimate mean(r over all images) + mean(c_i - r_i), which the rival dominates.

The decision is a function of both sets of divergences alone: not of the order of candidates, the
number of workers, or when something finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

STEP = 125
"""Images between two decisions."""

CONFIDENCE = 3.0
"""Standard errors of the bound: one-sided 0.13 % for one decision, if means are normal."""

MARGIN = 0.1
"""How much worse a candidate must be; those nearer to the front may still be judged on all images,
see `alwann_c.search.front.near_front`."""


def beaten(candidate: Float32, rival: Float32) -> bool:
    """Whether a candidate with these divergences on the first images is clearly beaten."""
    seen = len(candidate)
    difference = candidate.astype(np.float64) - (1 + MARGIN) * rival[:seen].astype(np.float64)
    error = difference.std(ddof=1) / np.sqrt(seen) if seen > 1 else np.inf
    return bool(difference.mean() - CONFIDENCE * error > 0)


def images_needed(candidate: Float32, rival: Float32) -> int | None:
    """Images after which the race ends, those of `rival` at most; None if the answer needs more
    than the divergences in `candidate`, on the first images."""
    for seen in range(STEP, min(len(candidate), len(rival) - 1) + 1, STEP):
        if beaten(candidate[:seen], rival):
            return seen
    return len(rival) if len(candidate) >= len(rival) else None


def estimate(candidate: Float32, rival: Float32) -> float:
    """Mean divergence on all images of a candidate stopped after the first ones."""
    difference = candidate.astype(np.float64) - rival[: len(candidate)].astype(np.float64)
    return float(rival.mean(dtype=np.float64) + difference.mean())


@dataclass(frozen=True, eq=False)
class Finisher:
    """A plan evaluated on all images: what candidates race against. `costs`: its relative energy,
    and whatever else is minimised beside the divergence."""

    costs: tuple[float, ...]
    divergences: Float32
    divergence: float

    def affordable(self, costs: tuple[float, ...]) -> bool:
        """Whether it costs no more in any respect."""
        return all(own <= other for own, other in zip(self.costs, costs, strict=True))


def front(finishers: Sequence[Finisher]) -> list[Finisher]:
    """Those that no other one beats, by rising energy."""
    kept: list[Finisher] = []
    for one in sorted(finishers, key=lambda f: (*f.costs, f.divergence)):
        better = (
            other.divergence <= one.divergence for other in kept if other.affordable(one.costs)
        )
        if not any(better):
            kept.append(one)
    return kept


def rival(kept: Sequence[Finisher], costs: tuple[float, ...]) -> Finisher | None:
    """The rival of a candidate of these costs in a `front`."""
    affordable = [one for one in kept if one.affordable(costs)]
    return min(affordable, key=lambda one: one.divergence, default=None)
