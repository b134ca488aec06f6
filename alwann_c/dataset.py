"""Image data sets: a `.toml` beside an `.npz`, or a bare `.npz` with `images` and `labels`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from alwann_c.errors import InputError
from alwann_c.targets.toml_input import read_toml
from alwann_c.untrusted import archive_array, memory_limit, numeric_archive

MAX_BYTES = 16 << 30


class DatasetFile(BaseModel):
    """Contents of a data set `.toml`; `value = (pixel / scale - mean) / std` per channel."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    file: Annotated[str, Field(description="Archive (.npz) in the folder of this file or below.")]
    images: Annotated[str, Field(description="Name of the array of images.")] = "images"
    labels: Annotated[str, Field(description="Name of the array of labels.")] = "labels"
    range: Annotated[
        tuple[int, int] | None, Field(description="The images first..end-1; all if not given.")
    ] = None
    layout: Annotated[
        Literal["NHWC", "NCHW"], Field(description="Order of the axes of the array of images.")
    ] = "NHWC"
    scale: Annotated[float, Field(gt=0, description="Divides the pixels.")] = 1.0
    mean: Annotated[
        list[float], Field(description="Subtracted after that: for each channel, or for all; 0.")
    ] = []
    std: Annotated[
        list[float], Field(description="Divides what is left: for each channel, or for all; 1.")
    ] = []


@dataclass(frozen=True, eq=False)
class Dataset:
    """Raw images [n, h, w, c] or [n, c, h, w], labels [n] (or None), and how to prepare them."""

    path: Path
    raw: npt.NDArray[np.generic]
    labels: npt.NDArray[np.int64] | None
    description: DatasetFile
    sha256: str

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def channels(self) -> int:
        """Colour channels of an image."""
        return int(self.raw.shape[-1 if self.description.layout == "NHWC" else 1])

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Prepared float32 images [n, c, h, w]. Raises InputError on NaN or infinity."""
        taken = self.raw[start:stop].astype(np.float32)
        if self.description.layout == "NHWC":
            taken = taken.transpose(0, 3, 1, 2)
        mean = _per_channel(self.path, "mean", self.description.mean, self.channels, 0.0)
        std = _per_channel(self.path, "std", self.description.std, self.channels, 1.0)
        with np.errstate(all="ignore"):
            prepared = (taken / np.float32(self.description.scale) - mean) / std
        if not np.isfinite(prepared).all():
            raise InputError(f"{self.path}: images hold NaN or infinity; clean the data")
        return np.ascontiguousarray(prepared)

    def limited(self, count: int | None) -> Dataset:
        """The first `count` images."""
        if count is None or count >= len(self):
            return self
        labels = None if self.labels is None else self.labels[:count]
        return Dataset(self.path, self.raw[:count], labels, self.description, self.sha256)

    def check(self, input_shape: tuple[int, ...], classes: int, *, need_labels: bool) -> None:
        """Raises InputError unless images are finite and fit [c, h, w], labels 0..classes-1."""
        shape = self.raw.shape[1:]
        got = (shape[2], shape[0], shape[1]) if self.description.layout == "NHWC" else shape
        if tuple(got) != tuple(input_shape):
            raise InputError(
                f"{self.path}: images are {got} (channels, height, width), the model takes "
                f"{tuple(input_shape)}; check `layout` or resize the images"
            )
        if self.raw.dtype.kind == "f" and not np.isfinite(self.raw).all():
            raise InputError(f"{self.path}: images hold NaN or infinity; clean the data")
        self.images(0, 1)
        if not need_labels:
            return
        if classes == 0:
            raise InputError(
                f"{self.path}: accuracy needs a model whose output is [batch, classes]; this one's "
                "is not"
            )
        if self.labels is None:
            raise InputError(
                f"{self.path}: no array '{self.description.labels}'; accuracy needs labels"
            )
        if self.labels.min() < 0 or self.labels.max() >= classes:
            raise InputError(
                f"{self.path}: labels: found {self.labels.min()}..{self.labels.max()}, the model "
                f"has {classes} classes; labels must be in 0..{classes - 1}"
            )


def _per_channel(
    path: Path, field: str, values: list[float], channels: int, default: float
) -> npt.NDArray[np.float32]:
    if len(values) not in (0, 1, channels):
        raise InputError(f"{path}: {field}: {len(values)} values for {channels} channels")
    if field == "std" and any(v == 0 for v in values):
        raise InputError(f"{path}: std: zero is not allowed")
    full = np.broadcast_to(np.array(values or [default], np.float32), (channels,))
    return full.reshape(1, channels, 1, 1)


def _beside(path: Path, name: str) -> Path:
    """The archive a description names. Raises InputError unless it lies in its folder or below."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or PureWindowsPath(name).drive or "\\" in name:
        raise InputError(f"{path}: file: '{name}' leads out of its folder: put the archive into it")
    archive = path.parent / pure
    if not os.path.isfile(archive):  # False for every name a file cannot have
        raise InputError(f"{path}: file: '{name}' does not exist beside it")
    return archive


def _read_arrays(
    path: Path, wanted: DatasetFile
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    with numeric_archive(path, memory_limit(MAX_BYTES)) as archive:
        images = archive_array(archive, wanted.images)
        if images is None:
            names = ", ".join(item.removesuffix(".npy") for item in archive.namelist())
            raise InputError(f"{path}: no array '{wanted.images}'; it holds: {names}")
        return images, archive_array(archive, wanted.labels)


def load_dataset(path: str | Path) -> Dataset:
    """Reads a data set. Raises InputError naming file, field and remedy."""
    path = Path(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; give a data set .toml or .npz")
    if path.suffix == ".npz":
        description, archive = DatasetFile(file=path.name), path
    else:
        description = read_toml(path, DatasetFile)
        archive = _beside(path, description.file)
    images, labels = _read_arrays(archive, description)
    if images.ndim != 4 or images.dtype.kind not in "uif":
        raise InputError(
            f"{archive}: '{description.images}' is {images.dtype} {images.shape}; "
            "a numeric array of rank 4 is expected"
        )
    if labels is not None:
        if labels.dtype.kind not in "ui" or labels.shape != images.shape[:1]:
            raise InputError(
                f"{archive}: '{description.labels}' is {labels.dtype} {labels.shape}; one integer "
                f"for each of the {len(images)} images is expected"
            )
        labels = labels.astype(np.int64)
    start, stop = description.range or (0, len(images))
    if not 0 <= start <= stop <= len(images):
        raise InputError(f"{path}: range: [{start}, {stop}] does not lie in 0..{len(images)}")
    images = images[start:stop]
    if len(images) == 0:
        raise InputError(f"{path}: the data set is empty")
    chosen = None if labels is None else labels[start:stop]
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes())
    digest.update(description.model_dump_json(exclude={"file", "range"}).encode())
    if chosen is not None:
        digest.update(chosen.tobytes())
    return Dataset(path, images, chosen, description, digest.hexdigest())
