"""NSGA-II over assignments: valid, repeatable, and on a small problem exhaustive."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import LIBRARY, NAMES, Stub
from searching import explored as run
from tiny import Case, make_target

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.search import explore
from alwann_c.search.explore import Chromosomes
from alwann_c.search.seeds import uniform_assignments
from alwann_c.targets import Assignment

ARCHITECTURES = [
    ("power-gated", 2),
    ("power-gated", 3),
    ("power-gated", 4),
    ("pipelined", 2),
    ("pipelined", 3),
    ("pipelined", 5),
]


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda p: f"{p[0]}-{p[1]}")
def accelerator(request: pytest.FixtureRequest, residual: Case) -> Accelerator:
    """Five convolutions on every kind of target."""
    return place(residual.quantized, make_target(*request.param), LIBRARY)


@pytest.fixture(scope="module")
def three_layers(residual: Case) -> Accelerator:
    """Three of the convolutions on two power-gated units."""
    return place(residual.quantized, make_target(), LIBRARY, Exclusions(names=("a?",)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_repaired_chromosomes_are_valid(accelerator: Accelerator, data: st.DataObject) -> None:
    chromosomes = Chromosomes(accelerator, NAMES)
    size = chromosomes.units + chromosomes.layers
    genes = data.draw(st.lists(st.floats(-3, 9), min_size=size, max_size=size))
    fixed = chromosomes.repaired(np.array(genes))
    assignment = chromosomes.decode(fixed)
    assert accelerator.reasons(assignment) == []
    assert (fixed >= 0).all()
    assert (fixed <= chromosomes.upper).all()
    np.testing.assert_array_equal(chromosomes.repaired(fixed), fixed)
    assert accelerator.canonical(assignment) == assignment
    assert chromosomes.decode(chromosomes.encode(assignment)) == assignment
    if accelerator.target.architecture == "pipelined":
        assert list(assignment.layers) == sorted(assignment.layers)
        assert set(assignment.layers) == set(range(chromosomes.units))


def test_repair_reaches_every_pipeline(residual: Case) -> None:
    """Valid assignments are kept as they are, so none is unreachable."""
    accelerator = place(residual.quantized, make_target("pipelined", 3), LIBRARY)
    chromosomes = Chromosomes(accelerator, NAMES)
    count = 0
    for places in itertools.combinations_with_replacement(range(3), 5):
        if set(places) == {0, 1, 2}:
            assignment = Assignment(("cut6", "cut9", "exact"), places)
            genes = chromosomes.encode(assignment)
            assert chromosomes.decode(chromosomes.repaired(genes)) == assignment
            count += 1
    assert count == 6


def test_candidates_are_ordered_by_energy_and_restricted(three_layers: Accelerator) -> None:
    chromosomes = Chromosomes(three_layers, ["exact", "cut12", "cut6"])
    assert chromosomes.candidates == [["cut12", "cut6", "exact"]] * 2
    assert chromosomes.upper.tolist() == [2, 2, 1, 1, 1]


def test_uniform_assignments_are_evaluated_first(accelerator: Accelerator) -> None:
    found = run(accelerator, population=6, generations=1)
    assert {(name,) * 5 for name in NAMES} <= {e.names for e in found}


def test_same_seed_same_result(accelerator: Accelerator) -> None:
    options = {"population": 10, "generations": 6}
    first, second = (run(accelerator, seed=5, **options) for _ in range(2))
    assert first == second
    assert len(first) > 10


def test_no_evaluation_is_repeated_or_invalid(accelerator: Accelerator) -> None:
    reports: list[tuple[int, int, int]] = []
    stub: Any = Stub(accelerator)
    found = explore(
        accelerator,
        stub,
        uniform_assignments(accelerator),
        NAMES,
        population=10,
        generations=5,
        progress=lambda done, of, count, _: reports.append((done, of, count)),
    )
    assert len({e.names for e in found.evaluations}) == len(found.evaluations)
    assert [done for done, _, _ in reports] == list(range(1, len(reports) + 1))
    assert reports[-1][2] == len(found.evaluations)
    for names, assignment in found.assignments.items():
        assert assignment.layer_multipliers == names
        assert accelerator.reasons(assignment) == []
