"""Multipliers: product tables and what can be measured from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alwann_c.errors import InputError

TABLE_SHAPE = (256, 256)
MIN_BITS, MAX_BITS = 2, 8


@dataclass(frozen=True)
class ErrorStatistics:
    """Error of a multiplier over all 65,536 operand pairs, each equally likely.

    With e = M(a, w) - a w: `mae` = mean |e|; `wce` = max |e|; `ep` = share of pairs with e != 0;
    `mre` = mean |e| / max(1, |a w|); `mse` = mean e^2; `bias` = mean e.
    """

    mae: float
    wce: int
    ep: float
    mre: float
    mse: float
    bias: float


@dataclass(frozen=True, eq=False)
class Multiplier:
    """A multiplier circuit as the accelerator's arrays contain it.

    `table` is int32 of shape (256, 256), row = activation code, column = weight code, not
    necessarily symmetric, and is made read-only. Where `signed`, both are indexed by the 8-bit
    pattern of the code. A multiplier of fewer than 8 `bits` reads the low bits of either code, so
    its table repeats. `power_mw`, `area_um2` and `delay_ns` are figures of the circuit or None
    where nothing is known; `origin` says how they were obtained and `library` whose they are.
    `netlist` is the Verilog file of the circuit, where the library has one.

    Two multipliers are equal if name, operand format and table are. Raises InputError for a table
    of another shape or type, a product outside the 16 bits of the format, or a negative or
    non-finite figure.
    """

    name: str
    table: NDArray[np.int32]
    signed: bool = False
    bits: int = 8
    power_mw: float | None = None
    area_um2: float | None = None
    delay_ns: float | None = None
    library: str = ""
    origin: str = ""
    netlist: Path | None = None

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise InputError(f"multiplier {self.name!r}: {'; '.join(problems)}")
        table = np.ascontiguousarray(self.table, dtype=np.int32).copy()
        table.setflags(write=False)
        object.__setattr__(self, "table", table)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.table.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Multiplier) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, bool, int, str]:
        return self.name, self.signed, self.bits, self.content_hash

    @cached_property
    def content_hash(self) -> str:
        """SHA-256, in hexadecimal, of the table as little-endian int32 in row order."""
        return hashlib.sha256(self.table.astype("<i4").tobytes()).hexdigest()

    @cached_property
    def is_exact(self) -> bool:
        """True if every product is right."""
        return bool(np.array_equal(self.table, exact_products(self.signed, self.bits)))

    @cached_property
    def statistics(self) -> ErrorStatistics:
        """Error statistics of the table."""
        return error_statistics(self.table, signed=self.signed, bits=self.bits)

    @property
    def mae(self) -> float:
        """Mean absolute error, computed from the table."""
        return self.statistics.mae

    @property
    def wce(self) -> int:
        """Worst-case absolute error, computed from the table."""
        return self.statistics.wce


def operand_values(*, signed: bool, bits: int = 8) -> NDArray[np.int32]:
    """Value of each of the 256 codes, int32 of shape (256,): its low `bits` bits, read as such."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise InputError(f"operand width: {bits} bits; give {MIN_BITS} to {MAX_BITS}")
    values = np.arange(256, dtype=np.int32) & ((1 << bits) - 1)
    if signed:
        values -= (values >> (bits - 1)) << bits
    return values


def code_pattern(signed: bool, bits: int) -> NDArray[np.uint8]:
    """The code of `bits` bits, as an 8-bit pattern, that each of 256 codes is read as; uint8 (256,)."""
    return (
        operand_values(signed=signed, bits=bits)
        .astype(np.int8 if signed else np.uint8)
        .view(np.uint8)
    )


def narrowed(multiplier: Multiplier, weight_bits: int) -> Multiplier:
    """The multiplier as weights of fewer bits see it: column c repeats that of c's low bits."""
    if weight_bits >= multiplier.bits:
        return multiplier
    columns = code_pattern(multiplier.signed, weight_bits)
    return replace(multiplier, table=multiplier.table[:, columns])


def sign_magnitude(multiplier: Multiplier) -> Multiplier:
    """A signed multiplier made of an unsigned one: magnitudes multiplied, signs set apart.

        M'(a, w) = sgn(a) sgn(w) M(|a|, |w|)

    One of 7 bits gives signed codes of 8 bits; -128, whose magnitude it cannot take, counts as -127.
    The circuit's figures stay those of the unsigned multiplier. Raises InputError for a signed one.
    """
    if multiplier.signed:
        raise InputError(f"multiplier {multiplier.name!r}: is signed already; give an unsigned one")
    bits = min(multiplier.bits + 1, MAX_BITS)
    values = operand_values(signed=True, bits=bits)
    size = np.minimum(np.abs(values), (1 << multiplier.bits) - 1)
    signs = np.multiply.outer(np.sign(values), np.sign(values))
    return Multiplier(
        name=f"{multiplier.name}_sm",
        table=signs * multiplier.table[np.ix_(size, size)],
        signed=True,
        bits=bits,
        power_mw=multiplier.power_mw,
        area_um2=multiplier.area_um2,
        delay_ns=multiplier.delay_ns,
        library=multiplier.library,
        origin=f"sign and magnitude around {multiplier.name}; {multiplier.origin}".rstrip("; "),
    )


@lru_cache(maxsize=2 * MAX_BITS)
def exact_products(signed: bool, bits: int = 8) -> NDArray[np.int32]:
    """Table of exact products, int32 of shape (256, 256), read-only; indexed as `Multiplier`."""
    values = operand_values(signed=signed, bits=bits)
    table = np.multiply.outer(values, values)
    table.setflags(write=False)
    return table


def error_statistics(table: NDArray[np.int32], *, signed: bool, bits: int = 8) -> ErrorStatistics:
    """Error statistics of a (256, 256) product table against exact products."""
    exact = exact_products(signed, bits).astype(np.int64)
    error = table.astype(np.int64) - exact
    magnitude = np.abs(error)
    return ErrorStatistics(
        mae=float(magnitude.mean()),
        wce=int(magnitude.max()),
        ep=float(np.count_nonzero(error) / error.size),
        mre=float((magnitude / np.maximum(1, np.abs(exact))).mean()),
        mse=float((error.astype(np.float64) ** 2).mean()),
        bias=float(error.mean()),
    )


def product_range(signed: bool) -> tuple[int, int]:
    """Smallest and largest product that 16 bits hold."""
    return (-(1 << 15), (1 << 15) - 1) if signed else (0, (1 << 16) - 1)


def _problems(multiplier: Multiplier) -> list[str]:
    problems: list[str] = []
    table = multiplier.table
    low, high = product_range(multiplier.signed)
    if table.shape != TABLE_SHAPE or not np.issubdtype(table.dtype, np.integer):
        problems.append(
            f"table: {table.dtype} of shape {table.shape}; give integers of shape (256, 256)"
        )
    elif int(table.min()) < low or int(table.max()) > high:
        kind = "signed" if multiplier.signed else "unsigned"
        problems.append(
            f"table: products from {table.min()} to {table.max()};"
            f" {kind} products are from {low} to {high}"
        )
    if not MIN_BITS <= multiplier.bits <= MAX_BITS:
        problems.append(f"bits: {multiplier.bits}; give {MIN_BITS} to {MAX_BITS}")
    for field in ("power_mw", "area_um2", "delay_ns"):
        figure = getattr(multiplier, field)
        if figure is not None and not (np.isfinite(figure) and figure >= 0):
            problems.append(f"{field}: {figure}; give a finite figure of 0 or more")
    return problems
