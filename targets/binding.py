"""A target bound to a multiplier library: units spelled out, candidates and energies resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alwann_c.errors import InputError
from alwann_c.targets.library import Library, is_pattern
from alwann_c.targets.multiplier import Multiplier
from alwann_c.targets.schema import Dataflow, Target, UnitGroup, unit_names
from alwann_c.targets.suggest import remedy


@dataclass(frozen=True)
class Unit:
    """One compute unit; units of the same `group`, an index into `target.unit`, are alike."""

    name: str
    group: int
    rows: int
    columns: int
    macs_per_cycle: float
    dataflow: Dataflow
    leakage_mw: float
    mac_area_um2: float
    layers: frozenset[str]

    def takes(self, kind: str) -> bool:
        """True if layers of that kind can run on this unit."""
        return kind in self.layers


@dataclass(frozen=True, eq=False)
class Binding:
    """What a target means with a given library.

    `candidates[u]` are the names unit u may be fitted with, in library order. `cost` gives, for
    every candidate and the reference, the figure energies are compared by, P(m): the library's
    power in mW or the target's pJ per multiplication. `multiplication_pj` gives the energy of one
    multiplication in pJ, see `bind`.
    """

    target: Target
    library: Library
    units: tuple[Unit, ...]
    candidates: tuple[tuple[str, ...], ...]
    reference: Multiplier
    cost: Mapping[str, float]
    multiplication_pj: Mapping[str, float]

    def relative_cost(self, name: str) -> float:
        """P(name) / P(reference)."""
        return self.cost[name] / self.cost[self.reference.name]


def expand_units(target: Target) -> tuple[Unit, ...]:
    """The units of a target one by one, groups of `count` units spelled out, in order."""
    return tuple(
        Unit(
            name=name,
            group=index,
            rows=group.rows,
            columns=group.columns,
            macs_per_cycle=group.macs_per_cycle or float(group.rows * group.columns),
            dataflow=group.dataflow,
            leakage_mw=group.leakage_mw,
            mac_area_um2=group.mac_area_um2,
            layers=frozenset(group.layers),
        )
        for index, group in enumerate(target.unit)
        for name in unit_names(group)
    )


def bind(target: Target, library: Library) -> Binding:
    """Resolve candidates, reference and energies of `target` in `library`.

    A multiplier named outright must have an energy figure; patterns, and `any`, take those that
    have one. Energy of one multiplication in pJ:

    * `from = "table"`: as given;
    * `reference_pj` given: reference_pj * P(m) / P(reference);
    * else P(m) [mW] * 1000 / clock_mhz [ns], which takes the published power for the average power
      at one multiplication per clock cycle.

    The relative energy does not depend on the choice between the last two. Raises InputError,
    `target 'name': field: what is wrong: remedy`, with every problem found.
    """
    figures = _figures(target, library)
    problems = [
        f"energy.multiplication_pj: no multiplier {name!r}: {remedy(name, library.multipliers)}"
        for name in target.energy.multiplication_pj or ()
        if name not in library
    ]
    reference = _reference(target, library, figures, problems)
    by_group: list[tuple[str, ...]] = []
    for index, group in enumerate(target.unit):
        try:
            by_group.append(_candidates(group, target, library, figures))
        except InputError as error:
            problems.append(f"unit[{index}].{_candidate_field(group)}: {error}")
    if problems or reference is None:
        raise InputError(f"target {target.name!r}: {'; '.join(problems)}")

    units = expand_units(target)
    candidates = tuple(by_group[unit.group] for unit in units)
    names = dict.fromkeys([reference.name, *(name for group in by_group for name in group)])
    cost = {name: figures[name] for name in names}
    scale = _picojoule_per_cost(target, cost[reference.name])
    pj = {name: figure * scale for name, figure in cost.items()}
    return Binding(target, library, units, candidates, reference, cost, pj)


def _figures(target: Target, library: Library) -> dict[str, float]:
    if target.energy.multiplication_pj is not None:
        return dict(target.energy.multiplication_pj)
    return {m.name: m.power_mw for m in library if m.power_mw is not None}


def _picojoule_per_cost(target: Target, reference_cost: float) -> float:
    if target.energy.source == "table":
        return 1.0
    if target.energy.reference_pj is not None:
        return target.energy.reference_pj / reference_cost
    return 1000.0 / target.clock_mhz


def _reference(
    target: Target, library: Library, figures: Mapping[str, float], problems: list[str]
) -> Multiplier | None:
    operands, name = target.operands, target.energy.reference
    try:
        if name is None:
            reference = library.exact(signed=operands.signed, bits=operands.bits)
        else:
            reference = library.find(name)
            _check_reference(reference, target)
        if figures.get(reference.name, 0.0) <= 0:
            raise InputError(
                f"{reference.name!r} has no energy above 0 to compare with:"
                f" {_where_figures(target)}"
            )
    except InputError as error:
        problems.append(f"energy.reference: {error}")
        return None
    return reference


def _check_reference(reference: Multiplier, target: Target) -> None:
    operands = target.operands
    if reference.signed != operands.signed or reference.bits < operands.bits:
        kind = "signed" if reference.signed else "unsigned"
        raise InputError(
            f"{reference.name!r} is {kind} with {reference.bits} bits, unlike [operands]: name an"
            " exact multiplier of that format"
        )
    if not reference.is_exact:
        raise InputError(
            f"{reference.name!r} is not exact (MAE {reference.mae:g}): name an exact multiplier"
        )


def _candidates(
    group: UnitGroup, target: Target, library: Library, figures: Mapping[str, float]
) -> tuple[str, ...]:
    patterns = (group.multiplier,) if group.multiplier is not None else group.multipliers
    operands = target.operands
    chosen = library.select(patterns, signed=operands.signed, bits=operands.bits)
    for name in patterns or ():
        if not is_pattern(name) and name not in figures:
            raise InputError(f"{name!r} has no energy figure: {_where_figures(target)}")
    names = tuple(m.name for m in chosen if m.name in figures)
    if not names:
        raise InputError(f"no candidate has an energy figure: {_where_figures(target)}")
    return names


def _candidate_field(group: UnitGroup) -> str:
    return "multiplier" if group.multiplier is not None else "multipliers"


def _where_figures(target: Target) -> str:
    if target.energy.source == "table":
        return "add it to energy.multiplication_pj"
    return "add power_mw to its entry in library.toml"
