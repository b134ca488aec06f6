"""Small pictures inside tables: swatches, bars and strips, as SVG so that no style is inlined."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from alwann_c.report.markup import Html, code, tag

COLOURS = 7
CODES = 4
EXACT = "ux"
"""CSS class of what stays on the exact multiplier."""


def unit_class(index: int) -> str:
    """CSS class of the colour of a unit; colours repeat after seven, names do not."""
    return f"u{index % COLOURS}"


def swatch(css: str) -> Html:
    """A coloured square, said again in words beside it."""
    return tag(
        "svg",
        tag("rect", class_=css, width=10, height=10, rx=2),
        class_="swatch",
        viewBox="0 0 10 10",
        aria_hidden="true",
    )


def unit_label(name: str, css: str) -> Html:
    """A unit's swatch and name."""
    return tag("span", swatch(css), " ", code(name), class_="unit")


def bar(parts: Sequence[tuple[float, str]], whole: float, *, outline: float | None = None) -> Html:
    """Stacked lengths (value, CSS class) on a scale of `whole`; `outline` is drawn around."""
    drawn, at = [], 0.0
    for value, css in parts:
        width = _length(value, whole)
        if width > 0:
            drawn.append(tag("rect", class_=css, x=round(at, 1), y=2, width=width, height=8))
        at += width
    if outline is not None:
        width = _length(outline, whole)
        drawn.append(tag("rect", class_="outline", x=0, y=1, width=width, height=10))
    return tag(
        "svg",
        *drawn,
        class_="bar",
        viewBox="0 0 1000 12",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def strip(layers: Sequence[tuple[int, str]]) -> Html:
    """Layers (MACs, CSS class) side by side in order, as wide as they work."""
    total = sum(macs for macs, _ in layers) or 1
    drawn, at = [], 0.0
    for macs, css in layers:
        width = 1000.0 * macs / total
        drawn.append(tag("rect", class_=css, x=round(at, 2), y=0, width=round(width, 2), height=20))
        at += width
    return tag(
        "svg",
        *drawn,
        class_="strip",
        viewBox="0 0 1000 20",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def histogram(series: Sequence[tuple[Sequence[int], str]], label: str) -> Html:
    """Counts of 256 codes (with a CSS class) as areas over one another: roots, so that rare
    codes show beside a peak, each scaled to its largest."""
    drawn = []
    for counts, css in series:
        bins = [sqrt(sum(counts[at : at + CODES])) for at in range(0, len(counts), CODES)]
        peak = max(bins) or 1
        tops = [f"V{round(60 - 58 * value / peak, 1)}h{CODES}" for value in bins]
        drawn.append(tag("path", class_=css, d=f"M0 60{''.join(tops)}V60z"))
    return tag(
        "svg",
        *drawn,
        class_="histogram",
        viewBox="0 0 256 60",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _length(value: float, whole: float) -> float:
    return round(1000.0 * min(value / whole, 1.0), 1) if whole > 0 else 0.0
