"""Cycles, utilisation, traffic, throughput, latency and area: what a configuration takes.

Stated simplifications: filling and draining an array, and waiting for memory, cost no cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from alwann_c.errors import InputError
from alwann_c.targets.assignment import Assignment
from alwann_c.targets.binding import Binding, Unit
from alwann_c.targets.multiplier import Multiplier

PARTIAL_SUM_BYTES = 4


@dataclass(frozen=True)
class LayerWork:
    """What one layer asks of an accelerator for one image.

    `macs` counts every issued MAC, those on padding included. The bytes are the sizes of the
    tensors as stored. `positions` (output pixels), `taps` (products per output), `channels` (output
    channels of one group) and `groups` describe the shape; given together, their product must be
    `macs`, and left at 0 the layer is taken to fit any array perfectly. Raises InputError.
    """

    name: str
    kind: str
    macs: int
    input_bytes: int = 0
    weight_bytes: int = 0
    output_bytes: int = 0
    positions: int = 0
    taps: int = 0
    channels: int = 0
    groups: int = 1

    def __post_init__(self) -> None:
        shape = (self.positions, self.taps, self.channels)
        sizes = (self.input_bytes, self.weight_bytes, self.output_bytes, *shape)
        if self.macs <= 0 or self.groups <= 0 or min(sizes) < 0:
            raise InputError(f"layer {self.name!r}: macs and groups are above 0, sizes not below")
        product = self.positions * self.taps * self.channels * self.groups
        if any(shape) and product != self.macs:
            raise InputError(
                f"layer {self.name!r}: macs: {self.macs}, but positions x taps x channels x groups"
                f" = {product}: give the issued MACs and the matching shape"
            )

    @property
    def has_shape(self) -> bool:
        """True if the shape is known."""
        return self.positions > 0


@dataclass(frozen=True)
class Timing:
    """Time per image. `stage_cycles[u]` are the cycles unit u is busy, `exact_cycles` those of the
    array for layers kept exact. A new image starts every `interval_us`; one image takes
    `latency_us`.
    """

    stage_cycles: tuple[int, ...]
    exact_cycles: int
    interval_us: float
    latency_us: float

    @property
    def images_per_second(self) -> float:
        """Throughput, 1e6 / interval_us."""
        return 1e6 / self.interval_us


def cycles(work: LayerWork, unit: Unit) -> int:
    """Clock cycles of a layer on a unit with R rows, C columns and m MACs per cycle.

    * ideal, or shape unknown: ceil(macs / m)
    * weight-stationary, taps on rows and channels on columns:
      ceil(groups * positions * ceil(taps / R) * ceil(channels / C) * R C / m)
    * output-stationary, positions on rows and channels on columns:
      ceil(groups * taps * ceil(positions / R) * ceil(channels / C) * R C / m)
    """
    if unit.dataflow == "ideal" or not work.has_shape:
        return ceil(work.macs / unit.macs_per_cycle)
    column_folds = ceil(work.channels / unit.columns)
    if unit.dataflow == "weight-stationary":
        steps = work.groups * work.positions * ceil(work.taps / unit.rows) * column_folds
    else:
        steps = work.groups * work.taps * ceil(work.positions / unit.rows) * column_folds
    return ceil(steps * (unit.rows * unit.columns) / unit.macs_per_cycle)


def utilisation(work: LayerWork, unit: Unit) -> float:
    """Share of the unit's peak that does work: macs / (cycles * m), between 0 and 1."""
    return work.macs / (cycles(work, unit) * unit.macs_per_cycle)


def buffer_bytes(work: LayerWork, unit: Unit) -> int:
    """Bytes through the on-chip buffer, with F(n, s) = ceil(n / s) folds of the array.

    * ideal, or shape unknown: input + weights + output
    * weight-stationary: input * F(channels, C) + weights + output
      + 2 * 4 * positions * channels * groups * (F(taps, R) - 1), the 32-bit partial sums
      written and read again between folds of the taps
    * output-stationary: input * F(channels, C) + weights * F(positions, R) + output
    """
    if unit.dataflow == "ideal" or not work.has_shape:
        return work.input_bytes + work.weight_bytes + work.output_bytes
    inputs = work.input_bytes * ceil(work.channels / unit.columns)
    if unit.dataflow == "output-stationary":
        weights = work.weight_bytes * ceil(work.positions / unit.rows)
        return inputs + weights + work.output_bytes
    outputs = work.positions * work.channels * work.groups
    spills = 2 * PARTIAL_SUM_BYTES * outputs * (ceil(work.taps / unit.rows) - 1)
    return inputs + work.weight_bytes + work.output_bytes + spills


def dram_bytes(work: LayerWork, traffic: str) -> int:
    """Bytes to and from off-chip memory: every tensor once (`all`), the weights, or nothing."""
    if traffic == "all":
        return work.input_bytes + work.weight_bytes + work.output_bytes
    return work.weight_bytes if traffic == "weights" else 0


def timing(
    binding: Binding,
    assignment: Assignment,
    works: Sequence[LayerWork],
    exact_works: Sequence[LayerWork] = (),
) -> Timing:
    """Time per image of an assignment of `works`; `exact_works` run on an array of their own.

    The exact array has the shape of the first unit. Power-gated: layers run one after another, so
    interval = latency = sum of all cycles. Pipelined: units and the exact array are stages, so
    interval = cycles of the slowest stage and latency = sum of the stages (an image that finds the
    pipeline empty). Cycles are turned into time by the target's clock.
    """
    stages = [0] * len(binding.units)
    for work, unit in zip(works, assignment.layers, strict=True):
        stages[unit] += cycles(work, binding.units[unit])
    exact = sum(cycles(work, binding.units[0]) for work in exact_works)
    total = sum(stages) + exact
    if total == 0:
        raise InputError("timing: no layer given: give the layers of the network")
    pipelined = binding.target.architecture == "pipelined"
    interval = max(*stages, exact) if pipelined else total
    clock = binding.target.clock_mhz
    return Timing(tuple(stages), exact, interval / clock, total / clock)


def area_um2(binding: Binding, assignment: Assignment, *, exact_layers: bool) -> float | None:
    """Area of the arrays: sum over units of rows * columns * (multiplier's area + mac_area_um2).

    Units that run no layer are left out of the chip. `exact_layers` adds the array for layers kept
    exact, of the first unit's shape. None if the area of a multiplier is unknown.
    """
    total = 0.0
    fitted: list[tuple[Unit, Multiplier]] = [
        (binding.units[unit], binding.library.find(assignment.units[unit]))
        for unit in sorted(set(assignment.layers))
    ]
    if exact_layers:
        fitted.append((binding.units[0], binding.reference))
    for unit, multiplier in fitted:
        if multiplier.area_um2 is None:
            return None
        total += unit.rows * unit.columns * (multiplier.area_um2 + unit.mac_area_um2)
    return total
