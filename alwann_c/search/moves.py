"""Assignments one step away from another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from alwann_c.targets import Assignment


def moves(candidates: Sequence[Sequence[str]], now: Assignment) -> Iterator[Assignment]:
    """A unit in use gets another multiplier, or a layer moves to a unit in use, or to an idle one
    fitted anew. `candidates`: multipliers of each unit. Not all are valid on the target."""
    used = set(now.layers)
    for unit in sorted(used):
        for name in candidates[unit]:
            yield Assignment((*now.units[:unit], name, *now.units[unit + 1 :]), now.layers)
    for layer, unit in itertools.product(range(len(now.layers)), range(len(now.units))):
        layers = (*now.layers[:layer], unit, *now.layers[layer + 1 :])
        for name in [now.units[unit]] if unit in used else candidates[unit]:
            yield Assignment((*now.units[:unit], name, *now.units[unit + 1 :]), layers)
