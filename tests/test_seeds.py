"""First individuals: valid, along the estimated front, optimal; multipliers that nothing needs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from searching import LIBRARY, NAMES
from tiny import Case, make_target

from alwann_c.accelerator import Accelerator, place
from alwann_c.search.methods import Problem, search_with
from alwann_c.search.seeds import (
    _pipelined,
    _power_gated,
    guided_assignments,
    uniform_assignments,
    worth_searching,
)
from alwann_c.targets import Target

Float64 = npt.NDArray[np.float64]
ERRORS = np.outer(np.linspace(1, 2, 5), [0.9, 0.3, 0.05, 0.0])


def unlike(architecture: str = "power-gated", **fields: Any) -> Target:
    """An exact unit, and two that take what is not exact."""
    shape = {"rows": 4, "columns": 4}
    units = [
        {"name": "precise", "multiplier": "exact", **shape},
        {"name": "frugal", "count": 2, "multipliers": ["cut*"], **shape},
    ]
    return make_target(architecture, unit=units, **fields)


TARGETS = {
    "power-gated": make_target(units=3),
    "power-gated, unlike": unlike(),
    "pipelined": make_target("pipelined", 3),
    "pipelined, unlike": unlike("pipelined"),
}


@pytest.fixture(params=TARGETS)
def accelerator(request: pytest.FixtureRequest, residual: Case) -> Accelerator:
    return place(residual.quantized, TARGETS[request.param], LIBRARY)


def test_uniform_assignments(accelerator: Accelerator) -> None:
    made = uniform_assignments(accelerator)
    found = {a.layer_multipliers for a in made}
    assert found <= {(name,) * 5 for name in NAMES}
    everywhere = all(set(unit) == set(NAMES) for unit in accelerator.binding.candidates)
    if everywhere or accelerator.target.architecture == "power-gated":
        assert len(found) == len(NAMES)
    for assignment in made:
        assert accelerator.reasons(assignment) == []
        assert accelerator.canonical(assignment) == assignment
    few = uniform_assignments(accelerator, ["cut6"])
    assert {a.layer_multipliers for a in few} <= {("cut6",) * 5}


def test_guided_assignments_are_valid_and_spread(accelerator: Accelerator) -> None:
    made = guided_assignments(accelerator, ERRORS, NAMES, 12)
    assert 4 <= len(made) <= 12
    assert len(set(made)) == len(made)
    energies = [accelerator.relative_energy(a.layer_multipliers) for a in made]
    assert max(energies) - min(energies) > 0.15
    if accelerator.target.architecture == "power-gated":
        assert min(energies) < 0.3
        assert max(energies) > 0.7
    for assignment in made:
        assert accelerator.reasons(assignment) == []


def costs(accelerator: Accelerator, seed: int) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """Random ones [unit, layer, multiplier], forbidden multipliers dear, and what units take."""
    taken = np.array([[n in unit for n in NAMES] for unit in accelerator.binding.candidates])
    cost = np.random.default_rng(seed).random((5, len(NAMES)))
    return np.where(taken[:, None, :], cost, 100.0), taken


def least(cost: Float64, accelerator: Accelerator) -> float:
    """Of all multipliers of the units and all allowed places."""
    units = len(accelerator.binding.units)
    best = np.inf
    for picks in itertools.product(range(len(NAMES)), repeat=units):
        fitted = np.array([cost[u, :, m] for u, m in enumerate(picks)])
        if accelerator.target.architecture == "power-gated":
            best = min(best, float(fitted.min(axis=0).sum()))
            continue
        for places in itertools.combinations_with_replacement(range(units), 5):
            if set(places) == set(range(units)):
                best = min(best, sum(float(fitted[u, i]) for i, u in enumerate(places)))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_seeds_are_optimal(accelerator: Accelerator, seed: int) -> None:
    """Against all splits and multipliers; a power-gated target's are found by exchanges of one."""
    cost, taken = costs(accelerator, seed)
    pipelined = accelerator.target.architecture == "pipelined"
    picks, places = (_pipelined if pipelined else _power_gated)(cost, taken)
    got = sum(float(cost[u, i, picks[u]]) for i, u in enumerate(places))
    assert got == pytest.approx(least(cost, accelerator), rel=0 if pipelined else 0.1)
    assert all(taken[u, m] for u, m in enumerate(picks))


def test_a_layer_kind_that_one_unit_runs_goes_there(residual: Case) -> None:
    shape = {"rows": 4, "columns": 4}
    dense = {"name": "dense", "layers": ["dense"], **shape}
    target = make_target(unit=[dense, {"name": "all", **shape}])
    accelerator = place(residual.quantized, target, LIBRARY)
    assert len(uniform_assignments(accelerator)) == len(NAMES)
    made = guided_assignments(accelerator, ERRORS, NAMES, 12)
    assert len(made) > 1
    assert {a.layers for a in made} == {(1,) * 5}


class Known:
    """An evaluator that adds up `ERRORS`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.seen: dict[tuple[str, ...], Any] = {}

    def evaluate(self, candidates: Any, _extra: object = None) -> list[Any]:
        from alwann_c.search import Evaluation

        for names in candidates:
            error = float(sum(ERRORS[i, NAMES.index(n)] for i, n in enumerate(names)))
            energy = self.accelerator.relative_energy(names)
            self.seen[names] = Evaluation(names, 0.9, energy, error)
        return [self.seen[names] for names in candidates]


@pytest.mark.parametrize("method", ["nsga2", "greedy", "random"])
def test_searches_go_where_units_differ(accelerator: Accelerator, method: Any) -> None:
    known: Any = Known(accelerator)
    found = search_with(method, Problem(accelerator, known, NAMES, ERRORS, 10, 6))
    assert len(found.evaluations) > 5
    for assignment in found.assignments.values():
        assert accelerator.reasons(assignment) == []


def test_only_multipliers_that_something_needs_are_searched(residual: Case) -> None:
    names = ["cut12", "cut9", "cut6", "exact"]
    worse = ERRORS.copy()
    worse[:, 1] = worse[:, 0] * 1.5  # cut9: dearer than cut12 and worse on every layer
    free = place(residual.quantized, make_target(), LIBRARY)
    assert worth_searching(free, worse, names, by_area=False) == [0, 2, 3]
    assert worth_searching(free, ERRORS, names, by_area=False) == [0, 1, 2, 3]
    crossing = worse.copy()
    crossing[2, 1] = 0.0
    assert worth_searching(free, crossing, names, by_area=False) == [0, 1, 2, 3]
    shape = {"rows": 4, "columns": 4}
    units = [{"name": n, "multiplier": n, **shape} for n in ("cut12", "cut9")]
    fixed = place(residual.quantized, make_target(unit=units), LIBRARY)
    assert worth_searching(fixed, worse, ["cut12", "cut9"], by_area=False) == [0, 1]


def test_a_smaller_multiplier_is_kept_where_area_counts(residual: Case) -> None:
    names = sorted(NAMES, key=lambda n: LIBRARY.find(n).power_mw or 0.0)
    free = place(residual.quantized, make_target(), LIBRARY)
    errors = np.zeros((5, len(names)))  # the cheapest is as good as all of them
    areas = [LIBRARY.find(n).area_um2 or 0.0 for n in names]
    assert areas == sorted(areas)
    assert worth_searching(free, errors, names, by_area=True) == [0, names.index("exact")]
    smallest_last = names[::-1]
    assert len(worth_searching(free, errors, smallest_last, by_area=True)) == len(names)
