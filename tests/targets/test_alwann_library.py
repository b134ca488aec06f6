"""The shipped `alwann` library: its range, and netlists, tables and figures that agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from alwann_c.targets import Multiplier, load_builtin_library
from alwann_c.targets.netlist import FIRST_INPUT, Builder, Netlist, product_table
from alwann_c.targets.verilog_module import test_bench as bench_of

LIBRARY = load_builtin_library("alwann")
WIRE = re.compile(r"(~?)\(?(\S+?)(?: ([&|^]) (\S+?))?\)?;")
KINDS = {"&": "and", "|": "or", "^": "xor"}


def wire(name: str) -> int:
    """Number of a wire of the Verilog `to_verilog` writes."""
    if name.startswith("1'b"):
        return int(name[3:])
    bus, number = re.fullmatch(r"([anw])\[?(\d+)\]?", name).groups()  # type: ignore[union-attr]
    return FIRST_INPUT + int(number) + {"a": 0, "w": 8, "n": 16}[bus]


def read(path: Path) -> Netlist:
    """The netlist of a shipped Verilog file, gate by gate."""
    wires: list[int] = list(range(FIRST_INPUT + 16))
    builder = Builder(16)
    outputs = [0] * 16
    for line in path.read_text(encoding="utf-8").splitlines():
        target, equals, logic = line.strip().partition(" = ")
        if not equals or target.startswith("//"):
            continue
        inverted, a, operator, b = WIRE.fullmatch(logic).groups()  # type: ignore[union-attr]
        if target.startswith("assign"):
            outputs[int(re.findall(r"\d+", target)[0])] = wires[wire(a)]
            continue
        made = wires[wire(a)]
        if operator:
            made = builder.add(KINDS[operator], made, wires[wire(b)])  # type: ignore[arg-type]
        if inverted:
            made = builder.add("not", made, made)
        wires.append(made)
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


@pytest.mark.parametrize("multiplier", LIBRARY, ids=lambda m: m.name)
def test_the_netlist_computes_the_table(multiplier: Multiplier) -> None:
    assert multiplier.netlist is not None
    table = product_table(read(multiplier.netlist), signed=multiplier.signed)
    assert np.array_equal(table, multiplier.table)


@pytest.mark.parametrize("name", ["mul8u_p50", "mul8s_p37"])
def test_simulated_by_icarus(name: str, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("needs Icarus Verilog (Debian package iverilog)")
    m = next(x for x in LIBRARY if x.name.startswith(name[:7]) and not x.is_exact)
    assert m.netlist is not None
    bench = tmp_path / "bench.v"
    bench.write_text(bench_of(read(m.netlist), m.name), encoding="utf-8")
    program = tmp_path / "bench.vvp"
    subprocess.run(["iverilog", "-o", program, m.netlist, bench], check=True, timeout=60)
    done = subprocess.run(
        ["vvp", "-n", program], capture_output=True, text=True, check=True, timeout=60
    )
    products = np.array([int(line, 16) for line in done.stdout.split()], dtype=np.uint16)
    expected = m.table.astype(np.uint16).reshape(-1)
    assert np.array_equal(products, expected)
