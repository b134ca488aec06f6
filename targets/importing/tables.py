"""Product tables as files: `.bin`, `.npy`, `.csv`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alwann_c.errors import InputError
from alwann_c.targets.multiplier import MAX_BITS, MIN_BITS
from alwann_c.untrusted import read_array, read_bounded

MAX_TABLE_BYTES = 4 << 20
TABLE_SUFFIXES = (".bin", ".npy", ".csv")
SIDES = tuple(1 << bits for bits in range(MIN_BITS, MAX_BITS + 1))


def read_products(path: Path) -> NDArray[np.int64]:
    """Products [2^n, 2^n], row = first operand's code, as the file has them; n is 2 to 8.

    `.bin` holds 2 bytes a product, little-endian, read as unsigned. `.csv` holds a square of numbers,
    or rows `a, b, product` in any order under a heading or none. Raises InputError otherwise.
    """
    data = read_bounded(path, MAX_TABLE_BYTES, "give a product table")
    if path.suffix == ".bin":
        return _square(np.frombuffer(data, "<u2") if len(data) % 2 == 0 else None, path)
    return _npy(data, path) if path.suffix == ".npy" else _csv(data, path)


def _square(data: NDArray[np.integer] | None, path: Path) -> NDArray[np.int64]:
    sides = [side for side in SIDES if data is not None and data.size == side * side]
    if not sides or data is None:
        what = "an odd number of bytes" if data is None else f"{data.size} products"
        raise InputError(
            f"{path}: {what}: give 2^n x 2^n products, n from {MIN_BITS} to {MAX_BITS}"
        )
    return data.reshape(sides[0], sides[0]).astype(np.int64)


def _npy(data: bytes, path: Path) -> NDArray[np.int64]:
    try:
        array = read_array(io.BytesIO(data), len(data))
    except ValueError as e:
        raise InputError(f"{path}: no .npy array of numbers: save it with numpy.save") from e
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{path}: holds {array.dtype}: give integers")
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != array.shape[1]):
        raise InputError(f"{path}: shape {array.shape}: give a square [first operand, second]")
    return _square(array.reshape(-1), path)


def _csv(data: bytes, path: Path) -> NDArray[np.int64]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise InputError(f"{path}: no text (byte {e.start}): give comma-separated numbers") from e
    rows: list[list[int]] = []
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line.replace(";", ",").split(",")]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            rows.append([_whole(cell) for cell in cells])
        except ValueError as e:
            if rows:
                raise InputError(f"{path}: line {number}: {line[:40]!r}: give whole numbers") from e
            if len(rows) == 0 and number > 20:
                raise InputError(f"{path}: no numbers in the first {number} lines") from e
        if len(rows) > SIDES[-1] ** 2 or len(rows[-1:] and rows[-1]) > SIDES[-1]:
            raise InputError(f"{path}: line {number}: more than {SIDES[-1]} x {SIDES[-1]} products")
    widths = {len(row) for row in rows}
    if widths == {3} and len(rows) > 3:
        return _triples(np.array(rows, dtype=np.int64), path)
    if len(widths) != 1 or widths != {len(rows)}:
        shape = f"{len(rows)} rows of {sorted(widths)[:4]} numbers"
        raise InputError(f"{path}: {shape}: give a square of products or rows `a, b, product`")
    return _square(np.array(rows, dtype=np.int64).reshape(-1), path)


def _whole(cell: str) -> int:
    """A number of 32 bits, which those of any table are. Raises ValueError."""
    value = int(cell)
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(cell)
    return value


def _triples(rows: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    side = round(len(rows) ** 0.5)
    if side not in SIDES or side * side != len(rows):
        raise InputError(f"{path}: {len(rows)} rows `a, b, product`: give all 2^n x 2^n pairs")
    low = int(rows[:, :2].min())
    if low not in (0, -side // 2):
        raise InputError(f"{path}: operands from {low}: give 0 to {side - 1}, or two's complement")
    if int(rows[:, :2].max()) >= low + side:
        raise InputError(f"{path}: operands above {low + side - 1} for {len(rows)} pairs")
    codes = rows[:, :2] & (side - 1)
    seen = np.zeros((side, side), dtype=bool)
    seen[codes[:, 0], codes[:, 1]] = True
    if not seen.all():
        a, b = np.argwhere(~seen)[0]
        raise InputError(f"{path}: no row for operands {a}, {b}: give every pair once")
    table = np.zeros((side, side), dtype=np.int64)
    table[codes[:, 0], codes[:, 1]] = rows[:, 2]
    return table
