"""Plans fitted in order: what the additive model learns, and that the search finds better ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from searching import LIBRARY, NAMES
from tiny import Case, make_target

from alwann_c.accelerator import Accelerator, place
from alwann_c.evaluation import Outcome
from alwann_c.search import Evaluation, Exploration
from alwann_c.search.additive import AdditiveModel
from alwann_c.search.in_order import BAND, InOrderSearch, loss_slope, search_in_order
from alwann_c.targets import Assignment

Names = tuple[str, ...]
ALONE = np.outer([1.0, 0.3, 0.55, 0.8, 0.15], [0.2, 0.05, 0.01, 0.0])
"""Divergence of each layer alone on each of NAMES."""
SLOPE = 0.1
IMAGES = 100_000


def sums(errors: npt.NDArray[np.float64], plan: Names) -> float:
    return float(sum(errors[i, NAMES.index(name)] for i, name in enumerate(plan)))


def test_without_observations_errors_add_up() -> None:
    model = AdditiveModel(NAMES, ALONE, {})
    for plan in itertools.product(NAMES, repeat=5):
        assert model.predict(plan) == pytest.approx(sums(ALONE, plan))


def test_observations_correct_scale_and_single_layers() -> None:
    random = np.random.default_rng(0)
    truth = 0.45 * ALONE * random.lognormal(0, 0.4, ALONE.shape)
    plans = [tuple(p) for p in random.choice(NAMES, (240, 5))]
    seen = {p: sums(truth, p) * random.normal(1, 0.02) for p in plans[:40]}
    model = AdditiveModel(NAMES, ALONE, seen)
    scale = np.median([sums(truth, p) / sums(ALONE, p) for p in plans[:40]])
    unseen = [p for p in plans[40:] if p not in seen and sums(truth, p) > 0]
    learned = [model.predict(p) / sums(truth, p) - 1 for p in unseen]
    scaled = [scale * sums(ALONE, p) / sums(truth, p) - 1 for p in unseen]
    assert np.std(learned) < 0.3 * np.std(scaled)
    assert (model.errors[:, NAMES.index("exact")] == 0).all()
    assert (model.errors >= 0).all()


def test_a_plan_without_divergence_teaches_nothing() -> None:
    exact = ("exact",) * 5
    model = AdditiveModel(NAMES, ALONE, {exact: 0.0})
    np.testing.assert_array_equal(model.errors, ALONE)


def test_slope_is_that_of_a_line_through_the_origin() -> None:
    lost = [Evaluation((), 0.9 - 0.3 * d, 0.5, d) for d in (0.0, 0.01, 0.02, 0.05)]
    stopped = Evaluation((), 0.2, 0.5, 0.01, stopped=True)
    ruined = Evaluation((), 0.1, 0.5, 3.0)
    assert loss_slope([*lost, stopped, ruined], 0.9) == pytest.approx(0.3)
    assert loss_slope([Evaluation((), 0.95, 0.5, 0.1)], 0.9) == 0.0
    assert loss_slope([], 0.9) == 0.0


class Plans:
    """Plans in order diverge as `truth` says; counts what it is asked to fit."""

    def __init__(self, truth: npt.NDArray[np.float64]) -> None:
        self.truth = truth
        self.asked: list[Names] = []

    def __call__(self, candidates: Sequence[Names]) -> Iterator[Outcome]:
        for names in candidates:
            self.asked.append(names)
            divergence = sums(self.truth, names)
            correct = np.arange(IMAGES) < IMAGES * (0.9 - SLOPE * divergence)
            yield Outcome(correct, np.full(1, divergence, np.float32))


def explored(accelerator: Accelerator, assignments: list[Assignment]) -> Exploration:
    by_names = {a.layer_multipliers: a for a in assignments}
    found = []
    for names in by_names:
        divergence = sums(ALONE, names)
        energy = accelerator.relative_energy(names)
        found.append(Evaluation(names, 0.9 - SLOPE * divergence, energy, divergence))
    return Exploration(found, by_names)


@pytest.mark.parametrize("architecture", ["power-gated", "pipelined"])
def test_the_search_finds_the_front_in_order(residual: Case, architecture: str) -> None:
    """From uniform plans alone, and with layers of whose error in order the search knew nothing."""
    accelerator = place(residual.quantized, make_target(architecture), LIBRARY)
    truth = 0.5 * ALONE * np.array([0.4, 1.0, 2.0, 0.5, 1.5])[:, None]
    uniform = [accelerator.canonical(Assignment((n, n), (0, 0, 0, 1, 1))) for n in NAMES]
    plans = Plans(truth)
    asked = InOrderSearch(accelerator, NAMES, ALONE, plans, 0.9, max_drop=0.005)
    known = search_in_order(asked, explored(accelerator, uniform), count=20)
    assert 3 <= len(plans.asked) <= 20
    fitted = plans.asked
    assert len(set(fitted)) == len(fitted)
    assert not any(accelerator.reasons(known.assignments[names]) for names in fitted)

    limit = 0.005 / SLOPE
    valid = [
        Assignment(units, layers)
        for units in itertools.product(NAMES, repeat=2)
        for layers in itertools.product(range(2), repeat=5)
    ]
    allowed = [a.layer_multipliers for a in valid if not accelerator.reasons(a)]
    good = [accelerator.relative_energy(n) for n in allowed if sums(truth, n) <= limit]
    found = [e.relative_energy for e in known.evaluations if sums(truth, e.names) <= limit]
    assert min(found) == pytest.approx(min(good))
    chosen = [e.relative_energy for e in known.evaluations if e.divergence <= limit]
    assert min(chosen) <= min(good) * 1.02
    observed = {e.names: e for e in known.evaluations if e.names in set(fitted)}
    for e in observed.values():
        assert e.divergence == pytest.approx(sums(truth, e.names), rel=1e-6)
    assert set(known.assignments) == {e.names for e in known.evaluations}


def test_only_what_may_keep_the_limit_is_fitted(residual: Case) -> None:
    """With errors as they are known, every plan fitted lies within the band."""
    accelerator = place(residual.quantized, make_target(units=3), LIBRARY)
    start = [Assignment((n,) * 3, (0,) * 5) for n in NAMES]
    plans = Plans(ALONE)
    asked = InOrderSearch(accelerator, NAMES, ALONE, plans, 0.9, max_drop=0.01)
    search_in_order(asked, explored(accelerator, start), count=12)
    assert plans.asked
    for names in plans.asked:
        divergence = sums(ALONE, names)
        assert 0.1 / BAND / 1.01 <= divergence <= 0.1 * BAND * 1.01


def test_a_third_cost_keeps_plans_that_are_better_by_it(residual: Case) -> None:
    accelerator = place(residual.quantized, make_target(units=2), LIBRARY)
    uniform = [accelerator.canonical(Assignment((n, n), (0,) * 5)) for n in NAMES]

    def cost(assignment: Assignment) -> float:
        return float(sum(assignment.layers))

    plans = Plans(0.5 * ALONE)
    asked = InOrderSearch(accelerator, NAMES, ALONE, plans, 0.9, 0.005, third=cost)
    known = search_in_order(asked, explored(accelerator, uniform), count=8)
    assert plans.asked
    assert set(known.assignments) == {e.names for e in known.evaluations}
