"""Tables of the fields of a file format, in place of `<!-- fields: NAME -->` on a page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from alwann_c.schemas import SCHEMAS

Node = dict[str, Any]

_MARK = re.compile(r"^<!-- fields: (?P<name>\w+) -->$", re.MULTILINE)
_FAR = 1e9
"""Limits beyond it only keep a reader's memory bounded, and are not shown."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    return _MARK.sub(lambda found: "\n".join(tables(found["name"])), markdown)


def tables(name: str) -> Iterator[str]:
    """A table for the format and for each part it is made of, in Markdown."""
    schema = SCHEMAS[name].model_json_schema(by_alias=True)
    parts = {"": schema, **schema.get("$defs", {})}
    for title, part in parts.items():
        if "properties" not in part:
            continue
        said = " ".join(part.get("description", "").split())
        yield f"\n**{title}**: {said}\n" if title else f"\n{said}\n"
        rows = list(_rows(part))
        width = 4 if any(row[3] for row in rows) else 3
        for row in [("field", "type", "default", "what"), ("---",) * 4, *rows]:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row[:width])} |"


def _rows(part: Node) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and description of each field."""
    for field, node in part["properties"].items():
        default = "required" if field in part.get("required", []) else _default(node)
        yield f"`{field}`", kind(node), default, node.get("description", "")


def _default(node: Node) -> str:
    if "default" not in node:
        return "empty"
    value = node["default"]
    return "its defaults" if isinstance(value, dict) else f"`{json.dumps(value)}`"


def kind(node: Node) -> str:
    """The type of a field and its limits, in words."""
    if "$ref" in node:
        return f"**{node['$ref'].rpartition('/')[2]}**"
    if "anyOf" in node:
        return " or ".join(kind(choice) for choice in node["anyOf"])
    if "const" in node or "enum" in node:
        values = node["enum"] if "enum" in node else [node["const"]]
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    limits = [
        _between(node, "minimum", "maximum", ""),
        _between(node, "exclusiveMinimum", "exclusiveMaximum", "", closed=False),
        _between(node, "minLength", "maxLength", " characters"),
        "" if "prefixItems" in node else _between(node, "minItems", "maxItems", " entries"),
        f"as `{node['pattern']}`" if "pattern" in node else "",
    ]
    said = ", ".join(limit for limit in limits if limit)
    return f"{_name(node)} ({said})" if said else _name(node)


def _between(node: Node, low: str, high: str, unit: str, *, closed: bool = True) -> str:
    """A range of values or of lengths; empty where there is none worth telling."""
    least, most = node.get(low, -_FAR), node.get(high, _FAR)
    if least <= -_FAR:
        return "" if most >= _FAR else f"{'≤' if closed else '<'} {most}{unit}"
    if most >= _FAR:
        return f"{'≥' if closed else '>'} {least}{unit}"
    return f"{least}{unit}" if least == most else f"{least} to {most}{unit}"


def _name(node: Node) -> str:
    if "prefixItems" in node:
        return f"[{', '.join(kind(entry) for entry in node['prefixItems'])}]"
    if node.get("type") == "array":
        return f"list of {kind(node['items'])}" if node.get("items") else "list"
    if node.get("type") == "object":
        values = node.get("additionalProperties")
        return f"object of {kind(values)}" if isinstance(values, dict) else "object"
    return str(node.get("type", "anything"))
