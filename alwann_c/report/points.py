"""The front: the interactive plot with its legend, the plan of every point, and all as a table."""

from __future__ import annotations

from alwann_c.report.charts import PAGE, front_chart
from alwann_c.report.figures import count, interval, number, percent, points
from alwann_c.report.markup import Column, Html, code, data_block, join, section, table, tag
from alwann_c.report.ranges import View, by_energy, views
from alwann_c.report.results import Front, FrontPoint, Results
from alwann_c.report.shapes import strip, unit_class, unit_label
from alwann_c.report.vega import to_svg


def front_section(results: Results) -> Html:
    """The plot, the panels it opens, and the table of all points."""
    front = results.front
    drawn = front.drawn
    shown = views(drawn)
    charts = {view.name: front_chart(drawn, theme=PAGE, view=view) for view in shown}
    still = to_svg({**charts["near"], "width": 560})
    plot = tag(
        "div",
        still,
        id="plot",
        class_="plot",
        role="group",
        aria_label=f"Front of {count(len(front.front), 'plan')}: relative energy against accuracy",
    )
    switch = _switch(shown) if len(shown) > 1 else Html()
    caption = tag("figcaption", _reading(front, shown[0]))
    figure = tag("figure", switch, plot, _legend(front), caption, data_block("charts", charts))
    panels = [_panel(results, index) for index in by_energy(drawn.points)]
    status = tag("p", role="status", class_="unseen", id="pinned")
    return section(
        "front",
        "The front",
        tag(
            "p",
            "Every mark is a plan that can be built. Hover over one to look at its plan; click it,"
            " or reach it with Tab and the arrow keys and press Enter, to keep it shown. Drag to"
            " move the range, hold Shift and turn the wheel to zoom, double-click to reset.",
        ),
        tag(
            "div",
            figure,
            tag(
                "div", status, *panels, class_="panels", role="group", aria_label="Plan", tabindex=0
            ),
            class_="explorer",
        ),
        tag("details", tag("summary", f"All {len(front.front)} points as a table"), _table(front)),
    )


def _switch(shown: list[View]) -> Html:
    """Radio buttons for the ranges of the plot."""
    parts = [tag("legend", "Range of the plot", class_="unseen")]
    for number_, view in enumerate(shown):
        name = f"view-{view.name}"
        parts.append(
            join(
                [
                    tag(
                        "input",
                        type="radio",
                        name="view",
                        value=view.name,
                        id=name,
                        checked=number_ == 0,
                    ),
                    tag("label", view.label, for_=name),
                ]
            )
        )
    return tag("fieldset", *parts, class_="switch")


def _legend(front: Front) -> Html:
    def key(css: str, *mark: str) -> Html:
        return tag("svg", *mark, class_=f"key {css}", viewBox="0 0 28 12", aria_hidden="true")

    def line(css: str) -> Html:
        return key("", tag("line", class_=css, x1=0, x2=28, y1=6, y2=6))

    dot = key("front-point", tag("circle", class_="mark", cx=14, cy=6, r=5))
    whisker = key("", tag("path", class_="whisker", d="M6 6H22M6 3v6M22 3v6"))
    chosen = key("front-point chosen", tag("path", class_="mark", d="M14 0l6 6l-6 6l-6 -6z"))
    seen = key("", tag("path", class_="evaluated", d="M6 8h0M13 4h0M21 7h0"))
    entries = [
        (chosen, "selected plan"),
        (dot, "plan of the front"),
        (whisker, "95 % interval"),
        (seen, "evaluated candidate"),
        (line("line-float"), f"float {percent(front.float_accuracy.search, 2)}"),
        (line("line-int8"), f"exact int8 {percent(front.int8_accuracy.search, 2)}"),
        (line("line-limit"), f"limit: {points(front.max_drop)} points below float"),
    ]
    return tag("ul", *(tag("li", mark, " ", text) for mark, text in entries), class_="legend")


def _reading(front: Front, view: View) -> str:
    below = sum(not view.holds(p.relative_energy, p.accuracy) for p in front.front)
    outside = sum(not view.holds(c.relative_energy, c.accuracy) for c in front.evaluated)
    left_out = [
        text
        for many, text in (
            (below, f"{below} of {count(len(front.front), 'front point')}"),
            (outside, f"{outside:,} of {count(len(front.evaluated), 'candidate')}"),
        )
        if many
    ]
    told = f" The range near the limit leaves out {' and '.join(left_out)}." if left_out else ""
    return (
        f"Front points: accuracy on {count(front.data.search.images, 'search image')}, intervals"
        " from the paired differences to the float network. Candidates were judged on a part of"
        f" these images only, so one may lie above the front.{told}"
    )


_CHOICE = (
    "What to expect on new images is the measured drop, steadied by the one that the divergence"
    " from the exact integer network predicts. The cheapest plan whose expected drop plus one"
    " standard error (the bound) keeps the limit is selected."
)


def _panel(results: Results, index: int) -> Html:
    """The plan of one point; the selected one is shown at first, others when asked for."""
    front = results.front
    point, chosen = front.front[index], index == front.selected
    heading = tag(
        "h3", f"Plan of point {index}", tag("span", "selected", class_="badge") if chosen else ""
    )
    colours = [unit_class(unit) for unit in point.assignment.layers]
    work = strip([(layer.macs, css) for layer, css in zip(front.layers, colours, strict=True)])
    return tag(
        "article",
        heading,
        tag("dl", *_facts(point), class_="facts"),
        tag("p", _CHOICE, class_="note") if point.expected_drop is not None else "",
        work,
        tag("p", "The layers in order, each as wide as its MACs.", class_="note"),
        _units(results, point),
        id=f"point-{index}",
        class_="point-panel is-shown" if chosen else "point-panel",
        data_point=index,
    )


def _facts(point: FrontPoint) -> list[Html]:
    facts = [
        ("relative energy", number(point.relative_energy, 3)),
        ("saved", percent(1.0 - point.relative_energy)),
        ("accuracy, search", percent(point.accuracy, 2)),
        ("drop, search", f"{points(point.drop)} [{interval(point.drop_ci95)}] points"),
    ]
    if point.expected_drop is not None and point.expected_drop_bound is not None:
        expected, bound = points(point.expected_drop), points(point.expected_drop_bound)
        facts.append(("expected drop", f"{expected} (bound {bound}) points"))
    if point.test_accuracy is not None:
        facts.append(("accuracy, test", percent(point.test_accuracy, 2)))
    if point.test_drop is not None:
        bounds = point.test_drop_ci95
        within = f" [{interval(bounds)}]" if bounds is not None else ""
        facts.append(("drop, test", f"{points(point.test_drop)}{within} points"))
    return [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]


def _units(results: Results, point: FrontPoint) -> Html:
    """Every unit with its multiplier and share of the MACs, and the layers it runs."""
    layers = results.front.layers
    total = sum(layer.macs for layer in layers) or 1
    names = results.unit_names(len(point.assignment.units))
    parts: list[Html] = []
    for unit, multiplier in enumerate(point.assignment.units):
        placed = zip(layers, point.assignment.layers, strict=True)
        own = [layer for layer, at in placed if at == unit]
        listed: list[str] = []
        for layer in own:
            fixed = "" if layer.unit_choice else " (fixed)"
            listed += [", " if listed else "", code(layer.name), fixed]
        share = percent(sum(layer.macs for layer in own) / total, 0)
        label = unit_label(names[unit], unit_class(unit))
        figure = tag("span", f"{share} of MACs", class_="share")
        parts.append(tag("dt", label, " ", code(multiplier), " ", figure))
        parts.append(tag("dd", join(listed) if own else "no layer"))
    return tag("dl", *parts, class_="placement")


def _table(front: Front) -> Html:
    tested = front.data.test is not None
    columns = [
        Column("Point"),
        Column("Relative energy", numeric=True),
        Column("Accuracy, search", numeric=True),
        Column("Drop, points [95 %]", numeric=True),
    ]
    if tested:
        columns += [
            Column("Accuracy, test", numeric=True),
            Column("Drop, points [95 %]", numeric=True),
        ]
    rows = []
    for index in by_energy(front.drawn.points):
        point = front.front[index]
        name = f"{index} (selected)" if index == front.selected else str(index)
        cells: list[str] = [
            tag("a", name, href=f"#point-{index}"),
            number(point.relative_energy, 4),
            percent(point.accuracy, 2),
            _drop(point.drop, point.drop_ci95),
        ]
        if tested:
            cells += [
                percent(point.test_accuracy, 2) if point.test_accuracy is not None else "–",
                _drop(point.test_drop, point.test_drop_ci95),
            ]
        rows.append(cells)
    return table("Points of the front, cheapest first", columns, rows)


def _drop(drop: float | None, bounds: tuple[float, float] | None) -> str:
    if drop is None:
        return "–"
    return f"{points(drop)} [{interval(bounds)}]" if bounds is not None else points(drop)
