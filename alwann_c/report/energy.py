"""Where the energy goes: multiplications against exact ones, then everything the target states."""

from __future__ import annotations

from alwann_c.report.energy_file import Energy, LayerEnergy
from alwann_c.report.figures import compact, energy_unit, number, percent
from alwann_c.report.markup import Column, Html, code, join, section, table, tag
from alwann_c.report.results import Plan, Results
from alwann_c.report.shapes import EXACT, bar, swatch, unit_class, unit_label

ORIGINS = (
    ("multiplication", "multiplications"),
    ("overhead", "rest of the MACs"),
    ("buffer", "on-chip buffer"),
    ("dram", "off-chip memory"),
    ("leakage", "leakage"),
)


def energy_section(results: Results) -> Html:
    """Bars with figures, per layer and per unit."""
    plan, energy = results.plan, results.plan.energy
    if energy is None:
        return section("energy", "Energy", tag("p", "plan.json holds no energy report."))
    parts = [_multiplications(plan, energy)]
    spent = sum(layer.multiplication_pj for layer in energy.layers)
    if energy.total_pj > spent * (1 + 1e-9):
        parts += [_everything(energy)]
    if all(layer.cycles is not None for layer in energy.layers):
        parts += [_cycles(plan, energy)]
    return section("energy", "Energy", tag("p", _summary(energy)), *parts, _units(plan, energy))


def _summary(energy: Energy) -> str:
    size, name = energy_unit([energy.total_pj])
    told = (
        f"Multiplications of the approximable layers take {percent(energy.relative_energy)} of"
        f" exact ones. One image takes {number(energy.total_pj / size, 2)} {name} in all, which is"
        f" {percent(energy.relative_total)} of the same accelerator with exact multipliers."
    )
    if energy.images_per_second is not None:
        told += f" Throughput: {compact(energy.images_per_second)} images per second."
    if energy.area_um2 is not None:
        told += f" Area: {compact(energy.area_um2)} µm²."
    return told


def _colours(plan: Plan) -> dict[str, str]:
    return {unit.name: unit_class(index) for index, unit in enumerate(plan.units)}


def _unit(plan: Plan, name: str) -> Html:
    return unit_label(name, _colours(plan).get(name, EXACT))


def _multiplications(plan: Plan, energy: Energy) -> Html:
    costs = {layer.name: layer.relative_cost for layer in plan.layers}
    colours = _colours(plan)

    def exact(layer: LayerEnergy) -> float | None:
        cost = costs.get(layer.name, 0.0)
        return layer.multiplication_pj / cost if cost > 0 else None

    values = [layer.multiplication_pj for layer in energy.layers]
    whole = max([*values, *(exact(layer) or 0.0 for layer in energy.layers)], default=0.0)
    size, name = energy_unit([whole])
    rows = [
        (
            code(layer.name),
            _unit(plan, layer.unit),
            bar(
                [(layer.multiplication_pj, colours.get(layer.unit, EXACT))],
                whole,
                outline=exact(layer),
            ),
            number(layer.multiplication_pj / size, 2),
            percent(costs[layer.name], 0) if layer.name in costs else "–",
        )
        for layer in energy.layers
    ]
    columns = (
        Column("Layer"),
        Column("Unit"),
        Column("Outline: exact", wide=True),
        Column(name, numeric=True),
        Column("of exact", numeric=True),
    )
    foot = ("All", "", "", number(sum(values) / size, 2), "")
    return table("Multiplications per layer and image", columns, rows, total=foot, css="bars")


def _everything(energy: Energy) -> Html:
    sums = {o: sum(_of(layer, o) for layer in energy.layers) for o, _ in ORIGINS}
    size, name = energy_unit([energy.total_pj])
    keys = [
        tag(
            "li",
            swatch(f"o-{origin}"),
            f" {label} {number(sums[origin] / size, 2)} {name}"
            f" ({percent(sums[origin] / energy.total_pj)})",
        )
        for origin, label in ORIGINS
        if sums[origin] > 0
    ]
    whole = max(layer.total_pj for layer in energy.layers)
    size, name = energy_unit([whole])
    rows = [
        (
            code(layer.name),
            bar([(_of(layer, origin), f"o-{origin}") for origin, _ in ORIGINS], whole),
            number(layer.total_pj / size, 2),
            percent(layer.total_pj / energy.total_pj),
        )
        for layer in energy.layers
    ]
    columns = (
        Column("Layer"),
        Column("By origin", wide=True),
        Column(name, numeric=True),
        Column("Share", numeric=True),
    )
    return join(
        [
            table("Everything the target states, per layer and image", columns, rows, css="bars"),
            tag("ul", *keys, class_="legend"),
        ]
    )


def _cycles(plan: Plan, energy: Energy) -> Html:
    """Cycles of each layer on its unit, and the share of the unit's peak that does work."""
    colours = _colours(plan)
    whole = max((layer.cycles or 0 for layer in energy.layers), default=0)
    rows = [
        (
            code(layer.name),
            _unit(plan, layer.unit),
            bar([(layer.cycles or 0, colours.get(layer.unit, EXACT))], whole),
            f"{layer.cycles or 0:,}",
            "–" if layer.utilisation is None else percent(layer.utilisation, 0),
        )
        for layer in energy.layers
    ]
    columns = (
        Column("Layer"),
        Column("Unit"),
        Column("Cycles", wide=True),
        Column("of the clock", numeric=True),
        Column("Utilisation", numeric=True),
    )
    foot = ("All", "", "", f"{sum(layer.cycles or 0 for layer in energy.layers):,}", "")
    return table("Time per layer and image", columns, rows, total=foot, css="bars")


def _of(layer: LayerEnergy, origin: str) -> float:
    value: float = getattr(layer, f"{origin}_pj")
    return value


def _units(plan: Plan, energy: Energy) -> Html:
    colours = _colours(plan)
    whole = max((unit.total_pj for unit in energy.units), default=0.0)
    size, name = energy_unit([whole])
    rows = [
        (
            _unit(plan, unit.name),
            code(unit.multiplier),
            f"{unit.layers:,}",
            percent(unit.busy, 0),
            bar([(unit.total_pj, colours.get(unit.name, EXACT))], whole),
            number(unit.multiplication_pj / size, 2),
            number(unit.total_pj / size, 2),
        )
        for unit in energy.units
    ]
    columns = (
        Column("Unit"),
        Column("Multiplier"),
        Column("Layers", numeric=True),
        Column("Busy", numeric=True),
        Column("Total", wide=True),
        Column(f"Mult., {name}", numeric=True),
        Column(f"Total, {name}", numeric=True),
    )
    return table("Per unit and image", columns, rows, css="bars per-unit")
