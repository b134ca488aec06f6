"""Fronts, and the plan that is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alwann_c.search import Evaluation
from alwann_c.search.front import near_front, pareto, spread, spread_by_divergence
from alwann_c.search.select import FrontPoint, _at_least_as_good, select
from alwann_c.statistics import Drop, paired_drop
from alwann_c.targets import Assignment


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


def test_a_plan_is_expected_to_do_no_worse_than_one_it_beats() -> None:
    """Else a lucky plan over the limit would take one that keeps it off the front, and stay out."""
    lucky = replace(point(0.001, 0.5), expected=Drop(0.006, 0.001, 1000))
    mild = replace(point(0.002, 0.7), expected=Drop(0.002, 0.001, 1000))
    cheap = replace(point(0.004, 0.4), expected=Drop(0.009, 0.001, 1000))
    judged = [lucky, mild, cheap]
    found = _at_least_as_good(judged, [(p.relative_energy,) for p in judged])
    assert [p.expected for p in found] == [mild.expected, mild.expected, cheap.expected]
    kept = pareto([(p.accuracy, p.relative_energy) for p in found])
    front = [found[i] for i in kept]
    assert [p.relative_energy for p in front] == [0.5, 0.4]
    assert front[select(front, 0.005)].relative_energy == 0.5
    apart = _at_least_as_good(judged, [(0.5, 1.0), (0.7, 0.5), (0.4, 1.0)])
    assert [p.expected for p in apart] == [p.expected for p in judged]


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


def evaluation(divergence: float, energy: float) -> Evaluation:
    return Evaluation((f"{energy}",), 0.9, energy, divergence)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_near_front_equals_its_definition(points: list[tuple[int, int]]) -> None:
    every = [evaluation(float(d), float(e)) for d, e in points]
    for margin in (0.0, 0.5):
        expected = [
            e
            for e in every
            if all(
                e.divergence <= o.divergence * (1 + margin)
                for o in every
                if (o.relative_energy, o.divergence) <= (e.relative_energy, e.divergence)
            )
        ]
        found = near_front(every, margin)
        assert sorted(found, key=id) == sorted(expected, key=id)
        extra = {e.names: 1.0 for e in every}
        assert near_front(every, margin, extra) == found


def test_plans_are_spread_over_decades() -> None:
    front = [evaluation(10**-x, x / 4) for x in np.arange(0, 4.01, 0.1)]
    found = [e.divergence for e in spread_by_divergence([*front, evaluation(0.0, 1.0)], 5)]
    assert found == pytest.approx([0, 1, 10**-0.5, 0.1, 10**-1.5, 0.01])
    assert spread_by_divergence([evaluation(0.0, 1.0)], 5) == [evaluation(0.0, 1.0)]
    few = front[:2]
    assert spread_by_divergence(few, 5) == few
    assert [e.divergence for e in spread(front, 3)] == pytest.approx([1, 0.01, 0.0001])
