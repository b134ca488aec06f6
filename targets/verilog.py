"""Netlists as synthesizable structural Verilog."""

from __future__ import annotations

from alwann_c.targets.netlist import FIRST_INPUT, Gate, GateKind, Netlist, operand_bits

_EXPRESSIONS: dict[GateKind, str] = {
    "and": "{a} & {b}",
    "or": "{a} | {b}",
    "xor": "{a} ^ {b}",
    "nand": "~({a} & {b})",
    "nor": "~({a} | {b})",
    "xnor": "~({a} ^ {b})",
    "not": "~{a}",
}


def netlist_verilog(netlist: Netlist, name: str, comment: str = "") -> str:
    """Module `name` (A: activation, B: weight, O: product), one assignment a gate.

    Lines of `comment` go before it. Raises ValueError for what is no n x n multiplier, n <= 8.
    """
    bits = operand_bits(netlist)
    first_gate = FIRST_INPUT + netlist.inputs

    def wire(number: int) -> str:
        if number < FIRST_INPUT:
            return f"1'b{number}"
        if number < FIRST_INPUT + bits:
            return f"A[{number - FIRST_INPUT}]"
        if number < first_gate:
            return f"B[{number - FIRST_INPUT - bits}]"
        return f"g{number - first_gate}"

    def drive(index: int, gate: Gate) -> str:
        value = _EXPRESSIONS[gate.kind].format(a=wire(gate.a), b=wire(gate.b))
        return f"  wire g{index} = {value};"

    gates = [drive(index, gate) for index, gate in enumerate(netlist.gates)]
    product = ", ".join(wire(number) for number in reversed(netlist.outputs))
    high = bits - 1
    ports = f"input [{high}:0] A, input [{high}:0] B, output [{2 * bits - 1}:0] O"
    head = [f"// {line}" for line in comment.splitlines()]
    lines = [
        *head,
        f"module {name} ({ports});",
        *gates,
        f"  assign O = {{{product}}};",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"
