"""Mutation of circuits in place, with a log to take it back; compiled by numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

AND, OR, XOR, NAND, NOR, XNOR, NOT = range(7)
KINDS = 7
LOG = 16
"""Most genes one mutation changes."""


@numba.njit(cache=True)
def draw(state: Any, below: int) -> int:
    """A number in 0..below-1 from a xorshift64* generator."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    high = (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(33)
    return int(np.int64(high) % below)


@numba.njit(cache=True)
def _set(genes: Any, outs: Any, gene: int, value: int, log: Any, count: int) -> int:
    """Writes one gene (kind, a, b of gate gene // 3, or an output), logging what was there."""
    gates = genes.shape[0]
    if gene < 3 * gates:
        old = genes[gene // 3, gene % 3]
        genes[gene // 3, gene % 3] = value
    else:
        old = outs[gene - 3 * gates]
        outs[gene - 3 * gates] = value
    log[count, 0], log[count, 1] = gene, old
    return count + 1


@numba.njit(cache=True)
def undo(genes: Any, outs: Any, log: Any, count: int) -> None:
    """Takes back what `mutate` logged, last first."""
    gates = genes.shape[0]
    for c in range(count - 1, -1, -1):
        gene, old = log[c, 0], log[c, 1]
        if gene < 3 * gates:
            genes[gene // 3, gene % 3] = old
        else:
            outs[gene - 3 * gates] = old


@numba.njit(cache=True)
def _pick(state: Any, genes: Any, outs: Any, first: int, gene: int) -> int:
    """A new value for a gene: any, or, for a wire half the time, a shortcut past its driver."""
    gates = genes.shape[0]
    if gene < 3 * gates and gene % 3 == 0:
        return draw(state, KINDS)
    below = first + gene // 3 if gene < 3 * gates else first + gates
    wire = genes[gene // 3, gene % 3] if gene < 3 * gates else outs[gene - 3 * gates]
    way = draw(state, 8)
    if way >= 4 or wire < first:
        return draw(state, below)
    if way == 0:
        return draw(state, 2)
    return genes[wire - first, 1 + way % 2]


@numba.njit(cache=True)
def mutate(state: Any, genes: Any, outs: Any, first: int, active: Any, most: int, log: Any) -> int:
    """Changes genes at random until 1..most of active gates or outputs have changed; the log's size."""
    gates = genes.shape[0]
    total = 3 * gates + outs.shape[0]
    wanted = 1 + draw(state, most)
    count = 0
    while wanted > 0 and count < LOG:
        gene = draw(state, total)
        value = _pick(state, genes, outs, first, gene)
        if gene < 3 * gates:
            g = gene // 3
            if genes[g, gene % 3] == value or (gene % 3 == 2 and genes[g, 0] == NOT):
                continue
            hit = active[g] != 0
        else:
            if outs[gene - 3 * gates] == value:
                continue
            hit = True
        if hit or draw(state, 2):
            count = _set(genes, outs, gene, value, log, count)
        if hit:
            wanted -= 1
    return count
