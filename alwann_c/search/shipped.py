"""A model on its way to another process: what it was read from, and how it is read there again."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from alwann_c.errors import InputError
from alwann_c.frontend.imported import ImportOptions
from alwann_c.frontend.pytorch import program_bytes
from alwann_c.model import Model, load


@dataclass(frozen=True, eq=False)
class ShippedModel:
    """Contents of the model's files by name, the model itself first, and the options of `load`."""

    files: dict[str, bytes]
    options: ImportOptions

    def load(self) -> Model:
        """The model, imported anew with the same options."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in self.files]
            for path, content in zip(paths, self.files.values(), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            options = self.options
            params = None if options.params is None else paths[1]
            return load(
                paths[0],
                input_shape=options.input_shape,
                output=options.output,
                fixed=options.fixed,
                params=params,
            )


def ship(model: Model) -> ShippedModel:
    """What another process needs to load the same model.

    Raises InputError when a file is no longer what was loaded.
    """
    if model.path is None:
        content = program_bytes(model.program)
        return ShippedModel({f"{model.name}.pt2": content}, model.options)
    folder, files, whole = model.path.parent, {}, hashlib.sha256()
    for path in model.files:
        content = path.read_bytes()
        whole.update(content)
        inside = path.is_relative_to(folder)
        files[str(path.relative_to(folder)) if inside else path.name] = content
    if whole.hexdigest() != model.sha256:
        raise InputError(f"{model.path}: changed while it was being compiled")
    options = model.options
    params = None if options.params is None else Path(options.params.name)
    return ShippedModel(files, replace(options, params=params))
