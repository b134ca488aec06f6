"""Evaluations: each done once, remembered, the same on workers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from searching import LIBRARY, NAMES, Counting, InMemory
from tiny import Case, make_target, truncated

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.compensation import Compensator
from alwann_c.dataset import load_dataset
from alwann_c.evaluation import Outcome
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.search import DaskPool, Evaluation, Evaluator, explore, worker_setup
from alwann_c.search.seeds import uniform_assignments
from alwann_c.targets import Library


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
    memory.known[("cut6", "cut6")] = Outcome(np.zeros(10, bool), np.zeros(10, np.float32))
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

    def nthreads(self) -> dict[str, int]:
        return {"here": 1}


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
    none = [None] * len(candidates)
    there_found, here_found = (dict(each.judge(candidates, none)) for each in (remote, pool))
    assert set(there_found) == set(here_found) == {0, 1, 2}
    for i, outcome in here_found.items():
        np.testing.assert_array_equal(there_found[i].correct, outcome.correct)
        np.testing.assert_array_equal(there_found[i].divergences, outcome.divergences)


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
