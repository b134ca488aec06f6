"""The selected plan as layers by units, and the circuits it uses."""

from __future__ import annotations

from alwann_c.report.figures import compact, percent
from alwann_c.report.markup import Column, Html, code, join, section, table, tag
from alwann_c.report.results import Plan, Results
from alwann_c.report.shapes import EXACT, unit_class, unit_label


def assignment_section(results: Results) -> Html:
    """Which unit runs which layer, with the layers' shares of the MACs."""
    plan = results.plan
    exact = any(layer.unit is None for layer in plan.layers)
    note = (
        "A cell gives the layer's share of all MACs of the network, in the column of the unit that"
        " runs it."
    )
    if exact:
        note += " Layers in the last column stay on the exact multiplier."
    return section(
        "assignment",
        "Assignment of the selected plan",
        tag("p", note),
        _matrix(plan, exact),
        _circuits(plan),
    )


def _matrix(plan: Plan, exact: bool) -> Html:
    total = sum(layer.macs for layer in plan.layers) or 1
    heads: list[str | None] = [unit.name for unit in plan.units]
    if exact:
        heads.append(None)
    sums = [0] * len(heads)
    rows = []
    for layer in plan.layers:
        name = join([code(layer.name), " ", tag("small", layer.kind)])
        at = heads.index(layer.unit)
        sums[at] += layer.macs
        cells = [Html("<td></td>")] * len(heads)
        css = EXACT if layer.unit is None else unit_class(at)
        cells[at] = tag("td", percent(layer.macs / total), class_=f"cell {css}")
        rows.append((name, *cells))
    columns = [Column("Layer"), *(Column(head or "exact", numeric=True) for head in heads)]
    foot = ["All", *(percent(value / total) for value in sums)]
    return table("Layers by units", columns, rows, total=foot, css="matrix")


def _circuits(plan: Plan) -> Html:
    columns = (
        Column("Unit"),
        Column("Multiplier"),
        Column("Power, mW", numeric=True),
        Column("Area, µm²", numeric=True),
        Column("Mean error", numeric=True),
        Column("Worst error", numeric=True),
    )
    rows = []
    for index, unit in enumerate(plan.units):
        circuit = plan.multipliers.get(unit.multiplier)
        figures = (
            (circuit.power_mw, circuit.area_um2, circuit.mae, circuit.wce)
            if circuit is not None
            else (None,) * 4
        )
        rows.append(
            (
                unit_label(unit.name, unit_class(index)),
                code(unit.multiplier),
                *(compact(value) if value is not None else "–" for value in figures),
            )
        )
    caption = "Multipliers of the units; errors over all operand pairs, absolute"
    return table(caption, columns, rows)
