"""A trained network, imported and normalised."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import tvm

from alwann_c.errors import InputError, UnsupportedError
from alwann_c.frontend.onnx import import_onnx
from alwann_c.ir.ops import static_shape
from alwann_c.passes.layers import FloatLayer, find_layers
from alwann_c.passes.normalise import normalise


@dataclass(frozen=True, eq=False)
class Model:
    """`module` is the normalised float IRModule; its `main` takes images [N, *input_shape]."""

    name: str
    path: Path
    module: tvm.IRModule
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    classes: int
    sha256: str

    @property
    def layers(self) -> list[FloatLayer]:
        """Convolutions and dense layers, in order."""
        return find_layers(self.module)


def load(path: str | Path) -> Model:
    """Imports a trained model (ONNX) and normalises it.

    Raises InputError when the file is bad, UnsupportedError naming what cannot be taken.
    """
    path = Path(path)
    if path.suffix.lower() not in (".onnx", ""):
        raise InputError(
            f"{path}: model format '{path.suffix}' is not supported; give an .onnx file"
        )
    imported, proto = import_onnx(path)
    module = normalise()(imported)
    main = module["main"]
    shape = static_shape(main.params[0])
    if any(extent is None for extent in shape[1:]):
        raise UnsupportedError(
            f"{path}: input '{main.params[0].name}' has dynamic axes beside the batch; "
            "export it with a fixed size"
        )
    result = main.body.body
    if not hasattr(result.ty, "shape"):
        raise UnsupportedError(f"{path}: exactly one output tensor is supported")
    out_shape = static_shape(result)
    if len(out_shape) != 2 or out_shape[1] is None:
        raise UnsupportedError(f"{path}: the output must be [batch, classes], it is {out_shape}")
    return Model(
        name=path.stem,
        path=path,
        module=module,
        input_name=proto.graph.input[0].name,
        input_shape=tuple(int(extent) for extent in shape[1:] if extent is not None),
        output_name=proto.graph.output[0].name,
        classes=out_shape[1],
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
