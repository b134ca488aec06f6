"""Reading `library.toml` and its tables; nothing in a library is trusted before it is checked."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from alwann_c.errors import InputError
from alwann_c.targets.multiplier import (
    MAX_BITS,
    MIN_BITS,
    Multiplier,
    error_statistics,
    product_range,
)
from alwann_c.targets.toml_input import Flag, Name, NonNegative, Text, read_toml
from alwann_c.untrusted import read_array

LIBRARY_FILE = "library.toml"
MAX_MULTIPLIERS = 4096
MAX_TABLE_BYTES = 4 << 20

FIGURE_TOLERANCE = 0.01
"""Relative difference allowed between a published figure and the table's, for rounding."""
SMALLEST_DIFFERENCE = 0.005
"""Absolute difference always allowed: figures are published with few decimals."""
OTHER_SIGN_RATIO = 10.0
"""A table this many times closer to exact products of the other signedness is taken for it."""


_File = Annotated[str, Field(strict=True, min_length=1, max_length=255)]


class MultiplierEntry(BaseModel):
    """`[[multiplier]]` of `library.toml`. `mae` and `wce` are checked against the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Name, Field(description="Name of the multiplier.")]
    table: Annotated[_File, Field(description="Its products, in this folder or below.")]
    signed: Annotated[Flag, Field(description="Two's complement operands and products.")]
    bits: Annotated[
        int, Field(strict=True, ge=MIN_BITS, le=MAX_BITS, description="Width of the operands.")
    ] = 8
    power_mw: Annotated[NonNegative | None, Field(description="Power, mW.")] = None
    area_um2: Annotated[NonNegative | None, Field(description="Area, um^2.")] = None
    delay_ns: Annotated[NonNegative | None, Field(description="Delay, ns.")] = None
    mae: Annotated[NonNegative | None, Field(description="Mean absolute error.")] = None
    wce: Annotated[NonNegative | None, Field(description="Worst-case absolute error.")] = None
    netlist: Annotated[_File | None, Field(description="Verilog of the circuit.")] = None
    origin: Annotated[Text, Field(description="How the figures were obtained.")] = ""


class LibraryFile(BaseModel):
    """`library.toml`, version 1 of the format."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[Literal[1], Field(alias="schema", description="Format version.")] = 1
    name: Annotated[Name, Field(description="Name of the library.")]
    license: Annotated[Text, Field(description="Licence of the circuits.")] = ""
    multiplier: Annotated[
        tuple[MultiplierEntry, ...],
        Field(min_length=1, max_length=MAX_MULTIPLIERS, description="The multipliers, in order."),
    ]


def read_library_file(file: Path) -> tuple[str, str, list[Multiplier]]:
    """Name, license and multipliers of the library described by `file`.

    A table is a `.bin` of 2^bits x 2^bits little-endian 16-bit products (u2, signed: i2), row =
    activation, or an `.npy` of the same integers; it lies in the folder of `file` or below. Raises
    one InputError with every problem of every multiplier.
    """
    description = read_toml(file, LibraryFile)
    multipliers: list[Multiplier] = []
    problems: list[str] = []
    names: set[str] = set()
    for index, entry in enumerate(description.multiplier):
        where = f"multiplier[{index}] {entry.name!r}"
        if entry.name in names:
            problems.append(f"{where}: name: used before: give every multiplier its own name")
            continue
        names.add(entry.name)
        try:
            multipliers.append(_load(entry, file.parent, description.name))
        except InputError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise InputError(f"{file}: {'; '.join(problems)}")
    return description.name, description.license, multipliers


def _load(entry: MultiplierEntry, folder: Path, library: str) -> Multiplier:
    table = _read_table(_inside(entry.table, folder, "table"), entry)
    problems = _contradictions(entry, table)
    if problems:
        raise InputError("; ".join(problems))
    return Multiplier(
        name=entry.name,
        table=table,
        signed=entry.signed,
        bits=entry.bits,
        power_mw=entry.power_mw,
        area_um2=entry.area_um2,
        delay_ns=entry.delay_ns,
        library=library,
        origin=entry.origin,
        netlist=None if entry.netlist is None else _netlist_path(entry.netlist, folder),
    )


def _netlist_path(name: str, folder: Path) -> Path:
    path = _inside(name, folder, "netlist")
    if not path.is_file():
        raise InputError(f"netlist: no file {path.name} in the library: add it")
    return path


def _inside(name: str, folder: Path, field: str) -> Path:
    outside = f"{field}: {name!r} leads out of the library's folder: put the file into it"
    pure = PurePosixPath(name)
    if pure.is_absolute() or PureWindowsPath(name).drive or ".." in pure.parts or "\\" in name:
        raise InputError(outside)
    path = folder / pure
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(outside)
    return path


def _read_table(path: Path, entry: MultiplierEntry) -> NDArray[np.int32]:
    side = 1 << entry.bits
    try:
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise InputError(f"table: {path.name} has {size} bytes: at most {MAX_TABLE_BYTES}")
        if path.suffix == ".npy":
            products = _read_npy(path, side)
        elif path.suffix == ".bin":
            products = _read_bin(path, side, size, signed=entry.signed)
        else:
            raise InputError(f"table: {path.name}: unknown kind: give a .bin or .npy file")
    except FileNotFoundError as error:
        raise InputError(f"table: no file {path.name} in the library: add it") from error
    except OSError as error:
        raise InputError(f"table: {path.name} cannot be read ({error.strerror})") from error
    low, high = product_range(entry.signed)
    if int(products.min()) < low or int(products.max()) > high:
        raise InputError(
            f"table: {path.name} has products from {products.min()} to {products.max()}, but"
            f" signed = {str(entry.signed).lower()} means {low} to {high}: check `signed`"
        )
    repeats = 256 // side
    return np.tile(products.astype(np.int32), (repeats, repeats))


def _read_bin(path: Path, side: int, size: int, *, signed: bool) -> NDArray[np.int16 | np.uint16]:
    expected = side * side * 2
    if size != expected:
        raise InputError(
            f"table: {path.name} has {size} bytes, expected {expected}"
            f" ({side} x {side} products of 2 bytes)"
        )
    data = np.frombuffer(path.read_bytes(), dtype="<i2" if signed else "<u2")
    return data.reshape(side, side)


def _read_npy(path: Path, side: int) -> NDArray[np.integer]:
    try:
        with path.open("rb") as stream:
            data = read_array(stream, path.stat().st_size)
    except ValueError as error:
        raise InputError(f"table: {path.name} is no .npy array: save it with numpy.save") from error
    if not np.issubdtype(data.dtype, np.integer) or data.shape not in (
        (side, side),
        (side * side,),
    ):
        raise InputError(
            f"table: {path.name} holds {data.dtype} of shape {data.shape}, expected integers of"
            f" shape ({side}, {side})"
        )
    return data.reshape(side, side)


def _contradictions(entry: MultiplierEntry, table: NDArray[np.int32]) -> list[str]:
    computed = error_statistics(table, signed=entry.signed, bits=entry.bits)
    other = _error_if_other_sign(entry, table)
    hint = ""
    if computed.mae > OTHER_SIGN_RATIO * max(other, 1.0):
        declared = "signed" if entry.signed else "unsigned"
        hint = (
            f"signed = {str(entry.signed).lower()}: the table is off by {computed.mae:.6g} on"
            f" average from {declared} products, but by {other:.6g} if read with the other"
            " signedness: check `signed`"
        )
    problems = [hint] if hint else []
    for field, published, figure in (
        ("mae", entry.mae, computed.mae),
        ("wce", entry.wce, float(computed.wce)),
    ):
        if published is None or hint:
            continue
        allowed = max(SMALLEST_DIFFERENCE, FIGURE_TOLERANCE * max(published, figure))
        if abs(published - figure) > allowed:
            problems.append(
                f"{field}: {published:g} is published, but the table has {figure:g}: check the"
                " table, `bits` and `signed`"
            )
    return problems


def _error_if_other_sign(entry: MultiplierEntry, table: NDArray[np.int32]) -> float:
    if entry.signed:
        swapped = table & 0xFFFF
    else:
        swapped = np.where(table > 0x7FFF, table - 0x10000, table).astype(np.int32)
    return error_statistics(swapped, signed=not entry.signed, bits=entry.bits).mae
