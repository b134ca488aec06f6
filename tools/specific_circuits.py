"""Evolves circuits for one network's operands, in several ways; used by application_specific.py.

From circuits of the library `alwann` others are evolved that have less power under the operands measured
in the network, and no more error, under them, than the general circuit. Ways differ in what error is
bounded and by which distribution:

`square`: the mean square under the activations, all weights alike, as tuning may move weights to any
    code; at most the square of the general circuit's spread.
`tuned`: what is left of the error when every weight is also replaced by the code that stands for it
    best, under the activations and, half, the weights.
`spread`: the spread under the activations, all weights alike.
`joint`: the spread under the activations and the weights.
`mean`: the mean error under the activations and the weights (the weighted mean error distance of
    Vasicek, Mrazek, Sekanina, DATE 2019).

The spread is the RMS error once the mean error of every weight code is taken out, which bias corrections
do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alwann_c.targets import Multiplier, load_builtin_library
from alwann_c.targets.evolve.campaign import (
    STATE_FILE,
    Metric,
    Operands,
    Seed,
    Task,
    load_found,
    run_campaign,
    size_of,
)
from alwann_c.targets.evolve.search import Options
from alwann_c.targets.netlist import Netlist
from alwann_c.targets.verilog_reader import read_netlist_file

POWERS = (0.10, 0.85)
"""Circuits of the library between these powers, relative to the exact one, are taken up."""
EVERY = 3
"""A circuit is evolved for every third of them."""
FLOOR = 0.01
"""Part of the activations taken as spread over all codes: what calibration has not seen may come."""


@dataclass(frozen=True)
class Way:
    """What is bounded, how much the distribution of the weights counts (0: all alike), the effort."""

    metric: Metric
    weights: float
    evaluations: int
    rounds: int


WAYS = {
    "tuned": Way("tuned", 0.6, 200_000, 2),
    "square": Way("mse", 0.0, 40_000, 10),
    "spread": Way("spread", 0.0, 100_000, 3),
    "joint": Way("spread", 0.9, 100_000, 3),
    "mean": Way("mae", 0.9, 100_000, 3),
}
GENERAL = "general"


def general() -> list[Multiplier]:
    """The unsigned circuits of the shipped library to compare with, by falling power."""
    library = load_builtin_library("alwann")
    full = library.exact().power_mw or 1.0
    low, high = POWERS
    return [m for m in library.select(signed=False) if low <= (m.power_mw or 0) / full <= high]


def netlist_of(multiplier: Multiplier) -> Netlist:
    """The circuit of a shipped multiplier."""
    assert multiplier.netlist is not None
    netlist = read_netlist_file(multiplier.netlist)
    assert netlist is not None
    return netlist


def shares_of(state: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of activation and weight codes as measured."""
    data = json.loads((state / "operands.json").read_text(encoding="utf-8"))
    return np.array(data["activations"]), np.array(data["weights"])


def operands_of(state: Path, way: Way) -> Operands:
    """What is evolved for: the measured distribution, no code left out."""
    activations, weights = shares_of(state)
    spread = tuple(((1 - FLOOR) * activations + FLOOR / 256).tolist())
    if not way.weights:
        return Operands(activations=spread)
    mixed = way.weights * weights + (1 - way.weights) / 256
    return Operands(activations=spread, weights=tuple(mixed.tolist()))


def bound_of(multiplier: Multiplier, operands: Operands, metric: Metric) -> float:
    """The general circuit's error as the task bounds it."""
    measured = size_of(
        Task(operands, "spread" if metric == "mse" else metric, 0.0), multiplier.table
    )
    return measured**2 if metric == "mse" else measured


def tasks(state: Path, way: Way) -> list[Task]:
    """One per general circuit that has a specific one."""
    operands = operands_of(state, way)
    return [
        Task(operands, way.metric, round(bound_of(m, operands, way.metric), 3))
        for m in general()[::EVERY]
    ]


def evolve(state: Path, name: str, minutes: float, workers: int) -> None:
    """Goes on with the campaign of a way; its state is in STATE/WAY."""
    way, folder = WAYS[name], state / name
    folder.mkdir(exist_ok=True)
    run_campaign(
        tasks(state, way),
        folder,
        rounds=way.rounds,
        options=Options(evaluations=way.evaluations),
        workers=workers,
        seeds=[Seed(netlist_of(m), 8, False) for m in general()],
        seconds=60 * minutes,
        progress=lambda text: print(f"{name}: {text}", flush=True),
    )


def circuits(state: Path, family: str) -> dict[str, Netlist]:
    """Those of the library, or of a way the ones found last; those of middling power first, as
    accuracies differ most there."""
    if family == GENERAL:
        chosen = {m.name: netlist_of(m) for m in general()}
    else:
        found = sorted(load_found(state / family / STATE_FILE), key=lambda entry: entry.round)
        chosen = {
            general()[entry.task * EVERY].name.replace("mul8u", family): entry.netlist
            for entry in found
        }
    names = sorted(chosen)
    middle = sorted(names, key=lambda name: abs(names.index(name) - 0.45 * len(names)))
    return {name: chosen[name] for name in middle}
