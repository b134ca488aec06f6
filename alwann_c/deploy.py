"""Deployed modules: `module.so` and `manifest.json`, run with TVM's runtime alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from alwann_c.atomic import write_json
from alwann_c.codegen.machine import use_all_cores, without_native_warnings
from alwann_c.errors import InputError
from alwann_c.version import TOOL

MANIFEST = "manifest.json"
MODULE = "module.so"
SELF_TEST_IMAGES = 8
BATCH = 250

Float32 = npt.NDArray[np.float32]


class TensorSpec(BaseModel):
    """Name, shape (0 = any batch size) and type of an input or output."""

    model_config = ConfigDict(extra="forbid")

    name: str
    shape: list[int]
    dtype: str = "float32"


class SelfTest(BaseModel):
    """`images` inputs drawn by PCG64 from `seed`, uniform in [low, high); hash of the outputs."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    images: int
    low: float
    high: float
    output_sha256: str

    def inputs(self, shape: list[int]) -> Float32:
        """The test images."""
        random = np.random.Generator(np.random.PCG64(self.seed))
        drawn = random.random((self.images, *shape[1:]))
        return (self.low + (self.high - self.low) * drawn).astype(np.float32)


class Manifest(BaseModel):
    """What lies beside a module."""

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    tool: str = TOOL
    module: str = MODULE
    module_sha256: str
    device: str
    input: TensorSpec
    output: TensorSpec
    model: dict[str, str]
    plan_sha256: str
    libraries: list[dict[str, Any]]
    data: dict[str, Any]
    self_test: SelfTest


class Module:
    """A compiled network: float32 images [n, ...] in, float32 outputs [n, classes] out."""

    def __init__(
        self, executable: Any, manifest: Manifest | None = None, batch: int | None = None
    ) -> None:
        import tvm
        from tvm import relax

        use_all_cores()
        self._tensor = tvm.runtime.tensor
        self._executable = executable
        self._vm = relax.VirtualMachine(executable, tvm.cpu())
        self.manifest = manifest
        fixed = manifest.input.shape[0] if manifest is not None and manifest.input.shape else 0
        self.batch = batch or fixed or BATCH
        """Images run at once."""

    def __call__(self, images: Float32) -> Float32:
        """Outputs of the images, in batches of bounded memory. Raises InputError on a bad shape."""
        parts = []
        for start in range(0, len(images), self.batch):
            chunk = np.ascontiguousarray(images[start : start + self.batch], np.float32)
            try:
                parts.append(self._vm["main"](self._tensor(chunk)).numpy())
            except (RuntimeError, ValueError) as e:
                reason = str(e).splitlines()[0]
                raise InputError(f"images of shape {images.shape} do not fit: {reason}") from e
        return np.concatenate(parts)

    def export(self, path: str | Path) -> str:
        """Writes the module as a shared library; returns its SHA-256."""
        from alwann_c.codegen.build import export

        return export(self._executable, Path(path))

    def self_test(self) -> bool:
        """Whether outputs on the manifest's test images are bit-identical to the recorded ones."""
        if self.manifest is None:
            raise ValueError("the module has no manifest")
        test = self.manifest.self_test
        return output_hash(self(test.inputs(self.manifest.input.shape))) == test.output_sha256


def output_hash(outputs: Float32) -> str:
    """SHA-256 of float32 outputs."""
    return hashlib.sha256(np.ascontiguousarray(outputs, np.float32).tobytes()).hexdigest()


def make_self_test(module: Module, shape: list[int], low: float, high: float) -> SelfTest:
    """Records what the module gives on reproducible images."""
    draft = SelfTest(seed=0, images=SELF_TEST_IMAGES, low=low, high=high, output_sha256="")
    return draft.model_copy(update={"output_sha256": output_hash(module(draft.inputs(shape)))})


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes `manifest.json`."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as e:
        raise InputError(f"{path}: cannot read ({e.strerror}); keep it beside the module") from e
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: not JSON: {e}") from e
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from e
    if manifest.version != 1:
        raise InputError(f"{path}: version: {manifest.version} is not known; this tool reads 1")
    return manifest


def load_module(path: str | Path) -> Module:
    """Loads a deployed module (its folder or its .so). Loading executes the module's code.

    The manifest beside it must name its SHA-256; an altered module or manifest is refused.
    """
    import tvm

    path = Path(path)
    if path.is_dir():
        path = path / MODULE
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a compiled module or its folder")
    manifest = _read_manifest(path.parent / MANIFEST)
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != manifest.module_sha256:
        raise InputError(
            f"{path}: its SHA-256 differs from module_sha256 in {MANIFEST}; it was altered: "
            "compile it again"
        )
    use_all_cores()
    try:
        with without_native_warnings():
            library = tvm.runtime.load_module(str(path))
    except (RuntimeError, OSError) as e:
        raise InputError(f"{path}: cannot load: {str(e).splitlines()[0]}") from e
    return Module(library, manifest)
