"""Multipliers as SystemVerilog modules: their own netlist where there is one, else the table."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from alwann_c.errors import InputError
from alwann_c.rtl.files import indexed, write_csv, write_hex
from alwann_c.targets import Multiplier
from alwann_c.targets.comments import has_system_tasks, without_comments
from alwann_c.untrusted import read_bounded

MAX_NETLIST_BYTES = 8 << 20

_TABLE_MODULE = """\
// Product table of {name}: products.hex, index {{activation, weight}}.
module {name} (input [7:0] A, input [7:0] B, output [15:0] O);
  reg [15:0] products[0:65535];
  initial $readmemh("../../multipliers/{name}/products.hex", products);
  assign O = products[{{A, B}}];
endmodule
"""


def read_netlist(path: Path, name: str) -> str:
    """Text of a netlist file. Raises InputError unless it is plain structural Verilog that declares
    module `name` with ports A, B and O: system tasks and directives are refused."""
    try:
        text = read_bounded(path, MAX_NETLIST_BYTES, "give a netlist").decode("utf-8")
    except UnicodeDecodeError as e:
        raise InputError(f"{path}: cannot read the netlist: {e}") from e
    if has_system_tasks(text):
        raise InputError(
            f"{path}: a netlist has no system tasks and no directives; remove '$' and '`'"
        )
    code = without_comments(text)
    start = re.search(rf"\bmodule\s+{re.escape(name)}\s*\(", code)
    ports = "" if start is None else code[start.end() :].partition(";")[0].rstrip()
    if not ports.endswith(")") or not all(re.search(rf"\b{p}\b", ports) for p in "ABO"):
        raise InputError(f"{path}: declare `module {name} (A, B, O)`, O the 16-bit product")
    return text


def own_netlist(multiplier: Multiplier) -> Path | None:
    """The circuit's Verilog file, where the library has one as wide as the datapath."""
    return multiplier.netlist if multiplier.bits == 8 else None


def write_multiplier(multiplier: Multiplier, folder: Path) -> Path:
    """Writes products.hex, products.csv, the module and multiplier.f; returns the module's file."""
    netlist = own_netlist(multiplier)
    products = multiplier.table.astype(np.int32).astype("<i2" if multiplier.signed else "<u2")
    write_hex(folder / "products.hex", products)
    write_csv(folder / "products.csv", ["activation", "weight", "product"], indexed(products))
    if netlist is None:
        path = folder / f"{multiplier.name}.sv"
        path.write_text(_TABLE_MODULE.format(name=multiplier.name), encoding="utf-8")
    else:
        path = folder / f"{multiplier.name}{netlist.suffix}"
        path.write_text(read_netlist(netlist, multiplier.name), encoding="utf-8")
    lines = [f"+define+MULTIPLIER={multiplier.name}", path.name, "../../rtl/multiplier_tb.sv"]
    (folder / "multiplier.f").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
