"""The search methods behind one interface: what each promises, and that NSGA-II reaches the optimum
where the exhaustive search can tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from searching import LIBRARY, NAMES, Stub
from tiny import Case, make_target

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.compiler import SearchOptions, search
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.search import Evaluation, methods
from alwann_c.search.methods import MethodName, Problem, search_with
from alwann_c.targets import Library, area_um2

METHODS: tuple[MethodName, ...] = get_args(MethodName)
TARGETS = [("power-gated", 2), ("power-gated", 3), ("pipelined", 2)]
Point = tuple[float, ...]


def problem(accelerator: Accelerator, names: list[str] = NAMES, **options: Any) -> Problem:
    """With divergences of the layers alone like those of the stub."""
    stub: Any = Stub(accelerator)
    layers = len(accelerator.approximable)
    loss = {"exact": 0.0, "cut6": 0.01, "cut9": 0.05, "cut12": 0.2}
    errors = np.outer([1.0, 0.3, 0.55, 0.8, 0.15][:layers], [loss[name] for name in names])
    return Problem(accelerator, stub, names, errors, **options)


@pytest.fixture(scope="module", params=TARGETS, ids=lambda p: f"{p[0]}-{p[1]}")
def five_layers(request: pytest.FixtureRequest, residual: Case) -> Accelerator:
    """Five convolutions."""
    return place(residual.quantized, make_target(*request.param), LIBRARY)


@pytest.fixture(scope="module", params=TARGETS, ids=lambda p: f"{p[0]}-{p[1]}")
def three_layers(request: pytest.FixtureRequest, residual: Case) -> Accelerator:
    """Three of the convolutions."""
    return place(residual.quantized, make_target(*request.param), LIBRARY, Exclusions(("a?",)))


def front(evaluations: list[Evaluation]) -> set[Point]:
    """What no other evaluation beats, by its definition."""
    points = {(e.divergence, e.relative_energy) for e in evaluations}
    return {p for p in points if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)}


def test_nsga2_reaches_the_proven_optimum(three_layers: Accelerator) -> None:
    every = search_with("exhaustive", problem(three_layers, population=7)).evaluations
    names = {e.names for e in every}
    assert len(names) == len(every) >= 28
    found = search_with("nsga2", problem(three_layers, population=16, generations=25, seed=1))
    assert {e.names for e in found.evaluations} <= names
    assert front(found.evaluations) == front(every)
    assert len(front(every)) > 4


def test_exhaustive_leaves_nothing_out(residual: Case) -> None:
    """Two power-gated units: every vector of at most two multipliers."""
    accelerator = place(residual.quantized, make_target(), LIBRARY, Exclusions(names=("a?",)))
    found = search_with("exhaustive", problem(accelerator)).evaluations
    pairs = 4 * 3 // 2
    assert len(found) == 4 + pairs * (2**3 - 2)
    assert all(len(set(e.names)) <= 2 for e in found)


def test_exhaustive_refuses_what_it_cannot_finish(
    five_layers: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "MOST_CHROMOSOMES", 500)
    asked = problem(five_layers)
    with pytest.raises(InputError, match=r"method exhaustive: 5 layers on . units.*at most 500"):
        search_with("exhaustive", asked)
    assert not asked.evaluator.seen


@pytest.mark.parametrize("method", ["greedy", "random"])
def test_others_keep_to_the_budget_and_repeat(five_layers: Accelerator, method: MethodName) -> None:
    reports: list[tuple[int, int, int]] = []

    def run() -> Any:
        reports.clear()
        asked = problem(
            five_layers,
            population=6,
            generations=3,
            seed=2,
            progress=lambda done, of, count, _: reports.append((done, of, count)),
        )
        return search_with(method, asked), asked

    found, asked = run()
    assert len(found.evaluations) == len(asked.evaluator.seen) == reports[-1][2] <= 18
    assert reports[-1][:2] == (3, 3) or len(found.evaluations) < 18
    assert len({e.names for e in found.evaluations}) == len(found.evaluations)
    for names, assignment in found.assignments.items():
        assert assignment.layer_multipliers == names
        assert five_layers.reasons(assignment) == []
    assert {(name,) * 5 for name in NAMES} <= set(found.assignments)
    assert run()[0] == found


def test_greedy_walks_down_in_energy(five_layers: Accelerator) -> None:
    """Beyond the uniform assignments, every step is cheaper than the one before."""
    found = search_with("greedy", problem(five_layers)).evaluations
    energies = [e.relative_energy for e in found[len(NAMES) :]]
    assert len(energies) > 3
    assert energies == sorted(energies, reverse=True)
    assert min(energies) < 0.5


def test_third_objective_gives_a_front_of_three(residual: Case) -> None:
    """Area: fewer and smaller units."""
    accelerator = place(residual.quantized, make_target("power-gated", 3), LIBRARY)

    def area(assignment: Any) -> float:
        return area_um2(accelerator.binding, assignment, exact_layers=False) or 0.0

    options: dict[str, Any] = {"population": 24, "generations": 20, "seed": 3}
    plain = search_with("nsga2", problem(accelerator, **options))
    third = search_with("nsga2", problem(accelerator, third=area, **options))

    def smallest(found: Any) -> float:
        """Least area of what diverges by 0.03 at most."""
        good = (e.names for e in found.evaluations if e.divergence <= 0.03)
        return min(area(found.assignments[names]) for names in good)

    assert smallest(third) <= smallest(plain)
    for names, assignment in third.assignments.items():
        assert assignment.layer_multipliers == names


OPTIONS = SearchOptions(population=6, generations=2, refine=3)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "nsga2"])  # see test_search
def test_every_method_ends_in_a_plan(small: Case, method: MethodName) -> None:
    data = load_dataset(small.search.path)
    found = search(
        small.quantized, make_target(), data, library=LIBRARY, options=OPTIONS, method=method
    )
    assert found.front
    assert found.best.drop.mean == pytest.approx(found.float_accuracy - found.best.accuracy)
    count = len(found.evaluations)
    assert count == 16 if method == "exhaustive" else count <= 12


def test_third_objective_of_a_real_search(small: Case) -> None:
    options = SearchOptions(population=6, generations=2, refine=3, third="latency")
    data = load_dataset(small.search.path)
    found = search(small.quantized, make_target(), data, library=LIBRARY, options=options)
    energies = [p.relative_energy for p in found.front]
    assert energies == sorted(energies, reverse=True)


def test_third_objective_needs_areas_and_nsga2(small: Case) -> None:
    data = load_dataset(small.search.path)
    bare = Library("bare", "", None, dict(LIBRARY.multipliers))
    bare.multipliers["cut6"] = replace(LIBRARY.find("cut6"), area_um2=None)
    options = SearchOptions(population=6, generations=2, third="area")
    with pytest.raises(InputError, match="third objective: area of cut6 unknown"):
        search(small.quantized, make_target(), data, library=bare, options=options)
    with pytest.raises(InputError, match="method greedy has none"):
        search(
            small.quantized, make_target(), data, library=LIBRARY, options=options, method="greedy"
        )
