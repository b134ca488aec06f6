"""Reading BLIF, the netlist format of academic logic synthesis; limits on size, depth and fan-in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alwann_c.errors import InputError
from alwann_c.targets.netlist import FIRST_INPUT, Builder, GateKind, Netlist, simplify

MAX_TEXT = 4 << 20
MAX_NAMES = 20_000
MAX_INPUTS_OF_COVER = 12
MAX_CUBES = 4_096
MAX_CUBE_LITERALS = 200_000
ACTIVATION_NAMES = ("a", "x")
"""Names, in lower case, by which an operand declared second is still known to be the activation."""

_BIT = re.compile(r"^(.*?)\[(\d{1,3})\]$")

_GATES: dict[tuple[frozenset[str], str], GateKind] = {
    (frozenset({"11"}), "1"): "and",
    (frozenset({"11"}), "0"): "nand",
    (frozenset({"1-", "-1"}), "1"): "or",
    (frozenset({"1-", "-1"}), "0"): "nor",
    (frozenset({"00"}), "1"): "nor",
    (frozenset({"00"}), "0"): "or",
    (frozenset({"0-", "-0"}), "1"): "nand",
    (frozenset({"0-", "-0"}), "0"): "and",
    (frozenset({"01", "10"}), "1"): "xor",
    (frozenset({"01", "10"}), "0"): "xnor",
    (frozenset({"00", "11"}), "1"): "xnor",
    (frozenset({"00", "11"}), "0"): "xor",
}
"""Covers of two inputs that are one gate of ours: cubes and the value they stand for."""

Cover = tuple[list[str], list[tuple[str, str]]]


def read_blif(text: str, source: str) -> Netlist:
    """The multiplier described by the first model of a BLIF text.

    Two input buses of n bits (`A[0]` …, or the first n and last n inputs) and one output bus of 2 n
    bits. The activation is the bus called a (or x), else the one declared first. Raises InputError
    naming `source` for anything else: no latches, no subcircuits, no loops.
    """
    if len(text) > MAX_TEXT:
        raise InputError(f"{source}: {len(text)} characters: give a netlist of at most {MAX_TEXT}")
    inputs, outputs, covers = _parse(text, source)
    first, second = _operands(inputs, source)
    product = _bus(outputs, source)
    if len(product) != 2 * len(first):
        raise InputError(
            f"{source}: {len(first)} + {len(second)} input bits and {len(product)} output bits: a"
            " multiplier of n-bit operands has 2 n output bits, n from 2 to 8"
        )
    builder = Builder(2 * len(first))
    wires = {name: FIRST_INPUT + i for i, name in enumerate([*first, *second])}
    for name in _ordered(product, covers, wires, source):
        wires[name] = _build(builder, covers[name], wires)
    netlist = Netlist(builder.inputs, tuple(builder.gates), tuple(wires[name] for name in product))
    return simplify(netlist)


def _parse(text: str, source: str) -> tuple[list[str], list[str], dict[str, Cover]]:
    inputs: list[str] = []
    outputs: list[str] = []
    covers: dict[str, Cover] = {}
    cubes: list[tuple[str, str]] | None = None
    literals = 0
    joined = re.sub(r"\\\n", " ", text.replace("\r\n", "\n"))
    for line in joined.split("\n"):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0] == ".inputs":
            inputs += words[1:]
        elif words[0] == ".outputs":
            outputs += words[1:]
        elif words[0] == ".names" and len(words) > 1:
            *reads, name = words[1:]
            if len(covers) >= MAX_NAMES or len(reads) > MAX_INPUTS_OF_COVER:
                raise InputError(
                    f"{source}: more than {MAX_NAMES} functions or {MAX_INPUTS_OF_COVER} inputs of"
                    " one: give a smaller circuit"
                )
            if name in covers or name in inputs:
                raise InputError(f"{source}: {name[:40]!r} is driven twice: give a proper netlist")
            cubes = []
            covers[name] = (reads, cubes)
        elif words[0] == ".end":
            break
        elif words[0] == ".model":
            continue
        elif words[0].startswith("."):
            raise InputError(
                f"{source}: {words[0][:20]!r} is not combinational logic of one model: flatten the"
                " circuit and write .names only"
            )
        elif cubes is not None:
            cube, value = (words[0], words[1]) if len(words) == 2 else ("", words[0])
            literals += len(cube)
            _check_cube(cube, value, covers, cubes, literals, source)
            cubes.append((cube, value))
        else:
            raise InputError(f"{source}: {line[:40]!r} is no BLIF: give a .blif file")
    if not inputs or not outputs:
        raise InputError(f"{source}: no .inputs or no .outputs: give a .blif file")
    return inputs, outputs, covers


def _check_cube(
    cube: str,
    value: str,
    covers: dict[str, Cover],
    cubes: list[tuple[str, str]],
    literals: int,
    source: str,
) -> None:
    name, (reads, _) = next(reversed(covers.items()))
    wrong = len(cube) != len(reads) or set(cube) - set("01-") or value not in ("0", "1")
    if wrong or (cubes and cubes[0][1] != value):
        raise InputError(
            f"{source}: cover of {name[:40]!r}: {cube[:40]!r} {value[:4]!r} is no cube"
        )
    if len(cubes) >= MAX_CUBES or literals > MAX_CUBE_LITERALS:
        raise InputError(f"{source}: covers too large: give a netlist of gates")


def _bus(names: Sequence[str], source: str) -> list[str]:
    """Names from bit 0 up: by their index where they have one, else as declared."""
    bits = [_BIT.match(name) for name in names]
    if all(bits):
        indices = [int(bit[2]) for bit in bits if bit is not None]
        if sorted(indices) != list(range(len(names))):
            raise InputError(f"{source}: bits of a bus missing or repeated: give buses [n-1:0]")
        return [name for _, name in sorted(zip(indices, names, strict=True))]
    return list(names)


def _operands(names: Sequence[str], source: str) -> tuple[list[str], list[str]]:
    """Bits of activation and weight, from bit 0 up."""
    buses: dict[str, list[str]] = {}
    for name in names:
        bit = _BIT.match(name)
        buses.setdefault(bit[1] if bit is not None else "", []).append(name)
    half = len(names) // 2
    if "" in buses and len(buses) == 1:
        parts = [list(names[:half]), list(names[half:])]
        labels = ["", ""]
    else:
        parts, labels = [_bus(bus, source) for bus in buses.values()], list(buses)
    if len(parts) != 2 or len(parts[0]) != len(parts[1]) or not 2 <= len(parts[0]) <= 8:
        sizes = " + ".join(str(len(part)) for part in parts)
        raise InputError(
            f"{source}: inputs of {sizes} bits: a multiplier has two operands of the same width,"
            " 2 to 8 bits"
        )
    label = [text.replace("\\", "").strip().lower() for text in labels]
    if label[1] in ACTIVATION_NAMES and label[0] not in ACTIVATION_NAMES:
        parts.reverse()
    return parts[0], parts[1]


def _ordered(
    outputs: Sequence[str], covers: dict[str, Cover], inputs: dict[str, int], source: str
) -> list[str]:
    """Names the outputs depend on, each after what it reads; without recursion."""
    order: list[str] = []
    state: dict[str, int] = {}
    stack = [(name, False) for name in reversed(outputs)]
    while stack:
        name, leaving = stack.pop()
        if leaving:
            state[name] = 2
            order.append(name)
            continue
        if name in inputs or state.get(name) == 2:
            continue
        if state.get(name) == 1:
            raise InputError(f"{source}: {name[:40]!r} is part of a loop: give combinational logic")
        if name not in covers:
            raise InputError(f"{source}: nothing drives {name[:40]!r}: give the whole circuit")
        state[name] = 1
        stack.append((name, True))
        stack += [(read, False) for read in covers[name][0] if state.get(read) != 2]
    return order


def _build(builder: Builder, cover: Cover, wires: dict[str, int]) -> int:
    """Wire of a cover: the sum of its cubes, inverted where they list the zeros."""
    reads, cubes = cover
    value = cubes[0][1] if cubes else "1"
    kind = _GATES.get((frozenset(cube for cube, _ in cubes), value))
    if kind is not None:
        return builder.add(kind, wires[reads[0]], wires[reads[1]])
    total = 0
    for cube, _ in cubes:
        total = builder.add("or", total, _product(builder, reads, cube, wires))
    return builder.add("not", total, total) if value == "0" else total


def _product(builder: Builder, reads: Sequence[str], cube: str, wires: dict[str, int]) -> int:
    product = 1
    for name, literal in zip(reads, cube, strict=True):
        if literal != "-":
            wire = wires[name]
            term = wire if literal == "1" else builder.add("not", wire, wire)
            product = builder.add("and", product, term)
    return product
