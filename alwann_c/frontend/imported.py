"""What every frontend takes and gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from alwann_c.errors import InputError

CONSTANT_OUTPUT = (
    "its output does not depend on its input; name another output (output=, --model-output)"
)


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


def fixed_value(
    label: str, name: str, value: Any, dtype: npt.DTypeLike, shape: Sequence[int | None]
) -> npt.NDArray[Any]:
    """A value given for an input of that type and shape (None: open). Raises InputError."""
    found = np.asarray(value)
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = np.dtype(object)
    if wanted.kind not in "fiub":
        raise InputError(f"{label}: fixed: input '{name}' holds no numbers; export without it")
    fits = len(found.shape) == len(shape) and all(
        extent in (None, own) for extent, own in zip(shape, found.shape, strict=True)
    )
    if not fits or not np.can_cast(found.dtype, wanted, "same_kind"):
        sizes = ["?" if extent is None else extent for extent in shape]
        raise InputError(
            f"{label}: fixed: input '{name}' is {wanted} {sizes}, the array given is {found.dtype} "
            f"{list(found.shape)}; give one of that type and shape"
        )
    return found.astype(wanted)


def known_inputs(label: str, fixed: Iterable[str], inputs: Iterable[str]) -> None:
    """Raises InputError where a value is given for an input that there is not."""
    names = list(inputs)
    for name in fixed:
        if name not in names:
            raise InputError(
                f"{label}: it has no input '{name}' to fix; it has: {', '.join(names)[:300]}"
            )


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, one after the other."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while part := stream.read(1 << 20):
                whole.update(part)
    return whole.hexdigest()
