"""What every frontend takes and gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tvm


@dataclass(frozen=True, eq=False)
class ImportOptions:
    """What the file leaves open.

    Args:
        input_shape: [c, h, w] of an input with dynamic axes.
        output: name of the output to keep; the first when None.
        fixed: values of inputs beside the images.
        params: a Relay program's parameter file; the one beside it when None.
    """

    input_shape: tuple[int, ...] | None = None
    output: str | None = None
    fixed: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    params: Path | None = None


@dataclass(frozen=True, eq=False)
class Imported:
    """A network as a frontend hands it over.

    `module`: float Relax module, one input [N, ...], weights as constants, layer names and weight
    codes as attributes of `main` (`alwann_c.passes.layers`); `files`: what was read, the model
    itself first; `sha256` identifies their content.
    """

    module: tvm.IRModule
    input_name: str
    output_name: str
    sha256: str
    files: tuple[Path, ...] = ()


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, one after the other."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while part := stream.read(1 << 20):
                whole.update(part)
    return whole.hexdigest()
