"""Reading back the Verilog that `netlist_verilog` writes: one assignment a gate, nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from alwann_c.errors import InputError
from alwann_c.targets.netlist import FIRST_INPUT, MAX_OPERAND_BITS, Builder, GateKind, Netlist
from alwann_c.untrusted import read_bounded

MAX_VERILOG_BYTES = 8 << 20
MAX_GATES = 100_000

_HEAD = re.compile(
    r"module (\w+) \(input \[(\d)(?::0)?\] A, input \[(\d)(?::0)?\] B, output \[(\d{1,2}):0\] O\);"
)
_GATE = re.compile(r"wire g(\d+) = (~?)(\(?)([^\s()&|^~]+)(?: ([&|^]) ([^\s()&|^~]+))?(\)?);")
_PRODUCT = re.compile(r"assign O = \{([^{}]*)\};")
_WIRE = re.compile(r"([ABg])(?:\[(\d{1,2})\]|(\d{1,6}))|1'b([01])")
_KINDS: dict[str, GateKind] = {"&": "and", "|": "or", "^": "xor"}
_INVERTED: dict[GateKind, GateKind] = {"and": "nand", "or": "nor", "xor": "xnor"}


def read_netlist_file(path: Path) -> Netlist | None:
    """The circuit in a Verilog file, None where it is written in any other way.

    Raises InputError for a file that cannot be read or is over 8 MiB.
    """
    try:
        text = read_bounded(path, MAX_VERILOG_BYTES, "give a netlist").decode("utf-8")
    except UnicodeDecodeError as e:
        raise InputError(f"{path}: cannot be read as Verilog text ({e}): check the file") from e
    return netlist_from_verilog(text)


def netlist_from_verilog(text: str) -> Netlist | None:
    """The circuit, repeated gates taken once; None for Verilog of any other form."""
    lines = [line.strip() for line in text.splitlines()]
    code = [line for line in lines if line and not line.startswith("//")]
    if not 3 <= len(code) <= MAX_GATES or code[-1] != "endmodule":
        return None
    head, product = _HEAD.fullmatch(code[0]), _PRODUCT.fullmatch(code[-2])
    if head is None or product is None:
        return None
    bits = int(head[2]) + 1
    if int(head[3]) + 1 != bits or int(head[4]) + 1 != 2 * bits or bits > MAX_OPERAND_BITS:
        return None
    try:
        builder, wires = Builder(2 * bits), list(range(FIRST_INPUT + 2 * bits))
        for number, line in enumerate(code[1:-2]):
            wires.append(_gate(line, number, bits, wires, builder))
        names = reversed(product[1].split(", "))
        outputs = [wires[_wire(name, bits)] for name in names]
        if len(outputs) != 2 * bits:
            return None
        return Netlist(2 * bits, tuple(builder.gates), tuple(outputs))
    except (ValueError, IndexError):
        return None


def _gate(line: str, number: int, bits: int, wires: list[int], builder: Builder) -> int:
    found = _GATE.fullmatch(line)
    if found is None or int(found[1]) != number:
        raise ValueError(line)
    inverted, opening, a, operator, b, closing = found.groups()[1:]
    first = wires[_wire(a, bits)]
    if not operator:
        if opening or closing:
            raise ValueError(line)
        return builder.add("not", first, first) if inverted else first
    if bool(inverted) != bool(opening) or bool(opening) != bool(closing):
        raise ValueError(line)
    kind = _KINDS[operator]
    return builder.add(_INVERTED[kind] if inverted else kind, first, wires[_wire(b, bits)])


def _wire(name: str, bits: int) -> int:
    found = _WIRE.fullmatch(name)
    if found is None:
        raise ValueError(name)
    bus, bit, gate, constant = found.groups()
    if constant is not None:
        return int(constant)
    if (bus == "g") != (gate is not None) or (bit is not None and int(bit) >= bits):
        raise ValueError(name)
    if bus == "g":
        return FIRST_INPUT + 2 * bits + int(gate)
    return FIRST_INPUT + int(bit) + (bits if bus == "B" else 0)
