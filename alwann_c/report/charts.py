"""The pictures as Vega-Lite specifications: one source for the report, files and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alwann_c.report.figures import interval, number, percent, points
from alwann_c.report.ranges import FrontData, View, accuracy_interval, by_energy, views

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'


@dataclass(frozen=True)
class Theme:
    """Colours by role; `units` in order, after Okabe and Ito, for colour-blind readers too."""

    text: str
    soft: str
    rule: str
    page: str
    front: str
    chosen: str
    float_: str
    int8: str
    limit: str
    seen: str
    exact: str
    units: tuple[str, ...]


PAPER = Theme(
    text="#1b1f24",
    soft="#4a515b",
    rule="#d5dae1",
    page="#ffffff",
    front="#0072b2",
    chosen="#d55e00",
    float_="#00795a",
    int8="#a4467e",
    limit="#6b7280",
    seen="#8d96a3",
    exact="#5f6670",
    units=("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"),
)
"""For files: fixed colours on white."""

PAGE = Theme(
    text="var(--text)",
    soft="var(--soft)",
    rule="var(--rule)",
    page="var(--page)",
    front="var(--front)",
    chosen="var(--chosen)",
    float_="var(--float)",
    int8="var(--int8)",
    limit="var(--limit)",
    seen="var(--seen)",
    exact="var(--cx)",
    units=tuple(f"var(--c{index})" for index in range(7)),
)
"""For the report: the colours of its style sheet, light and dark."""


def config(theme: Theme) -> Spec:
    """Fonts, grid and axes that all pictures share."""
    axis = {
        "labelColor": theme.soft,
        "titleColor": theme.text,
        "gridColor": theme.rule,
        "domainColor": theme.rule,
        "tickColor": theme.rule,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    head = {"labelColor": theme.text, "titleColor": theme.text, "labelFontSize": 12}
    return {
        "font": FONT,
        "background": None if theme is PAGE else theme.page,
        "view": {"stroke": None},
        "axis": axis,
        "header": head,
        "legend": {"labelColor": theme.text, "titleColor": theme.text, "labelFontSize": 12},
        "text": {"color": theme.text, "fontSize": 12},
    }


def front_chart(data: FrontData, *, theme: Theme = PAPER, view: View | None = None) -> Spec:
    """Relative energy against accuracy: candidates, front, 95 % intervals, reference lines."""
    view = view or views(data)[0]
    x = _axis("energy", "relative multiplication energy (exact = 1)", view.energy, "~g")
    y = _axis("accuracy", "accuracy on search data", view.accuracy, ".1~%")
    order = by_energy(data.points)
    layers: list[Spec] = [
        _lines(data, theme),
        _line_names(data, theme, view),
        {
            "name": "seen",
            "data": {"values": [{"energy": e, "accuracy": a} for e, a in dict.fromkeys(data.seen)]},
            "mark": _mark("circle", size=18, color=theme.seen, opacity=0.45, aria=False),
            "encoding": {"x": x, "y": y},
        },
        {
            "name": "stairs",
            "mark": _mark(
                "line",
                interpolate="step-after",
                color=theme.front,
                opacity=0.55,
                strokeWidth=1.2,
                aria=False,
            ),
            "encoding": {"x": x, "y": y},
        },
        _whiskers(x, y, theme),
        {
            "name": "front",
            **(_zoom() if theme is PAGE else {}),
            "mark": _mark("point", filled=True, opacity=1, stroke=theme.page, strokeWidth=1.2),
            "encoding": {
                "x": x,
                "y": y,
                "shape": _choice("diamond", "circle"),
                "size": _choice(190, 100),
                "color": _choice(theme.chosen, theme.front),
                "description": {"field": "spoken"},
            },
        },
    ]
    return {
        "$schema": SCHEMA,
        "description": f"Front of {len(order)} plans: relative energy against accuracy",
        "width": "container" if theme is PAGE else 560,
        "height": 360,
        "data": {"values": [_front_row(data, index) for index in order]},
        "layer": layers,
        "config": config(theme),
    }


def _zoom() -> Spec:
    """Dragging moves the range, Shift and the wheel zoom, a double click resets; the plain wheel
    scrolls the page."""
    select = {"type": "interval", "zoom": "wheel![event.shiftKey]"}
    return {"params": [{"name": "zoom", "select": select, "bind": "scales"}]}


def _mark(kind: str, **properties: Any) -> Spec:
    return {"type": kind, "clip": True, **properties}


def _choice(chosen: Any, other: Any) -> Spec:
    return {"condition": {"test": "datum.chosen", "value": chosen}, "value": other}


def _axis(field: str, title: str, domain: Sequence[float], form: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"domain": list(domain), "nice": False, "zero": False},
        "axis": {"title": title, "format": form, "tickCount": 8},
    }


def _front_row(data: FrontData, index: int) -> Spec:
    point = data.points[index]
    low, high = accuracy_interval(point)
    return {
        "point": index,
        "energy": point["relative_energy"],
        "accuracy": point["accuracy"],
        "low": low,
        "high": high,
        "chosen": index == data.selected,
        "spoken": (
            f"Point {index}{', selected' if index == data.selected else ''}: relative energy"
            f" {number(point['relative_energy'], 3)}, accuracy {percent(point['accuracy'])},"
            f" drop {points(point['drop'])} points, 95 % interval"
            f" {interval(tuple(point['drop_ci95']))}"
        ),
    }


def _references(data: FrontData, theme: Theme) -> list[tuple[str, float, str, list[int]]]:
    return [
        ("float", data.float_accuracy, theme.float_, [1, 0]),
        ("int8", data.int8_accuracy, theme.int8, [7, 4]),
        ("limit", data.limit, theme.limit, [2, 4]),
    ]


def _whiskers(x: Spec, y: Spec, theme: Theme) -> Spec:
    """The 95 % intervals."""
    colour = {"color": theme.text, "opacity": 0.6, "aria": False}
    end = _mark("tick", orient="horizontal", size=7, thickness=1.2, **colour)
    return {
        "name": "whiskers",
        "encoding": {"x": x},
        "layer": [
            {
                "mark": _mark("rule", **colour),
                "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {"mark": end, "encoding": {"y": {**y, "field": "low"}}},
            {"mark": end, "encoding": {"y": {**y, "field": "high"}}},
        ],
    }


def _lines(data: FrontData, theme: Theme) -> Spec:
    """Float, exact int8 and the limit, told apart by their dashes too."""
    lines = [
        {
            "data": {"values": [{"accuracy": value}]},
            "mark": _mark("rule", color=colour, strokeDash=dash, strokeWidth=1.6, aria=False),
            "encoding": {"y": {"field": "accuracy", "type": "quantitative"}},
        }
        for _, value, colour, dash in _references(data, theme)
    ]
    return {"name": "references", "layer": lines}


def _line_names(data: FrontData, theme: Theme, view: View) -> Spec:
    """Names of the lines at the left end, pushed apart where the lines lie close."""
    low, high = view.accuracy
    step = 0.042 * (high - low)
    placed: list[tuple[float, str, str]] = []
    for name, value, colour, _ in sorted(_references(data, theme), key=lambda r: -r[1]):
        at = min(value, placed[-1][0] - step) if placed else value
        placed.append((at, name, colour))
    names = [
        {
            "data": {"values": [{"accuracy": at, "name": name}]},
            "mark": _mark("text", align="left", baseline="bottom", color=colour, aria=False),
            "encoding": {
                "x": {"value": 4},
                "y": {"field": "accuracy", "type": "quantitative"},
                "text": {"field": "name"},
            },
        }
        for at, name, colour in placed
    ]
    return {"name": "names", "layer": names}
