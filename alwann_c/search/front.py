"""Which evaluations are on a front, or near it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alwann_c.search.evaluator import Evaluation

DECADES = 2.0
"""Decades of divergence over which final plans are spread."""


def pareto(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Indices of the points (accuracy, cost, …) no other point beats, by falling first cost."""
    order = sorted(range(len(points)), key=lambda i: (points[i][1:], -points[i][0]))
    kept: list[int] = []
    for i in order:
        accuracy, *costs = points[i]
        beaten = any(
            points[k][0] >= accuracy and all(np.less_equal(points[k][1:], costs)) for k in kept
        )
        if not beaten:
            kept.append(i)
    return kept[::-1]


Extra = Mapping[tuple[str, ...], float]
"""A third objective by the multipliers of the layers."""


def near_front(
    evaluations: Sequence[Evaluation], margin: float, extra: Extra | None = None
) -> list[Evaluation]:
    """The front of divergence and costs (energy, and `extra` where given) and, as fits made after
    exact layers only estimate those made in order, what diverges at most `1 + margin` times as
    much; by rising energy."""
    ordered = sorted(evaluations, key=lambda e: (e.relative_energy, e.divergence))
    divergences = np.array([e.divergence for e in ordered])
    best = np.minimum.accumulate(divergences)
    if extra is not None:
        more = np.array([extra[e.names] for e in ordered])
        for i in range(len(ordered)):
            best[i] = divergences[: i + 1][more[: i + 1] <= more[i]].min()
    return [
        e for e, least in zip(ordered, best, strict=True) if e.divergence <= least * (1 + margin)
    ]


def spread(candidates: Sequence[Evaluation], count: int) -> list[Evaluation]:
    """At most `count` of them, evenly over the list, both ends included."""
    picks = np.linspace(0, len(candidates) - 1, min(count, len(candidates))).round().astype(int)
    return [candidates[i] for i in dict.fromkeys(int(p) for p in picks)]


def spread_by_divergence(front: Sequence[Evaluation], count: int) -> list[Evaluation]:
    """At most `count` of a front, evenly by the logarithm of their divergence over `DECADES` below
    the largest one, and the plan that does not diverge, if there is one."""
    exact = [e for e in front if e.divergence == 0][:1]
    others = [e for e in front if e.divergence > 0]
    if not others:
        return exact
    logarithms = np.log10([e.divergence for e in others])
    levels = logarithms.max() - np.linspace(0, DECADES, count)
    picks = [int(np.abs(logarithms - level).argmin()) for level in levels]
    return [*exact, *(others[i] for i in dict.fromkeys(picks))]
