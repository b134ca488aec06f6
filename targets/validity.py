"""Whether a target allows an assignment, or can run a network at all; always with the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from alwann_c.targets.assignment import Assignment
from alwann_c.targets.binding import Binding, bind
from alwann_c.targets.library import Library
from alwann_c.targets.performance import LayerWork, area_um2, cycles, timing
from alwann_c.targets.schema import Target


def check(
    assignment: Assignment,
    target: Target,
    layer_kinds: Sequence[str],
    library: Library,
    works: Sequence[LayerWork] | None = None,
    exact_works: Sequence[LayerWork] = (),
) -> list[str]:
    """Why `target` with `library` does not allow `assignment`; empty if it does.

    `layer_kinds[l]` is the kind of approximable layer l. Rate and latency constraints are checked
    where `works` says what the layers ask for.
    """
    return check_bound(assignment, bind(target, library), layer_kinds, works, exact_works)


def check_bound(
    assignment: Assignment,
    binding: Binding,
    layer_kinds: Sequence[str],
    works: Sequence[LayerWork] | None = None,
    exact_works: Sequence[LayerWork] = (),
) -> list[str]:
    """As `check`, for a target bound before."""
    reasons = list(_unit_reasons(assignment, binding))
    reasons += _layer_reasons(assignment, binding, layer_kinds)
    if reasons:
        return reasons
    if binding.target.architecture == "pipelined":
        reasons += _pipeline_reasons(assignment, binding)
    reasons += _area_reasons(assignment, binding, exact_layers=bool(exact_works))
    if works is not None:
        if len(works) != len(layer_kinds):
            return [*reasons, f"works: {len(works)} for {len(layer_kinds)} layers"]
        reasons += _time_reasons(assignment, binding, works, exact_works)
    return reasons


def feasibility(
    target: Target,
    layer_kinds: Sequence[str],
    library: Library,
    works: Sequence[LayerWork] | None = None,
    exact_works: Sequence[LayerWork] = (),
) -> list[str]:
    """Why no assignment at all can be allowed, found before any is evaluated; empty if none is.

    Complete for layer kinds and the pipeline's order. Area, rate and latency are compared with
    bounds that no assignment can beat, so an assignment may still fail them. `exact_works` run on
    an array of their own, as in `check`.
    """
    binding = bind(target, library)
    reasons: list[str] = []
    if not layer_kinds:
        return ["layers: the network has none to approximate: check [layers] of the target"]
    for kind in dict.fromkeys(layer_kinds):
        if not any(unit.takes(kind) for unit in binding.units):
            reasons.append(f"unit: none runs {kind} layers: add the kind to a unit's layers")
    if target.architecture == "pipelined" and not reasons:
        reasons += _no_pipeline(binding, layer_kinds)
    reasons += _area_bound(binding, layer_kinds, exact_layers=bool(exact_works))
    if works is not None and not reasons:
        reasons += _time_bound(binding, layer_kinds, works, exact_works)
    return reasons


def _unit_reasons(assignment: Assignment, binding: Binding) -> Iterator[str]:
    if len(assignment.units) != len(binding.units):
        yield f"{len(assignment.units)} multipliers for {len(binding.units)} units"
        return
    for unit, name, allowed in zip(
        binding.units, assignment.units, binding.candidates, strict=True
    ):
        if name not in allowed:
            yield f"unit {unit.name!r} cannot be fitted with {name!r}: not among its candidates"


def _layer_reasons(
    assignment: Assignment, binding: Binding, layer_kinds: Sequence[str]
) -> Iterator[str]:
    if len(assignment.layers) != len(layer_kinds):
        yield f"{len(assignment.layers)} layers assigned, the network has {len(layer_kinds)}"
        return
    for layer, (unit, kind) in enumerate(zip(assignment.layers, layer_kinds, strict=True)):
        if not 0 <= unit < len(binding.units):
            yield f"layer {layer} is on unit {unit}: there are units 0 to {len(binding.units) - 1}"
        elif not binding.units[unit].takes(kind):
            yield f"layer {layer} is {kind}, which unit {binding.units[unit].name!r} does not run"


def _pipeline_reasons(assignment: Assignment, binding: Binding) -> Iterator[str]:
    for layer, (unit, following) in enumerate(pairwise(assignment.layers)):
        if following < unit:
            yield f"layer {layer + 1} goes back from unit {unit} to unit {following}"
    for index in sorted(set(range(len(binding.units))) - set(assignment.layers)):
        yield f"unit {binding.units[index].name!r} of the pipeline runs no layer"


def _area_reasons(assignment: Assignment, binding: Binding, *, exact_layers: bool) -> Iterator[str]:
    limit = binding.target.constraints.area_um2
    if limit is None:
        return
    area = area_um2(binding, assignment, exact_layers=exact_layers)
    if area is None:
        yield "area: unknown for a multiplier in use, so constraints.area_um2 cannot be kept"
    elif area > limit:
        yield f"area: {area:.0f} um2, at most {limit:.0f} allowed"


def _time_reasons(
    assignment: Assignment,
    binding: Binding,
    works: Sequence[LayerWork],
    exact_works: Sequence[LayerWork],
) -> Iterator[str]:
    times = timing(binding, assignment, works, exact_works)
    yield from _against_limits(binding, times.interval_us, times.latency_us, "")


def _against_limits(
    binding: Binding, interval_us: float, latency_us: float, at_best: str
) -> Iterator[str]:
    limits = binding.target.constraints
    rate = 1e6 / interval_us
    if limits.min_images_per_second is not None and rate < limits.min_images_per_second:
        yield f"rate: {at_best}{rate:.6g} images/s, at least {limits.min_images_per_second:g} asked"
    if limits.max_latency_ms is not None and latency_us / 1000 > limits.max_latency_ms:
        yield (
            f"latency: {at_best}{latency_us / 1000:.6g} ms, at most {limits.max_latency_ms:g}"
            " allowed"
        )


def _no_pipeline(binding: Binding, layer_kinds: Sequence[str]) -> Iterator[str]:
    count = len(binding.units)
    if count > len(layer_kinds):
        yield (
            f"unit: {count} pipelined units for {len(layer_kinds)} approximable layers: take a"
            " target with fewer units"
        )
        return
    reached = {-1}
    for layer, kind in enumerate(layer_kinds):
        reached = {
            unit
            for previous in reached
            for unit in (previous, previous + 1)
            if 0 <= unit < count and binding.units[unit].takes(kind)
        }
        if not reached:
            yield (
                f"unit: the order of the pipeline leaves no unit for layer {layer} ({kind}):"
                " reorder the units or widen their layers"
            )
            return
    if count - 1 not in reached:
        yield "unit: no split of the layers gives every pipelined unit one: reorder the units"


def _area_bound(
    binding: Binding, layer_kinds: Sequence[str], *, exact_layers: bool
) -> Iterator[str]:
    """The cheapest fitting: all units if pipelined, else the dearest kind's cheapest unit; and the
    array of the exact layers."""
    limit = binding.target.constraints.area_um2
    if limit is None:
        return
    cheapest: list[float] = []
    for unit, names in zip(binding.units, binding.candidates, strict=True):
        areas = [binding.library.find(name).area_um2 for name in names]
        least = min((area for area in areas if area is not None), default=0.0)
        cheapest.append(unit.rows * unit.columns * (least + unit.mac_area_um2))
    if binding.target.architecture == "pipelined":
        bound = sum(cheapest)
    else:
        by_kind = [
            [area for area, unit in zip(cheapest, binding.units, strict=True) if unit.takes(kind)]
            for kind in dict.fromkeys(layer_kinds)
        ]
        bound = max((min(areas) for areas in by_kind if areas), default=0.0)
    if exact_layers:
        unit = binding.units[0]
        bound += (
            unit.rows * unit.columns * ((binding.reference.area_um2 or 0.0) + unit.mac_area_um2)
        )
    if bound > limit:
        yield f"area: at best {bound:.0f} um2, at most {limit:.0f} allowed"


def _time_bound(
    binding: Binding,
    layer_kinds: Sequence[str],
    works: Sequence[LayerWork],
    exact_works: Sequence[LayerWork],
) -> Iterator[str]:
    """Every layer on its fastest unit, exact ones after another on their array; a pipeline cannot
    beat its slowest layer."""
    if len(works) != len(layer_kinds):
        yield f"works: {len(works)} for {len(layer_kinds)} layers"
        return
    fastest = [
        min(cycles(work, unit) for unit in binding.units if unit.takes(kind))
        for work, kind in zip(works, layer_kinds, strict=True)
    ]
    exact = sum(cycles(work, binding.units[0]) for work in exact_works)
    clock = binding.target.clock_mhz
    latency = (sum(fastest) + exact) / clock
    pipelined = binding.target.architecture == "pipelined"
    interval = max(*fastest, exact) / clock if pipelined else latency
    yield from _against_limits(binding, interval, latency, "at best ")
