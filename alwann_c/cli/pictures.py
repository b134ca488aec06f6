"""`report` and `plot`: what `compile` found, to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alwann_c.cli.console import Console
from alwann_c.errors import InputError
from alwann_c.report import write_pictures, write_report


def _folder(arguments: Any) -> Path:
    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the output folder of `compile`")
    return folder


def report(arguments: Any, console: Console) -> int:
    """`report DIR`."""
    path = write_report(_folder(arguments))
    console.result({"report": str(path)}, [f"written {path}"])
    return 0


def plot(arguments: Any, console: Console) -> int:
    """`plot DIR`."""
    folder = _folder(arguments)
    into = Path(arguments.output) if arguments.output else folder / "figures"
    written = write_pictures(folder, into, arguments.format, scale=arguments.scale)
    data = {"figures": [str(path) for path in written]}
    console.result(data, [f"written {path}" for path in written])
    return 0
