"""Reading files that nobody vouches for: bounded memory, no code, every refusal an `InputError`."""

from __future__ import annotations

import json
import lzma
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from alwann_c.errors import InputError

MAX_JSON_BYTES = 1 << 28
MAX_HEADER_BYTES = 10_000
_PIECE = 1 << 22
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    SyntaxError,
    RecursionError,
    MemoryError,
    EOFError,
    TokenError,
)
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,  # encrypted; NotImplementedError is one
    ValueError,
    OverflowError,
    EOFError,
    OSError,
)


def read_bounded(path: Path, limit: int, remedy: str) -> bytes:
    """At most `limit` bytes of a file. Raises InputError: it cannot be read, or is larger."""
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except FileNotFoundError as e:
        raise InputError(f"{path}: no such file: {remedy}") from e
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise InputError(f"{path}: cannot be read ({reason}): {remedy}") from e
    if len(content) > limit:
        raise InputError(f"{path}: larger than {limit} bytes: {remedy}")
    return content


def read_json(path: Path, remedy: str, limit: int = MAX_JSON_BYTES) -> Any:
    """A JSON document without NaN or infinity. Raises InputError."""
    content = read_bounded(path, limit, remedy)
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path}: not JSON: {e}: {remedy}") from e


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def read_array(stream: IO[bytes], size: int) -> npt.NDArray[Any]:
    """The array of a .npy file of `size` bytes, whose memory is taken as its bytes arrive.

    Raises ValueError for anything but one numeric array that fills the file exactly.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, column_major, dtype = read(stream, max_header_size=MAX_HEADER_BYTES)
    except _HEADER_ERRORS as e:
        raise ValueError(f"no .npy header: {type(e).__name__} {str(e)[:200]}") from e
    if dtype.hasobject or dtype.kind == "V" or dtype.itemsize == 0 or len(shape) > 32:
        raise ValueError(f"type {str(dtype)[:100]} is not read")
    if any(extent < 0 for extent in shape):
        raise ValueError(f"shape {shape} is out of bounds")
    expected = math.prod(shape) * dtype.itemsize
    if stream.tell() + expected != size:
        raise ValueError(f"{size} bytes do not fill shape {shape}")
    content = np.empty(expected, np.uint8)
    for start in range(0, expected, _PIECE):
        piece = stream.read(min(_PIECE, expected - start))
        content[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        if len(piece) < min(_PIECE, expected - start):
            raise ValueError("it ends early")
    return content.view(dtype).reshape(shape, order="F" if column_major else "C")


def memory_limit(most: int) -> int:
    """`most`, or three quarters of the machine's memory where that is less."""
    return min(most, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4)


@contextmanager
def numeric_archive(path: Path, limit: int) -> Iterator[zipfile.ZipFile]:
    """An .npz archive. Raises InputError: not one, damaged, or over `limit` bytes unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(item.file_size for item in archive.infolist())
            if total > limit:
                raise InputError(f"{path}: {total} bytes unpacked exceed the limit of {limit}")
            if any(item.compress_type not in _METHODS for item in archive.infolist()):
                raise InputError(f"{path}: its compression is unknown: save it with numpy.savez")
            yield archive
    except _ARCHIVE_ERRORS as e:
        reason = f"{type(e).__name__}: {e}"
        raise InputError(f"{path}: not a readable .npz archive ({reason})") from e


def archive_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any] | None:
    """The array of that name, None where the archive has none. Raises ValueError."""
    member = f"{name}.npy"
    if member not in archive.namelist():
        return None
    with archive.open(member) as stream:
        return read_array(stream, archive.getinfo(member).file_size)
