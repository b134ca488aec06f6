"""What a target allows, and why not."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alwann_c.targets import Assignment, LayerWork, Library, bind, check, check_bound, feasibility

CONVS = ["conv2d"] * 3
WORKS = [LayerWork(str(i), "conv2d", 1600) for i in range(3)]


def test_any_order_is_valid_power_gated(library: Library, make_target: Any) -> None:
    target = make_target()
    for layers in product((0, 1), repeat=3):
        assert check(Assignment(("exact", "half"), layers), target, CONVS, library) == []


@pytest.mark.parametrize(
    ("units", "layers", "reasons"),
    [
        (("exact", "half"), (0, 1, 1), []),
        (("exact", "half"), (0, 1, 0), ["layer 2 goes back from unit 1 to unit 0"]),
        (("exact", "half"), (1, 1, 1), ["unit 'u0' of the pipeline runs no layer"]),
        (("exact", "half"), (0, 0, 0), ["unit 'u1' of the pipeline runs no layer"]),
        (
            ("exact", "half"),
            (1, 0, 0),
            ["layer 1 goes back from unit 1 to unit 0"],
        ),
    ],
)
def test_pipelined_runs(
    library: Library,
    make_target: Any,
    units: tuple[str, ...],
    layers: tuple[int, ...],
    reasons: list[str],
) -> None:
    target = make_target(architecture="pipelined")
    assert check(Assignment(units, layers), target, CONVS, library) == reasons


@pytest.mark.parametrize(
    ("units", "layers", "reason"),
    [
        (("exact",), (0, 0, 0), "1 multipliers for 2 units"),
        (("exact", "half"), (0, 0), "2 layers assigned, the network has 3"),
        (("exact", "half"), (0, 2, 0), "layer 1 is on unit 2: there are units 0 to 1"),
        (("exact", "half"), (0, -1, 0), "layer 1 is on unit -1"),
        (("exact", "sexact"), (0, 0, 0), "unit 'u1' cannot be fitted with 'sexact'"),
        (("exact", "nothing"), (0, 0, 0), "unit 'u1' cannot be fitted with 'nothing'"),
    ],
)
def test_malformed_assignments(
    library: Library,
    make_target: Any,
    units: tuple[str, ...],
    layers: tuple[int, ...],
    reason: str,
) -> None:
    (found,) = check(Assignment(units, layers), make_target(), CONVS, library)
    assert found.startswith(reason)


def test_layer_kinds(library: Library, make_target: Any) -> None:
    units = [{"name": "a", "layers": ["conv2d"]}, {"name": "b", "layers": ["dense"]}]
    target = make_target(unit=units)
    kinds = ["conv2d", "dense"]
    assert check(Assignment(("exact", "exact"), (0, 1)), target, kinds, library) == []
    assert check(Assignment(("exact", "exact"), (0, 0)), target, kinds, library) == [
        "layer 1 is dense, which unit 'a' does not run"
    ]


def test_fixed_multipliers(library: Library, make_target: Any) -> None:
    target = make_target(unit=[{"name": "a", "multiplier": "half"}])
    assert check(Assignment(("half",), (0, 0, 0)), target, CONVS, library) == []
    (reason,) = check(Assignment(("exact",), (0, 0, 0)), target, CONVS, library)
    assert "cannot be fitted with 'exact'" in reason


def test_constraints(library: Library, make_target: Any) -> None:
    both = Assignment(("exact", "half"), (0, 1, 1))
    one = Assignment(("exact", "half"), (1, 1, 1))
    target = make_target(constraints={"area_um2": 16 * 100})
    assert check(one, target, CONVS, library) == []
    assert check(both, target, CONVS, library) == ["area: 2560 um2, at most 1600 allowed"]

    slow = make_target(constraints={"min_images_per_second": 4e5, "max_latency_ms": 0.002})
    assert check(one, slow, CONVS, library) == []
    reasons = check(one, slow, CONVS, library, WORKS)
    assert reasons == [
        "rate: 333333 images/s, at least 400000 asked",
        "latency: 0.003 ms, at most 0.002 allowed",
    ]
    fast = make_target(constraints={"min_images_per_second": 3e5, "max_latency_ms": 0.003})
    assert check(one, fast, CONVS, library, WORKS) == []


def test_feasibility_names_what_is_impossible(library: Library, make_target: Any) -> None:
    convs_only = make_target(unit=[{"name": "a", "layers": ["conv2d"]}])
    (reason,) = feasibility(convs_only, ["conv2d", "dense"], library)
    assert reason.startswith("unit: none runs dense layers")
    (reason,) = feasibility(make_target(), [], library)
    assert reason.startswith("layers: the network has none")
    (reason,) = feasibility(make_target(architecture="pipelined"), ["conv2d"], library)
    assert reason.startswith("unit: 2 pipelined units for 1 approximable layers")
    small = make_target(constraints={"area_um2": 16 * 20 - 1})
    (reason,) = feasibility(small, CONVS, library)
    assert reason == "area: at best 320 um2, at most 319 allowed"
    late = make_target(constraints={"max_latency_ms": 0.0029})
    (reason,) = feasibility(late, CONVS, library, WORKS)
    assert reason == "latency: at best 0.003 ms, at most 0.0029 allowed"
    assert feasibility(make_target(), CONVS, library, WORKS) == []


@pytest.mark.parametrize("architecture", ["power-gated", "pipelined"])
def test_feasibility_counts_the_layers_kept_exact(
    library: Library, make_target: Any, architecture: str
) -> None:
    """Their array has the first unit's shape; a bound, and what the best assignment reaches."""
    exact = [LayerWork("fc", "dense", 32_000)]
    best = Assignment(("tenth", "tenth"), (0, 1, 1))
    for constraints in (
        {"max_latency_ms": 0.0045},
        {"min_images_per_second": 3e5},
        {"area_um2": 700},
    ):
        target = make_target(architecture=architecture, constraints=constraints)
        assert feasibility(target, CONVS, library, WORKS) == []
        (reason,) = feasibility(target, CONVS, library, WORKS, exact)
        assert "at best" in reason
        assert check(best, target, CONVS, library, WORKS, exact)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["conv2d", "dense"]), min_size=1, max_size=5),
    st.lists(st.sampled_from([["conv2d"], ["dense"], ["conv2d", "dense"]]), min_size=1, max_size=3),
    st.sampled_from(["pipelined", "power-gated"]),
)
def test_feasible_means_that_some_assignment_is_valid(
    library: Library,
    make_target: Any,
    kinds: list[str],
    layers_of_units: list[list[str]],
    architecture: str,
) -> None:
    units = [{"name": f"u{i}", "layers": layers} for i, layers in enumerate(layers_of_units)]
    target = make_target(unit=units, architecture=architecture)
    binding = bind(target, library)
    fitted = ("exact",) * len(units)
    exists = any(
        not check_bound(Assignment(fitted, layers), binding, kinds)
        for layers in product(range(len(units)), repeat=len(kinds))
    )
    assert (feasibility(target, kinds, library) == []) == exists
