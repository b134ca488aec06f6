"""Good first individuals, from the measured sensitivity of each layer to each multiplier.

With e[l, m] the divergence of the network with layer l alone on multiplier m (compensated), which
adds up over layers nearly, and c[l, m] its share of the relative energy, the assignments that
minimise

    sum_l e[l, m(l)] + price * c[l, m(l)]

for a range of prices trace an estimated front. A power-gated target with U units takes the best U
multipliers found by greedy forward selection and exchanges; a pipelined one is solved exactly by dynamic
programming over runs of consecutive layers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.targets import Assignment

Float64 = npt.NDArray[np.float64]


def uniform_assignments(accelerator: Accelerator) -> list[Assignment]:
    """Every multiplier that all units can take, on every layer."""
    candidates = accelerator.binding.candidates
    shared = [name for name in candidates[0] if all(name in unit for unit in candidates)]
    units, layers = len(candidates), len(accelerator.approximable)
    if accelerator.target.architecture == "pipelined":
        places = tuple(min(i * units // layers, units - 1) for i in range(layers))
    else:
        places = (0,) * layers
    made = [Assignment((name,) * units, places) for name in shared]
    return [assignment for assignment in made if not accelerator.reasons(assignment)]


def _power_gated(cost: Float64, names: list[str], units: int) -> Assignment:
    """Greedy choice of `units` columns of cost [layer, multiplier], then exchanged one by one while
    that helps; each layer takes its best."""

    def best_beside(others: list[int]) -> tuple[int, float]:
        best = cost[:, others].min(axis=1, initial=np.inf)
        totals = np.minimum(best[:, None], cost).sum(axis=0)
        return int(totals.argmin()), float(totals.min())

    chosen: list[int] = []
    for _ in range(units):
        pick, least = best_beside(chosen)
        chosen.append(pick)
    improved = True
    while improved:
        improved = False
        for i in range(units):
            pick, total = best_beside(chosen[:i] + chosen[i + 1 :])
            if total < least - 1e-12 * abs(least):
                chosen[i], least, improved = pick, total, True
    places = cost[:, chosen].argmin(axis=1)
    return Assignment(tuple(names[i] for i in chosen), tuple(int(p) for p in places))


def _pipelined(cost: Float64, names: list[str], units: int) -> Assignment:
    """Best split of the layers into `units` consecutive runs, by dynamic programming."""
    layers = cost.shape[0]
    totals = np.vstack([np.zeros((1, cost.shape[1])), cost.cumsum(axis=0)])
    value = np.full((units + 1, layers + 1), np.inf)
    value[0, 0] = 0.0
    start = np.zeros((units + 1, layers + 1), int)
    for unit in range(1, units + 1):
        for end in range(unit, layers + 1):
            for begin in range(unit - 1, end):
                run = (totals[end] - totals[begin]).min()
                if value[unit - 1, begin] + run < value[unit, end]:
                    value[unit, end] = value[unit - 1, begin] + run
                    start[unit, end] = begin
    end, chosen, places = layers, [0] * units, [0] * layers
    for unit in range(units, 0, -1):
        begin = int(start[unit, end])
        chosen[unit - 1] = int((totals[end] - totals[begin]).argmin())
        places[begin:end] = [unit - 1] * (end - begin)
        end = begin
    return Assignment(tuple(names[i] for i in chosen), tuple(places))


def guided_assignments(
    accelerator: Accelerator, errors: Float64, names: list[str], count: int
) -> list[Assignment]:
    """At most `count` distinct valid assignments along the estimated front.

    `errors` [layer, multiplier] for the multipliers `names`, which every unit must be able to take.
    """
    binding = accelerator.binding
    macs = np.array([work.macs for work in accelerator.works], np.float64)
    share = macs / macs.sum()
    energy = share[:, None] * np.array([binding.relative_cost(name) for name in names])
    solve = _pipelined if accelerator.target.architecture == "pipelined" else _power_gated
    found: dict[Assignment, None] = {}
    for price in np.geomspace(1e-4, 1e2, 240) * float(np.median(errors)) / float(energy.mean()):
        made = accelerator.canonical(solve(errors + price * energy, names, len(binding.units)))
        if not accelerator.reasons(made):
            found.setdefault(made)
    made_list = list(found)
    if len(made_list) <= count:
        return made_list
    picks = np.linspace(0, len(made_list) - 1, count).round().astype(int)
    return [made_list[i] for i in dict.fromkeys(int(p) for p in picks)]
