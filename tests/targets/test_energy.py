"""Energy against figures worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alwann_c.errors import InputError
from alwann_c.targets import (
    Assignment,
    LayerWork,
    Library,
    Multiplier,
    bind,
    energy_report,
    exact_products,
    relative_energy,
)

ENERGY = {
    "reference_pj": 0.2,
    "mac_overhead_pj": 0.1,
    "buffer_pj_per_byte": 2.0,
    "dram_pj_per_byte": 100.0,
    "dram_traffic": "weights",
}
WORKS = [
    LayerWork("first", "conv2d", 1600, input_bytes=10, weight_bytes=20, output_bytes=30),
    LayerWork("second", "conv2d", 4800, input_bytes=30, weight_bytes=40, output_bytes=50),
]


def test_relative_energy_by_hand(library: Library) -> None:
    multipliers = [library.find("half"), library.find("tenth")]
    expected = (1600 * 0.5 + 4800 * 0.1) / (6400 * 1.0)
    reference = library.find("exact")
    assert relative_energy(WORKS, multipliers, reference) == pytest.approx(expected)
    cost = {"exact": 8.0, "half": 2.0, "tenth": 4.0}
    expected = (1600 * 2 + 4800 * 4) / (6400 * 8)
    assert relative_energy(WORKS, multipliers, reference, cost) == pytest.approx(expected)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8), st.floats(0.001, 1000))
def test_uniform_relative_energy_is_the_ratio_of_powers(macs: list[int], scale: float) -> None:
    table = exact_products(False)
    exact = Multiplier("exact", table, power_mw=2.0 * scale)
    other = Multiplier("other", table, power_mw=0.5 * scale)
    works = [LayerWork(str(i), "conv2d", count) for i, count in enumerate(macs)]
    assert relative_energy(works, [other] * len(works), exact) == pytest.approx(0.25)
    assert relative_energy(works, [exact] * len(works), exact) == pytest.approx(1.0)


def test_relative_energy_refuses_what_cannot_be_compared(library: Library) -> None:
    exact, half = library.find("exact"), library.find("half")
    with pytest.raises(InputError, match="0 layers"):
        relative_energy([], [], exact)
    with pytest.raises(InputError, match="2 layers and 1 multipliers"):
        relative_energy(WORKS, [half], exact)
    with pytest.raises(InputError, match="'dark': energy unknown"):
        relative_energy(WORKS, [Multiplier("dark", exact_products(False))] * 2, exact)
    with pytest.raises(InputError, match="no energy above 0"):
        relative_energy(WORKS, [half] * 2, Multiplier("z", exact_products(False), power_mw=0.0))


def test_report_by_hand_power_gated(library: Library, make_target: Any) -> None:
    unit = {"name": "u", "count": 2, "rows": 4, "columns": 4, "leakage_mw": 0.5}
    binding = bind(make_target(unit=[unit], energy=ENERGY), library)
    report = energy_report(binding, Assignment(("half", "tenth"), (0, 1)), WORKS)
    first, second = report.layers
    assert first.multiplication_pj == pytest.approx(1600 * 0.1)
    assert first.overhead_pj == pytest.approx(1600 * 0.1)
    assert first.buffer_pj == pytest.approx(60 * 2.0)
    assert first.dram_pj == pytest.approx(20 * 100.0)
    assert (first.cycles, first.utilisation) == (100, 1.0)
    assert first.leakage_pj == pytest.approx(0.5 * (100 / 100.0) * 1000)
    assert second.multiplication_pj == pytest.approx(4800 * 0.02)
    assert second.leakage_pj == pytest.approx(0.5 * (300 / 100.0) * 1000)
    assert first.total_pj == pytest.approx(160 + 160 + 120 + 2000 + 500)
    assert report.total_pj == pytest.approx(first.total_pj + second.total_pj)
    assert sum(report.breakdown_pj().values()) == pytest.approx(report.total_pj)
    exact = report.total_pj + 6400 * 0.2 - (160 + 96)
    assert report.relative_total == pytest.approx(report.total_pj / exact)
    assert report.relative_energy == pytest.approx((1600 * 0.5 + 4800 * 0.1) / 6400)
    assert report.timing.latency_us == pytest.approx(4.0)
    assert report.area_um2 == pytest.approx(16 * 80)
    assert [(u.name, u.multiplier, u.layers, u.cycles) for u in report.units] == [
        ("u0", "half", 1, 100),
        ("u1", "tenth", 1, 300),
    ]
    assert [u.busy for u in report.units] == pytest.approx([0.25, 0.75])


def test_pipelined_units_leak_for_the_whole_interval(library: Library, make_target: Any) -> None:
    unit = {"name": "u", "count": 2, "rows": 4, "columns": 4, "leakage_mw": 0.5}
    target = make_target(unit=[unit], architecture="pipelined")
    works = [LayerWork("a", "conv2d", 1600), LayerWork("b", "conv2d", 1600), WORKS[1]]
    report = energy_report(bind(target, library), Assignment(("half",) * 2, (0, 0, 1)), works)
    assert report.timing.interval_us == pytest.approx(3.0)
    assert [layer.leakage_pj for layer in report.layers] == pytest.approx([750, 750, 1500])
    assert [unit.busy for unit in report.units] == pytest.approx([2 / 3, 1.0])


def test_exact_layers_count_in_the_total_only(library: Library, make_target: Any) -> None:
    binding = bind(make_target(energy=ENERGY), library)
    assignment = Assignment(("half", "half"), (0, 0))
    without = energy_report(binding, assignment, WORKS)
    report = energy_report(binding, assignment, WORKS, [LayerWork("head", "dense", 1600)])
    assert report.relative_energy == without.relative_energy == pytest.approx(0.5)
    assert report.total_pj == pytest.approx(without.total_pj + 1600 * 0.2 + 1600 * 0.1)
    assert report.layers[-1].unit == report.units[-1].name == "(exact)"
    assert report.layers[-1].multiplier == "exact"
    json.dumps(report.to_dict())
