"""The search: valid, memoised, repeatable, and on a small problem exhaustive."""

from __future__ import annotations

import itertools
import pickle
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
from alwann_c.evaluation import Outcome
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.search import DaskPool, Evaluation, Evaluator, LocalPool, explore, worker_setup
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

    def evaluate(self, candidates: Sequence[tuple[str, ...]]) -> list[Evaluation]:
        return [self._evaluate(key) for key in candidates]

    def _evaluate(self, key: tuple[str, ...]) -> Evaluation:
        loss = {"exact": 0.0, "cut6": 0.01, "cut9": 0.05, "cut12": 0.2}
        layers = [1.0, 0.3, 0.55, 0.8, 0.15][: len(key)]
        total = sum(w * loss[n] for w, n in zip(layers, key, strict=True))
        # not separable: a mixture of two approximate neighbours costs more
        total += 0.013 * sum(a != b for a, b in itertools.pairwise(key))
        energy = self.accelerator.relative_energy(key)
        return self.seen.setdefault(key, Evaluation(key, 0.95 - total, energy, total))


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
    points = stub.evaluate(sorted(every))
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
    found = Drop(drop, error, 1000)
    return FrontPoint(Assignment((), ()), {}, 0.9 - drop, energy, found, drop, found, found)


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


class Counting(LocalPool):
    """Counts runs of the network."""

    runs = 0

    def judge(self, candidates: Sequence[tuple[str, ...]]) -> list[Outcome]:
        self.runs += len(candidates)
        return super().judge(candidates)


class InMemory:
    """A memory that keeps everything."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], Any] = {}

    def get(self, names: tuple[str, ...]) -> Any:
        return self.known.get(names)

    def put(self, names: tuple[str, ...], outcome: Outcome) -> None:
        known = self.known.get(names)
        assert known is None or len(known.correct) != len(outcome.correct)
        self.known[names] = outcome


@pytest.fixture(scope="module")
def small_accelerator(small: Case) -> Accelerator:
    """The small network on two units."""
    return place(small.quantized, make_target(), LIBRARY)


@pytest.fixture
def pool(small: Case, small_accelerator: Accelerator) -> Counting:
    """Evaluates on the search data, in this process."""
    compensator = Compensator(small.quantized)
    return Counting(small_accelerator, compensator, load_dataset(small.search.path), "full")


def test_evaluations_are_memoised(small_accelerator: Accelerator, pool: Counting) -> None:
    memory = InMemory()
    first = uniform_assignments(small_accelerator)

    def run_with(evaluator: Evaluator) -> list[Evaluation]:
        found = explore(small_accelerator, evaluator, first, NAMES, population=8, generations=6)
        return found.evaluations

    evaluator = Evaluator(small_accelerator, pool, 64, memory)
    found = run_with(evaluator)
    assert pool.runs == len(found) == len(evaluator.seen) == len(memory.known) <= 16
    assert run_with(evaluator) == found
    assert run_with(Evaluator(small_accelerator, pool, 64, memory)) == found
    assert pool.runs == len(found)
    assert run_with(Evaluator(small_accelerator, pool, 64)) == found
    assert pool.runs == 2 * len(found)


def test_candidates_of_one_call_are_evaluated_once(
    small_accelerator: Accelerator, pool: Counting
) -> None:
    evaluator = Evaluator(small_accelerator, pool, 64)
    one, other = ("cut6", "cut6"), ("cut6", "exact")
    found = evaluator.evaluate([one, other, one])
    assert [e.names for e in found] == [one, other, one]
    assert pool.runs == 2


def test_memory_of_another_number_of_images_is_not_used(
    small_accelerator: Accelerator, pool: Counting
) -> None:
    memory = InMemory()
    memory.known[("cut6", "cut6")] = Outcome(np.zeros(10, bool), 0.0)
    evaluator = Evaluator(small_accelerator, pool, 64, memory)
    assert evaluator.evaluate([("cut6", "cut6")])[0].accuracy > 0
    assert pool.runs == 1


def test_accuracy_and_energy(small: Case, small_accelerator: Accelerator, pool: Counting) -> None:
    evaluator = Evaluator(small_accelerator, pool, 64)
    exact, cut = evaluator.evaluate([("exact", "exact"), ("cut12", "cut12")])
    outputs = small.quantized.network.run(small.search.images)
    assert exact.accuracy == (outputs.argmax(axis=1) == small.search.labels).mean()
    assert exact.relative_energy == 1.0
    assert cut.relative_energy == pytest.approx(0.2)
    assert cut.accuracy < exact.accuracy
    assert exact.divergence == 0 < cut.divergence


class Client:
    """A Dask client whose one worker is this process; everything it gets is pickled."""

    def scatter(self, value: Any, broadcast: bool = False) -> Any:
        assert broadcast
        return pickle.loads(pickle.dumps(value))

    def submit(self, function: Any, *arguments: Any) -> Any:
        moved = pickle.loads(pickle.dumps((function, arguments)))
        return pickle.loads(pickle.dumps(_Future(moved[0](*moved[1]))))

    def gather(self, futures: list[Any]) -> list[Any]:
        return [future.result() for future in futures]


class _Future:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self) -> Any:
        return self.value


def test_workers_give_the_same(small: Case, small_accelerator: Accelerator, pool: Counting) -> None:
    data = load_dataset(small.search.path)
    setup = worker_setup(small_accelerator, LIBRARY, Exclusions(), data, "full")
    remote = DaskPool(Client(), setup)
    names = ["cut9", "exact"]
    fits, expected = list(remote.fit(names)), list(pool.fit(names))
    assert [f.multiplier for f in fits] == names
    for there, here in zip(fits, expected, strict=True):
        assert there.divergences == here.divergences
        for got, wanted in zip(there.compensations, here.compensations, strict=True):
            assert got.error == wanted.error
            assert got.approximation.multiplier == wanted.approximation.multiplier
            for field in ("weight", "offset", "scale"):
                arrays = [getattr(c.approximation, field) for c in (got, wanted)]
                np.testing.assert_array_equal(arrays[0], arrays[1])
    candidates = [("cut9", "exact"), ("exact", "cut9"), ("cut12", "cut6")]
    for there_found, here_found in zip(
        remote.judge(candidates), pool.judge(candidates), strict=True
    ):
        np.testing.assert_array_equal(there_found.correct, here_found.correct)
        assert there_found.divergence == here_found.divergence


def test_a_worker_tells_jobs_apart(small: Case, small_accelerator: Accelerator) -> None:
    """A long-lived worker keeps what it built by key; nothing that matters may be left out."""
    data = load_dataset(small.search.path)
    calibration = load_dataset(small.calibration.path)
    none, keep_first = Exclusions(), Exclusions(first=True)
    fewer = quantize(small.model, calibration.limited(20))
    tensor = quantize(small.model, calibration, QuantizationScheme("per-tensor"))
    others = Library("x", "", None, {**LIBRARY.multipliers, "cut6": truncated(6, power_mw=0.7)})
    target = make_target(layers={"exclude_last": True})

    def key(accelerator: Accelerator, library: Library, kept: Exclusions, images: Any) -> str:
        return worker_setup(accelerator, library, kept, images, "full").key

    keys = [
        key(small_accelerator, LIBRARY, none, data),
        key(small_accelerator, LIBRARY, none, data.limited(9)),
        key(small_accelerator, others, none, data),
        key(place(small.quantized, target, LIBRARY), LIBRARY, none, data),
        key(place(small.quantized, make_target(), LIBRARY, keep_first), LIBRARY, keep_first, data),
        key(place(fewer, make_target(), LIBRARY), LIBRARY, none, data),
        key(place(tensor, make_target(), LIBRARY), LIBRARY, none, data),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key(small_accelerator, LIBRARY, none, data)


OPTIONS = SearchOptions(population=6, generations=2, refine=4)


@pytest.mark.parametrize("architecture", ["power-gated", "pipelined"])
def test_search_end_to_end(small: Case, architecture: str) -> None:
    data = load_dataset(small.search.path)
    target = make_target(architecture)
    found = search(small.quantized, target, data, library=LIBRARY, options=OPTIONS)
    if architecture == "power-gated":
        again = search(small.quantized, target, data, library=LIBRARY, options=OPTIONS)
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
    assert found.best.accuracy < found.int8.accuracy - 0.2


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
