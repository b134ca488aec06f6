"""Assignments and their canonical form."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alwann_c.targets import Assignment, Target, canonical, expand_units

GATED = Target.model_validate(
    {
        "name": "t",
        "architecture": "power-gated",
        "clock_mhz": 1.0,
        "unit": [{"name": "a", "count": 3}, {"name": "b", "count": 2}],
    }
)
MEMBERS = ([0, 1, 2], [3, 4])

assignments = st.builds(
    Assignment,
    st.lists(st.sampled_from("xyz"), min_size=5, max_size=5),
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
)


@given(assignments, st.permutations(MEMBERS[0]), st.permutations(MEMBERS[1]))
def test_permuted_units_have_one_form(
    assignment: Assignment, first: list[int], second: list[int]
) -> None:
    order = [*first, *second]
    units = [""] * 5
    for old, new in enumerate(order):
        units[new] = assignment.units[old]
    permuted = Assignment(tuple(units), tuple(order[unit] for unit in assignment.layers))
    names = [["x", "y", "z"]] * 5
    assert canonical(permuted, GATED, names) == canonical(assignment, GATED, names)


@given(assignments)
def test_canonical_form_computes_the_same(assignment: Assignment) -> None:
    form = canonical(assignment, GATED)
    group = [unit.group for unit in expand_units(GATED)]
    assert form.layer_multipliers == assignment.layer_multipliers
    assert [group[u] for u in form.layers] == [group[u] for u in assignment.layers]
    assert len(set(form.layers)) <= len(set(assignment.layers))
    assert canonical(form, GATED) == form


def test_canonical_by_hand() -> None:
    form = canonical(Assignment(("x", "y", "x", "z", "y"), (1, 2, 0, 1)), GATED)
    assert form == Assignment(("y", "x", "y", "z", "y"), (0, 1, 1, 0))
    names = [["x"]] * 3 + [["w", "z", "y"]] * 2
    form = canonical(Assignment(("x", "y", "x", "z", "y"), (1, 2, 0, 1)), GATED, names)
    assert form == Assignment(("y", "x", "y", "w", "w"), (0, 1, 1, 0))


def test_pipelined_units_are_ordered(make_target: Any) -> None:
    assignment = Assignment(("x", "x"), (0, 1, 1))
    assert canonical(assignment, make_target(architecture="pipelined")) == assignment


def test_assignments_are_plain_hashable_data() -> None:
    one = Assignment(["x", "y"], [0, 1, 0])  # type: ignore[arg-type]
    assert hash(one) == hash(Assignment(("x", "y"), (0, 1, 0)))
    assert one.layer_multipliers == ("x", "y", "x")
    assert one.to_dict() == {"units": ["x", "y"], "layers": [0, 1, 0]}
