"""Which multiplier libraries a command works with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alwann_c.targets import (
    Library,
    builtin_library_names,
    load_builtin_library,
    load_library,
    merge_libraries,
)


def open_libraries(paths: Sequence[str | Path]) -> Library:
    """The given libraries as one; the shipped default when none is given. A shipped library may be
    given by its name. Raises InputError."""
    if not paths:
        return load_builtin_library()
    opened = [
        load_builtin_library(str(p))
        if str(p) in builtin_library_names() and not Path(p).exists()
        else load_library(p)
        for p in paths
    ]
    return opened[0] if len(opened) == 1 else merge_libraries(opened)


def library_identity(library: Library) -> dict[str, Any]:
    """Name, size and content hash of a library, for manifests."""
    digest = hashlib.sha256()
    for multiplier in library:
        digest.update(f"{multiplier.name} {multiplier.content_hash} {multiplier.power_mw}".encode())
    return {
        "name": library.name,
        "multipliers": len(library),
        "sha256": digest.hexdigest(),
    }
