"""Assignments: which multiplier every unit is fitted with, and which unit every layer runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alwann_c.targets.binding import expand_units
from alwann_c.targets.schema import Target


@dataclass(frozen=True)
class Assignment:
    """`units[u]` names the multiplier of unit u; `layers[l]` is the unit of approximable layer l.

    Hashable, and equal if both are. Whether a target allows it is for `check` to say.
    """

    units: tuple[str, ...]
    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(self.units))
        object.__setattr__(self, "layers", tuple(int(unit) for unit in self.layers))

    @property
    def layer_multipliers(self) -> tuple[str, ...]:
        """Name of the multiplier each layer is computed with."""
        return tuple(self.units[unit] for unit in self.layers)

    def to_dict(self) -> dict[str, list[str] | list[int]]:
        """Plain data for JSON."""
        return {"units": list(self.units), "layers": list(self.layers)}


def canonical(
    assignment: Assignment, target: Target, candidates: Sequence[Sequence[str]] | None = None
) -> Assignment:
    """The one form of all assignments that compute the same at the same cost.

    Pipelined: the assignment itself, as units are ordered. Power-gated, among the units of a group,
    which are interchangeable: layers whose multiplier is the same move to one unit, units are
    numbered in the order in which layers first use them, and a unit without layers repeats the
    multiplier of the group's first unit. In a group without any layer every unit takes the first of
    its `candidates` where these are given (as `Binding.candidates`), else it stays as it is.

    Idempotent; keeps every layer's multiplier and group, and never adds area. The assignment must
    have the right number of units, and layers that name existing ones.
    """
    if target.architecture == "pipelined":
        return assignment
    groups: dict[int, list[int]] = {}
    for index, unit in enumerate(expand_units(target)):
        groups.setdefault(unit.group, []).append(index)

    group_of = {member: group for group, members in groups.items() for member in members}
    places: dict[tuple[int, str], int] = {}
    used = dict.fromkeys(groups, 0)
    layers: list[int] = []
    for place in assignment.layers:
        key = (group_of[place], assignment.units[place])
        if key not in places:
            places[key] = groups[key[0]][used[key[0]]]
            used[key[0]] += 1
        layers.append(places[key])

    units = list(assignment.units)
    for (_, name), place in places.items():
        units[place] = name
    for group, members in groups.items():
        for idle in members[used[group] :]:
            if used[group]:
                units[idle] = units[members[0]]
            elif candidates is not None:
                units[idle] = candidates[idle][0]
    return Assignment(tuple(units), tuple(layers))
