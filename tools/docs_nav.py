"""Navigation of the documentation: the pages below in this order, any other under More."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ORDER: dict[str, list[str]] = {
    "Start": ["index.md", "tutorial.md", "examples.md"],
    "How to": [
        "howto-model.md",
        "frontends.md",
        "howto-multipliers.md",
        "multipliers.md",
        "howto-accelerator.md",
        "howto-distributed.md",
        "scaling.md",
        "deploy.md",
        "gpu.md",
        "rtl.md",
    ],
    "Method": ["method.md", "arithmetic.md", "compensation.md", "search.md"],
    "Reference": ["command-line.md", "formats.md", "api.md"],
    "Facts": ["performance.md", "reproduce.md", "reliability.md", "limits.md", "comparison.md"],
}


def on_config(config: Any) -> Any:
    """Called by mkdocs; pages that are not there are left out."""
    pages = {p.relative_to(config.docs_dir).as_posix() for p in Path(config.docs_dir).rglob("*.md")}
    known = [page for group in ORDER.values() for page in group]
    groups = {name: [page for page in group if page in pages] for name, group in ORDER.items()}
    groups["More"] = sorted(pages - set(known))
    config.nav = [{name: group} for name, group in groups.items() if group]
    return config
