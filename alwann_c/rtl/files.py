"""Arrays as `.npz`, `.csv` and `$readmemh` hex files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DIGITS = {1: 2, 2: 4, 4: 8}


def write_hex(path: Path, array: npt.NDArray[Any], *, width: int | None = None) -> None:
    """One value a line, in C order, as the bits of its type (float32: IEEE 754) in hexadecimal.

    `width`: zero-extends to so many bytes.
    """
    size = array.dtype.itemsize
    bits = np.ascontiguousarray(array).view(f"<u{size}").reshape(-1)
    digits = _DIGITS[width or size]
    path.write_text("".join(f"{value:0{digits}x}\n" for value in bits.tolist()), encoding="ascii")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A header and rows; numbers in a form that reads back to the same value."""
    lines = [",".join(header), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def indexed(*arrays: npt.NDArray[Any]) -> Iterable[list[object]]:
    """[*index, *values] of arrays of the same shape, in C order."""
    flat = [array.reshape(-1).tolist() for array in arrays]
    for index, values in zip(np.ndindex(arrays[0].shape), zip(*flat, strict=True), strict=True):
        yield [*index, *values]


def short(values: npt.NDArray[np.float32]) -> list[str]:
    """float32 numbers in the shortest form that reads back to the same float32."""
    return [np.format_float_scientific(value) for value in values]
