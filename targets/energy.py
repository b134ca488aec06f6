"""Energy per image: the literature's relative figure, and beside it the total, broken down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alwann_c.errors import InputError
from alwann_c.targets.assignment import Assignment
from alwann_c.targets.binding import Binding, Unit
from alwann_c.targets.multiplier import Multiplier
from alwann_c.targets.performance import (
    LayerWork,
    Timing,
    area_um2,
    buffer_bytes,
    cycles,
    dram_bytes,
    timing,
    utilisation,
)

EXACT_UNIT = "(exact)"
"""Name, impossible in a target, of the array that runs the layers kept exact."""


@dataclass(frozen=True)
class LayerEnergy:
    """One layer: where it ran, its energy in pJ by origin, its cycles and utilisation."""

    name: str
    unit: str
    multiplier: str
    macs: int
    multiplication_pj: float
    overhead_pj: float
    buffer_pj: float
    dram_pj: float
    leakage_pj: float
    cycles: int
    utilisation: float

    @property
    def total_pj(self) -> float:
        """Sum of all origins."""
        return (
            self.multiplication_pj
            + self.overhead_pj
            + self.buffer_pj
            + self.dram_pj
            + self.leakage_pj
        )


@dataclass(frozen=True)
class UnitEnergy:
    """One unit: sums over the layers it runs; `busy` is its share of the image interval."""

    name: str
    multiplier: str
    layers: int
    macs: int
    cycles: int
    busy: float
    multiplication_pj: float
    total_pj: float


@dataclass(frozen=True)
class EnergyReport:
    """Energy, time and area of a configuration, per image.

    `relative_energy` is the literature's figure, over approximable layers and multiplications only.
    `total_pj` adds everything else the target states, exact layers included, and `relative_total`
    divides it by the same configuration with the reference multiplier in every unit.
    """

    relative_energy: float
    total_pj: float
    relative_total: float
    layers: tuple[LayerEnergy, ...]
    units: tuple[UnitEnergy, ...]
    timing: Timing
    area_um2: float | None

    def breakdown_pj(self) -> dict[str, float]:
        """Energy by origin, pJ per image; the values add up to `total_pj`."""
        origins = ("multiplication", "overhead", "buffer", "dram", "leakage")
        return {o: sum(getattr(layer, f"{o}_pj") for layer in self.layers) for o in origins}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        layers = [{**asdict(layer), "total_pj": layer.total_pj} for layer in self.layers]
        return {
            **asdict(self),
            "layers": layers,
            "breakdown_pj": self.breakdown_pj(),
            "images_per_second": self.timing.images_per_second,
        }


def relative_energy(
    works: Sequence[LayerWork],
    multipliers: Sequence[Multiplier],
    reference: Multiplier,
    cost: Mapping[str, float] | None = None,
) -> float:
    """sum_l MAC_l P(m(l)) / sum_l MAC_l P(reference) over the approximable layers `works`.

    `multipliers[l]` is the one layer l uses. P is the multiplier's power_mw, or `cost[name]` where
    `cost` is given; its unit and any clock cancel. Raises InputError if nothing is to be compared,
    lengths differ, or a figure is unknown.
    """
    if not works or len(works) != len(multipliers):
        raise InputError(
            f"relative energy: {len(works)} layers and {len(multipliers)} multipliers: give one"
            " multiplier for every approximable layer, and at least one layer"
        )
    base = _figure(reference, cost)
    if base <= 0:
        raise InputError(f"multiplier {reference.name!r}: no energy above 0 to compare with")
    spent = sum(w.macs * _figure(m, cost) for w, m in zip(works, multipliers, strict=True))
    return spent / (base * sum(work.macs for work in works))


def energy_report(
    binding: Binding,
    assignment: Assignment,
    works: Sequence[LayerWork],
    exact_works: Sequence[LayerWork] = (),
) -> EnergyReport:
    """The report for `assignment` of the approximable layers `works`, the others kept exact.

    Per layer, in pJ: multiplication = macs * energy of the unit's multiplier (see `bind`);
    overhead = macs * mac_overhead_pj; buffer = buffer_bytes * buffer_pj_per_byte; dram =
    dram_bytes * dram_pj_per_byte; leakage = leakage_mw * time in us * 1000, the time being the
    layer's own (power-gated: idle units are off) or, pipelined, the layer's share, by cycles, of
    its unit's image interval (all units stay on). Exact layers run on the exact array of `timing`.
    """
    library = binding.library
    times = timing(binding, assignment, works, exact_works)
    placed = [
        (work, binding.units[unit], assignment.units[unit], times.stage_cycles[unit])
        for work, unit in zip(works, assignment.layers, strict=True)
    ]
    rows = [_layer(binding, times, *place) for place in placed]
    first = binding.units[0]
    rows += [
        _layer(binding, times, work, first, binding.reference.name, times.exact_cycles, EXACT_UNIT)
        for work in exact_works
    ]
    total = sum(row.total_pj for row in rows)
    reference_pj = binding.multiplication_pj[binding.reference.name]
    saved = sum(row.macs * reference_pj - row.multiplication_pj for row in rows)
    used = [library.find(name) for _, _, name, _ in placed]
    return EnergyReport(
        relative_energy=relative_energy(works, used, binding.reference, binding.cost),
        total_pj=total,
        relative_total=total / (total + saved),
        layers=tuple(rows),
        units=_units(binding, assignment, times, rows),
        timing=times,
        area_um2=area_um2(binding, assignment, exact_layers=bool(exact_works)),
    )


def _figure(multiplier: Multiplier, cost: Mapping[str, float] | None) -> float:
    figure = multiplier.power_mw if cost is None else cost.get(multiplier.name)
    if figure is None:
        raise InputError(
            f"multiplier {multiplier.name!r}: energy unknown: add power_mw to its library, or its"
            " energy to the target"
        )
    return figure


def _layer(
    binding: Binding,
    times: Timing,
    work: LayerWork,
    unit: Unit,
    multiplier: str,
    stage_cycles: int,
    unit_name: str | None = None,
) -> LayerEnergy:
    energy = binding.target.energy
    busy = cycles(work, unit)
    if binding.target.architecture == "pipelined":
        on_us = times.interval_us * busy / stage_cycles
    else:
        on_us = busy / binding.target.clock_mhz
    return LayerEnergy(
        name=work.name,
        unit=unit_name or unit.name,
        multiplier=multiplier,
        macs=work.macs,
        multiplication_pj=work.macs * binding.multiplication_pj[multiplier],
        overhead_pj=work.macs * energy.mac_overhead_pj,
        buffer_pj=buffer_bytes(work, unit) * energy.buffer_pj_per_byte,
        dram_pj=dram_bytes(work, energy.dram_traffic) * energy.dram_pj_per_byte,
        leakage_pj=unit.leakage_mw * on_us * 1000.0,
        cycles=busy,
        utilisation=utilisation(work, unit),
    )


def _units(
    binding: Binding, assignment: Assignment, times: Timing, rows: Sequence[LayerEnergy]
) -> tuple[UnitEnergy, ...]:
    fitted = [(u.name, m) for u, m in zip(binding.units, assignment.units, strict=True)]
    if any(row.unit == EXACT_UNIT for row in rows):
        fitted.append((EXACT_UNIT, binding.reference.name))
    interval = times.interval_us * binding.target.clock_mhz
    units: list[UnitEnergy] = []
    for name, multiplier in fitted:
        own = [row for row in rows if row.unit == name]
        busy = sum(row.cycles for row in own)
        units.append(
            UnitEnergy(
                name=name,
                multiplier=multiplier,
                layers=len(own),
                macs=sum(row.macs for row in own),
                cycles=busy,
                busy=busy / interval,
                multiplication_pj=sum(row.multiplication_pj for row in own),
                total_pj=sum(row.total_pj for row in own),
            )
        )
    return tuple(units)
