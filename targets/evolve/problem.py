"""What evolution works on: operand pairs in the order they are tried, their weights, the products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alwann_c.targets.evolve.kernel import Pairs, Work
from alwann_c.targets.evolve.words import LANES
from alwann_c.targets.multiplier import operand_values
from alwann_c.targets.netlist import FIRST_INPUT

WEIGHT_BITS = 6
"""Bits to which the weight operand's distribution is rounded, relative to its largest share, unless
told otherwise."""

_CODES = np.arange(256, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Problem:
    """All pairs of `bits`-bit operands as rows of words, a word being 64 pairs of one activation.

    Words lie in `blocks` rows of `LANES`. `weights` [blocks, LANES] times the pair's number in
    `planes` [k, blocks, LANES] is the pair's share of the multiplications; the shares add up to 1.
    `exact` [2 bits, blocks, LANES] are the products' bits and `operands`, of the same shape, those
    of activation and weight.
    """

    bits: int
    signed: bool
    weights: NDArray[np.float64]
    planes: NDArray[np.uint64]
    exact: NDArray[np.uint64]
    operands: NDArray[np.uint64]

    @property
    def blocks(self) -> int:
        """Rows of words."""
        return len(self.weights)

    def pairs(self) -> Pairs:
        """The pairs as the kernel takes them."""
        first = _first_share(self.weights, self.planes)
        return Pairs(self.weights, self.planes, self.exact, self.signed, first)

    def work(self, gates: int) -> Work:
        """Room for a circuit of that many gates, the constant and input rows filled in."""
        wires = FIRST_INPUT + 2 * self.bits + gates
        return Work(
            mem=self._rows(wires),
            active=np.zeros(gates, np.uint8),
            was=np.zeros(gates, np.uint8),
            cone=np.zeros(gates, np.int64),
            touched=np.zeros(wires, np.uint8),
            forced=np.zeros(wires, np.uint8),
            dirty=np.zeros((self.blocks, wires), np.uint8),
            share=np.zeros(wires),
            new_share=np.zeros(wires),
            glance=np.zeros(wires),
            new_glance=np.zeros(wires),
            errors=np.zeros(self.blocks),
            new_errors=np.zeros(self.blocks),
            rows=np.zeros(2 * self.bits, np.int64),
            error=np.zeros((2 * self.bits, LANES), np.uint64),
            scratch=np.zeros((3, LANES), np.uint64),
        )

    def _rows(self, wires: int) -> NDArray[np.uint64]:
        mem = np.zeros((self.blocks, wires, 2, LANES), dtype=np.uint64)
        mem[:, 1] = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
        inputs = self.operands.transpose(1, 0, 2)
        mem[:, FIRST_INPUT : FIRST_INPUT + 2 * self.bits] = inputs[:, :, None, :]
        return mem.reshape(-1, LANES)


def problem(
    bits: int,
    *,
    signed: bool,
    activations: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
    weight_bits: int = WEIGHT_BITS,
    every_pair: bool = True,
    products: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Problem:
    """The operand pairs of `bits`-bit multiplication, equally likely unless told otherwise.

    `products` [2^bits, 2^bits], row = activation code: what the circuit shall give, the exact
    products if None.

    `activations` and `weights` are shares of the codes 0 .. 2^bits - 1 (any scale), taken as
    independent; the weights' are rounded to `weight_bits` bits, which evaluation time grows with.
    Activations are tried in falling order of their share, or in a random order where
    all are alike; those of share 0 are left out unless `every_pair`, which a bound on the worst
    error needs.
    """
    side = 1 << bits
    shares = np.full(side, 1.0) if activations is None else np.asarray(activations, np.float64)
    order = _spread(bits, seed)
    if activations is not None:
        order = order[np.argsort(-shares[order], kind="stable")]
    if not every_pair:
        order = order[shares[order] > 0]
    words_each = len(_CODES) // 64
    rows = -(-len(order) * words_each // LANES) * LANES // words_each
    share = np.zeros(rows)
    share[: len(order)] = shares[order] / shares.sum()
    order = np.resize(order, rows)

    levels = np.ones(256, dtype=np.int64)
    if weights is not None:
        levels = weight_levels(weights, weight_bits)[_CODES % side]
    depth = int(levels.max()).bit_length()
    if products is None:
        values = operand_values(signed=signed, bits=bits)[:side].astype(np.int64)
        products = np.outer(values, values)
    wanted = products[order][:, _CODES % side]
    first = np.repeat(order[:, None], 256, axis=1)
    second = np.repeat(_CODES[None, :] % side, rows, axis=0)
    return Problem(
        bits=bits,
        signed=signed,
        weights=np.repeat(share / levels.sum(), words_each).reshape(-1, LANES),
        planes=_bit_rows(np.repeat(levels[None, :], rows, axis=0), depth),
        exact=_bit_rows(wanted, 2 * bits),
        operands=np.concatenate([_bit_rows(first, bits), _bit_rows(second, bits)]),
    )


def weight_levels(weights: NDArray[np.float64], weight_bits: int) -> NDArray[np.int64]:
    """Shares of weight codes as whole numbers up to 2^weight_bits - 1, as problems have them."""
    full = (1 << weight_bits) - 1
    return np.rint(np.asarray(weights) / np.max(weights) * full).astype(np.int64)


def _spread(bits: int, seed: int) -> NDArray[np.int64]:
    """All activation codes, so ordered that the first row of pairs is a fair sample of them.

    For 8 bits, 16 codes a row: the cosets of the extended Hamming code [8, 4, 4]. Its dual distance
    is 4, so within every row any three bits take all their values equally often.
    """
    if bits != 8:
        return np.random.default_rng(seed).permutation(1 << bits)
    code = np.zeros(1, dtype=np.int64)
    for word in (0xFF, 0xAA, 0xCC, 0xF0):
        code = np.concatenate([code, code ^ word])
    leaders = np.array([leader for leader in range(256) if (code ^ leader).min() == leader])
    leaders = np.random.default_rng(seed).permutation(leaders)
    return (leaders[:, None] ^ code[None, :]).reshape(-1)


def _first_share(weights: NDArray[np.float64], planes: NDArray[np.uint64]) -> float:
    levels = sum(
        np.bitwise_count(plane[0]).astype(np.float64) * (1 << j) for j, plane in enumerate(planes)
    )
    return float(np.sum(weights[0] * levels))


def _bit_rows(numbers: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """Bit i of every number in row i, 64 numbers a word: [bits, blocks, LANES]."""
    flat = numbers.reshape(-1)
    ones = [((flat >> bit) & 1).astype(np.uint8) for bit in range(bits)]
    packed = [np.packbits(row, bitorder="little").view(np.uint64) for row in ones]
    return np.stack(packed).reshape(bits, -1, LANES)
