"""Simulates the netlists of multiplier libraries and compares all operand pairs with their tables.

    python tools/simulate_library.py [LIBRARY…] [--simulator verilator]

LIBRARY is a name of a shipped library or a folder; both shipped ones by default. Needs Icarus Verilog
(or Verilator). Exit code 1 where a netlist and its table differ.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from alwann_c.errors import InputError
from alwann_c.rtl.files import write_hex
from alwann_c.rtl.multipliers import read_netlist
from alwann_c.rtl.simulate import Simulator, simulate
from alwann_c.targets import Multiplier, builtin_library_names, load_builtin_library, load_library

BENCH = """\
module multiplier_tb;
  reg [{product}:0] products [0:{last}];
  reg [{operand}:0] a, b;
  wire [{product}:0] product;
  integer pair, wrong;
  {name} multiplier (.A(a), .B(b), .O(product));
  initial begin
    $readmemh("products.hex", products);
    wrong = 0;
    for (pair = 0; pair <= {last}; pair = pair + 1) begin
      {{a, b}} = pair[{product}:0];
      #1 if (product !== products[pair]) wrong = wrong + 1;
    end
    if (wrong != 0) $fatal(1, "FAIL: %0d products differ from the table", wrong);
    $display("PASS: %0d products", pair);
    $finish;
  end
endmodule
"""
"""The operand codes of a pair are the halves of its number, the activation's the upper one."""


def simulate_netlist(multiplier: Multiplier, simulator: Simulator | None = None) -> str:
    """Simulates a multiplier's netlist over all pairs of its width; `PASS: N products`.

    Raises InputError when a product differs from the table, or there is no netlist or simulator.
    """
    if multiplier.netlist is None:
        raise InputError(f"{multiplier.name}: no netlist")
    bits, side = multiplier.bits, 1 << multiplier.bits
    products = multiplier.table[:side, :side] & ((1 << 2 * bits) - 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = read_netlist(multiplier.netlist, multiplier.name)
        (folder / "netlist.v").write_text(text, encoding="utf-8")
        write_hex(folder / "products.hex", products.astype(np.uint16))
        bench = BENCH.format(
            name=multiplier.name, operand=bits - 1, product=2 * bits - 1, last=side * side - 1
        )
        (folder / "bench.sv").write_text(bench, encoding="utf-8")
        (folder / "multiplier.f").write_text("netlist.v\nbench.sv\n", encoding="utf-8")
        return simulate(folder, "multiplier", simulator)


def main() -> None:
    """Every netlist of every library, one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("library", nargs="*", default=list(builtin_library_names()))
    parser.add_argument("--simulator", choices=["iverilog", "verilator"])
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.library:
        shipped = name in builtin_library_names()
        library = load_builtin_library(name) if shipped else load_library(Path(name))
        for multiplier in library:
            if multiplier.netlist is None:
                print(f"{name}/{multiplier.name}: no netlist", flush=True)
                continue
            try:
                said = simulate_netlist(multiplier, arguments.simulator)
            except InputError as e:
                failed, said = failed + 1, f"FAIL: {e}"
            print(f"{name}/{multiplier.name}: {said}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
