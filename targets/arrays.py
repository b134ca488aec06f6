"""Array multipliers, exact and with partial products left out: where evolution starts from."""

from __future__ import annotations

from collections.abc import Iterator

from alwann_c.targets.netlist import FIRST_INPUT, Builder, Netlist, simplify

Cut = tuple[int, int, int]


def exact_array(bits: int, *, signed: bool) -> Netlist:
    """The carry-ripple array multiplier of `bits` x `bits` bits; signed ones are Baugh-Wooley's.

    Row j adds the partial products of weight bit j. For signed operands those with one sign bit
    are inverted, and ones enter at columns `bits` and 2 `bits` - 1.
    """
    builder = Builder(2 * bits)
    first_weight = FIRST_INPUT + bits

    def partial(i: int, j: int) -> int:
        inverted = signed and (i == bits - 1) != (j == bits - 1)
        return builder.add("nand" if inverted else "and", FIRST_INPUT + i, first_weight + j)

    row = [partial(i, 0) for i in range(bits)]
    outputs = [row[0]]
    upper = [*row[1:], 1 if signed else 0]
    for j in range(1, bits):
        carry = 0
        sums = []
        for i in range(bits):
            total, carry = _full_adder(builder, partial(i, j), upper[i], carry)
            sums.append(total)
        outputs.append(sums[0])
        upper = [*sums[1:], carry]
    if signed:
        upper[-1] = builder.add("not", upper[-1], upper[-1])
    return simplify(Netlist(2 * bits, tuple(builder.gates), (*outputs, *upper)))


def without_partial_products(exact: Netlist, cut: Cut) -> Netlist:
    """`exact` with every partial product inside `cut` taken as 0 (a NAND as 1), simplified.

    `cut` is (activation bits, weight bits, columns): the product of activation bit i and weight bit
    j goes where i < activation bits, j < weight bits or i + j < columns.
    """
    activation, weight, column = cut
    first_weight = FIRST_INPUT + exact.inputs // 2
    fixed = {}
    for wire, gate in enumerate(exact.gates, start=FIRST_INPUT + exact.inputs):
        low, high = sorted((gate.a, gate.b))
        if low < first_weight <= high < FIRST_INPUT + exact.inputs:
            i, j = low - FIRST_INPUT, high - first_weight
            if i < activation or j < weight or i + j < column:
                fixed[wire] = gate.kind == "nand"
    return simplify(exact, fixed)


def truncated_arrays(bits: int, *, signed: bool) -> Iterator[tuple[Cut, Netlist]]:
    """The exact array first, then every cut that leaves two bits of either operand something."""
    exact = exact_array(bits, signed=signed)
    for activation in range(max(1, bits - 1)):
        for weight in range(max(1, bits - 1)):
            for column in range(activation + weight, 2 * bits - 2):
                cut = (activation, weight, column)
                yield cut, without_partial_products(exact, cut)


def _full_adder(builder: Builder, a: int, b: int, carry: int) -> tuple[int, int]:
    half = builder.add("xor", a, b)
    both = builder.add("and", a, b)
    total = builder.add("xor", half, carry)
    ripple = builder.add("and", half, carry)
    return total, builder.add("or", both, ripple)
