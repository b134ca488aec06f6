"""The whole search on a small network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from searching import LIBRARY
from tiny import Case, make_target, truncated

from alwann_c.compiler import SearchOptions, search
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.evaluation import Outcome
from alwann_c.search import LocalPool
from alwann_c.search.store import SqliteMemory
from alwann_c.targets import Library

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


def test_what_is_stored_is_not_fitted_again(
    small: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither candidates nor plans in order; on other images they are."""
    data, fitted = load_dataset(small.search.path), []

    class Counting(LocalPool):
        def in_order(self, candidates: Sequence[tuple[str, ...]]) -> Iterator[Outcome]:
            for names, outcome in zip(candidates, super().in_order(candidates), strict=True):
                fitted.append(names)
                yield outcome

    monkeypatch.setattr("alwann_c.search_job.LocalPool", Counting)
    plans, counts = [], []
    for images in (1000, 1000, len(data) // 2):
        with SqliteMemory(tmp_path / "e.sqlite", {"model": "m"}, resume=True) as memory:
            options = replace(OPTIONS, search_images=images)
            found = search(
                small.quantized,
                make_target(),
                data,
                library=LIBRARY,
                options=options,
                memory=memory,
            )
        plans.append(found.plan.sha256)
        counts.append(len(fitted))
    assert plans[0] == plans[1]
    assert 0 < counts[0] == counts[1] < counts[2]


def test_progress_tells_the_best_plan_so_far(small: Case) -> None:
    told: list[str] = []
    found = search(
        small.quantized,
        make_target(),
        load_dataset(small.search.path),
        library=LIBRARY,
        options=replace(OPTIONS, max_drop=0.3),
        say=told.append,
    )
    best: dict[str, list[float]] = {}
    for line in told:
        said = re.search(r"^(\w+).* best saves (\d+\.\d)% within 30\.0%$", line)
        if said is not None:
            best.setdefault(said[1], []).append(float(said[2]))
    assert list(best) == ["generation", "fitting", "refining"]
    assert all(saved == sorted(saved) for saved in best.values())
    assert found.best.bound <= 0.3
    assert best["refining"][-1] == pytest.approx(100 - 100 * found.best.relative_energy, abs=0.051)
    assert best["refining"][-1] > 0


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
