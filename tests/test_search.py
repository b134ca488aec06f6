"""The whole search on a small network."""

from __future__ import annotations

import pytest
from searching import LIBRARY
from tiny import Case, make_target, truncated

from alwann_c.compiler import SearchOptions, search
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
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
