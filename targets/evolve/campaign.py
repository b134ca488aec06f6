"""Many evolutions side by side: rounds over error bounds, each seeded by all found before."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alwann_c.atomic import write_text
from alwann_c.errors import InputError
from alwann_c.targets.arrays import truncated_arrays
from alwann_c.targets.evolve.problem import WEIGHT_BITS, Problem, problem, weight_levels
from alwann_c.targets.evolve.search import Options, Outcome, evolve_circuit
from alwann_c.targets.gate_model import switched_cells
from alwann_c.targets.multiplier import exact_products
from alwann_c.targets.netlist import Netlist, product_table
from alwann_c.targets.netlist_text import netlist_from_text, netlist_to_text
from alwann_c.untrusted import read_json

STATE_FILE = "evolution.json"
Shares = tuple[float, ...] | None
VERSION = 1


Metric = Literal["mae", "mse", "spread"]
"""Mean error, mean square error, and the RMS error once the mean error of every weight code is taken
out: what is left of an error when biases are corrected."""


@dataclass(frozen=True)
class Operands:
    """Format and distribution of the operands; shares of the 2^bits codes, None for all alike.

    Weights count as rounded to `weight_bits` bits (see `problem`)."""

    bits: int = 8
    signed: bool = False
    activations: Shares = None
    weights: Shares = None
    weight_bits: int = WEIGHT_BITS


@dataclass(frozen=True)
class Task:
    """One bound to evolve a circuit for."""

    operands: Operands
    metric: Metric
    bound: float
    limit: int | None = None


@dataclass(frozen=True)
class Seed:
    """A circuit known beforehand, to start from."""

    netlist: Netlist
    bits: int
    signed: bool


@dataclass(frozen=True)
class Found:
    """A circuit with its figures; `error` is that of the task's metric and distribution."""

    task: int
    round: int
    netlist: Netlist
    error: float
    cost: float
    evaluations: int
    seconds: float


def run_campaign(
    tasks: Sequence[Task],
    folder: Path,
    *,
    rounds: int,
    options: Options,
    seed: int = 0,
    workers: int = 1,
    seeds: Sequence[Seed] = (),
    seconds: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Found]:
    """Evolves a circuit for every task, `rounds` times over; returns everything found.

    A round starts from the cheapest circuits that keep to the task's bounds, among those of earlier
    rounds, the truncated arrays and `seeds`. Every finished task is saved in `folder`; a campaign
    that was cut off goes on where it stopped, with the same results whatever the number of workers.
    No task is begun after `seconds`.
    """
    identity: dict[str, object] = {
        "version": VERSION,
        "tasks": [asdict(task) for task in tasks],
        "seed": seed,
        "options": asdict(options),
    }
    if seeds:
        text = "\n".join(netlist_to_text(given.netlist) for given in seeds)
        identity["seeds"] = hashlib.sha256(text.encode()).hexdigest()
    deadline = None if seconds is None else time.monotonic() + seconds
    state = folder / STATE_FILE
    found = load_found(state, identity) if state.exists() else []
    for turn in range(rounds):
        done = {entry.task for entry in found if entry.round == turn}
        earlier = [entry for entry in found if entry.round < turn]
        jobs = []
        for index, task in enumerate(tasks):
            if index in done:
                continue
            start = cheapest_start(task, tasks, earlier, seeds)
            jobs.append((task, start, index, turn, options, seed, deadline))
        late = False
        for entry in _results(jobs, workers):
            if entry is None:
                late = True
                continue
            found.append(entry)
            _save(state, identity, found)
            if progress is not None:
                task = tasks[entry.task]
                exact = array_cost(task.operands)
                progress(
                    f"round {turn + 1}: {task.metric} {entry.error:.4g} of {task.bound:.4g},"
                    f" power {entry.cost / exact:.4f} of the exact array,"
                    f" {entry.evaluations / entry.seconds:,.0f} evaluations/s"
                )
        if late:
            break
    return found


def cheapest_start(
    task: Task, tasks: Sequence[Task], earlier: Iterable[Found], seeds: Iterable[Seed] = ()
) -> Netlist:
    """The circuit of least power, operands as the task says, known to keep to the task's bounds."""
    operands = task.operands
    form = operands.bits, operands.signed
    kept = [netlist for netlist, error in _arrays(*form) if _keeps(task, error)]
    known = [seed.netlist for seed in seeds if (seed.bits, seed.signed) == form]
    for entry in earlier:
        other = tasks[entry.task].operands
        if (other.bits, other.signed) == form:
            known.append(entry.netlist)
    best = min(kept, key=lambda netlist: _power(netlist, operands))  # the exact array is among them
    for netlist in known:
        cheaper = _power(netlist, operands) < _power(best, operands)
        if cheaper and _keeps(task, _error(netlist, *form)):
            best = netlist
    return best


def load_found(state: Path, identity: dict[str, object] | None = None) -> list[Found]:
    """What a campaign has saved; InputError if it was another campaign's, or is no such file."""
    data = read_json(state, "check the path")
    try:
        if identity is not None and data["campaign"] != json.loads(json.dumps(identity)):
            raise InputError(
                f"{state}: of another campaign: choose another folder or remove the file"
            )
        return [
            Found(**{**entry, "netlist": netlist_from_text(entry["netlist"])})
            for entry in data["found"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InputError(f"{state}: no saved evolution ({e}): remove it") from e


def _save(state: Path, identity: dict[str, object], found: Sequence[Found]) -> None:
    entries = [{**vars(entry), "netlist": netlist_to_text(entry.netlist)} for entry in found]
    write_text(state, json.dumps({"campaign": identity, "found": entries}, indent=0) + "\n")


Job = tuple[Task, Netlist, int, int, Options, int, float | None]


def _results(jobs: Sequence[Job], workers: int) -> Iterable[Found | None]:
    if workers == 1:
        yield from map(_run, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_run, jobs)


def _run(job: Job) -> Found | None:
    task, start, index, turn, options, seed, deadline = job
    if deadline is not None and time.monotonic() > deadline:
        return None
    drawn = int(np.random.SeedSequence([seed, index, turn]).generate_state(1)[0])
    options = replace(options, spare=max(options.spare, len(start.gates) // 4))
    if task.metric == "spread":
        outcome = _less_power_at_equal_spread(task, start, options, drawn)
    else:
        outcome = evolve_circuit(
            start,
            _problem(task.operands, task.limit is not None),
            metric=task.metric,
            bound=task.bound,
            limit=task.limit,
            options=options,
            seed=drawn,
        )
    return Found(
        index, turn, outcome.netlist, outcome.error, outcome.cost,
        outcome.evaluations, outcome.seconds,
    )  # fmt: skip


def _less_power_at_equal_spread(task: Task, start: Netlist, options: Options, seed: int) -> Outcome:
    """Evolves for products that are off as the start's are on average, weight by weight.

    The mean square error from those is the spread's square as long as the means stay; every round
    starts from the means of what the one before has found.
    """
    operands = task.operands
    form = operands.bits, operands.signed
    side = 1 << operands.bits
    means = np.average(_error(start, *form), axis=0, weights=operands.activations)
    lowest = -(side * side) // 2 if operands.signed else 0
    exact = exact_products(operands.signed, operands.bits)[:side, :side]
    shifted = (exact + np.rint(means)).clip(lowest, lowest + side * side - 1)
    products: NDArray[np.int64] = shifted.astype(np.int64)
    table = product_table(start, signed=operands.signed)[:side, :side]
    outcome = evolve_circuit(
        start,
        _problem_of(operands, task.limit is not None, products),
        metric="mse",
        bound=max(task.bound**2, _mean((table - products) ** 2.0, operands)),
        limit=None,
        options=options,
        seed=seed,
    )
    error = _size(task, _error(outcome.netlist, *form))
    if _keeps(task, _error(outcome.netlist, *form)):
        return replace(outcome, error=error)
    kept = _size(task, _error(start, *form))  # means rounded to whole numbers tipped the balance
    return replace(outcome, netlist=start, error=kept, cost=_power(start, operands))


@lru_cache(maxsize=4)
def _problem(operands: Operands, every_pair: bool) -> Problem:
    return _problem_of(operands, every_pair)


def _problem_of(
    operands: Operands, every_pair: bool, products: NDArray[np.int64] | None = None
) -> Problem:
    return problem(
        operands.bits,
        signed=operands.signed,
        activations=None if operands.activations is None else np.array(operands.activations),
        weights=None if operands.weights is None else np.array(operands.weights),
        weight_bits=operands.weight_bits,
        every_pair=every_pair,
        products=products,
    )


@lru_cache(maxsize=4)
def _arrays(bits: int, signed: bool) -> list[tuple[Netlist, np.ndarray]]:
    return [
        (netlist, _error(netlist, bits, signed))
        for _, netlist in truncated_arrays(bits, signed=signed)
    ]


def array_cost(operands: Operands) -> float:
    """Power of the exact array in units of `switched_cells`, operands as given."""
    return _power(_arrays(operands.bits, operands.signed)[0][0], operands)


@lru_cache(maxsize=4096)
def _power(netlist: Netlist, operands: Operands) -> float:
    given = operands.activations, operands.weights
    activations, weights = (None if shares is None else np.array(shares) for shares in given)
    return switched_cells(netlist, activations, weights)


@lru_cache(maxsize=256)
def _error(netlist: Netlist, bits: int, signed: bool) -> np.ndarray:
    side = 1 << bits
    table = product_table(netlist, signed=signed) - exact_products(signed, bits)
    return table[:side, :side].copy()


def _keeps(task: Task, error: np.ndarray) -> bool:
    if task.limit is not None and np.abs(error).max() > task.limit:
        return False
    return _size(task, error) <= task.bound * (1 + 1e-9)


def _size(task: Task, error: np.ndarray) -> float:
    """The task's metric of a table of errors [2^bits, 2^bits], row = activation."""
    operands, error = task.operands, error.astype(np.float64)
    if task.metric == "mae":
        return _mean(np.abs(error), operands)
    if task.metric == "mse":
        return _mean(error**2, operands)
    means = np.average(error, axis=0, weights=operands.activations)
    return float(np.sqrt(_mean((error - means) ** 2, operands)))


def _mean(size: np.ndarray, operands: Operands) -> float:
    """Mean over operand pairs, weights rounded as evolution has them."""
    weights = operands.weights
    levels = None if weights is None else weight_levels(np.array(weights), operands.weight_bits)
    over_weights = np.average(size, axis=0, weights=operands.activations)
    return float(np.average(over_weights, weights=levels))
