"""The compiled inner loop: mutate, evaluate what changed, stop as soon as the bound is broken.

A candidate differs from its parent in a few genes. Only the active gates downstream of them are
simulated, row by row of operand pairs, and a row whose bits come out unchanged stops the wave. A
candidate whose summed error passes the bound is given up there and then: pairs are ordered so that
a first row betrays most of them. Power is looked at only for candidates within the bound.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from alwann_c.targets.evolve.mutation import (
    AND,
    LOG,
    NAND,
    NOR,
    NOT,
    OR,
    XNOR,
    XOR,
    mutate,
    undo,
)
from alwann_c.targets.evolve.words import (
    LANES,
    ONES,
    absolute_sum,
    and_rows,
    exceeds,
    rows_differ,
    square_sum,
    subtract,
    weighted_ones,
    xor_rows,
)

MAE, MSE = 0, 1
NO_LIMIT = 1 << 20
COST_MARGIN = 1.003
"""A candidate is given up if the first row of pairs makes it look that much too dear."""
ERROR_MARGIN = 1.1
"""The same for the error, relative to the bound."""


class Pairs(NamedTuple):
    """Operand pairs as in `Problem`; `first` is the share of the first row."""

    weights: Any
    planes: Any
    exact: Any
    signed: Any
    first: Any


class Goal(NamedTuple):
    """`bound` on the mean error (`metric` MAE) or mean square (MSE), `limit` on any single one.

    The power of gate g is cells[kind] x (2 p (1 - p) + idle), p being its share of ones.
    """

    metric: Any
    bound: Any
    limit: Any
    cells: Any
    idle: Any


class Work(NamedTuple):
    """What is known of the parent (`was`, `share`, `glance`, `errors`) and the candidate."""

    mem: Any
    active: Any
    was: Any
    cone: Any
    touched: Any
    forced: Any
    dirty: Any
    share: Any
    new_share: Any
    glance: Any
    new_glance: Any
    errors: Any
    new_errors: Any
    rows: Any
    error: Any
    scratch: Any


@numba.njit(cache=True)
def row_of(block: int, wire: int, wires: int) -> int:
    """The parent's row of a wire; the candidate's follows it."""
    return (block * wires + wire) * 2


@numba.njit(cache=True)
def mark_active(genes: Any, outs: Any, first: int, active: Any) -> None:
    """active[g] = 1 for the gates some output depends on."""
    active[:] = 0
    for i in range(outs.shape[0]):
        if outs[i] >= first:
            active[outs[i] - first] = 1
    for g in range(genes.shape[0] - 1, -1, -1):
        if active[g]:
            if genes[g, 1] >= first:
                active[genes[g, 1] - first] = 1
            if genes[g, 0] != NOT and genes[g, 2] >= first:
                active[genes[g, 2] - first] = 1


@numba.njit(cache=True)
def gate_row(mem: Any, kind: int, out: int, a: int, b: int, ones: int) -> None:
    """Row `out` from rows `a` and `b`; `ones` is a row of ones."""
    zero = np.uint64(0)
    if kind == AND:
        and_rows(mem, out, a, b, zero, zero)
    elif kind == NAND:
        and_rows(mem, out, a, b, zero, ONES)
    elif kind == OR:
        and_rows(mem, out, a, b, ONES, ONES)
    elif kind == NOR:
        and_rows(mem, out, a, b, ONES, zero)
    elif kind == XOR:
        xor_rows(mem, out, a, b, zero)
    elif kind == XNOR:
        xor_rows(mem, out, a, b, ONES)
    else:
        xor_rows(mem, out, a, ones, zero)


@numba.njit(cache=True)
def affected(genes: Any, first: int, work: Work) -> int:
    """Gates to simulate, in order: touched, newly active, or downstream of one; their number.

    On return `touched` (one flag a wire) marks all of them.
    """
    touched = work.touched
    count = 0
    for g in range(genes.shape[0]):
        if not work.active[g]:
            continue
        a = genes[g, 1]
        b = genes[g, 2] if genes[g, 0] != NOT else a
        if touched[first + g] or not work.was[g] or touched[a] or touched[b]:
            touched[first + g] = 1
            work.cone[count] = g
            count += 1
    return count


@numba.njit(cache=True)
def simulate(genes: Any, first: int, block: int, wires: int, count: int, work: Work) -> None:
    """One row of every gate of the cone; dirty[block, wire] = 1 where the candidate's row counts."""
    mem, dirty = work.mem, work.dirty
    ones = row_of(block, 1, wires)
    for c in range(count):
        g = work.cone[c]
        kind, a, b = genes[g, 0], genes[g, 1], genes[g, 2]
        if kind == NOT:
            b = a
        new = not work.was[g]
        if not (new or work.forced[first + g] or dirty[block, a] or dirty[block, b]):
            continue
        out = row_of(block, first + g, wires)
        row_a = row_of(block, a, wires) + (1 if dirty[block, a] else 0)
        row_b = row_of(block, b, wires) + (1 if dirty[block, b] else 0)
        gate_row(mem, kind, out + 1, row_a, row_b, ones)
        if new or rows_differ(mem, out, out + 1):
            dirty[block, first + g] = 1


@numba.njit(cache=True)
def block_error(outs: Any, block: int, wires: int, pairs: Pairs, goal: Goal, work: Work) -> float:
    """Weighted error sum of one row of pairs, infinite if a single error is above the limit."""
    rows, error, scratch = work.rows, work.error, work.scratch
    for i in range(outs.shape[0]):
        wire = outs[i]
        rows[i] = row_of(block, wire, wires) + (1 if work.dirty[block, wire] else 0)
    sign = scratch[0]
    subtract(work.mem, rows, pairs.exact, block, pairs.signed, error, sign)
    if goal.limit < NO_LIMIT and exceeds(error, sign, goal.limit, scratch[1], scratch[2]):
        return np.inf
    if goal.metric == MSE:
        return square_sum(error, sign, pairs.weights, pairs.planes, block, scratch[1])
    return absolute_sum(error, sign, pairs.weights, pairs.planes, block, scratch[1])


@numba.njit(cache=True)
def ones_share(wire: int, block: int, wires: int, pairs: Pairs, work: Work) -> float:
    """Weight of the pairs of one row for which the wire is 1."""
    row = row_of(block, wire, wires) + (1 if work.dirty[block, wire] else 0)
    return weighted_ones(work.mem, row, pairs.weights, pairs.planes, block)


@numba.njit(cache=True)
def power(genes: Any, active: Any, share: Any, scale: float, first: int, goal: Goal) -> float:
    """Sum over active gates of cell x (2 p (1 - p) + idle), p being `scale` times the share."""
    total = 0.0
    for g in range(genes.shape[0]):
        if active[g]:
            p = share[first + g] * scale
            total += goal.cells[genes[g, 0]] * (2.0 * p * (1.0 - p) + goal.idle)
    return total


@numba.njit(cache=True)
def glance_power(genes: Any, first: int, count: int, pairs: Pairs, work: Work, goal: Goal) -> float:
    """Power of the candidate as the first row of pairs alone shows it."""
    wires = first + genes.shape[0]
    for g in range(genes.shape[0]):
        work.new_glance[first + g] = work.glance[first + g]
    for c in range(count):
        wire = first + work.cone[c]
        if work.dirty[0, wire]:
            work.new_glance[wire] = ones_share(wire, 0, wires, pairs, work)
    return power(genes, work.active, work.new_glance, 1.0 / pairs.first, first, goal)


@numba.njit(cache=True)
def full_power(genes: Any, first: int, count: int, pairs: Pairs, work: Work, goal: Goal) -> float:
    """Power of the candidate over all pairs."""
    wires = first + genes.shape[0]
    for g in range(genes.shape[0]):
        work.new_share[first + g] = work.share[first + g]
    for c in range(count):
        wire = first + work.cone[c]
        total = 0.0
        for block in range(work.dirty.shape[0]):
            total += ones_share(wire, block, wires, pairs, work)
        work.new_share[wire] = total
    return power(genes, work.active, work.new_share, 1.0, first, goal)


@numba.njit(cache=True)
def adopt(genes: Any, first: int, count: int, work: Work) -> None:
    """Makes the candidate the parent."""
    mem = work.mem
    wires = first + genes.shape[0]
    for block in range(work.dirty.shape[0]):
        work.errors[block] = work.new_errors[block]
        for c in range(count):
            wire = first + work.cone[c]
            if work.dirty[block, wire]:
                row = row_of(block, wire, wires)
                for k in range(LANES):
                    mem[row, k] = mem[row + 1, k]
    for g in range(genes.shape[0]):
        work.share[first + g] = work.new_share[first + g]
        work.glance[first + g] = work.new_glance[first + g]
        work.was[g] = work.active[g]


@numba.njit(cache=True)
def climb(
    genes: Any, outs: Any, first: int, pairs: Pairs, goal: Goal, work: Work, most: int,
    slack: float, evaluations: int, state: Any, best_genes: Any, best_outs: Any, best: Any,
) -> int:  # fmt: skip
    """`evaluations` mutations of the circuit in `genes`, `outs`, in place; how many were accepted.

    A candidate is accepted if it keeps to the goal and its power is at most (1 + slack) times the
    best seen. `best` = [power, error] goes with `best_genes`, `best_outs`; all three are updated.
    The first circuit is taken as it is.
    """
    gates = genes.shape[0]
    wires = first + gates
    log = np.zeros((LOG, 2), np.int64)
    accepted, logged = 0, 0
    error, glance, cost = 0.0, 0.0, 0.0
    work.was[:] = 0
    for turn in range(evaluations + 1):
        start = turn == 0
        work.touched[:] = 0
        work.forced[:] = 0
        rewired = start
        if not start:
            logged = mutate(state, genes, outs, first, work.was, most, log)
            for c in range(logged):
                if log[c, 0] < 3 * gates:
                    work.touched[first + log[c, 0] // 3] = 1
                    work.forced[first + log[c, 0] // 3] = 1
                else:
                    rewired = True
        mark_active(genes, outs, first, work.active)
        count = affected(genes, first, work)
        ceiling = best[0] * (1.0 + slack)
        total, new_glance = 0.0, 0.0
        good = True
        for block in range(work.dirty.shape[0]):
            work.dirty[block, :] = 0
            simulate(genes, first, block, wires, count, work)
            changed = rewired
            for i in range(outs.shape[0]):
                changed |= work.dirty[block, outs[i]] != 0
            if changed:
                work.new_errors[block] = block_error(outs, block, wires, pairs, goal, work)
            else:
                work.new_errors[block] = work.errors[block]
            total += work.new_errors[block]
            if start:
                if block == 0:
                    new_glance = glance_power(genes, first, count, pairs, work, goal)
                continue
            if total > goal.bound:
                good = False
                break
            if block == 0:
                guess = error + (total - work.errors[0]) / pairs.first
                if guess > goal.bound * ERROR_MARGIN:
                    good = False
                    break
                new_glance = glance_power(genes, first, count, pairs, work, goal)
                if cost + new_glance - glance > ceiling * COST_MARGIN:
                    good = False
                    break
        if good:
            new_cost = full_power(genes, first, count, pairs, work, goal)
            good = start or new_cost <= ceiling
        if not good:
            undo(genes, outs, log, logged)
            continue
        accepted += not start
        adopt(genes, first, count, work)
        error, glance, cost = total, new_glance, new_cost
        if error <= goal.bound and cost < best[0]:
            best[0], best[1] = cost, error
            best_genes[:] = genes
            best_outs[:] = outs
    return accepted
