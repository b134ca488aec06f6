"""How well the divergence of plans fitted in order is known: `python tools/measure_in_order.py`.

Fits `--candidates` guided assignments layers in order and compares their divergence with what the search
knows of it: the divergence of the same plan with layers fitted after exact ones, times the best
factor; and the additive model (`alwann_c.search.additive`) taught with all the other plans. Options
as those of `measure_search.py`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from measure_search import Job, arguments

from alwann_c.compensation import Compensator, bound_all
from alwann_c.evaluation import Judge
from alwann_c.search import LocalPool
from alwann_c.search.additive import AdditiveModel
from alwann_c.search.seeds import guided_assignments

RANGE = (0.003, 0.1)
"""Divergences of the plans compared, fitted after exact layers."""


def _spread(ratios: Any) -> float:
    """Relative root mean square deviation from 1."""
    return float(np.sqrt(np.mean((np.asarray(ratios) - 1) ** 2)))


def measure(given: Any) -> dict[str, Any]:
    """Deviations of both predictions, over plans in `RANGE`."""
    job = Job(given)
    accelerator, compensator = job.accelerator, Compensator(job.quantized)
    pool = LocalPool(accelerator, compensator, job.data, "full")
    errors = np.array([f.divergences for f in pool.fit(job.names)]).T
    made = guided_assignments(accelerator, errors, job.names, 1000)
    random = np.random.default_rng(0)
    for _ in range(8 * given.candidates):  # neighbours of the front: another unit for one layer
        one = made[random.integers(len(made))]
        layers = list(one.layers)
        layers[random.integers(len(layers))] = int(random.integers(len(one.units)))
        made.append(accelerator.canonical(type(one)(one.units, tuple(layers))))
    plans = {a.layer_multipliers: a for a in made if not accelerator.reasons(a)}
    names = list(plans)
    alone = {names[i]: found.divergence for i, found in pool.judge(names, [None] * len(names))}
    wanted = sorted((n for n in names if RANGE[0] <= alone[n] <= RANGE[1]), key=alone.__getitem__)
    picks = np.unique(np.linspace(0, len(wanted) - 1, given.candidates).round().astype(int))
    judge, ordered = Judge(job.quantized.network, job.data), {}
    for i in picks:
        multipliers = accelerator.multipliers(plans[wanted[i]])
        fitted = compensator.network(multipliers, "full", compensator.quick)
        ordered[wanted[i]] = judge(bound_all(fitted)).divergence
        print(wanted[i], alone[wanted[i]], ordered[wanted[i]], file=sys.stderr, flush=True)
    factor = float(np.median([ordered[n] / alone[n] for n in ordered]))
    left_out = []
    for n, found in ordered.items():
        others = {m: d for m, d in ordered.items() if m != n}
        left_out.append(AdditiveModel(job.names, errors, others).predict(n) / found)
    return {
        "plans": len(ordered),
        "images": len(job.data),
        "in_order_over_after_exact": factor,
        "deviation_of_after_exact": _spread([factor * alone[n] / d for n, d in ordered.items()]),
        "deviation_of_the_model": _spread(left_out),
    }


if __name__ == "__main__":
    print(json.dumps(measure(arguments().parse_args()), indent=1))
