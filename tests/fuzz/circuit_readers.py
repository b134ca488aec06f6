"""Readers of circuits, see `readers`."""

from __future__ import annotations

from pathlib import Path

from alwann_c.errors import InputError
from alwann_c.rtl.multipliers import read_netlist
from alwann_c.targets.arrays import exact_array
from alwann_c.targets.evolve.campaign import load_found
from alwann_c.targets.importing import Choices, import_files
from alwann_c.targets.importing.c_function import find_function
from alwann_c.targets.importing.figures import published_figures
from alwann_c.targets.importing.liberty import mapped_area
from alwann_c.targets.netlist import product_table
from alwann_c.targets.verilog_reader import read_netlist_file

TABLES = (".bin", ".npy", ".csv")


def imported_table(data: bytes, folder: Path) -> None:
    """The first byte chooses the format, the rest is the file."""
    path = folder / f"t{TABLES[(data[:1] or b'0')[0] % 3]}"
    path.write_bytes(data[1:])
    import_files([path], Choices())


def imported_verilog(data: bytes, folder: Path) -> None:
    """Verilog as this tool writes it; any other is left to Yosys."""
    path = folder / "m.v"
    path.write_bytes(data)
    netlist = read_netlist_file(path)
    if netlist is None:
        raise InputError("of any other form")
    product_table(netlist, signed=False)


def imported_c(data: bytes, folder: Path) -> None:
    """A C file before it is compiled, which happens on explicit request only."""
    text = data.decode("utf-8", "replace")
    published_figures(text)
    find_function(folder / "m.c", text)


def liberty(data: bytes, folder: Path) -> None:
    """Cells that Yosys maps an exact multiplier to."""
    path = folder / "cells.lib"
    path.write_bytes(data)
    mapped_area(exact_array(2, signed=False), path)


def netlist(data: bytes, folder: Path) -> None:
    path = folder / "m.v"
    path.write_bytes(data)
    read_netlist(path, "m")


def campaign(data: bytes, folder: Path) -> None:
    path = folder / "state.json"
    path.write_bytes(data)
    load_found(path)
