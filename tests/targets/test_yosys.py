"""Verilog and BLIF of others through Yosys. Skipped without it; its first run takes minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alwann_c.errors import InputError
from alwann_c.targets import exact_products
from alwann_c.targets.importing import Choices, Imported, import_files
from alwann_c.targets.importing.yosys import available

pytestmark = pytest.mark.skipif(not available(), reason="needs Yosys (extra `netlists`)")

CELLS = """\
module mul2u_cells (B, A, O);  // B first: A is the activation all the same
  input [1:0] A; input [1:0] B; output [3:0] O;
  wire s, c;
  HAX1 u (.A(A[1] & B[0]), .B(A[0] & B[1]), .YS(s), .YC(c));
  assign O = {A[1] & B[1] & c, (A[1] & B[1]) ^ c, s, A[0] & B[0]};
endmodule
"""
BEHAVIOUR = """\
module half(input [3:0] x, output [3:0] y); assign y = {x[3:1], 1'b0}; endmodule
module mul4s_own(input signed [3:0] A, input signed [3:0] B, output signed [7:0] P);
  wire [3:0] w;
  half h(.x(B), .y(w));
  assign P = A * $signed(w);
endmodule
"""
BLIF = """\
.model mul2u_b
.inputs a[0] a[1] b[0] b[1]
.outputs o[0] o[1] o[2] o[3]
.names a[0] b[0] o[0]
11 1
.names a[1] b[0] p
11 1
.names a[0] b[1] q
11 1
.names p q o[1]
10 1
01 1
.names p q c
11 1
.names a[1] b[1] r
11 1
.names r c o[2]
10 1
01 1
.names r c o[3]
11 1
.end
"""
LIBERTY = Path(__file__).with_name("small.lib").read_text(encoding="ascii")


def read(path: Path, text: str, **choices: object) -> Imported:
    path.write_text(text, encoding="utf-8")
    (imported,), _ = import_files([path], Choices(**choices))  # type: ignore[arg-type]
    return imported


def test_cells_left_undefined(tmp_path: Path) -> None:
    imported = read(tmp_path / "mul2u_cells.v", CELLS)
    assert np.array_equal(imported.multiplier.table, exact_products(False, 2))
    assert imported.circuit.netlist is not None
    assert len(imported.circuit.netlist.gates) <= 8
    half = CELLS.replace("A[0] & B[1]), .YS", "1'b0), .YS")
    imported = read(tmp_path / "mul2u_cells.v", half)
    assert imported.multiplier.table[1, 2] == 0
    assert imported.multiplier.table[2, 1] == 2


def test_behaviour_and_hierarchy(tmp_path: Path) -> None:
    imported = read(tmp_path / "mul4s_own.v", BEHAVIOUR)
    codes = np.arange(16) - 16 * (np.arange(16) > 7)
    expected = np.multiply.outer(codes, codes & ~1)
    assert imported.multiplier.signed
    assert np.array_equal(imported.multiplier.table[:16, :16], expected)


def test_blif(tmp_path: Path) -> None:
    imported = read(tmp_path / "mul2u_b.blif", BLIF)
    assert np.array_equal(imported.multiplier.table, exact_products(False, 2))


def test_area_from_liberty(tmp_path: Path) -> None:
    (tmp_path / "small.lib").write_text(LIBERTY, encoding="utf-8")
    imported = read(tmp_path / "mul2u_b.blif", BLIF, liberty=tmp_path / "small.lib")
    assert 8 <= (imported.multiplier.area_um2 or 0) <= 60
    assert "area: Yosys, cells of small.lib" in imported.multiplier.origin
    (tmp_path / "small.lib").write_text("library(x) {", encoding="utf-8")
    with pytest.raises(InputError, match=r"small\.lib"):
        import_files([tmp_path / "mul2u_b.blif"], Choices(liberty=tmp_path / "small.lib"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("HAX1", "MYSTERY", "Yosys refuses it: .*MYSTERY"),
        ("endmodule", '`include "/etc/passwd"\nendmodule', "no system tasks and no directives"),
        ("assign O", 'initial $readmemh("x", s);\nassign O', "no system tasks"),
        ("input [1:0] B", "input [2:0] B", "operands A of 2 and B of 3 bits"),
        ("input [1:0] B;", "input [1:0] B; input C;", "not declared|give two operands"),
        ("wire s, c;", "wire s; reg c; always @(posedge A[0]) c <= B[0];", "combinational|refuses"),
        (".YC(c));", ".YC()); assign c = ~(c & A[0]);", "has a loop"),
    ],
)
def test_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in CELLS
    with pytest.raises(InputError, match=said):
        read(tmp_path / "mul2u_cells.v", CELLS.replace(old, new))


def test_a_port_too_many(tmp_path: Path) -> None:
    text = CELLS.replace("(B, A, O)", "(B, A, O, C)").replace("wire s, c;", "input C; wire s, c;")
    with pytest.raises(InputError, match=r"ports .*C .1 bits.*give two operands and one product"):
        read(tmp_path / "mul2u_cells.v", text)


def test_which_module(tmp_path: Path) -> None:
    text = CELLS + "module x(input a, output b); assign b = a; endmodule\n"
    with pytest.raises(InputError, match="modules mul2u_cells, x: name the multiplier's as the"):
        read(tmp_path / "other.v", text)
    imported = read(tmp_path / "other.v", text, function="mul2u_cells")
    assert imported.multiplier.is_exact
