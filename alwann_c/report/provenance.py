"""Everything needed to repeat the run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from alwann_c.report.figures import count, points
from alwann_c.report.markup import Column, Html, code, join, section, table, tag
from alwann_c.report.results import Results, UsedData

MAX_ROWS = 200
_NAMED = ("max_drop", "population", "generations", "seed", "method", "third")
"""Options that stand under a heading of their own."""


def provenance_section(results: Results) -> Html:
    """Command, settings, hashes, the target and, where there is one, the module's manifest."""
    front = results.front
    settings = (
        ("Tool", front.tool),
        ("Target", code(front.target)),
        ("Method", code(front.method)),
        ("Third objective", front.third_objective or "none"),
        ("Seed", str(front.seed)),
        ("Population × generations", f"{front.population:,} × {front.generations:,}"),
        ("Largest drop allowed", f"{points(front.max_drop)} points"),
        *_rows({name: value for name, value in front.options.items() if name not in _NAMED}),
        *((name, number) for name, number in front.versions.items()),
    )
    inputs = [("Model", code(front.model.name), code(front.model.sha256))]
    if front.target_sha256 is not None:
        inputs.append(("Target", code(front.target), code(front.target_sha256)))
    for library in front.libraries:
        size = count(library.multipliers, "multiplier")
        inputs.append(("Library", _sized(library.name, size), code(library.sha256)))
    data = front.data
    for label, used in (
        ("Calibration data", data.calibration),
        ("Search data", data.search),
        ("Test data", data.test),
    ):
        if used is not None:
            inputs.append(_data(label, used))
    columns = (Column("Input"), Column("Name"), Column("SHA-256", wide=True))
    return section(
        "repeat",
        "To repeat it",
        _command(front.command or "(the command was not recorded)"),
        table("Inputs", columns, inputs, css="hashes"),
        table("Settings", (Column("Setting"), Column("Value")), settings, css="compact"),
        *_folded("Target as it was described", "target_content", front.target_content),
        *_folded(
            "Manifest of the compiled module",
            "manifest.json",
            {} if results.manifest is None else results.manifest.model_extra or {},
        ),
    )


def _data(label: str, used: UsedData) -> tuple[str, Html, Html]:
    return label, _sized(used.path, count(used.images, "image")), code(used.sha256)


def _sized(name: str, size: str) -> Html:
    return join([code(name), " ", tag("small", size)])


def _command(text: str) -> Html:
    """The words in boxes that wrap as a whole, so that no line ends in the dashes of an option."""
    words = (part if part.isspace() else tag("span", part) for part in re.split(r"(\s+)", text))
    return tag("pre", tag("code", *words), id="command")


def _folded(heading: str, caption: str, document: Mapping[str, Any]) -> list[Html]:
    """The leaves of a document, folded away; nothing where it is empty."""
    if not document:
        return []
    columns = (Column("Field"), Column("Value", wide=True))
    shown = table(caption, columns, _rows(document), css="hashes")
    return [tag("details", tag("summary", heading), shown)]


def _rows(document: Mapping[str, Any]) -> list[tuple[str, Html]]:
    """The leaves of a document, `MAX_ROWS` at most."""
    rows = list(_flat("", document))
    shown = [(name, code(value)) for name, value in rows[:MAX_ROWS]]
    if len(rows) > len(shown):
        shown.append((f"and {len(rows) - len(shown):,} more", Html()))
    return shown


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Leaves of a JSON value with their path; lists of plain values stay on one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and any(isinstance(inner, (list, dict)) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(f"{prefix}[{index}]", inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(str(inner) for inner in value) or "none"
    else:
        yield prefix, str(value)
