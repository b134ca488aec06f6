"""Valid circuits of every kind of file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from alwann_c.targets import exact_products
from alwann_c.targets.arrays import exact_array
from alwann_c.targets.verilog import netlist_verilog

NETLIST = b"""\
// a netlist
module m (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[0] & B[0]; /* a gate */
  assign O = {15'b0, g0};
endmodule
"""
EVOLUTION = json.dumps(
    {
        "campaign": {"seed": 0},
        "found": [
            {
                "task": 0,
                "round": 1,
                "netlist": "4;and 2 4;xor 3 5;6 7 0 1",
                "error": 0.5,
                "cost": 1.0,
                "evaluations": 9,
                "seconds": 0.1,
            }
        ],
    }
).encode()
C_FUNCTION = b"""\
/* PDK45_PWR = 0.391 mW
   MAE = 0 */
#include <stdint.h>
uint16_t mul8u_m(const uint8_t A, uint8_t B) {
  return A * B;  // exact
}
"""
LIBERTY = (Path(__file__).parents[1] / "targets" / "small.lib").read_bytes()


def tables() -> list[bytes]:
    """An exact table of 2 bits in every format; see `circuit_readers.imported_table`."""
    table = exact_products(False, 2)[:4, :4]
    stream = io.BytesIO()
    np.save(stream, table)
    square = "".join(",".join(map(str, row)) + "\n" for row in table.tolist())
    rows = "".join(f"{a},{b},{table[a, b]}\n" for a in range(4) for b in range(4))
    return [
        b"\0" + table.astype("<u2").tobytes(),
        b"\1" + stream.getvalue(),
        b"\2# exact\n" + square.encode(),
        b"\2a, b, product\n" + rows.encode(),
    ]


def verilog() -> list[bytes]:
    """A circuit as the tool writes it."""
    return [netlist_verilog(exact_array(2, signed=False), "m").encode()]
