"""Verilog and BLIF netlists, read by Yosys, as `Netlist`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alwann_c.errors import InputError
from alwann_c.targets.comments import has_system_tasks, without_comments
from alwann_c.targets.importing.yosys import GATES, run_yosys, where
from alwann_c.targets.inverters import fuse_inverters
from alwann_c.targets.netlist import FIRST_INPUT, MAX_OPERAND_BITS, Builder, Netlist, simplify

MAX_CELLS = 200_000
_MODULE = re.compile(r"^[^\S\n]*module\s+\\?(\w+)|^[^\S\n]*\.model\s+(\S+)", re.M)
_BIT = re.compile(r"(.*?)[\[<(_]?(\d+)[\]>)]?")


@dataclass(frozen=True)
class Port:
    """Bus of a circuit, its wires from the least significant bit up; wires are Yosys's bits."""

    name: str
    bits: tuple[Any, ...]


@dataclass(frozen=True)
class ReadNetlist:
    """`netlist` with the operand named A (or first) as activation; signedness where declared."""

    name: str
    netlist: Netlist
    signed: bool | None


def read_netlist(path: Path, text: str, top: str | None = None) -> ReadNetlist:
    """The combinational circuit in a .v, .sv or .blif file: module `top`, or named as the file, or
    the only one.

    Raises InputError for anything but a circuit of two equally wide operands of 1 to 8 bits and a
    product of at most twice that, and for what reads files, or is sequential.
    """
    blif = path.suffix == ".blif"
    if not blif and has_system_tasks(text, signedness=True):
        raise InputError(f"{path}: a netlist has no system tasks and no directives: remove them")
    names = [a or b for a, b in _MODULE.findall(without_comments(text))]
    chosen = _top(path, names, top)
    source = f"{where()}circuit{path.suffix}"
    if blif:
        read = f"read_blif -wideports {source}"
    else:
        read = f"read_verilog -sv {source}; read_verilog -nooverwrite {where()}cells.v"
    script = f"{read}; hierarchy -check -top {chosen}; {GATES}; write_json {where()}design.json"
    module = run_yosys(path, script)["modules"][chosen]
    return ReadNetlist(chosen, _netlist(path, module), _declared(module))


def _top(path: Path, names: list[str], top: str | None) -> str:
    wanted = top or (path.stem if path.stem in names else None)
    if wanted is None and len(names) == 1:
        wanted = names[0]
    if wanted is None or wanted not in names:
        listed = ", ".join(names[:8]) or "none"
        raise InputError(f"{path}: modules {listed}: name the multiplier's as the file, or choose")
    return wanted


def _declared(module: dict[str, Any]) -> bool | None:
    flags = [port.get("signed") for port in module["ports"].values()]
    return True if any(flags) else None


def _netlist(path: Path, module: dict[str, Any]) -> Netlist:
    first, second, product = _buses(path, module)
    bits = len(first.bits)
    shape = f"operands {first.name} of {bits} and {second.name} of {len(second.bits)} bits, product"
    shape += f" {product.name} of {len(product.bits)}"
    if len(second.bits) != bits or not 1 <= bits <= MAX_OPERAND_BITS:
        raise InputError(f"{path}: {shape}: give an n x n multiplier, n at most {MAX_OPERAND_BITS}")
    if len(product.bits) > 2 * bits:
        raise InputError(f"{path}: {shape}: more than {2 * bits} bits")
    cells = {k: c for k, c in module["cells"].items() if c["type"] != "$scopeinfo"}
    if len(cells) > MAX_CELLS:
        raise InputError(f"{path}: {len(cells)} cells: at most {MAX_CELLS}")
    builder = Builder(2 * bits)
    known: dict[Any, int] = {"0": 0, "1": 1, "x": 0, "z": 0}
    for offset, bus in ((0, first), (bits, second)):
        known |= {wire: FIRST_INPUT + offset + i for i, wire in enumerate(bus.bits)}
    for cell in _in_order(path, cells, known):
        ports = {name: wires[0] for name, wires in cell["connections"].items()}
        inputs = {name: known[wire] for name, wire in ports.items() if name != "Y"}
        known[ports["Y"]] = _add(builder, cell["type"], inputs)
    undriven = [wire for wire in product.bits if wire not in known]
    if undriven:
        raise InputError(f"{path}: {len(undriven)} bits of {product.name} are not driven")
    outputs = [known[wire] for wire in product.bits] + [0] * (2 * bits - len(product.bits))
    read = Netlist(2 * bits, tuple(builder.gates), tuple(outputs))
    return fuse_inverters(simplify(read))


def _buses(path: Path, module: dict[str, Any]) -> tuple[Port, Port, Port]:
    """Activation, weight and product; single-bit ports a0, a1, … are taken as the bus a."""
    inputs, outputs = _gathered(module["ports"], "input"), _gathered(module["ports"], "output")
    if len(inputs) != 2 or len(outputs) != 1:
        seen = ", ".join(f"{p.name} ({len(p.bits)} bits)" for p in (*inputs, *outputs))
        raise InputError(f"{path}: ports {seen}: give two operands and one product")
    first, second = inputs
    if (first.name.lower(), second.name.lower()) == ("b", "a"):
        first, second = second, first
    return first, second, outputs[0]


def _gathered(ports: dict[str, Any], direction: str) -> list[Port]:
    own = {name: p["bits"] for name, p in ports.items() if p["direction"] == direction}
    if all(len(bits) > 1 for bits in own.values()) or len(own) <= 2:
        return [Port(name, tuple(bits)) for name, bits in own.items()]
    buses: dict[str, dict[int, Any]] = {}
    for name, bits in own.items():
        found = _BIT.fullmatch(name)
        if found is None or len(bits) != 1:
            return [Port(name, tuple(bits)) for name, bits in own.items()]
        buses.setdefault(found[1], {})[int(found[2])] = bits[0]
    return [Port(name, tuple(wires[i] for i in sorted(wires))) for name, wires in buses.items()]


def _in_order(path: Path, cells: dict[str, Any], known: dict[Any, int]) -> list[dict[str, Any]]:
    """The cells so that each comes after those that drive it, without recursion."""
    drivers: dict[Any, str] = {}
    for name, cell in cells.items():
        if cell["type"] not in _CELLS:
            kind = cell["type"].strip("$_").lower()
            raise InputError(f"{path}: holds a cell {kind!r}: give a combinational netlist")
        drivers[cell["connections"]["Y"][0]] = name
    waits = dict.fromkeys(cells, 0)
    readers: dict[str, list[str]] = {name: [] for name in cells}
    for name, cell in cells.items():
        for port, (wire, *_) in cell["connections"].items():
            if port != "Y" and wire in drivers:
                waits[name] += 1
                readers[drivers[wire]].append(name)
            elif port != "Y" and wire not in known:
                raise InputError(f"{path}: a gate reads a wire that nothing drives")
    ready = [name for name, count in waits.items() if count == 0]
    for name in ready:
        for reader in readers[name]:
            waits[reader] -= 1
            if waits[reader] == 0:
                ready.append(reader)
    if len(ready) != len(cells):
        raise InputError(f"{path}: has a loop: give a combinational netlist")
    return [cells[name] for name in ready]


_CELLS = (
    "$_BUF_", "$_NOT_", "$_AND_", "$_OR_", "$_XOR_", "$_NAND_", "$_NOR_", "$_XNOR_", "$_ANDNOT_",
    "$_ORNOT_", "$_MUX_", "$_NMUX_", "$_AOI3_", "$_OAI3_", "$_AOI4_", "$_OAI4_",
)  # fmt: skip


def _add(builder: Builder, kind: str, wires: dict[str, int]) -> int:
    """One cell of Yosys's internal library as gates."""
    add = builder.add
    a, b = wires["A"], wires.get("B", wires["A"])
    match kind.strip("$_"):
        case "BUF":
            return a
        case "NOT":
            return add("not", a, a)
        case "AND":
            return add("and", a, b)
        case "OR":
            return add("or", a, b)
        case "XOR":
            return add("xor", a, b)
        case "NAND":
            return add("nand", a, b)
        case "NOR":
            return add("nor", a, b)
        case "XNOR":
            return add("xnor", a, b)
        case "ANDNOT":
            return add("and", a, add("not", b, b))
        case "ORNOT":
            return add("or", a, add("not", b, b))
        case "MUX" | "NMUX" as multiplexer:
            s = wires["S"]
            low, high = add("and", a, add("not", s, s)), add("and", b, s)
            return add("or" if multiplexer == "MUX" else "nor", low, high)
        case "AOI3":
            return add("nor", add("and", a, b), wires["C"])
        case "OAI3":
            return add("nand", add("or", a, b), wires["C"])
        case "AOI4":
            return add("nor", add("and", a, b), add("and", wires["C"], wires["D"]))
        case _:
            return add("nand", add("or", a, b), add("or", wires["C"], wires["D"]))
