"""Colours of units: told apart by colour-blind readers, and seen on the page, light and dark."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from alwann_c.report.charts import PAPER

Vector = NDArray[np.float64]
STYLE = (files("alwann_c.report") / "assets" / "style.css").read_text(encoding="utf-8")
VISION = {
    "trichromat": np.eye(3),
    "protanope": np.array(
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]
    ),
    "deuteranope": np.array(
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]
    ),
    "tritanope": np.array(
        [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]
    ),
}
"""Of linear RGB: Machado, Oliveira, Fernandes (2009), severity 1."""
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
APART = 15.0
"""Least distance in CIELAB; 2.3 can just be noticed side by side."""


def theme(name: str) -> dict[str, str]:
    """The colours that the style sheet names."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light))
    if name == "dark":
        colours |= re.findall(r"--(\w+): (#[0-9a-f]{6});", dark)
    return colours


def units(colours: dict[str, str]) -> list[str]:
    """Those of the units in order, then that of what stays exact."""
    return [*(colours[f"c{index}"] for index in range(7)), colours["cx"]]


def coded(colour: str) -> Vector:
    """sRGB, 0..1."""
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def linear(values: Vector) -> Vector:
    """Linear RGB of sRGB."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    """CIELAB of linear RGB."""
    share = (XYZ @ rgb) / XYZ.sum(axis=1)
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(first: Vector, second: Vector) -> float:
    """Contrast ratio of two sRGB colours as WCAG defines it."""
    low, high = sorted(float(XYZ[1] @ linear(values)) + 0.05 for values in (first, second))
    return high / low


def test_pictures_and_page_use_the_same_colours() -> None:
    assert [*PAPER.units, PAPER.exact] == units(theme("light"))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", ["light", "dark"])
def test_units_are_told_apart(name: str, vision: str) -> None:
    seen = [lab(np.clip(VISION[vision] @ linear(coded(c)), 0, 1)) for c in units(theme(name))]
    near = [
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(seen), 2)
        if np.linalg.norm(a - b) < APART
    ]
    assert near == []


@pytest.mark.parametrize("name", ["light", "dark"])
def test_colours_stand_out_from_the_page(name: str) -> None:
    """Text 4.5 : 1, lines and the edges of fills 3 : 1."""
    colours = theme(name)
    share = re.findall(r"stroke: color-mix\(in srgb, var\(--c\) (\d+)%, var\(--text\)\)", STYLE)
    assert len(share) == 1
    text, kept = coded(colours["text"]), int(share[0]) / 100
    edges = [kept * coded(colour) + (1 - kept) * text for colour in units(colours)]
    for place in ("page", "panel"):
        ground = coded(colours[place])
        for role in ("text", "soft", "link"):
            assert contrast(coded(colours[role]), ground) >= 4.5, (place, role)
        for role in ("front", "chosen", "float", "int8", "limit"):
            assert contrast(coded(colours[role]), ground) >= 3, (place, role)
        for index, edge in enumerate(edges):
            assert contrast(edge, ground) >= 3, (place, index)
