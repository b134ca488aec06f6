"""PyTorch's exported programs (`torch.export`) -> ONNX by PyTorch's own exporter -> Relax.

PyTorch lowers the program to ONNX better than any importer of its operators could follow, and the
ONNX frontend names what it cannot take. PyTorch is imported only when a program or a .pt2 file is
given; it is the extra `torch`.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.imported import Imported, ImportOptions, digest
from alwann_c.frontend.onnx import import_model
from alwann_c.frontend.onnx_file import check_model
from alwann_c.frontend.pt2_file import checked_archive

LABEL = "exported program"
_EXTRA = "needs PyTorch: pip install 'alwann-c[torch]'"


def is_program(value: object) -> bool:
    """Whether it is an `ExportedProgram`; PyTorch is not imported to find out."""
    export = sys.modules.get("torch.export")
    return export is not None and isinstance(value, export.ExportedProgram)


def _torch(label: str) -> Any:
    try:
        import onnxscript  # noqa: F401  (PyTorch's exporter needs it)
        import torch
        import torch.export
        import torch.onnx
    except ImportError as e:
        raise InputError(f"{label}: {_EXTRA}") from e
    return torch


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch tells its progress on stdout and warns about its own deprecations."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _reason(e: BaseException) -> str:
    """The line that says most: PyTorch wraps the cause into pages of advice."""
    while e.__cause__ is not None:
        e = e.__cause__
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return re.sub(r"\x1b\[[0-9;]*m", "", lines[0])[:300] if lines else type(e).__name__


def _check_mode(label: str, program: Any) -> None:
    """PyTorch's exporter writes the evaluation of an operator, whatever mode the program asks for."""
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for place, argument in enumerate(schema.arguments if schema is not None else ()):
            if argument.name not in ("training", "train"):
                continue
            given = node.args[place] if place < len(node.args) else None
            if node.kwargs.get(argument.name, given) is True:
                raise UnsupportedError(
                    f"{label}: operator {node.target} of node '{node.name}' runs in training mode; "
                    "export the network in evaluation mode, torch.export.export(network.eval(), …)"
                )


def _imported(label: str, program: Any, options: ImportOptions) -> Imported:
    torch = _torch(label)
    _check_mode(label, program)
    try:
        with _quiet():
            made = torch.onnx.export(program, dynamo=True, verbose=False, optimize=False)
            model = made.model_proto
    except Exception as e:
        raise UnsupportedError(
            f"{label}: PyTorch cannot lower this program: {_reason(e)}; export the network in "
            "evaluation mode, torch.export.export(network.eval(), inputs), without custom operators"
        ) from e
    check_model(label, model)
    return import_model(label, model, options)


def import_program(program: Any, options: ImportOptions) -> Imported:
    """The network of an `ExportedProgram`. Raises InputError."""
    return _imported(LABEL, program, options)


def import_pt2(path: Path, options: ImportOptions) -> Imported:
    """The network of a .pt2 file, as `torch.export.save` writes it.

    Raises InputError where `checked_archive` refuses it, before PyTorch reads anything.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; write it with torch.export.save(program, path)")
    archive = checked_archive(path)
    torch = _torch(str(path))
    try:
        with _quiet():
            program = torch.export.load(archive)
    except Exception as e:
        raise InputError(
            f"{path}: PyTorch {torch.__version__} cannot load it: {_reason(e)}; save it again with "
            "this version of PyTorch"
        ) from e
    imported = _imported(str(path), program, options)
    return replace(imported, sha256=digest([path]), files=(path,))


def program_bytes(program: Any) -> bytes:
    """The program as a .pt2 file."""
    buffer = io.BytesIO()
    with _quiet():
        _torch(LABEL).export.save(program, buffer)
    return buffer.getvalue()
