"""Netlists as structural Verilog."""

from __future__ import annotations

from alwann_c.targets.netlist import FIRST_INPUT, OPERAND_BITS, Gate, Netlist

_EXPRESSIONS = {
    "and": "{a} & {b}",
    "or": "{a} | {b}",
    "xor": "{a} ^ {b}",
    "nand": "~({a} & {b})",
    "nor": "~({a} | {b})",
    "xnor": "~({a} ^ {b})",
    "not": "~{a}",
}


def netlist_verilog(netlist: Netlist, name: str) -> str:
    """Module `name` (A: activation, B: weight, O: product), one assignment a gate.

    Raises ValueError unless 16 inputs lead to 16 outputs.
    """
    if netlist.inputs != 2 * OPERAND_BITS or len(netlist.outputs) != 2 * OPERAND_BITS:
        raise ValueError("a multiplier needs 8 + 8 input bits and 16 output bits")
    first_gate = FIRST_INPUT + netlist.inputs

    def wire(number: int) -> str:
        if number < FIRST_INPUT:
            return f"1'b{number}"
        if number < FIRST_INPUT + OPERAND_BITS:
            return f"A[{number - FIRST_INPUT}]"
        if number < first_gate:
            return f"B[{number - FIRST_INPUT - OPERAND_BITS}]"
        return f"g{number - first_gate}"

    def drive(index: int, gate: Gate) -> str:
        value = _EXPRESSIONS[gate.kind].format(a=wire(gate.a), b=wire(gate.b))
        return f"  wire g{index} = {value};"

    gates = [drive(index, gate) for index, gate in enumerate(netlist.gates)]
    product = ", ".join(wire(number) for number in reversed(netlist.outputs))
    ports = "input [7:0] A, input [7:0] B, output [15:0] O"
    lines = [f"module {name} ({ports});", *gates, f"  assign O = {{{product}}};", "endmodule"]
    return "\n".join(lines) + "\n"
