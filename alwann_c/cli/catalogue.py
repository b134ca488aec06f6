"""`targets` and `schema`: descriptions to choose from, and the form of every file."""

from __future__ import annotations

import json
from typing import Any

from alwann_c.cli.console import Console, table
from alwann_c.targets import (
    builtin_target_names,
    load_target,
    target_path,
    target_schema,
)


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


def schema(arguments: Any, console: Console) -> int:
    """`schema [NAME]`."""
    from alwann_c.schemas import SCHEMAS, schema_of

    if arguments.name is None:
        console.result({"formats": list(SCHEMAS)}, list(SCHEMAS))
        return 0
    found = schema_of(arguments.name)
    console.result(found, [json.dumps(found, indent=2)])
    return 0
