"""Figures as text: one way of writing percentages, points, counts, energies and times."""

from __future__ import annotations

from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_ENERGIES = ((1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))


def number(value: float, digits: int) -> str:
    """Fixed digits, thousands separated, a true minus sign and no negative zero."""
    text = f"{abs(value):,.{digits}f}"
    return MINUS + text if value < 0 and text.strip("0.,") else text


def percent(share: float, digits: int = 1) -> str:
    """A share as percentage."""
    return f"{number(100.0 * share, digits)} %"


def points(share: float) -> str:
    """A difference of shares in percentage points, without the word."""
    return number(100.0 * share, 2)


def interval(bounds: tuple[float, float]) -> str:
    """An interval of differences, in percentage points."""
    return f"{points(bounds[0])} to {points(bounds[1])}"


def count(value: int, noun: str | None = None) -> str:
    """A whole number, with its noun in the plural where that is due."""
    if noun is None:
        return f"{value:,}"
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def compact(value: float) -> str:
    """About three significant digits with a decimal prefix: 12.6 M, 4.2 k, 0.0031."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            scaled = value / factor
            return f"{number(scaled, 1 if abs(scaled) < 100 else 0)} {prefix}"
    text = f"{abs(value):.3g}"
    return MINUS + text if value < 0 else text


def energy_unit(picojoules: Iterable[float]) -> tuple[float, str]:
    """Divisor and name of the unit that suits the largest of some energies."""
    largest = max(picojoules, default=0.0)
    return next(((size, name) for size, name in _ENERGIES if largest >= size), (1.0, "pJ"))


def seconds(value: float) -> str:
    """A duration: 0.42 s, 61.2 s, 12 min 5 s, 3 h 20 min."""
    if value < 100:
        return f"{number(value, 2 if value < 10 else 1)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
