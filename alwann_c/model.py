"""A trained network, imported and normalised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import tvm

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.onnx import ImportOptions, import_onnx
from alwann_c.ir.ops import static_shape
from alwann_c.passes.layers import WEIGHT_CODES, FloatLayer, find_layers
from alwann_c.passes.normalise import normalise

Imported = tuple[tvm.IRModule, onnx.ModelProto]
FORMATS: dict[str, Callable[[Path, ImportOptions], Imported]] = {
    ".onnx": import_onnx,
    "": import_onnx,
}
"""Importer of each file suffix."""


@dataclass(frozen=True, eq=False)
class Model:
    """`module` is the normalised float IRModule; its `main` takes images [N, *input_shape].

    N is symbolic, or 1 where the network cannot take a batch. `output_shape` is that of one image;
    `classes` its length, 0 when the output is no class vector.
    """

    name: str
    path: Path
    module: tvm.IRModule
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    output_shape: tuple[int, ...]
    sha256: str
    options: ImportOptions = field(default_factory=ImportOptions)

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
    def classes(self) -> int:
        """Number of classes; 0 when the output is no class vector."""
        return self.output_shape[0] if len(self.output_shape) == 1 else 0

    @property
    def is_quantized(self) -> bool:
        """Whether the file brings its own scales and zero points."""
        attrs = self.module["main"].attrs
        return bool(attrs) and WEIGHT_CODES in attrs


def load(
    path: str | Path,
    *,
    input_shape: tuple[int, ...] | None = None,
    output: str | None = None,
    fixed: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Model:
    """Imports a trained model and normalises it.

    Args:
        path: an ONNX file.
        input_shape: (channels, height, width) when the file leaves them open.
        output: name of the output to keep; the first when None.
        fixed: values of inputs beside the images, by name.

    Raises InputError when the file is bad, UnsupportedError naming what cannot be taken.
    """
    path = Path(path)
    importer = FORMATS.get(path.suffix.lower())
    if importer is None:
        known = ", ".join(suffix for suffix in FORMATS if suffix)
        raise InputError(
            f"{path}: model format '{path.suffix}' is not supported; give one of: {known}"
        )
    options = ImportOptions(input_shape, output, dict(fixed or {}))
    imported, proto = importer(path, options)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return _model(path.stem, path, imported, proto, digest, options)


def _model(
    name: str,
    path: Path,
    imported: tvm.IRModule,
    proto: onnx.ModelProto,
    digest: str,
    options: ImportOptions,
) -> Model:
    module = normalise()(imported)
    main = module["main"]
    shape = static_shape(main.params[0])
    result = main.body.body
    if not hasattr(result.ty, "shape") or result.ty.shape is None:
        raise UnsupportedError(f"{path}: exactly one output tensor is supported")
    out_shape = static_shape(result)
    if len(out_shape) < 2 or any(extent is None for extent in out_shape[1:]):
        raise UnsupportedError(
            f"{path}: the output must be [batch, classes] or another tensor of fixed size per "
            f"image, it is {out_shape}; name another with output="
        )
    if str(result.ty.dtype) != "float32":
        raise UnsupportedError(f"{path}: the output is {result.ty.dtype}; float32 is expected")
    initializers = {tensor.name for tensor in proto.graph.initializer} | set(options.fixed)
    return Model(
        name=name,
        path=path,
        module=module,
        input_name=next(v.name for v in proto.graph.input if v.name not in initializers),
        input_shape=tuple(int(extent) for extent in shape[1:] if extent is not None),
        output_name=options.output or proto.graph.output[0].name,
        output_shape=tuple(int(extent) for extent in out_shape[1:] if extent is not None),
        sha256=digest,
        options=options,
    )
