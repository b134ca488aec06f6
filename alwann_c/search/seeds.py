"""Good first individuals, from the measured sensitivity of each layer to each multiplier.

With e[l, m] the divergence of the network with layer l alone on multiplier m (compensated), which
adds up over layers nearly, and c[l, m] its share of the relative energy, the assignments that
minimise

    sum_l e[l, m(l)] + price * c[l, m(l)]

for a range of prices trace an estimated front. A power-gated target takes the best multipliers of its
units, found by greedy forward selection and exchanges; a pipelined one is solved exactly by dynamic
programming over runs of consecutive layers. What a unit cannot take, a multiplier or a kind of layer,
costs more than everything else together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator
from alwann_c.targets import Assignment

Bools = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]


def uniform_assignments(
    accelerator: Accelerator, names: Sequence[str] | None = None
) -> list[Assignment]:
    """Every multiplier, of `names`, that all layers can run on; in a pipeline, that all units take."""
    binding = accelerator.binding
    candidates, layers = binding.candidates, len(accelerator.approximable)
    known = dict.fromkeys(name for unit in candidates for name in unit)
    made = []
    for name in known if names is None else names:
        takes = [name in unit for unit in candidates]
        units = tuple(
            name if taken else unit[0] for taken, unit in zip(takes, candidates, strict=True)
        )
        if accelerator.target.architecture == "pipelined":
            count = len(candidates)
            places = [min(i * count // layers, count - 1) for i in range(layers)]
        else:
            places = [
                next(
                    (u for u, unit in enumerate(binding.units) if takes[u] and unit.takes(kind)), 0
                )
                for kind in accelerator.kinds
            ]
        assignment = Assignment(units, tuple(places))
        if set(assignment.layer_multipliers) == {name} and not accelerator.reasons(assignment):
            made.append(accelerator.canonical(assignment))
    return made


def _power_gated(cost: Float64, taken: Bools) -> tuple[list[int], list[int]]:
    """Greedy choice of a column of cost [unit, layer, multiplier] for every unit, of those `taken`
    [unit, multiplier]; then exchanged one by one while that helps; each layer takes its best unit."""
    units, layers, _ = cost.shape
    chosen: dict[int, int] = {}

    def totals(without: int | None = None) -> Float64:
        """[unit, multiplier]: cost of all layers when that is added."""
        fitted = [cost[u, :, m] for u, m in chosen.items() if u != without]
        least = np.min(fitted, axis=0) if fitted else np.full(layers, cost.max())
        sums = np.minimum(least[None, :, None], cost).sum(axis=1)
        return np.asarray(np.where(taken, sums, np.inf))

    for _ in range(units):
        sums = totals()
        sums[list(chosen)] = np.inf
        first, pick = divmod(int(sums.argmin()), sums.shape[1])
        chosen[first], least = pick, float(sums[first, pick])
    improved = True
    while improved:
        improved = False
        for unit in range(units):
            sums = totals(without=unit)[unit]
            if sums.min() < least - 1e-12 * abs(least):
                chosen[unit], least, improved = int(sums.argmin()), float(sums.min()), True
    picks = [chosen[unit] for unit in range(units)]
    places = cost[range(units), :, picks].argmin(axis=0)
    return picks, [int(place) for place in places]


def _pipelined(cost: Float64, _taken: Bools) -> tuple[list[int], list[int]]:
    """Best split of the layers into consecutive runs, one for each unit, by dynamic programming over
    cost [unit, layer, multiplier]."""
    units, layers, multipliers = cost.shape
    totals = np.concatenate([np.zeros((units, 1, multipliers)), cost.cumsum(axis=1)], axis=1)
    value = np.full((units + 1, layers + 1), np.inf)
    value[0, 0] = 0.0
    start = np.zeros((units + 1, layers + 1), int)
    for unit in range(1, units + 1):
        for end in range(unit, layers + 1):
            for begin in range(unit - 1, end):
                run = (totals[unit - 1, end] - totals[unit - 1, begin]).min()
                if value[unit - 1, begin] + run < value[unit, end]:
                    value[unit, end] = value[unit - 1, begin] + run
                    start[unit, end] = begin
    end, chosen, places = layers, [0] * units, [0] * layers
    for unit in range(units, 0, -1):
        begin = int(start[unit, end])
        chosen[unit - 1] = int((totals[unit - 1, end] - totals[unit - 1, begin]).argmin())
        places[begin:end] = [unit - 1] * (end - begin)
        end = begin
    return chosen, places


def guided_assignments(
    accelerator: Accelerator, errors: Float64, names: Sequence[str], count: int
) -> list[Assignment]:
    """At most `count` distinct valid assignments along the estimated front; `errors` [layer, multiplier]
    for the multipliers `names`."""
    binding = accelerator.binding
    macs = np.array([work.macs for work in accelerator.works], np.float64)
    share = macs / macs.sum()
    energy = share[:, None] * np.array([binding.relative_cost(name) for name in names])
    taken = np.array([[name in unit for name in names] for unit in binding.candidates])
    runs = np.array([[unit.takes(kind) for kind in accelerator.kinds] for unit in binding.units])
    possible = taken[:, None, :] & runs[:, :, None]
    solve = _pipelined if accelerator.target.architecture == "pipelined" else _power_gated
    found: dict[Assignment, None] = {}
    for price in np.geomspace(1e-4, 1e2, 240) * float(np.median(errors)) / float(energy.mean()):
        cost = errors + price * energy
        picks, places = solve(np.where(possible, cost, 2 * cost.max() * len(cost)), taken)
        made = Assignment(tuple(names[i] for i in picks), tuple(places))
        if not accelerator.reasons(made):
            found.setdefault(accelerator.canonical(made))
    made_list = list(found)
    if len(made_list) <= count:
        return made_list
    picked = np.linspace(0, len(made_list) - 1, count).round().astype(int)
    return [made_list[i] for i in dict.fromkeys(int(p) for p in picked)]


def worth_searching(
    accelerator: Accelerator, errors: Float64, names: Sequence[str], *, by_area: bool
) -> list[int]:
    """Numbers of the multipliers that no other one beats: no dearer, no worse on any layer, for every
    unit that takes this one and, where areas count, no larger. `names` in order of energy."""
    binding = accelerator.binding

    def replaces(k: int, j: int) -> bool:
        if not (errors[:, k] <= errors[:, j]).all():
            return False
        if any(names[j] in unit and names[k] not in unit for unit in binding.candidates):
            return False
        first, second = (accelerator.multiplier(names[i]).area_um2 for i in (k, j))
        return not by_area or (first is not None and (second is None or first <= second))

    return [
        j
        for j, name in enumerate(names)
        if name == binding.reference.name or not any(replaces(k, j) for k in range(j))
    ]
