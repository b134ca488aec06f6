"""Which frontend reads which file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alwann_c.errors import InputError
from alwann_c.frontend.imported import Imported, ImportOptions
from alwann_c.frontend.onnx import import_onnx
from alwann_c.frontend.pytorch import import_pt2
from alwann_c.frontend.relay import import_relay
from alwann_c.frontend.tflite import import_tflite

FORMATS: dict[str, Callable[[Path, ImportOptions], Imported]] = {
    ".onnx": import_onnx,
    "": import_onnx,
    ".pt2": import_pt2,
    ".relay": import_relay,
    ".tflite": import_tflite,
}
"""Importer of each file suffix."""


def import_file(path: Path, options: ImportOptions) -> Imported:
    """The network of a model file. Raises InputError."""
    importer = FORMATS.get(path.suffix.lower())
    if importer is None:
        known = ", ".join(suffix for suffix in FORMATS if suffix)
        raise InputError(
            f"{path}: model format '{path.suffix}' is not supported; give one of: {known}"
        )
    if options.params is not None and path.suffix.lower() != ".relay":
        raise InputError(f"{path}: params: only a Relay program has a parameter file; leave it out")
    return importer(path, options)
