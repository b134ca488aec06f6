"""Netlists as synthesizable Verilog, and a test bench that compares one with its product table."""

from __future__ import annotations

from alwann_c.targets.netlist import FIRST_INPUT, GateKind, Netlist, operand_bits

_OPERATORS: dict[GateKind, str] = {
    "and": "{a} & {b}",
    "or": "{a} | {b}",
    "xor": "{a} ^ {b}",
    "nand": "~({a} & {b})",
    "nor": "~({a} | {b})",
    "xnor": "~({a} ^ {b})",
    "not": "~{a}",
}


def to_verilog(netlist: Netlist, module: str, comment: str = "") -> str:
    """A Verilog-2001 module `module(a, w, p)`: activation code, weight code, product bits.

    Every gate is one `assign`; lines of `comment` go before the module.
    """
    bits = operand_bits(netlist)
    first_gate = FIRST_INPUT + netlist.inputs

    def wire(index: int) -> str:
        if index < FIRST_INPUT:
            return f"1'b{index}"
        place = index - FIRST_INPUT
        if index < first_gate:
            return f"a[{place}]" if place < bits else f"w[{place - bits}]"
        return f"n{index - first_gate}"

    lines = [f"// {line}" for line in comment.splitlines()]
    lines += [
        f"module {module} (",
        f"  input  wire [{bits - 1}:0] a,",
        f"  input  wire [{bits - 1}:0] w,",
        f"  output wire [{2 * bits - 1}:0] p",
        ");",
    ]
    for index, gate in enumerate(netlist.gates):
        logic = _OPERATORS[gate.kind].format(a=wire(gate.a), b=wire(gate.b))
        lines.append(f"  wire n{index} = {logic};")
    lines += [f"  assign p[{bit}] = {wire(index)};" for bit, index in enumerate(netlist.outputs)]
    return "\n".join([*lines, "endmodule", ""])


def test_bench(netlist: Netlist, module: str) -> str:
    """A module `bench` that writes the product bits of every pair of codes, in hexadecimal.

    One line a pair, weight code running fastest: the order of a product table.
    """
    bits = operand_bits(netlist)
    return f"""\
module bench;
  reg [{bits - 1}:0] a, w;
  wire [{2 * bits - 1}:0] p;
  integer i, j;
  {module} circuit (.a(a), .w(w), .p(p));
  initial begin
    for (i = 0; i < {1 << bits}; i = i + 1)
      for (j = 0; j < {1 << bits}; j = j + 1) begin
        a = i;
        w = j;
        #1 $display("%h", p);
      end
    $finish;
  end
endmodule
"""
