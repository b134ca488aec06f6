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

from alwann_c.atomic import write_text
from alwann_c.errors import InputError
from alwann_c.targets.arrays import truncated_arrays
from alwann_c.targets.evolve import STATE_FILE
from alwann_c.targets.evolve.aims import AIMS, SIZES, Weighting
from alwann_c.targets.evolve.problem import WEIGHT_BITS, Problem, problem, weight_levels
from alwann_c.targets.evolve.search import Options, Outcome, evolve_circuit
from alwann_c.targets.gate_model import switched_cells
from alwann_c.targets.multiplier import exact_products, operand_values
from alwann_c.targets.netlist import Netlist, product_table
from alwann_c.targets.netlist_text import netlist_from_text, netlist_to_text
from alwann_c.untrusted import read_json

Shares = tuple[float, ...] | None
VERSION = 1


Metric = Literal["mae", "mse", "spread", "tuned"]
"""Mean error, mean square error, and errors that compensation leaves (see `aims`)."""


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
    if task.metric == "spread" or task.metric == "tuned":
        outcome = _towards_an_aim(task, start, options, drawn)
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


def _towards_an_aim(task: Task, start: Netlist, options: Options, seed: int) -> Outcome:
    """Evolves for the wanted products that follow from the start, see `aims`; the start itself where
    what was found breaks the bound nevertheless."""
    operands = task.operands
    bits, signed = operands.bits, operands.signed
    side = 1 << bits
    table = product_table(start, signed=signed)[:side, :side].astype(np.float64)
    shares = _weighting(operands)
    aim = AIMS[task.metric](table, shares)
    lowest = -(side * side) // 2 if signed else 0
    products = np.rint(aim.products).clip(lowest, lowest + side * side - 1)
    levels = weight_levels(aim.weights, operands.weight_bits)
    now = float(np.average(shares.activations @ (table - products) ** 2, weights=levels))
    room = (task.bound / max(SIZES[task.metric](table, shares), 1e-9)) ** 2
    pairs = problem(
        bits,
        signed=signed,
        activations=shares.activations,
        weights=aim.weights,
        weight_bits=operands.weight_bits,
        every_pair=False,
        products=products.astype(np.int64),
    )
    for allowed in (max(room, 1.0), 1.0):
        outcome = evolve_circuit(
            start, pairs, metric="mse", bound=allowed * now, options=options, seed=seed
        )
        error = _error(outcome.netlist, bits, signed)
        if _keeps(task, error):
            cost = _power(outcome.netlist, operands)
            return replace(outcome, error=_size(task, error), cost=cost)
    kept = _size(task, _error(start, bits, signed))
    return replace(outcome, netlist=start, error=kept, cost=_power(start, operands))


def _weighting(operands: Operands) -> Weighting:
    side = 1 << operands.bits
    even = np.ones(side)
    activations = even if operands.activations is None else np.array(operands.activations)
    weights = even
    if operands.weights is not None:
        weights = weight_levels(np.array(operands.weights), operands.weight_bits).astype(float)
    values = operand_values(signed=operands.signed, bits=operands.bits)[:side].astype(np.float64)
    return Weighting(values, activations / activations.sum(), weights / weights.sum())


@lru_cache(maxsize=4)
def _problem(operands: Operands, every_pair: bool) -> Problem:
    return problem(
        operands.bits,
        signed=operands.signed,
        activations=None if operands.activations is None else np.array(operands.activations),
        weights=None if operands.weights is None else np.array(operands.weights),
        weight_bits=operands.weight_bits,
        every_pair=every_pair,
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


def size_of(task: Task, table: np.ndarray) -> float:
    """The task's metric of a product table [2^bits, 2^bits], row = activation."""
    side = 1 << task.operands.bits
    exact = exact_products(task.operands.signed, task.operands.bits)
    return _size(task, (table - exact)[:side, :side])


def _size(task: Task, error: np.ndarray) -> float:
    shares, error = _weighting(task.operands), error.astype(np.float64)
    if task.metric in SIZES:
        return SIZES[task.metric](error + np.outer(shares.values, shares.values), shares)
    size = np.abs(error) if task.metric == "mae" else error**2
    return float(shares.activations @ size @ shares.weights)
