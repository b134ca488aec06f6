"""Netlists: evaluation, simplification, estimates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alwann_c.targets import exact_products
from alwann_c.targets.netlist import (
    Gate,
    GateKind,
    Netlist,
    estimate_area_um2,
    estimate_power_mw,
    gate_counts,
    product_table,
    simplify,
)

KINDS: tuple[GateKind, ...] = ("and", "or", "xor", "nand", "nor", "xnor", "not")
TRUTH: dict[GateKind, Callable[[int, int], int]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "nand": lambda a, b: 1 - (a & b),
    "nor": lambda a, b: 1 - (a | b),
    "xnor": lambda a, b: 1 - (a ^ b),
    "not": lambda a, _: 1 - a,
}


@st.composite
def netlists(draw: st.DrawFn) -> Netlist:
    gates: list[Gate] = []
    for index in range(draw(st.integers(0, 30))):
        kind = draw(st.sampled_from(KINDS))
        wire = st.integers(0, 17 + index)
        a = draw(wire)
        gates.append(Gate(kind, a, a if kind == "not" else draw(wire)))
    outputs = draw(st.lists(st.integers(0, 17 + len(gates)), min_size=16, max_size=16))
    return Netlist(16, tuple(gates), tuple(outputs))


def by_hand(netlist: Netlist, activation: int, weight: int, fixed: dict[int, bool]) -> int:
    wires = [0, 1]
    wires += [activation >> bit & 1 for bit in range(8)] + [weight >> bit & 1 for bit in range(8)]
    wires = [int(fixed.get(wire, value)) for wire, value in enumerate(wires)]
    for gate in netlist.gates:
        value = TRUTH[gate.kind](wires[gate.a], wires[gate.b])
        wires.append(int(fixed.get(len(wires), value)))
    return sum(wires[wire] << bit for bit, wire in enumerate(netlist.outputs))


@settings(deadline=None)
@given(netlists(), st.integers(0, 255), st.integers(0, 255))
def test_bit_parallel_evaluation(netlist: Netlist, activation: int, weight: int) -> None:
    expected = by_hand(netlist, activation, weight, {})
    table = product_table(netlist, signed=False)
    assert table[activation, weight] == expected
    signed = product_table(netlist, signed=True)[activation, weight]
    assert signed == (expected if expected < 1 << 15 else expected - (1 << 16))


@settings(deadline=None)
@given(
    netlists(),
    st.dictionaries(st.integers(2, 47), st.booleans(), max_size=6),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_simplified_circuits_compute_the_same(
    netlist: Netlist, fixed: dict[int, bool], activation: int, weight: int
) -> None:
    simple = simplify(netlist, fixed)
    expected = by_hand(netlist, activation, weight, fixed)
    assert product_table(simple, signed=False)[activation, weight] == expected
    assert sum(gate_counts(simple).values()) <= sum(gate_counts(netlist).values())
    assert simplify(simple) == simple


def test_estimates_by_hand() -> None:
    gates = (
        Gate("and", 2, 10),
        Gate("nand", 3, 10),
        Gate("xor", 18, 19),
        Gate("xnor", 18, 20),
        Gate("nor", 18, 21),
        Gate("not", 18, 18),
    )
    netlist = Netlist(16, gates, (18,) * 16)
    assert gate_counts(netlist) == {"and": 2, "or": 1, "xor": 2}
    assert estimate_power_mw(netlist) == pytest.approx(2 * 0.0032 + 0.0012)
    assert estimate_area_um2(netlist) == pytest.approx(2 * 2.51 + 2 * 2.00 + 2.33)


def test_malformed_netlists_are_refused() -> None:
    with pytest.raises(ValueError, match="gate 0 reads"):
        Netlist(16, (Gate("and", 18, 2),), (18,) * 16)
    with pytest.raises(ValueError, match="an output reads"):
        Netlist(16, (), (18,) * 16)
    with pytest.raises(ValueError, match="n \\+ n input bits"):
        product_table(Netlist(8, (), (0,) * 16), signed=False)


def test_one_by_eight_multiplier() -> None:
    gates = tuple(Gate("and", 2, 10 + bit) for bit in range(8))
    table = product_table(Netlist(16, gates, (*range(18, 26), *([0] * 8))), signed=False)
    expected = (np.arange(256) & 1)[:, None] * np.arange(256)[None, :]
    assert np.array_equal(table, expected)
    assert np.array_equal(table[1], exact_products(False)[1])
