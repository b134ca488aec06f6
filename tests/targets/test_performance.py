"""Cycles, traffic, time and area against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alwann_c.errors import InputError
from alwann_c.targets import (
    Assignment,
    LayerWork,
    Library,
    Target,
    area_um2,
    bind,
    expand_units,
    timing,
)
from alwann_c.targets.binding import Unit
from alwann_c.targets.performance import buffer_bytes, cycles, dram_bytes, utilisation

CONV = LayerWork("c", "conv2d", 64 * 27 * 10, 300, 270, 640, positions=64, taps=27, channels=10)
"""8 x 8 pixels, 3 x 3 x 3 taps, 10 channels."""


def unit_of(**fields: Any) -> Unit:
    document = {
        "name": "t",
        "architecture": "power-gated",
        "clock_mhz": 1.0,
        "unit": [{"name": "u", "rows": 8, "columns": 4, **fields}],
    }
    (unit,) = expand_units(Target.model_validate(document))
    return unit


def test_cycles_by_hand() -> None:
    assert cycles(CONV, unit_of()) == 17280 // 32
    assert cycles(CONV, unit_of(dataflow="weight-stationary")) == 64 * 4 * 3
    assert cycles(CONV, unit_of(dataflow="output-stationary")) == 27 * 8 * 3
    slow = unit_of(dataflow="weight-stationary", macs_per_cycle=16.0)
    assert cycles(CONV, slow) == 64 * 4 * 3 * 2


def test_utilisation_by_hand() -> None:
    unit = unit_of(dataflow="weight-stationary")
    assert utilisation(CONV, unit) == pytest.approx(17280 / (768 * 32))
    depthwise = LayerWork(
        "d", "depthwise_conv2d", 64 * 9 * 10, positions=64, taps=9, channels=1, groups=10
    )
    assert cycles(depthwise, unit) == 10 * 64 * 2
    assert utilisation(depthwise, unit) == pytest.approx(5760 / (1280 * 32))


def test_buffer_bytes_by_hand() -> None:
    assert buffer_bytes(CONV, unit_of()) == 300 + 270 + 640
    spills = 2 * 4 * 640 * 3
    expected = 300 * 3 + 270 + 640 + spills
    assert buffer_bytes(CONV, unit_of(dataflow="weight-stationary")) == expected
    expected = 300 * 3 + 270 * 8 + 640
    assert buffer_bytes(CONV, unit_of(dataflow="output-stationary")) == expected


def test_dram_bytes() -> None:
    assert [dram_bytes(CONV, t) for t in ("all", "weights", "none")] == [1210, 270, 0]


@given(
    st.sampled_from(["ideal", "weight-stationary", "output-stationary"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(1, 8),
    st.floats(0.5, 32.0),
)
def test_utilisation_is_a_share(
    dataflow: str, positions: int, taps: int, channels: int, groups: int, rate: float
) -> None:
    macs = positions * taps * channels * groups
    shape = {"positions": positions, "taps": taps, "channels": channels, "groups": groups}
    work = LayerWork("l", "conv2d", macs, **shape)
    share = utilisation(work, unit_of(dataflow=dataflow, macs_per_cycle=rate))
    assert 0 < share <= 1


def test_inconsistent_work_is_refused() -> None:
    with pytest.raises(InputError, match="positions x taps x channels x groups = 24"):
        LayerWork("l", "conv2d", 25, positions=2, taps=3, channels=4)
    with pytest.raises(InputError, match="= 0"):
        LayerWork("l", "conv2d", 25, positions=2)
    with pytest.raises(InputError, match="macs and groups"):
        LayerWork("l", "conv2d", 0)
    with pytest.raises(InputError, match="sizes not below"):
        LayerWork("l", "conv2d", 1, input_bytes=-1)


@pytest.mark.parametrize(
    ("architecture", "interval", "latency"),
    [("power-gated", 1.75, 1.75), ("pipelined", 1.25, 1.75)],
)
def test_timing(
    library: Library, make_target: Any, architecture: str, interval: float, latency: float
) -> None:
    binding = bind(make_target(architecture=architecture), library)
    works = [LayerWork(str(i), "conv2d", macs) for i, macs in enumerate((800, 1200, 800))]
    times = timing(binding, Assignment(("exact", "half"), (0, 1, 1)), works)
    assert times.stage_cycles == (50, 125)
    assert times.interval_us == pytest.approx(interval)
    assert times.latency_us == pytest.approx(latency)
    assert times.images_per_second == pytest.approx(1e6 / interval)


def test_exact_layers_take_time_on_an_array_of_their_own(
    library: Library, make_target: Any
) -> None:
    work, exact = LayerWork("a", "conv2d", 1600), LayerWork("b", "conv2d", 3200)
    assignment = Assignment(("half", "half"), (0, 1))
    gated = timing(bind(make_target(), library), assignment, [work, work], [exact])
    piped = timing(
        bind(make_target(architecture="pipelined"), library), assignment, [work, work], [exact]
    )
    assert (gated.interval_us, gated.latency_us) == (4.0, 4.0)
    assert (piped.interval_us, piped.latency_us) == (2.0, 4.0)
    assert piped.exact_cycles == 200


def test_area(library: Library, make_target: Any) -> None:
    unit = {"name": "u", "count": 2, "rows": 4, "columns": 5, "mac_area_um2": 7.0}
    binding = bind(make_target(unit=[unit]), library)
    both = Assignment(("exact", "half"), (0, 1))
    one = Assignment(("exact", "half"), (1, 1))
    assert area_um2(binding, both, exact_layers=False) == pytest.approx(20 * (107 + 67))
    assert area_um2(binding, one, exact_layers=False) == pytest.approx(20 * 67)
    assert area_um2(binding, one, exact_layers=True) == pytest.approx(20 * (67 + 107))
