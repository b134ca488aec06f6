"""A trained network, imported and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.formats import import_file
from alwann_c.frontend.imported import Imported, ImportOptions
from alwann_c.frontend.pytorch import import_program, is_program
from alwann_c.ir.ops import static_shape
from alwann_c.passes.layers import WEIGHT_CODES, FloatLayer, find_layers, find_products
from alwann_c.passes.normalise import normalise


@dataclass(frozen=True, eq=False)
class Model:
    """`module` is the normalised float IRModule; its `main` takes images [N, *input_shape].

    N is symbolic, or 1 where the network cannot take a batch. `output_shape` is that of one image;
    `classes` its length, 0 when the output is no class vector. `files` are those it was read
    from, `path` first; both are empty for a `program` handed over in memory.
    """

    name: str
    path: Path | None
    module: tvm.IRModule
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    output_shape: tuple[int, ...]
    sha256: str
    options: ImportOptions = field(default_factory=ImportOptions)
    files: tuple[Path, ...] = ()
    program: Any = None

    def __repr__(self) -> str:
        """In one line, without the IR."""
        return (
            f"<Model {self.name}: {self.input_name}{list(self.input_shape)} -> "
            f"{self.output_name}{list(self.output_shape)}, {len(self.layers)} layers>"
        )

    @property
    def layers(self) -> list[FloatLayer]:
        """Convolutions and dense layers, in order."""
        return find_layers(self.module)

    @property
    def products(self) -> list[FloatLayer]:
        """Products of two activations, in order."""
        return find_products(self.module)

    @property
    def classes(self) -> int:
        """Number of classes; 0 when the output is no class vector."""
        return self.output_shape[0] if len(self.output_shape) == 1 else 0

    @property
    def identity(self) -> str:
        """What was imported, and how: the file's hash and every choice made on loading it."""
        fixed = [
            (name, str(np.asarray(self.options.fixed[name]).tolist()))
            for name in sorted(self.options.fixed)
        ]
        return f"{self.sha256} {self.input_shape} {self.output_name} {fixed}"

    @property
    def is_quantized(self) -> bool:
        """Whether the file brings its own scales and zero points."""
        attrs = self.module["main"].attrs
        return bool(attrs) and WEIGHT_CODES in attrs


def load(
    model: str | Path | Any,
    *,
    input_shape: tuple[int, ...] | None = None,
    output: str | None = None,
    fixed: Mapping[str, npt.NDArray[Any]] | None = None,
    params: str | Path | None = None,
) -> Model:
    """Imports a trained model and normalises it.

    Args:
        model: a file (`FORMATS`), or an `ExportedProgram` of `torch.export`.
        input_shape: (channels, height, width) when the file leaves them open.
        output: name of the output to keep; the first when None.
        fixed: values of inputs beside the images, by name.
        params: parameter file of a Relay program; the `.params` beside it when None.

    Raises InputError when the file is bad, UnsupportedError naming what cannot be taken.
    """
    options = ImportOptions(
        input_shape, output, dict(fixed or {}), None if params is None else Path(params)
    )
    if is_program(model):
        imported = import_program(model, options)
        found = _model("program", None, "exported program", imported, options)
        return replace(found, program=model)
    if not isinstance(model, str | Path):
        raise InputError(
            f"model: a {type(model).__name__}; give a file, or torch.export.export(network, inputs)"
        )
    path = Path(model)
    return _model(path.stem, path, str(path), import_file(path, options), options)


def _model(
    name: str, path: Path | None, label: str, imported: Imported, options: ImportOptions
) -> Model:
    module = normalise()(imported.module)
    main = module["main"]
    shape = static_shape(main.params[0])
    result = main.body.body
    if not hasattr(result.ty, "shape") or result.ty.shape is None:
        raise UnsupportedError(f"{label}: exactly one output tensor is supported")
    out_shape = static_shape(result)
    if len(out_shape) < 2 or any(extent is None for extent in out_shape[1:]):
        raise UnsupportedError(
            f"{label}: the output must be [batch, classes] or another tensor of fixed size per "
            f"image, it is {out_shape}; name another (output=, --model-output)"
        )
    if str(result.ty.dtype) != "float32":
        raise UnsupportedError(f"{label}: the output is {result.ty.dtype}; float32 is expected")
    return Model(
        name=name,
        path=path,
        module=module,
        input_name=imported.input_name,
        input_shape=tuple(int(extent) for extent in shape[1:] if extent is not None),
        output_name=imported.output_name,
        output_shape=tuple(int(extent) for extent in out_shape[1:] if extent is not None),
        sha256=imported.sha256,
        options=options,
        files=imported.files,
    )
