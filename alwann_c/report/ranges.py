"""Which part of a front is worth looking at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alwann_c.frames import Point

NEAR_DROPS = 10.0
NEAR_LEAST = 0.05

Pair = tuple[float, float]


@dataclass(frozen=True)
class FrontData:
    """What is drawn of a front. `points` as in `front.json`; `seen`: (energy, accuracy) of every
    candidate; accuracies are on the search data, shares in 0..1."""

    points: Sequence[Point]
    selected: int
    seen: Sequence[Pair]
    float_accuracy: float
    int8_accuracy: float
    max_drop: float

    @property
    def limit(self) -> float:
        """The least accuracy that was allowed."""
        return self.float_accuracy - self.max_drop


@dataclass(frozen=True)
class View:
    """A range of both axes, and what the reader calls it."""

    name: str
    label: str
    energy: Pair
    accuracy: Pair

    def holds(self, energy: float, accuracy: float) -> bool:
        """Whether a point is within the range."""
        return (
            self.energy[0] <= energy <= self.energy[1]
            and self.accuracy[0] <= accuracy <= self.accuracy[1]
        )


def accuracy_interval(point: Point) -> Pair:
    """The drop's interval turned into accuracies: reference minus its two ends."""
    reference = point["accuracy"] + point["drop"]
    low, high = sorted(point["drop_ci95"])
    return reference - high, reference - low


def by_energy(points: Sequence[Point]) -> list[int]:
    """Indices of the points, cheapest first."""
    return sorted(
        range(len(points)),
        key=lambda i: (points[i]["relative_energy"], points[i]["accuracy"], i),
    )


def views(data: FrontData) -> list[View]:
    """The range worth looking at and, if that leaves anything out, the range of everything."""
    least = data.float_accuracy - max(NEAR_DROPS * data.max_drop, NEAR_LEAST)
    chosen = data.points[data.selected]
    close = [p for p in data.points if p["accuracy"] >= least or p is chosen]
    near = View("near", "near the limit", *_ranges(data, close, ()))
    placed = [(p["relative_energy"], p["accuracy"]) for p in data.points]
    if all(near.holds(*place) for place in (*placed, *data.seen)):
        return [near]
    return [near, View("all", "everything", *_ranges(data, data.points, data.seen))]


def _ranges(data: FrontData, shown: Sequence[Point], extra: Sequence[Pair]) -> tuple[Pair, Pair]:
    energies = [p["relative_energy"] for p in shown] + [energy for energy, _ in extra]
    bounds = [end for p in shown for end in (p["accuracy"], *accuracy_interval(p))]
    lines = [data.float_accuracy, data.int8_accuracy, data.limit]
    accuracies = [*bounds, *lines, *(accuracy for _, accuracy in extra)]
    return _padded(energies, 0.04), _padded(accuracies, 0.04)


def _padded(values: Sequence[float], share: float) -> Pair:
    low, high = min(values), max(values)
    room = max((high - low) * share, 0.002)
    return low - room, high + room
