"""The search: valid, memoised, repeatable, and on a small problem exhaustive."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Case, make_target, tiny_library, truncated

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.compensation import Compensator
from alwann_c.compiler import SearchOptions, search
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.search import Evaluation, Evaluator, explore
from alwann_c.search.evaluator import InMemory
from alwann_c.search.explore import Chromosomes
from alwann_c.search.seeds import _pipelined, guided_assignments, uniform_assignments
from alwann_c.search.select import FrontPoint, pareto, select
from alwann_c.statistics import Drop, paired_drop
from alwann_c.targets import Assignment, Library

LIBRARY = tiny_library()
NAMES = ["cut12", "cut9", "cut6", "exact"]
ARCHITECTURES = [
    ("power-gated", 2),
    ("power-gated", 3),
    ("power-gated", 4),
    ("pipelined", 2),
    ("pipelined", 3),
    ("pipelined", 5),
]
Point = tuple[float, float]


class Stub:
    """An evaluator whose accuracy is a fixed function; counts what it is asked."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.seen: dict[tuple[str, ...], Evaluation] = {}

    def evaluate(self, names: Sequence[str]) -> Evaluation:
        key = tuple(names)
        loss = {"exact": 0.0, "cut6": 0.01, "cut9": 0.05, "cut12": 0.2}
        layers = [1.0, 0.3, 0.55, 0.8, 0.15][: len(key)]
        total = sum(w * loss[n] for w, n in zip(layers, key, strict=True))
        # not separable: a mixture of two approximate neighbours costs more
        total += 0.013 * sum(a != b for a, b in itertools.pairwise(key))
        energy = self.accelerator.relative_energy(key)
        return self.seen.setdefault(key, Evaluation(key, 0.95 - total, energy))


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda p: f"{p[0]}-{p[1]}")
def accelerator(request: pytest.FixtureRequest, residual: Case) -> Accelerator:
    """Five convolutions on every kind of target."""
    return place(residual.quantized, make_target(*request.param), LIBRARY)


@pytest.fixture(scope="module")
def three_layers(residual: Case) -> Accelerator:
    """Three of the convolutions on two power-gated units."""
    return place(residual.quantized, make_target(), LIBRARY, Exclusions(names=("a?",)))


def run(accelerator: Accelerator, **options: Any) -> list[Evaluation]:
    """Explores with a fresh stub."""
    allowed = options.pop("allowed", NAMES)
    first = uniform_assignments(accelerator)
    stub: Any = Stub(accelerator)
    return explore(accelerator, stub, first, allowed, **options).evaluations


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


def test_uniform_assignments(accelerator: Accelerator) -> None:
    made = uniform_assignments(accelerator)
    assert {a.layer_multipliers for a in made} == {(name,) * 5 for name in NAMES}
    for assignment in made:
        assert accelerator.reasons(assignment) == []


def test_uniform_assignments_are_evaluated_first(accelerator: Accelerator) -> None:
    found = run(accelerator, population=6, generations=1)
    assert {(name,) * 5 for name in NAMES} <= {e.names for e in found}


def test_guided_assignments_are_valid_and_spread(accelerator: Accelerator) -> None:
    errors = np.outer(np.linspace(1, 2, 5), [0.9, 0.3, 0.05, 0.0])
    made = guided_assignments(accelerator, errors, NAMES, 12)
    assert 1 < len(made) <= 12
    assert len(set(made)) == len(made)
    energies = [accelerator.relative_energy(a.layer_multipliers) for a in made]
    assert min(energies) < 0.3
    assert max(energies) > 0.7
    for assignment in made:
        assert accelerator.reasons(assignment) == []


def test_pipeline_seeds_are_optimal(residual: Case) -> None:
    """Dynamic programming against all splits and multipliers."""
    cost = np.random.default_rng(0).random((5, 4))
    made = _pipelined(cost, NAMES, 3)
    index = {name: i for i, name in enumerate(NAMES)}
    got = sum(cost[i, index[n]] for i, n in enumerate(made.layer_multipliers))
    best = min(
        sum(cost[i, units[u]] for i, u in enumerate(places))
        for places in itertools.combinations_with_replacement(range(3), 5)
        if set(places) == {0, 1, 2}
        for units in itertools.product(range(4), repeat=3)
    )
    assert got == pytest.approx(best)
    accelerator = place(residual.quantized, make_target("pipelined", 3), LIBRARY)
    assert accelerator.reasons(made) == []


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


def test_finds_the_true_front(three_layers: Accelerator) -> None:
    allowed = ["cut12", "cut9", "exact"]
    stub = Stub(three_layers)
    every = {
        Assignment(units, places).layer_multipliers
        for units in itertools.product(allowed, repeat=2)
        for places in itertools.product(range(2), repeat=3)
    }
    assert len(every) == 3 + 3 * 6
    points = [stub.evaluate(names) for names in sorted(every)]
    best = pareto([(e.accuracy, e.relative_energy) for e in points])
    expected = {(points[i].accuracy, points[i].relative_energy) for i in best}
    found = run(three_layers, allowed=allowed, population=16, generations=25, seed=1)
    kept = pareto([(e.accuracy, e.relative_energy) for e in found])
    got = {(found[i].accuracy, found[i].relative_energy) for i in kept}
    assert got == expected
    assert len(expected) > 4


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_pareto_equals_its_definition(points: list[tuple[int, int]]) -> None:
    kept = pareto([(float(a), float(e)) for a, e in points])

    def beaten(p: tuple[int, int]) -> bool:
        return any(q[0] >= p[0] and q[1] <= p[1] and q != p for q in points)

    assert {points[i] for i in kept} == {p for p in points if not beaten(p)}
    assert len(kept) == len({points[i] for i in kept})
    energies = [points[i][1] for i in kept]
    assert energies == sorted(energies, reverse=True)


def point(drop: float, energy: float, error: float = 0.001) -> FrontPoint:
    return FrontPoint(Assignment((), ()), {}, 0.9 - drop, energy, Drop(drop, error, 1000))


def test_select_takes_the_cheapest_within_the_bound() -> None:
    front = [point(0.0, 0.9), point(0.003, 0.7), point(0.0045, 0.6), point(0.02, 0.4)]
    assert select(front, 0.005) == 1  # 0.0045 + 0.001 exceeds it
    assert select(front, 0.006) == 2
    assert select(front, 0.5) == 3
    assert select(front, 0.0) == 0  # none: the smallest bound


def test_paired_drop() -> None:
    reference = np.array([True] * 80 + [False] * 20)
    other = reference.copy()
    other[:10] = False
    other[-4:] = True
    drop = paired_drop(reference, other)
    assert drop.mean == pytest.approx(0.06)
    assert drop.standard_error == pytest.approx(np.sqrt((0.15 - 0.0036) / 100))
    low, high = drop.ci95
    assert low < 0.06 < high
    assert paired_drop(reference, reference).standard_error > 0


@pytest.fixture(scope="module")
def evaluator_parts(small: Case) -> tuple[Accelerator, Compensator]:
    """The small network on two units."""
    return place(small.quantized, make_target(), LIBRARY), Compensator(small.quantized)


class Counting(Evaluator):
    """Counts runs of the network."""

    runs = 0

    def correct(self, approximations: Any) -> Any:
        self.runs += 1
        return super().correct(approximations)


def test_evaluations_are_memoised(
    small: Case, evaluator_parts: tuple[Accelerator, Compensator]
) -> None:
    accelerator, compensator = evaluator_parts
    data, memory = load_dataset(small.search.path), InMemory()
    evaluator = Counting(accelerator, compensator, data, memory=memory)
    first = uniform_assignments(accelerator)
    found = explore(accelerator, evaluator, first, NAMES, population=8, generations=6)
    assert evaluator.runs == len(found.evaluations) == len(evaluator.seen) <= 16
    explore(accelerator, evaluator, first, NAMES, population=8, generations=6)
    assert evaluator.runs == len(found.evaluations)
    remembering = Counting(accelerator, compensator, data, memory=memory)
    again = explore(accelerator, remembering, first, NAMES, population=8, generations=6)
    assert remembering.runs == 0
    assert again.evaluations == found.evaluations


def test_memory_of_another_number_of_images_is_not_used(
    small: Case, evaluator_parts: tuple[Accelerator, Compensator]
) -> None:
    accelerator, compensator = evaluator_parts
    data, memory = load_dataset(small.search.path), InMemory()
    Counting(accelerator, compensator, data.limited(10), memory=memory).evaluate(["cut6", "cut6"])
    whole = Counting(accelerator, compensator, data, memory=memory)
    whole.evaluate(["cut6", "cut6"])
    assert whole.runs == 1


def test_exact_assignment_has_int8_accuracy(
    small: Case, evaluator_parts: tuple[Accelerator, Compensator]
) -> None:
    accelerator, compensator = evaluator_parts
    evaluator = Evaluator(accelerator, compensator, load_dataset(small.search.path))
    exact, cut = evaluator.evaluate(["exact"] * 2), evaluator.evaluate(["cut12"] * 2)
    outputs = small.quantized.network.run(small.search.images)
    assert exact.accuracy == (outputs.argmax(axis=1) == small.search.labels).mean()
    assert exact.relative_energy == 1.0
    assert cut.relative_energy == pytest.approx(0.2)
    assert cut.accuracy < exact.accuracy


OPTIONS = SearchOptions(population=6, generations=2, refine=4)


@pytest.mark.parametrize("architecture", ["power-gated", "pipelined"])
def test_search_end_to_end(small: Case, architecture: str) -> None:
    data = load_dataset(small.search.path)
    target = make_target(architecture)
    found, again = (
        search(small.quantized, target, data, library=LIBRARY, options=OPTIONS) for _ in range(2)
    )
    assert [p.assignment for p in found.front] == [p.assignment for p in again.front]
    assert found.plan.sha256 == again.plan.sha256
    energies = [p.relative_energy for p in found.front]
    accuracies = [p.accuracy for p in found.front]
    assert energies == sorted(energies, reverse=True)
    assert accuracies == sorted(accuracies, reverse=True)
    assert {("exact",) * 2, ("cut6",) * 2} <= {e.names for e in found.evaluations}
    assert found.float_accuracy == 1.0
    assert found.plan.relative_energy == found.best.relative_energy
    assert found.best.drop.mean == pytest.approx(found.float_accuracy - found.best.accuracy)


def test_search_where_nothing_is_good_enough(small: Case) -> None:
    """The only multiplier ruins the network: still a front and a plan, and no crash."""
    ruin = truncated(15, power_mw=0.1)
    library = Library("bad", "", None, {m.name: m for m in (LIBRARY.find("exact"), ruin)})
    target = make_target(unit=[{"name": "u", "multiplier": ruin.name}])
    data = load_dataset(small.search.path)
    found = search(small.quantized, target, data, library=library, options=OPTIONS)
    assert [p.assignment.layer_multipliers for p in found.front] == [(ruin.name,) * 2]
    assert found.best.accuracy < found.int8.accuracy - OPTIONS.floor


def test_search_where_constraints_forbid_everything(small: Case) -> None:
    """The rate lies between that of the slowest layer alone and of the best split."""
    target = make_target(
        "pipelined",
        layers={"approximate_dense": True},
        constraints={"min_images_per_second": 308e3},
    )
    data = load_dataset(small.search.path)
    with pytest.raises(InputError, match="target 'test': no assignment found that keeps"):
        search(small.quantized, target, data, library=LIBRARY, options=OPTIONS)
