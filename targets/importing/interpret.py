"""From raw products to a multiplier: width, signedness, and whether it is one at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alwann_c.errors import InputError
from alwann_c.targets.importing.figures import Published
from alwann_c.targets.multiplier import error_statistics, exact_products, operand_values
from alwann_c.targets.netlist import FIRST_INPUT, Gate, Netlist

ROUNDING = 0.01
"""Relative difference allowed between published errors and the circuit's."""
NO_MULTIPLIER = 0.5
"""What is off by this share of the mean product is no multiplier of that size."""
ALIKE = 1.5
"""Ratio of errors up to which a declaration decides how to read a circuit."""


@dataclass(frozen=True, eq=False)
class Raw:
    """What a file gives: `products` [2^bits, 2^bits] as bit patterns or numbers, row = activation.

    `declared` is the signedness the file states, None where it states none. `origin` says where
    the products come from.
    """

    file: Path
    name: str
    products: NDArray[np.int64]
    origin: str
    declared: bool | None = None
    netlist: Netlist | None = None
    published: Published = field(default_factory=Published)
    notes: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Width of the operands."""
        return len(self.products).bit_length() - 1


@dataclass(frozen=True, eq=False)
class Reading:
    """A circuit read as a multiplier: `table` int32 [256, 256] as in `Multiplier`."""

    table: NDArray[np.int32]
    signed: bool
    notes: tuple[str, ...]


def swapped(raw: Raw) -> Raw:
    """The same circuit with its operands exchanged."""
    netlist = raw.netlist if raw.netlist is None else swap_operands(raw.netlist)
    return Raw(
        raw.file, raw.name, raw.products.T.copy(), raw.origin, raw.declared, netlist,
        raw.published, (*raw.notes, "operands swapped"),
    )  # fmt: skip


def swap_operands(netlist: Netlist) -> Netlist:
    """The circuit with activation and weight inputs exchanged."""
    bits = netlist.inputs // 2

    def moved(wire: int) -> int:
        if FIRST_INPUT <= wire < FIRST_INPUT + bits:
            return wire + bits
        return wire - bits if FIRST_INPUT + bits <= wire < FIRST_INPUT + 2 * bits else wire

    gates = tuple(Gate(g.kind, moved(g.a), moved(g.b)) for g in netlist.gates)
    return Netlist(netlist.inputs, gates, tuple(moved(wire) for wire in netlist.outputs))


def read_as_multiplier(raw: Raw, signed: bool | None = None) -> Reading:
    """The circuit as signed or unsigned multiplier, whichever it is, `signed` forcing one.

    Published errors decide where only one way of reading agrees with them; else the smaller error,
    and what the file declares where both are alike. Raises InputError for what is no multiplier of
    that size, or contradicts its published errors.
    """
    tables = _tables(raw)
    mae = {way: _statistics(table, way, raw.bits) for way, table in tables.items()}
    if signed is not None and signed not in tables:
        raise InputError(f"{raw.file}: has products below 0: it is signed")
    way = signed if signed is not None else _decide(raw, mae)
    notes = list(raw.notes)
    if signed is None and raw.declared is not None and raw.declared != way:
        kinds = ("unsigned", "signed")
        notes.append(f"declared {kinds[raw.declared]}, computes {kinds[way]} products")
    error, worst = mae[way]
    _refuse_others(raw, tables[way], way, error)
    wrong = raw.published.contradictions(error, worst, ROUNDING)
    if wrong:
        raise InputError(
            f"{raw.file}: {'; '.join(wrong)}: check that figures and circuit belong together"
        )
    return Reading(tables[way], way, tuple(notes))


def _tables(raw: Raw) -> dict[bool, NDArray[np.int32]]:
    """The 256 x 256 tables by signedness, of the ways the products can be read."""
    bits, products = raw.bits, raw.products
    low, high = int(products.min()), int(products.max())
    if low < -(1 << 15) or high > (1 << 16) - 1:
        raise InputError(
            f"{raw.file}: products from {low} to {high}: those of {bits} x {bits} bits fit 16 bits"
        )
    repeats = 256 // len(products)
    half = 1 << (2 * bits - 1)
    negative = ((products & (2 * half - 1)) ^ half) - half
    tables = {True: negative}
    if low >= 0:
        tables[False] = products
    elif low < -half or high >= half:
        raise InputError(
            f"{raw.file}: products from {low} to {high}: signed ones of {bits} x {bits} bits are"
            f" from {-half} to {half - 1}"
        )
    return {way: np.tile(t, (repeats, repeats)).astype(np.int32) for way, t in tables.items()}


def _statistics(table: NDArray[np.int32], signed: bool, bits: int) -> tuple[float, float]:
    found = error_statistics(table, signed=signed, bits=bits)
    return found.mae, float(found.wce)


def _decide(raw: Raw, mae: dict[bool, tuple[float, float]]) -> bool:
    fits = [way for way in mae if not raw.published.contradictions(*mae[way], ROUNDING)]
    if raw.published.mae is not None and len(fits) == 1:
        return fits[0]
    best = min(mae, key=lambda way: mae[way][0])
    declared = raw.declared
    if declared is None or declared not in mae:
        return best
    return declared if mae[declared][0] <= ALIKE * mae[best][0] else best


def _refuse_others(raw: Raw, table: NDArray[np.int32], signed: bool, mae: float) -> None:
    exact = exact_products(signed, raw.bits)
    mean = float(np.abs(exact.astype(np.int64)).mean())
    if mae < NO_MULTIPLIER * mean:
        return
    values = operand_values(signed=signed, bits=raw.bits).astype(np.int64)
    sums = float(np.abs(table - np.add.outer(values, values)).mean())
    like = "; it is closer to a + b" if sums < 0.1 * mae else ""
    raise InputError(
        f"{raw.file}: no multiplier of {raw.bits} x {raw.bits} bits: off by {mae:.6g} on average,"
        f" the mean product being {mean:.6g}{like}"
    )
