"""The shipped `classic` library: its range, and that the generator reproduces it."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from alwann_c.targets import Multiplier, load_builtin_library

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = load_builtin_library("classic")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    pytest.importorskip("ariths_gen", reason="needs the package ariths-gen (extra `circuits`)")
    path = ROOT / "tools" / "generate_classic_library.py"
    spec = importlib.util.spec_from_file_location("generate_classic_library", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("signed", "least"), [(False, 25), (True, 8)])
def test_range(signed: bool, least: int) -> None:
    multipliers = LIBRARY.select(signed=signed)
    exact = LIBRARY.exact(signed=signed)
    assert len(multipliers) >= least
    assert exact.name == f"mul8{'s' if signed else 'u'}_exact"
    savings = [1 - _power(m) / _power(exact) for m in multipliers]
    assert savings == sorted(savings)
    assert savings[-1] > 0.9
    assert max(b - a for a, b in pairwise(savings)) < 0.1
    assert all(m.origin.startswith("gate model: ") for m in multipliers)
    assert all(m.area_um2 is not None for m in multipliers)


def test_exact_multiplier_of_the_gate_model() -> None:
    exact = LIBRARY.find("mul8u_exact")
    assert exact.power_mw == pytest.approx(104 * 0.0032 + 48 * 0.0012, abs=1e-4)
    assert exact.area_um2 == pytest.approx(104 * 2.51 + 168 * 2.00 + 48 * 2.33, abs=0.1)


def test_rows_are_cut_from_the_weight() -> None:
    table = LIBRARY.find("mul8u_bam_h2v7").table
    weights = np.arange(256)
    assert np.array_equal(table, table[:, weights & ~3])
    assert not np.array_equal(table, table[weights & ~3])


def test_truncation_cuts_both_operands() -> None:
    codes = np.arange(256) & ~31
    assert np.array_equal(LIBRARY.find("mul8u_tr5").table, np.multiply.outer(codes, codes))


def test_generator_reproduces_the_library(generator: ModuleType, tmp_path: Path) -> None:
    generator.write_library(tmp_path)
    assert LIBRARY.source is not None
    assert _contents(tmp_path) == _contents(LIBRARY.source)


@pytest.mark.parametrize(("rows", "columns"), [(0, 4), (2, 7), (4, 9), (5, 11)])
def test_agrees_with_the_broken_array_multipliers_of_ariths_gen(
    generator: ModuleType, rows: int, columns: int
) -> None:
    from ariths_gen.multi_bit_circuits.approximate_multipliers import UnsignedBrokenArrayMultiplier
    from ariths_gen.wire_components.buses import Bus

    circuit = UnsignedBrokenArrayMultiplier(
        Bus(N=8, prefix="a"), Bus(N=8, prefix="b"), horizontal_cut=rows, vertical_cut=columns
    )
    netlist = generator.without_partial_products(
        generator.exact_array(signed=False), (0, rows, columns)
    )
    codes = np.arange(256)
    theirs = circuit(codes[:, None], codes[None, :])
    assert np.array_equal(generator.product_table(netlist, signed=False), theirs)


def _contents(folder: Path) -> dict[str, list[bytes]]:
    """Lines of every file, but for the one that names the version of ariths-gen."""
    return {
        path.name: [line for line in path.read_bytes().splitlines() if b"ariths-gen" not in line]
        for path in folder.iterdir()
    }


def _power(multiplier: Multiplier) -> float:
    assert multiplier.power_mw is not None
    return multiplier.power_mw
