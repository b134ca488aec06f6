"""Pictures of one plan: energy, assignment, operands and error of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from alwann_c.report.charts import PAPER, SCHEMA, Spec, Theme, config
from alwann_c.report.energy import ORIGINS
from alwann_c.report.energy_file import Energy
from alwann_c.report.figures import energy_unit
from alwann_c.report.operand_file import LayerOperands, Operands
from alwann_c.report.results import Plan

CODES_PER_BIN = 4
EXACT_UNIT = "exact"


def _chart(theme: Theme, **content: Any) -> Spec:
    return {"$schema": SCHEMA, **content, "config": config(theme)}


def _nominal(field: str, title: str | None, **more: Any) -> Spec:
    return {"field": field, "type": "nominal", "title": title, "sort": None, **more}


def _coloured(field: str, title: str, names: Sequence[str], colours: Sequence[str]) -> Spec:
    scale = {"domain": list(names), "range": [colours[i % len(colours)] for i in range(len(names))]}
    return {"field": field, "type": "nominal", "title": title, "scale": scale, "sort": None}


def energy_chart(energy: Energy, theme: Theme = PAPER) -> Spec:
    """Energy per layer and image, by what it goes into."""
    whole = max((layer.total_pj for layer in energy.layers), default=0.0)
    size, unit = energy_unit([whole])
    rows = [
        {
            "layer": layer.name,
            "origin": label,
            "rank": rank,
            "energy": getattr(layer, f"{key}_pj") / size,
        }
        for layer in energy.layers
        for rank, (key, label) in enumerate(ORIGINS)
        if getattr(layer, f"{key}_pj") > 0
    ]
    shown = [label for _, label in ORIGINS if any(row["origin"] == label for row in rows)]
    return _chart(
        theme,
        description="Energy per layer and image",
        width=420,
        height={"step": 18},
        data={"values": rows},
        mark={"type": "bar"},
        encoding={
            "y": _nominal("layer", None),
            "x": {"field": "energy", "type": "quantitative", "title": f"{unit} per image"},
            "color": _coloured("origin", "goes into", shown, theme.units),
            "order": {"field": "rank", "type": "quantitative"},
        },
    )


def assignment_chart(plan: Plan, theme: Theme = PAPER) -> Spec:
    """Layers by units; a cell gives the layer's share of the MACs."""
    total = sum(layer.macs for layer in plan.layers) or 1
    fitted = {unit.name: f"{unit.name} ({unit.multiplier})" for unit in plan.units}
    columns = [*fitted.values()]
    if any(layer.unit is None for layer in plan.layers):
        columns.append(EXACT_UNIT)
    rows = [
        {
            "layer": layer.name,
            "unit": fitted[layer.unit] if layer.unit is not None else EXACT_UNIT,
            "share": layer.macs / total,
        }
        for layer in plan.layers
    ]
    colours = [*(theme.units[i % len(theme.units)] for i in range(len(fitted))), theme.exact]
    x = {**_nominal("unit", None, axis={"orient": "top", "labelAngle": 0, "labelLimit": 150})}
    x["scale"] = {"domain": columns}
    return _chart(
        theme,
        description="Which unit runs which layer, with the share of the MACs",
        width={"step": 160},
        height={"step": 20},
        data={"values": rows},
        encoding={"y": _nominal("layer", None), "x": x},
        layer=[
            {
                "mark": {"type": "rect", "opacity": 0.45},
                "encoding": {"color": {**_coloured("unit", "", columns, colours), "legend": None}},
            },
            {
                "mark": {"type": "text"},
                "encoding": {"text": {"field": "share", "type": "quantitative", "format": ".1%"}},
            },
        ],
    )


def _binned(counts: Sequence[int]) -> list[float]:
    """Bins of a few codes, relative to the largest, as roots, so that rare codes show."""
    sums = [
        sqrt(sum(counts[at : at + CODES_PER_BIN])) for at in range(0, len(counts), CODES_PER_BIN)
    ]
    largest = max(sums) or 1
    return [value / largest for value in sums]


def _histogram_rows(operands: Operands, layer: LayerOperands) -> list[Spec]:
    return [
        {
            "layer": layer.name,
            "operand": operand,
            "code": operands.first_code + CODES_PER_BIN * index,
            "share": share,
        }
        for operand, counts in (("activation", layer.activations), ("weight", layer.weights))
        for index, share in enumerate(_binned(counts))
    ]


def operand_chart(operands: Operands, theme: Theme = PAPER, columns: int = 4) -> Spec:
    """Histograms of activation and weight codes, one panel per layer."""
    rows = [row for layer in operands.layers for row in _histogram_rows(operands, layer)]
    code: Spec = {"field": "code", "type": "quantitative", "title": None}
    code["scale"] = {"domain": [operands.first_code, operands.first_code + 256], "nice": False}
    code["axis"] = {"values": [operands.first_code + step for step in (0, 128, 255)]}
    share: Spec = {"field": "share", "type": "quantitative", "title": None, "axis": None}
    kinds = ["activation", "weight"]
    return _chart(
        theme,
        description="Histograms of the operands' codes per layer (roots of the counts)",
        data={"values": rows},
        facet=_nominal("layer", None),
        columns=columns,
        spec={
            "width": 150,
            "height": 70,
            "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.55, "line": True},
            "encoding": {
                "x": code,
                "y": {**share, "stack": None},
                "color": _coloured("operand", "codes of", kinds, theme.units),
            },
        },
    )


def error_chart(operands: Operands, theme: Theme = PAPER) -> Spec:
    """What compensation changed: error of the layers' outputs, relative to their deviation."""
    rows = []
    for layer in operands.layers:
        error = layer.output_error
        rows += [
            {"layer": layer.name, "when": when, "error": value}
            for when, value in (("without", error.before), ("with", error.after))
        ]
    kinds = ["without", "with"]
    return _chart(
        theme,
        description="Error of the layers' outputs without and with compensation",
        width=420,
        height={"step": 18},
        data={"values": rows},
        encoding={
            "y": _nominal("layer", None),
            "x": {
                "field": "error",
                "type": "quantitative",
                "title": "error of the output, relative (RMS)",
                "axis": {"format": "~%"},
            },
        },
        layer=[
            {
                "mark": {"type": "line", "color": theme.rule},
                "encoding": {"detail": {"field": "layer"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {
                    "color": _coloured("when", "compensation", kinds, (theme.chosen, theme.front)),
                    "shape": {
                        "field": "when",
                        "type": "nominal",
                        "title": "compensation",
                        "scale": {"domain": kinds, "range": ["circle", "diamond"]},
                    },
                },
            },
        ],
    )
