"""Generate the `classic` multiplier library: truncated and broken-array multipliers, 8 x 8 bits.

    python tools/generate_classic_library.py [FOLDER]

FOLDER defaults to `targets/libraries/classic`. Needs the extra `circuits` (the package ariths-gen,
Klhufek and Mrazek, DDECS 2022). Same ariths-gen, same files, byte for byte.

The exact array multipliers come from ariths-gen; the approximate ones leave partial products out:
a_i * w_j is taken as 0 where i < `activation`, j < `weight` or i + j < `column`, and the circuit is
simplified. Cutting equally many low bits of both operands is truncation (`tr3`); cutting rows and
columns is the broken-array multiplier of Mahdiani et al. (TCAS-I 2010): `bam_h2v5` leaves out two
rows (weight bits) and five columns, `bam_a1h2v7` the lowest activation bit as well.

Every cut is enumerated. A circuit is shipped if it is on the front of power against MAE or of power
against the *tuned error*, what remains once weight tuning and bias correction, which cost nothing
in hardware, have done their work; and, in its slice of power, has the smallest tuned error.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ariths_gen
import numpy as np
from ariths_gen.multi_bit_circuits.multipliers import (
    SignedArrayMultiplier,
    UnsignedArrayMultiplier,
)
from ariths_gen.wire_components.buses import Bus
from numpy.typing import NDArray

from alwann_c.targets.multiplier import error_statistics, operand_values
from alwann_c.targets.netlist import (
    FIRST_INPUT,
    OPERAND_BITS,
    Gate,
    GateKind,
    Netlist,
    estimate_area_um2,
    estimate_power_mw,
    gate_counts,
    product_table,
    simplify,
)
from alwann_c.targets.verilog import netlist_verilog

FOLDER = Path(__file__).resolve().parents[1] / "targets" / "libraries" / "classic"
MIN_POWER_MW = 0.03
"""Below, hardly an adder is left and the gate model, fitted on whole multipliers, says nothing."""
SLICES = {False: 40, True: 16}
"""Slices of the exact multiplier's power, one circuit in each, by signedness."""

_CGP_FUNCTIONS: dict[int, GateKind] = {
    1: "not",
    2: "and",
    3: "or",
    4: "xor",
    5: "nand",
    6: "nor",
    7: "xnor",
}


@dataclass(frozen=True)
class Circuit:
    """A generated multiplier; `cut` is (activation bits, weight bits, columns) left out."""

    cut: tuple[int, int, int]
    netlist: Netlist
    table: NDArray[np.int32]
    power_mw: float
    mae: float
    tuned: float


def read_cgp(text: str) -> Netlist:
    """The netlist in ariths-gen's flat CGP notation `{header}([wire]a,b,function)...(outputs)`.

    Its wires are numbered as `Netlist` numbers them: 0 and 1 constant, then inputs, then gates.
    """
    inputs = int(text[1 : text.index(",")])
    wires = {wire: wire for wire in range(FIRST_INPUT + inputs)}
    gates: list[Gate] = []
    for match in re.finditer(r"\(\[(\d+)\](\d+),(\d+),(\d+)\)", text):
        wire, a, b, function = map(int, match.groups())
        kind = _CGP_FUNCTIONS[function]
        gates.append(Gate(kind, wires[a], wires[a if kind == "not" else b]))
        wires[wire] = FIRST_INPUT + inputs + len(gates) - 1
    outputs = text[text.rindex("(") + 1 : text.rindex(")")].split(",")
    return Netlist(inputs, tuple(gates), tuple(wires[int(wire)] for wire in outputs))


def exact_array(*, signed: bool) -> Netlist:
    """ariths-gen's exact array multiplier; the signed one is of the Baugh-Wooley kind."""
    generator = SignedArrayMultiplier if signed else UnsignedArrayMultiplier
    circuit = generator(Bus(N=OPERAND_BITS, prefix="a"), Bus(N=OPERAND_BITS, prefix="w"))
    text = io.StringIO()
    circuit.get_cgp_code_flat(text)
    return simplify(read_cgp(text.getvalue()))


def without_partial_products(exact: Netlist, cut: tuple[int, int, int]) -> Netlist:
    """`exact` with every partial product inside `cut` taken as 0 (a NAND as 1), simplified."""
    activation, weight, column = cut
    first_weight = FIRST_INPUT + OPERAND_BITS
    fixed = {}
    for wire, gate in enumerate(exact.gates, start=FIRST_INPUT + exact.inputs):
        low, high = sorted((gate.a, gate.b))
        if low < first_weight <= high < FIRST_INPUT + exact.inputs:
            i, j = low - FIRST_INPUT, high - first_weight
            if i < activation or j < weight or i + j < column:
                fixed[wire] = gate.kind == "nand"
    return simplify(exact, fixed)


def tuned_error(table: NDArray[np.int32], *, signed: bool) -> float:
    """RMS error left by the best weight code and a bias, activations and weights uniform.

    sqrt(mean_w min_t var_a(M(a, t) - a w)): the code t replaces w, and the mean goes to the bias.
    """
    products = table.astype(np.float64)
    values = operand_values(signed=signed).astype(np.float64)
    centred = values - values.mean()
    covariance = (products * centred[:, None]).mean(axis=0)
    variance = (
        products.var(axis=0)[None, :]
        - 2 * values[:, None] * covariance[None, :]
        + values[:, None] ** 2 * values.var()
    )
    return float(np.sqrt(np.maximum(variance, 0).min(axis=1).mean()))


def circuits(*, signed: bool) -> Iterator[Circuit]:
    """Every distinct circuit of the family within the gate model's reach; the exact one first."""
    exact = exact_array(signed=signed)
    seen: set[bytes] = set()
    for activation in range(OPERAND_BITS - 1):
        for weight in range(OPERAND_BITS - 1):
            for column in range(activation + weight, 2 * OPERAND_BITS - 3):
                cut = (activation, weight, column)
                netlist = without_partial_products(exact, cut)
                table = product_table(netlist, signed=signed)
                power = estimate_power_mw(netlist)
                if table.tobytes() in seen or power < MIN_POWER_MW:
                    continue
                seen.add(table.tobytes())
                mae = error_statistics(table, signed=signed).mae
                tuned = tuned_error(table, signed=signed)
                yield Circuit(cut, netlist, table, power, mae, tuned)


def selection(family: list[Circuit], slices: int) -> list[Circuit]:
    """The circuits worth shipping, by falling power: see the head of this file."""
    exact_power = family[0].power_mw
    best: dict[int, Circuit] = {}
    for circuit in family:
        if not (_on_front(circuit, family, "mae") or _on_front(circuit, family, "tuned")):
            continue
        where = int(slices * (1 - circuit.power_mw / exact_power) + 0.5)
        if where not in best or circuit.tuned < best[where].tuned:
            best[where] = circuit
    return [best[where] for where in sorted(best)]


def circuit_name(circuit: Circuit, *, signed: bool) -> str:
    """`mul8u_exact`, `mul8u_tr3`, `mul8u_bam_h2v5`, `mul8u_bam_a1h2v7`; `mul8s_` where signed."""
    activation, weight, column = circuit.cut
    stem = "mul8s" if signed else "mul8u"
    if circuit.cut == (0, 0, 0):
        return f"{stem}_exact"
    if activation == weight and column == activation + weight:
        return f"{stem}_tr{activation}"
    rows = f"a{activation}" if activation else ""
    return f"{stem}_bam_{rows}h{weight}v{column}"


def write_library(folder: Path) -> list[str]:
    """Write `library.toml`, tables and netlists into `folder`; returns the names written."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("mul8*.bin"), *folder.glob("mul8*.v")]:
        old.unlink()
    entries: list[str] = []
    names: list[str] = []
    for signed in (False, True):
        for circuit in selection(list(circuits(signed=signed)), SLICES[signed]):
            name = circuit_name(circuit, signed=signed)
            circuit.table.astype("<i2" if signed else "<u2").tofile(folder / f"{name}.bin")
            netlist = netlist_verilog(circuit.netlist, name)
            (folder / f"{name}.v").write_text(netlist, encoding="utf-8")
            entries.append(_entry(name, circuit, signed=signed))
            names.append(name)
    (folder / "library.toml").write_text(_header() + "".join(entries), encoding="utf-8")
    return names


def _on_front(circuit: Circuit, family: list[Circuit], criterion: str) -> bool:
    power, error = circuit.power_mw, getattr(circuit, criterion)
    return not any(
        (other.power_mw <= power and getattr(other, criterion) < error)
        or (other.power_mw < power and getattr(other, criterion) <= error)
        for other in family
    )


def _header() -> str:
    return f"""\
# Truncated and broken-array multipliers, 8 x 8 bits, unsigned and signed.
# Generated by tools/generate_classic_library.py from ariths-gen {ariths_gen.__version__}.
# Netlists: NAME.v, ports A (activation), B (weight), O (product).
# Tables: 256 rows, one per activation code, of 256 products, one per weight code, each a
# little-endian 16-bit integer; codes and products of signed multipliers are two's complement.
# power_mw = 0.0032 XOR + 0.0012 OR, area_um2 = 2.51 XOR + 2.00 AND + 2.33 OR, a fit over 71
# EvoApproxLib circuits with published 45 nm figures (R^2 0.993 and 0.991). XNOR, NOR and NAND count
# as XOR, OR and AND, inverters are free. Estimates, for comparison with each other.
schema = 1
name = "classic"
license = "Apache-2.0"
"""


def _entry(name: str, circuit: Circuit, *, signed: bool) -> str:
    counts = gate_counts(circuit.netlist)
    statistics = error_statistics(circuit.table, signed=signed)
    origin = f"gate model: {counts['xor']} XOR, {counts['or']} OR, {counts['and']} AND"
    return f"""
[[multiplier]]
name = "{name}"
table = "{name}.bin"
netlist = "{name}.v"
signed = {str(signed).lower()}
bits = {OPERAND_BITS}
power_mw = {circuit.power_mw:.4f}
area_um2 = {estimate_area_um2(circuit.netlist):.1f}
mae = {statistics.mae:.6g}
wce = {statistics.wce}
origin = "{origin}"
"""


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    print(f"{len(write_library(target))} multipliers written to {target}")
