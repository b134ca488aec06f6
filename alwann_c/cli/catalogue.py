"""`multipliers` and `targets`: what there is to choose from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from alwann_c.cli.console import Console, table
from alwann_c.libraries import library_identity, open_libraries
from alwann_c.targets import (
    Multiplier,
    builtin_target_names,
    load_target,
    target_path,
    target_schema,
)


def _multiplier_fields(multiplier: Multiplier, reference: Multiplier | None) -> dict[str, Any]:
    power, base = multiplier.power_mw, reference.power_mw if reference else None
    relative = power / base if power is not None and base else None
    return {
        "name": multiplier.name,
        "library": multiplier.library,
        "signed": multiplier.signed,
        "bits": multiplier.bits,
        "exact": multiplier.is_exact,
        "power_mw": power,
        "relative_power": relative,
        "area_um2": multiplier.area_um2,
        "delay_ns": multiplier.delay_ns,
        **asdict(multiplier.statistics),
        "origin": multiplier.origin,
        "sha256": multiplier.content_hash,
    }


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def multipliers(arguments: Any, console: Console) -> int:
    """`multipliers list|show`."""
    library = open_libraries(arguments.library)
    signs = {multiplier.signed for multiplier in library}
    exact = {}
    for signed in signs:
        found = [m for m in library if m.signed == signed and m.is_exact and m.power_mw]
        exact[signed] = min(found, key=lambda m: m.power_mw or 0.0) if found else None
    if arguments.action == "show":
        chosen = library.find(arguments.name)
        fields = _multiplier_fields(chosen, exact[chosen.signed])
        console.result(fields, [f"{key:15} {value}" for key, value in fields.items()])
        return 0
    rows = [_multiplier_fields(m, exact[m.signed]) for m in library]
    header = ["name", "signed", "power mW", "relative", "MAE", "WCE"]
    lines = table(
        header,
        [
            [
                row["name"],
                "yes" if row["signed"] else "no",
                _number(row["power_mw"], ".4f"),
                _number(row["relative_power"], ".3f"),
                format(row["mae"], ".2f"),
                str(row["wce"]),
            ]
            for row in rows
        ],
    )
    console.result({**library_identity(library), "list": rows}, lines)
    return 0


def targets(arguments: Any, console: Console) -> int:
    """`targets list|show|validate|schema`."""
    if arguments.action == "schema":
        schema = target_schema()
        console.result(schema, [json.dumps(schema, indent=2)])
        return 0
    if arguments.action == "list":
        known = [load_target(name) for name in builtin_target_names()]
        rows = [[t.name, t.architecture, str(sum(g.count for g in t.unit))] for t in known]
        fields = [
            {"name": t.name, "architecture": t.architecture, "description": t.description}
            for t in known
        ]
        console.result({"targets": fields}, table(["name", "architecture", "units"], rows))
        return 0
    target = load_target(arguments.target)
    if arguments.action == "validate":
        console.result(
            {"valid": True, "name": target.name}, [f"{arguments.target}: valid ({target.name})"]
        )
        return 0
    data = target.model_dump(mode="json", by_alias=True, exclude_none=True)
    source = target_path(arguments.target).read_text(encoding="utf-8")
    console.result(data, source.rstrip("\n").splitlines())
    return 0
