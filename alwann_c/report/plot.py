"""The front as SVG: relative energy against accuracy, every point a link to its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from alwann_c.report.figures import interval, number, percent, points
from alwann_c.report.markup import Html, join, tag
from alwann_c.report.results import Front, FrontPoint

NEAR_DROPS = 10.0
NEAR_LEAST = 0.05


@dataclass(frozen=True)
class Size:
    """Drawing area in px: one for wide screens, one for phones, so that text keeps its size."""

    name: str
    width: int
    height: int
    ticks: int

    @property
    def left(self) -> int:
        """Room for the tick labels of the accuracy."""
        return 58

    @property
    def right(self) -> int:
        """Room for the names of the reference lines."""
        return 46

    @property
    def top(self) -> int:
        """Room for the title of the accuracy."""
        return 26

    @property
    def bottom(self) -> int:
        """Room for the energy's tick labels and title."""
        return 50


SIZES = (Size("wide", 720, 440, 8), Size("narrow", 370, 360, 4))


@dataclass(frozen=True)
class View:
    """A range of both axes, and what the reader calls it."""

    name: str
    label: str
    energy: tuple[float, float]
    accuracy: tuple[float, float]

    def holds(self, energy: float, accuracy: float) -> bool:
        """Whether a point is within the range."""
        return (
            self.energy[0] <= energy <= self.energy[1]
            and self.accuracy[0] <= accuracy <= self.accuracy[1]
        )


@dataclass(frozen=True)
class Scale:
    """Maps a view onto a size."""

    view: View
    size: Size

    def x(self, energy: float) -> float:
        """Horizontal place of an energy."""
        low, high = self.view.energy
        inner = self.size.width - self.size.left - self.size.right
        return round(self.size.left + (energy - low) / (high - low) * inner, 1)

    def y(self, accuracy: float) -> float:
        """Vertical place of an accuracy."""
        low, high = self.view.accuracy
        inner = self.size.height - self.size.top - self.size.bottom
        return round(
            self.size.height - self.size.bottom - (accuracy - low) / (high - low) * inner, 1
        )


def accuracy_interval(point: FrontPoint) -> tuple[float, float]:
    """The drop's interval turned into accuracies: reference minus its two ends."""
    reference = point.accuracy + point.drop
    low, high = sorted(point.drop_ci95)
    return reference - high, reference - low


def by_energy(front: Front) -> list[int]:
    """Indices of the points, cheapest first."""
    return sorted(
        range(len(front.front)),
        key=lambda i: (front.front[i].relative_energy, front.front[i].accuracy, i),
    )


def views(front: Front) -> list[View]:
    """The range worth looking at and, if that leaves anything out, the range of everything."""
    least = front.float_accuracy.search - max(NEAR_DROPS * front.max_drop, NEAR_LEAST)
    close = [p for p in front.front if p.accuracy >= least or p is front.chosen]
    near = View("near", "near the limit", *_ranges(front, close, ()))
    candidates = [(c.relative_energy, c.accuracy) for c in front.evaluated]
    placed = [(p.relative_energy, p.accuracy) for p in front.front]
    if all(near.holds(*place) for place in (*placed, *candidates)):
        return [near]
    return [near, View("all", "everything", *_ranges(front, front.front, candidates))]


def _ranges(
    front: Front, shown: Sequence[FrontPoint], extra: Sequence[tuple[float, float]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    energies = [p.relative_energy for p in shown] + [e for e, _ in extra]
    bounds = [end for p in shown for end in (p.accuracy, *accuracy_interval(p))]
    lines = [front.float_accuracy.search, front.int8_accuracy.search, _limit(front)]
    return _padded(energies, 0.04), _padded([*bounds, *lines, *(a for _, a in extra)], 0.04)


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max((high - low) * share, 0.002)
    return low - room, high + room


def _limit(front: Front) -> float:
    return front.float_accuracy.search - front.max_drop


def ticks(low: float, high: float, wanted: int) -> tuple[list[float], int]:
    """About `wanted` round values within a range, and the decimals needed to write them."""
    rough = (high - low) / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(power * f for f in (1.0, 2.0, 5.0, 10.0) if power * f >= rough * 0.999)
    decimals = max(0, -floor(log10(step) + 1e-9))
    return [i * step for i in range(ceil(low / step), floor(high / step) + 1)], decimals


def render_plot(front: Front, view: View, size: Size) -> Html:
    """One drawing. Its points are `a.front-point` with `data-point`, tabbed cheapest first."""
    scale = Scale(view, size)
    order = [
        i
        for i in by_energy(front)
        if view.holds(front.front[i].relative_energy, front.front[i].accuracy)
    ]
    marks = [i for i in order if i != front.selected] + [i for i in order if i == front.selected]
    clip = f"clip-{view.name}-{size.name}"
    frame = tag(
        "rect",
        x=size.left,
        y=size.top,
        width=size.width - size.left - size.right,
        height=size.height - size.top - size.bottom,
    )
    inside = tag(
        "g",
        _evaluated(front, scale),
        *(_line(value, css, scale) for value, css, _ in _references(front)),
        _stairs(front, order, scale),
        *(_whisker(front.front[i], scale) for i in marks),
        clip_path=f"url(#{clip})",
    )
    return tag(
        "svg",
        tag("defs", tag("clipPath", frame, id=clip)),
        _axes(scale),
        inside,
        _names(front, scale),
        tag("g", *(_point(front, i, scale) for i in order), class_="points"),
        viewBox=f"0 0 {size.width} {size.height}",
        class_=f"plot plot-{view.name} plot-{size.name}",
        role="group",
        aria_label=f"Front of {len(order)} plans: relative energy against accuracy, {view.label}",
    )


def _axes(scale: Scale) -> Html:
    size, parts = scale.size, []
    bottom, right = size.height - size.bottom, size.width - size.right
    values, decimals = ticks(*scale.view.energy, size.ticks)
    for value in values:
        x = scale.x(value)
        parts += [
            tag("line", class_="grid", x1=x, x2=x, y1=size.top, y2=bottom),
            tag("text", number(value, decimals), x=x, y=bottom + 18, text_anchor="middle"),
        ]
    values, decimals = ticks(*scale.view.accuracy, 6)
    for value in values:
        y = scale.y(value)
        parts += [
            tag("line", class_="grid", x1=size.left, x2=right, y1=y, y2=y),
            tag(
                "text",
                percent(value, max(0, decimals - 2)),
                x=size.left - 7,
                y=y + 4,
                text_anchor="end",
            ),
        ]
    middle = (size.left + right) / 2
    title = "relative multiplication energy (exact = 1)"
    parts.append(
        tag("text", title, x=middle, y=size.height - 8, text_anchor="middle", class_="title")
    )
    parts.append(tag("text", "accuracy on search data", x=8, y=14, class_="title"))
    return tag("g", *parts, class_="axes", aria_hidden="true")


def _references(front: Front) -> list[tuple[float, str, str]]:
    return [
        (front.float_accuracy.search, "line-float", "float"),
        (front.int8_accuracy.search, "line-int8", "int8"),
        (_limit(front), "line-limit", "limit"),
    ]


def _line(value: float, css: str, scale: Scale) -> Html:
    y, size = scale.y(value), scale.size
    return tag("line", class_=css, x1=size.left, x2=size.width - size.right, y1=y, y2=y)


def _names(front: Front, scale: Scale) -> Html:
    """Names of the reference lines on the right, pushed apart where the lines lie close."""
    wanted = sorted((scale.y(value), css, name) for value, css, name in _references(front))
    places: list[float] = []
    for y, _, _ in wanted:
        places.append(max(y, places[-1] + 14) if places else y)
    excess = max(0.0, places[-1] - (scale.size.height - scale.size.bottom))
    x = scale.size.width - scale.size.right + 5
    return tag(
        "g",
        *(
            tag("text", name, x=x, y=round(place - excess + 4, 1), class_=css)
            for place, (_, css, name) in zip(places, wanted, strict=True)
        ),
        class_="names",
        aria_hidden="true",
    )


def _evaluated(front: Front, scale: Scale) -> Html:
    """All candidates as one path of dots."""
    places = dict.fromkeys(
        (scale.x(c.relative_energy), scale.y(c.accuracy))
        for c in front.evaluated
        if scale.view.holds(c.relative_energy, c.accuracy)
    )
    return tag("path", class_="evaluated", d="".join(f"M{x} {y}h0" for x, y in places))


def _stairs(front: Front, order: Sequence[int], scale: Scale) -> Html:
    places = [
        (scale.x(front.front[i].relative_energy), scale.y(front.front[i].accuracy)) for i in order
    ]
    path = "".join(f"M{x} {y}" if n == 0 else f"H{x}V{y}" for n, (x, y) in enumerate(places))
    return tag("path", class_="stairs", d=path)


def _whisker(point: FrontPoint, scale: Scale) -> Html:
    x = scale.x(point.relative_energy)
    low, high = (scale.y(end) for end in accuracy_interval(point))
    return tag("path", class_="whisker", d=f"M{x} {low}V{high}M{x - 3} {low}h6M{x - 3} {high}h6")


def _point(front: Front, index: int, scale: Scale) -> Html:
    point = front.front[index]
    x, y = scale.x(point.relative_energy), scale.y(point.accuracy)
    chosen = index == front.selected
    spoken = (
        f"Point {index}{', selected' if chosen else ''}: relative energy"
        f" {number(point.relative_energy, 3)}, accuracy {percent(point.accuracy)},"
        f" drop {points(point.drop)} points, 95 % interval {interval(point.drop_ci95)}"
    )
    if chosen:
        mark = tag("path", class_="mark", d=f"M{x} {round(y - 8, 1)}l8 8l-8 8l-8 -8z")
    else:
        mark = tag("circle", class_="mark", cx=x, cy=y, r=5)
    return tag(
        "a",
        join([tag("circle", class_="halo", cx=x, cy=y, r=12), mark]),
        href=f"#point-{index}",
        class_="front-point chosen" if chosen else "front-point",
        data_point=index,
        aria_label=spoken,
    )
