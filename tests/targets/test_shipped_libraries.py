"""The shipped libraries: the range of `alwann`, and netlists that compute the tables of both."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from alwann_c.rtl.multipliers import write_multiplier
from alwann_c.rtl.simulate import simulate, simulator
from alwann_c.targets import Multiplier, load_builtin_library
from alwann_c.targets.netlist import FIRST_INPUT, Builder, GateKind, Netlist, product_table

LIBRARY = load_builtin_library("alwann")
ALL = [*LIBRARY, *load_builtin_library("classic")]
KINDS: dict[str, GateKind] = {"&": "and", "|": "or", "^": "xor"}
GATE = re.compile(r"  wire g\d+ = (~?)\(?(\S+?)(?: ([&|^]) (\S+?))?\)?;")
PRODUCT = re.compile(r"  assign O = \{(.*)\};")


def wire(name: str) -> int:
    """Number of a wire of the Verilog `netlist_verilog` writes."""
    if name.startswith("1'b"):
        return int(name[3:])
    bus, number = re.fullmatch(r"([ABg])\[?(\d+)\]?", name).groups()  # type: ignore[union-attr]
    return FIRST_INPUT + int(number) + {"A": 0, "B": 8, "g": 16}[bus]


def read(path: Path) -> Netlist:
    """The netlist of a shipped Verilog file, gate by gate."""
    wires: list[int] = list(range(FIRST_INPUT + 16))
    builder = Builder(16)
    text = path.read_text(encoding="utf-8")
    for inverted, a, operator, b in GATE.findall(text):
        made = wires[wire(a)]
        if operator:
            made = builder.add(KINDS[operator], made, wires[wire(b)])
        if inverted:
            made = builder.add("not", made, made)
        wires.append(made)
    (product,) = PRODUCT.findall(text)
    outputs = [wires[wire(name)] for name in reversed(product.split(", "))]
    return Netlist(16, tuple(builder.gates), tuple(outputs))


@pytest.mark.parametrize(("signed", "least"), [(False, 30), (True, 10)])
def test_range(signed: bool, least: int) -> None:
    multipliers = LIBRARY.select(signed=signed)
    exact = LIBRARY.exact(signed=signed)
    approximate = [m for m in multipliers if not m.is_exact]
    powers = [m.power_mw or 0.0 for m in multipliers]
    assert len(approximate) >= least
    assert powers == sorted(powers, reverse=True)
    assert powers[-1] < 0.1 * (exact.power_mw or 0.0)
    assert exact.name == f"mul8{'s' if signed else 'u'}_exact"
    assert all(m.origin.startswith("gate model: ") and m.area_um2 for m in multipliers)


@pytest.mark.parametrize("multiplier", ALL, ids=lambda m: f"{m.library}-{m.name}")
def test_the_netlist_computes_the_table(multiplier: Multiplier) -> None:
    assert multiplier.netlist is not None
    table = product_table(read(multiplier.netlist), signed=multiplier.signed)
    assert np.array_equal(table, multiplier.table)


@pytest.mark.parametrize("name", ["mul8u_p50", "mul8s_p37"])
def test_handed_off_and_simulated(name: str, tmp_path: Path) -> None:
    """The file itself goes into the hand-off, and computes the table there."""
    if simulator() is None:
        pytest.skip("needs Icarus Verilog (Debian package iverilog)")
    folder = tmp_path / "multipliers" / name
    folder.mkdir(parents=True)
    (tmp_path / "rtl").mkdir()
    bench = files("alwann_c") / "rtl" / "verilog" / "multiplier_tb.sv"
    (tmp_path / "rtl" / "multiplier_tb.sv").write_bytes(bench.read_bytes())
    written = write_multiplier(LIBRARY.find(name), folder)
    assert written.suffix == ".v"
    assert simulate(folder, "multiplier") == "PASS: 65536 products"
