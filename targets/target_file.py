"""Target files: reading them, the ones that ship with the package, and their JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alwann_c.errors import InputError
from alwann_c.targets.schema import Target
from alwann_c.targets.suggest import remedy
from alwann_c.targets.toml_input import read_toml

_FOLDER = Path(__file__).parent / "builtin"

BUILTIN_TARGETS: dict[str, Path] = {
    name: _FOLDER / f"{name}.toml"
    for name in (
        "power-gated-2",
        "power-gated-3",
        "power-gated-4",
        "pipelined-2",
        "pipelined-3",
        "pipelined-4",
        "eyeriss-like",
        "tpu-like",
        "template",
    )
}


def builtin_target_names() -> tuple[str, ...]:
    """Names of the targets that ship with the package."""
    return tuple(BUILTIN_TARGETS)


def load_target(name_or_path: str | Path) -> Target:
    """The built-in target of that name, or the one described by that file.

    Raises InputError, `file: field: what is wrong: remedy`, with every problem of the file, or
    proposing a built-in name if there is no such file.
    """
    return read_toml(target_path(name_or_path), Target)


def target_path(name_or_path: str | Path) -> Path:
    """The file of the built-in target of that name, or the path itself.

    Raises InputError, proposing a built-in name, if there is no such file.
    """
    if isinstance(name_or_path, str) and name_or_path in BUILTIN_TARGETS:
        return BUILTIN_TARGETS[name_or_path]
    path = Path(name_or_path)
    if not path.exists() and path.suffix != ".toml" and path.name == str(name_or_path):
        raise InputError(
            f"target {str(name_or_path)!r}: neither a built-in target nor a file:"
            f" {remedy(str(name_or_path), BUILTIN_TARGETS)}"
        )
    return path


def target_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a target file, for editors and validators."""
    schema = Target.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
