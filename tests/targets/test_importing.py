"""Import: tables, headers, C functions, names met again, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from alwann_c.errors import InputError
from alwann_c.targets import exact_products, load_builtin_library, load_library
from alwann_c.targets.arrays import exact_array, without_partial_products
from alwann_c.targets.comments import has_system_tasks, without_comments
from alwann_c.targets.importing import Choices, add_to_library, import_files
from alwann_c.targets.importing.figures import published_figures
from alwann_c.targets.importing.interpret import swap_operands
from alwann_c.targets.importing.yosys import available
from alwann_c.targets.multiplier import error_statistics
from alwann_c.targets.netlist import Netlist, product_table
from alwann_c.targets.verilog import netlist_verilog
from alwann_c.targets.verilog_reader import netlist_from_verilog

needs_yosys = pytest.mark.skipif(not available(), reason="needs Yosys (extra `netlists`)")
CUT = without_partial_products(exact_array(8, signed=False), (0, 2, 5))
"""Not symmetric: cuts weight bits only."""


def table_of(netlist: Netlist, *, signed: bool = False) -> np.ndarray:
    return product_table(netlist, signed=signed)


def one(path: Path, **choices: object) -> np.ndarray:
    (imported,), left = import_files([path], Choices(**choices))  # type: ignore[arg-type]
    assert not left
    return imported.multiplier.table


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_tables_of_every_kind(bits: int, signed: bool, tmp_path: Path) -> None:
    side = 1 << bits
    table = exact_products(signed, bits)[:side, :side] & ~1
    table.astype("<i2" if signed else "<u2").tofile(tmp_path / "a.bin")
    np.save(tmp_path / "b.npy", table)
    np.savetxt(tmp_path / "c.csv", table, "%d", delimiter=",")
    values = np.arange(side) if not signed else np.arange(side) - side // 2
    rows = [(a, b, table[a & side - 1, b & side - 1]) for a in values for b in values[::-1]]
    text = "".join(f"{a}, {b}, {p}\n" for a, b, p in rows)
    (tmp_path / "d.csv").write_text("activation, weight, product\n" + text, encoding="utf-8")
    for name in ("a.bin", "b.npy", "c.csv", "d.csv"):
        (imported,), _ = import_files([tmp_path / name], Choices())
        assert (imported.multiplier.signed, imported.multiplier.bits) == (signed, bits), name
        assert np.array_equal(imported.multiplier.table[:side, :side], table), name
        assert imported.multiplier.power_mw is None


def test_narrow_multiplier_in_a_wide_table(tmp_path: Path) -> None:
    exact_products(False, 6).astype("<u2").tofile(tmp_path / "mul6u_x.bin")
    (imported,), _ = import_files([tmp_path / "mul6u_x.bin"], Choices())
    assert imported.multiplier.bits == 6
    with pytest.raises(InputError, match="does not repeat every 32: no 5-bit multiplier"):
        import_files([tmp_path / "mul6u_x.bin"], Choices(bits=5))


def test_swapped_operands(tmp_path: Path) -> None:
    table_of(CUT).astype("<u2").tofile(tmp_path / "m.bin")
    assert np.array_equal(one(tmp_path / "m.bin", swap=True), table_of(CUT).T)
    (tmp_path / "m.v").write_text(netlist_verilog(swap_operands(CUT), "m"), encoding="utf-8")
    assert np.array_equal(one(tmp_path / "m.v"), table_of(CUT).T)
    (both,), _ = import_files([tmp_path / "m.v", tmp_path / "m.bin"], Choices())
    assert np.array_equal(both.multiplier.table, table_of(CUT))
    assert both.circuit.netlist is not None
    assert np.array_equal(table_of(both.circuit.netlist), table_of(CUT))
    assert both.notes == ("operands swapped",)
    assert "gate model" in both.multiplier.origin


def header(netlist: Netlist, signed: bool) -> str:
    found = error_statistics(table_of(netlist, signed=signed), signed=signed)
    return (
        f"/***\n* part of EvoApproxLib\n***/\n// MAE% = 0.43 %\n// MAE = {found.mae:.1f} \n"
        f"// WCE% = 1 %\n// WCE = {found.wce} \n// PDK45_PWR = 0.142 mW\n"
        "// PDK45_AREA = 390.5 um2\n// PDK45_DELAY = 1.09 ns\n"
    )


@needs_yosys
def test_published_figures_win(tmp_path: Path) -> None:
    path = tmp_path / "mul8u_x.v"
    path.write_text(header(CUT, False) + netlist_verilog(CUT, "mul8u_x"), encoding="utf-8")
    (imported,), _ = import_files([path], Choices())
    m = imported.multiplier
    assert (m.power_mw, m.area_um2, m.delay_ns) == (0.142, 390.5, 1.09)
    assert m.origin == "power, area, delay: as published (EvoApproxLib); products: netlist"
    wrong = path.read_text(encoding="utf-8").replace("// WCE = ", "// WCE = 9")
    path.write_text(wrong, encoding="utf-8")
    with pytest.raises(InputError, match=r"WCE 9.* is published, but the circuit has"):
        import_files([path], Choices())


def test_figures_of_the_older_library() -> None:
    text = "/// Library = EvoApprox8b\n/// Power  (180) = 4407.70\n/// Power  (45) = 378.60\n"
    text += "/// Area (45) = 663\n/// MAE = 45.72656\n/// WCE = 340\nint MAE = 3;\n"
    found = published_figures(text)
    assert found.power_mw == pytest.approx(0.3786)
    assert (found.area_um2, found.delay_ns) == (663.0, None)
    assert (found.mae, found.wce, found.source) == (45.72656, 340.0, "EvoApprox8b")


@needs_yosys
def test_signed_circuit_called_unsigned(tmp_path: Path) -> None:
    signed = without_partial_products(exact_array(8, signed=True), (0, 0, 5))
    path = tmp_path / "mul8u_is_signed.v"
    path.write_text(
        header(signed, True) + netlist_verilog(signed, "mul8u_is_signed"), encoding="utf-8"
    )
    (imported,), _ = import_files([path], Choices())
    assert imported.multiplier.signed
    assert imported.notes == ("declared unsigned, computes signed products",)
    assert np.array_equal(imported.multiplier.table, table_of(signed, signed=True))


def test_names_reused_for_other_circuits(tmp_path: Path) -> None:
    for folder, mask in (("a", ~3), ("b", ~7), ("c", ~3)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "m.npy", exact_products(False) & mask)
    (tmp_path / "a" / "sum.csv").write_text("0,1\n1,2\n", encoding="utf-8")
    found, left = import_files([tmp_path / "a", tmp_path / "b", tmp_path / "c"], Choices())
    first, second = (entry.multiplier for entry in found)
    assert first.name == "m"
    assert second.name == f"m_{second.content_hash[:6]}"
    assert len(found[0].files) == 2
    assert [path.name for path in left] == ["sum.csv"]
    library = tmp_path / "library"
    add_to_library(library, found[1:], name="mine", license_name="MIT")
    add_to_library(library, found[:1], name=None, license_name=None)
    again = add_to_library(library, found[:1], name=None, license_name=None)
    loaded = load_library(library)
    assert (loaded.name, loaded.license, len(loaded)) == ("mine", "MIT", 2)
    assert loaded.find(again[0].multiplier.name) == again[0].multiplier


def test_a_name_the_library_has_for_another_circuit(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", exact_products(False) & ~3)
    first, _ = import_files([tmp_path / "m.npy"], Choices())
    np.save(tmp_path / "m.npy", exact_products(False) & ~7)
    second, _ = import_files([tmp_path / "m.npy"], Choices())
    add_to_library(tmp_path / "l", first, name=None, license_name=None)
    (written,) = add_to_library(tmp_path / "l", second, name=None, license_name=None)
    assert written.multiplier.name == f"m_{written.multiplier.content_hash[:6]}"
    assert "another circuit" in written.notes[-1]
    assert len(load_library(tmp_path / "l")) == 2


C_CIRCUIT = """
#include <stdint.h>
// a helper of two numbers, not the multiplier
static uint8_t and2(uint8_t p) { return p & 1; }
{result} {name}({type} {first}, {type} {second}) {{ return {value}; }}
"""


@pytest.fixture
def compiler() -> None:
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        pytest.skip("needs a C compiler")


def c_file(folder: Path, name: str, **fields: str) -> Path:
    values = {"result": "uint16_t", "type": "uint8_t", "first": "A", "second": "B"} | fields
    text = C_CIRCUIT.replace("{ return p & 1; }", "{{ return p & 1; }}")
    (folder / f"{name}.c").write_text(text.format(name=name, **values), encoding="utf-8")
    return folder / f"{name}.c"


@pytest.mark.usefixtures("compiler")
def test_c_functions(tmp_path: Path) -> None:
    path = c_file(tmp_path, "plain", value="A * (B & ~3)")
    with pytest.raises(InputError, match="allow that with --allow-c"):
        import_files([path], Choices())
    codes = np.arange(256)
    expected = np.multiply.outer(codes, codes & ~3)
    assert np.array_equal(one(path, allow_c=True), expected)
    path = c_file(tmp_path, "turned", first="B", second="A", value="A * (B & ~3)")
    assert np.array_equal(one(path, allow_c=True), expected)
    path = c_file(tmp_path, "mul8s_x", type="int8_t", result="int16_t", value="A * (B & ~1)")
    (imported,), _ = import_files([path], Choices(allow_c=True))
    assert imported.multiplier.signed
    assert imported.multiplier.table[255, 255] == 2
    path = c_file(
        tmp_path, "mul4u_x", type="const uint64_t", result="uint64_t", value="(A*B) & 0xfe"
    )
    (imported,), _ = import_files([path], Choices(allow_c=True))
    assert imported.multiplier.bits == 4


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"value": "A +"}, "does not compile .*error"),
        ({"value": "A * B / (A - A)"}, "does not run"),
        ({"value": "A + B"}, "no multiplier of 8 x 8 bits: .* closer to a \\+ b"),
        ({"type": "uint64_t", "value": "A * B"}, "width unknown: give --bits"),
        ({"type": "float", "value": "A * B"}, "no function 'f'|no function of two integers"),
    ],
)
def test_c_functions_refused(fields: dict[str, str], said: str, tmp_path: Path) -> None:
    path = c_file(tmp_path, "f", **fields)
    with pytest.raises(InputError, match=said):
        import_files([path], Choices(allow_c=True))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("m.bin", b"\0" * 100, "50 products: give 2\\^n x 2\\^n"),
        ("m.bin", b"\0" * 33, "an odd number of bytes"),
        ("m.npy", b"no array", "no .npy array"),
        ("m.csv", b"1,2\n3,x\n", "line 2"),
        ("m.csv", b"1,2\n3\n", "2 rows of \\[1, 2\\] numbers"),
        ("m.csv", b"0,0,0\n" * 16, "no row for operands 0, 1"),
        ("m.csv", b"\xff\xfe", "no text"),
        ("m.csv", b"99999,1,1,1\n" + b"1,1,1,1\n" * 3, "products from 1 to 99999"),
        ("m.bin", b"\0" * 131072, "no multiplier of 8 x 8 bits: off by"),
        ("m.txt", b"", "unknown kind: give .bin"),
    ],
)
def test_files_refused(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said) as error:
        import_files([tmp_path / name], Choices())
    assert str(tmp_path / name) in str(error.value)


def test_comments_that_never_end_are_read_in_one_pass() -> None:
    text = "/* " * (1 << 19) + "\n" * (1 << 19)
    assert without_comments("a /* b */ c // d\ne /* f") == "a   c  \ne  "
    assert without_comments(text) == " "
    assert not has_system_tasks(text)
    assert published_figures(text).mae is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("wire w; // cost: 3 $\n/* `x */", False),
        ("initial $system(1);", True),
        ("`include x", True),
        ('initial a = "/*"; `include x\n// */', True),
        ("wire \\/* ; initial $finish; // */", True),
        ("assign P = A * $signed(w);", True),
    ],
)
def test_system_tasks_are_found_wherever_they_hide(text: str, found: bool) -> None:
    assert has_system_tasks(text) == found
    assert has_system_tasks(text, signedness=True) == (found and "$signed" not in text)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"no \.npy array of numbers"):
        import_files([tmp_path / "m.npy"], Choices())


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        import_files([tmp_path / "none"], Choices())
    with pytest.raises(InputError, match="no file of a known kind"):
        import_files([tmp_path], Choices())


@pytest.mark.parametrize("name", ["mul8u_p50", "mul8s_p37", "mul8u_exact"])
def test_own_verilog_needs_no_other_tool(name: str, tmp_path: Path) -> None:
    shipped = load_builtin_library("alwann").find(name)
    assert shipped.netlist is not None
    shutil.copyfile(shipped.netlist, tmp_path / f"{name}.v")
    (imported,), _ = import_files([tmp_path / f"{name}.v"], Choices())
    assert imported.multiplier == shipped
    assert imported.multiplier.power_mw == pytest.approx(shipped.power_mw, rel=1e-4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A[0] & B[0]", "A[0] & B[9]"),
        ("wire g0 =", "wire g7 ="),
        ("endmodule", "endmodule\nmodule x; endmodule"),
        ("~(", "("),
        ("O = {", "O = {g999999, "),
        ("O = {", "O = {A[0], "),
        ("output [5:0]", "output [" + "9" * 5000 + ":0]"),
        ("A[0] & B[0]", "$random"),
    ],
)
def test_other_verilog_is_left_to_yosys(old: str, new: str) -> None:
    text = netlist_verilog(exact_array(3, signed=True), "m")
    assert netlist_from_verilog(text) is not None
    assert old in text
    assert netlist_from_verilog(text.replace(old, new, 1)) is None
