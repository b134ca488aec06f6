"""Deployed modules: `module.so` and `manifest.json`, run with TVM's runtime alone."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alwann_c.atomic import write_json
from alwann_c.codegen.device import resolve_device, runtime_device, why_not_here
from alwann_c.codegen.machine import use_all_cores, without_native_warnings
from alwann_c.errors import InputError
from alwann_c.remote import load_remote
from alwann_c.untrusted import read_json
from alwann_c.version import TOOL

MANIFEST = "manifest.json"
MODULE = "module.so"
MAX_MANIFEST_BYTES = 1 << 24
MAX_SELF_TEST_ELEMENTS = 1 << 28
SELF_TEST_IMAGES = 8
BATCH = 250

Float32 = npt.NDArray[np.float32]
Extent = Annotated[int, Field(ge=0, le=1 << 20)]


class TensorSpec(BaseModel):
    """Name, shape (0 = any batch size) and type of an input or output."""

    model_config = ConfigDict(extra="forbid")

    name: str
    shape: Annotated[list[Extent], Field(min_length=2, max_length=8)]
    dtype: str = "float32"


class SelfTest(BaseModel):
    """`images` inputs drawn by PCG64 from `seed`, uniform in [low, high); the outputs [images,
    classes], float32 exactly, and the hash of their little-endian bytes."""

    model_config = ConfigDict(extra="forbid")

    seed: Annotated[int, Field(ge=0)]
    images: Annotated[int, Field(ge=1, le=1000)]
    low: float
    high: float
    output_sha256: str
    outputs: list[list[float]] = []

    def inputs(self, shape: list[int]) -> Float32:
        """The test images. Raises InputError when they are more than fits."""
        if math.prod([self.images, *shape[1:]]) > MAX_SELF_TEST_ELEMENTS:
            raise InputError(f"{MANIFEST}: self_test: {self.images} images of {shape} are too many")
        random = np.random.Generator(np.random.PCG64(self.seed))
        drawn = random.random((self.images, *shape[1:]))
        return (self.low + (self.high - self.low) * drawn).astype(np.float32)


class Preprocessing(BaseModel):
    """How the model's images were prepared: `value = (pixel / scale - mean) / std`, NCHW."""

    model_config = ConfigDict(extra="forbid")

    layout: str
    scale: float
    mean: list[float]
    std: list[float]


class UsedData(BaseModel):
    """A data set of the run: `path` as given to `compile`, the hash of its content, its size."""

    model_config = ConfigDict(extra="forbid")

    path: str
    sha256: str
    images: Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """What lies beside a module. `manifest_sha256` seals it, see `seal`."""

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    tool: str = TOOL
    module: str = MODULE
    module_sha256: str
    source: str | None = None
    source_sha256: str | None = None
    device: str
    input: TensorSpec
    output: TensorSpec
    model: dict[str, str]
    preprocessing: Preprocessing
    plan: dict[str, Any]
    plan_sha256: str
    libraries: list[dict[str, Any]]
    data: dict[str, UsedData]
    self_test: SelfTest
    manifest_sha256: str = ""


class Module:
    """A compiled network: float32 images [n, ...] in, float32 outputs [n, classes] out.

    `target`: what it was compiled for, this machine when None; where this process cannot run it,
    it can still be exported, and a call raises InputError.
    """

    def __init__(
        self,
        executable: Any,
        manifest: Manifest | None = None,
        *,
        target: Any = None,
        device: Any = None,
        batch: int | None = None,
    ) -> None:
        use_all_cores()
        self._executable = executable
        self._device = device
        self.target = target
        self.manifest = manifest
        fixed = manifest.input.shape[0] if manifest is not None and manifest.input.shape else 0
        self.batch = batch or fixed or BATCH
        """Images run at once."""

    @cached_property
    def _machine(self) -> Any:
        import tvm
        from tvm import relax

        if self.target is not None:
            reason = why_not_here(self.target)
            if reason is not None:
                raise InputError(f"the module cannot run: {reason}")
        if self._device is None:
            self._device = tvm.cpu() if self.target is None else runtime_device(self.target)
        return relax.VirtualMachine(self._executable, self._device)

    def __call__(self, images: Float32) -> Float32:
        """Outputs of the images, in batches of bounded memory. Raises InputError on a bad shape."""
        import tvm

        machine, parts = self._machine, []
        for start in range(0, len(images), self.batch):
            chunk = np.ascontiguousarray(images[start : start + self.batch], np.float32)
            try:
                parts.append(machine["main"](tvm.runtime.tensor(chunk, self._device)).numpy())
            except (RuntimeError, ValueError) as e:
                reason = str(e).splitlines()[0]
                raise InputError(f"images of shape {images.shape} do not fit: {reason}") from e
        return np.concatenate(parts)

    def export(self, path: str | Path) -> str:
        """Writes the module as a shared library; returns its SHA-256."""
        from alwann_c.codegen.build import export

        return export(self._executable, Path(path), self.target)

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
    outputs = module(draft.inputs(shape))
    recorded = {"output_sha256": output_hash(outputs), "outputs": outputs.tolist()}
    return draft.model_copy(update=recorded)


def seal(document: dict[str, Any]) -> str:
    """SHA-256 of a manifest: of its JSON without `manifest_sha256`, keys sorted, no spaces."""
    content = {key: value for key, value in document.items() if key != "manifest_sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes `manifest.json`, sealed."""
    document = manifest.model_dump(mode="json")
    write_json(folder / MANIFEST, document | {"manifest_sha256": seal(document)})


def read_manifest(path: Path) -> Manifest:
    """A manifest whose fields are of the right types and whose seal fits. Raises InputError."""
    document = read_json(path, "keep it beside the module", MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from e
    if manifest.version != 1:
        raise InputError(f"{path}: version: {manifest.version} is not known; this tool reads 1")
    try:
        found = seal(document)
    except (ValueError, RecursionError) as e:  # 1e999 reads as infinity, which JSON cannot write
        raise InputError(f"{path}: {e}; compile it again") from e
    if found != manifest.manifest_sha256:
        raise InputError(
            f"{path}: manifest_sha256 differs from its content; it was altered: compile it again"
        )
    return manifest


def check_files(path: Path) -> tuple[Path, Manifest]:
    """The module's file and its manifest, after comparing every hash. Raises InputError."""
    if path.is_dir():
        path = path / MODULE
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a compiled module or its folder")
    manifest = read_manifest(path.parent / MANIFEST)
    expected = {path.name: ("module_sha256", manifest.module_sha256)}
    if manifest.source is not None:
        expected[manifest.source] = ("source_sha256", str(manifest.source_sha256))
    for name, (field, sha256) in expected.items():
        file = path.parent / Path(name).name
        if not file.is_file() and file != path:
            continue  # the source is for people: a module may be deployed without it
        if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            raise InputError(
                f"{file}: its SHA-256 differs from {field} in {MANIFEST}; it was altered: "
                "compile it again"
            )
    return path, manifest


def load_module(path: str | Path, *, rpc: str | None = None) -> Module:
    """Loads a deployed module (its folder or its .so). Loading executes the module's code.

    The manifest beside it must name its SHA-256; an altered module or manifest is refused.

    Args:
        rpc: `HOST:PORT` of a TVM RPC server that shall run it, on its CPU or GPU.

    Raises InputError when it cannot be read, or neither this machine nor the server can run it.
    """
    import tvm

    path, manifest = check_files(Path(path))
    target = resolve_device(manifest.device)
    if rpc is not None:
        executable, device = load_remote(path, rpc, target)
        return Module(executable, manifest, device=device)
    reason = why_not_here(target)
    if reason is not None:
        raise InputError(f"{path}: cannot run on this machine: {reason}")
    use_all_cores()
    try:
        with without_native_warnings():
            library = tvm.runtime.load_module(str(path))
    except (RuntimeError, OSError) as e:
        raise InputError(f"{path}: cannot load: {str(e).splitlines()[0]}") from e
    return Module(library, manifest, target=target)
