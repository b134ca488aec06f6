"""The shipped libraries: the range of `alwann`, and netlists that compute the tables of both."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from simulate_library import simulate_netlist

from alwann_c.rtl.multipliers import write_multiplier
from alwann_c.rtl.simulate import simulate, simulators
from alwann_c.targets import Multiplier, load_builtin_library
from alwann_c.targets.gate_model import estimate
from alwann_c.targets.netlist import product_table
from alwann_c.targets.verilog_reader import read_netlist_file

needs_simulator = pytest.mark.skipif(
    not simulators(), reason="needs iverilog or verilator (Debian packages)"
)
LIBRARY = load_builtin_library("alwann")
ALL = [*LIBRARY, *load_builtin_library("classic")]


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
    netlist = read_netlist_file(multiplier.netlist)
    assert netlist is not None
    table = product_table(netlist, signed=multiplier.signed)
    assert np.array_equal(table, multiplier.table)
    if multiplier.library == "alwann":
        figures = estimate(netlist)
        assert figures.origin == multiplier.origin
        assert figures.power_mw == pytest.approx(multiplier.power_mw, rel=1e-5)
        assert figures.area_um2 == pytest.approx(multiplier.area_um2, rel=1e-5)


@needs_simulator
@pytest.mark.slow
@pytest.mark.parametrize("multiplier", ALL, ids=lambda m: f"{m.library}-{m.name}")
def test_every_netlist_in_simulation(multiplier: Multiplier) -> None:
    assert simulate_netlist(multiplier) == "PASS: 65536 products"


@needs_simulator
@pytest.mark.parametrize("name", ["mul8u_p50", "mul8s_p37"])
def test_handed_off_and_simulated(name: str, tmp_path: Path) -> None:
    """The file itself goes into the hand-off, and computes the table there."""
    folder = tmp_path / "multipliers" / name
    folder.mkdir(parents=True)
    (tmp_path / "rtl").mkdir()
    bench = files("alwann_c") / "rtl" / "verilog" / "multiplier_tb.sv"
    (tmp_path / "rtl" / "multiplier_tb.sv").write_bytes(bench.read_bytes())
    written = write_multiplier(LIBRARY.find(name), folder)
    assert written.suffix == ".v"
    assert simulate(folder, "multiplier") == "PASS: 65536 products"
