"""Area of a circuit in the cells of a Liberty file, mapped by Yosys."""

from __future__ import annotations

import tempfile
from pathlib import Path

from alwann_c.errors import InputError
from alwann_c.targets.importing.yosys import run_yosys, where
from alwann_c.targets.netlist import Netlist
from alwann_c.targets.verilog import netlist_verilog

MAX_LIBERTY_BYTES = 64 << 20


def mapped_area(netlist: Netlist, liberty: Path) -> float:
    """Sum of the cells' areas in the library's unit, which is taken for square micrometres.

    Raises InputError where the library cannot be read or its cells do not suffice.
    """
    try:
        if liberty.stat().st_size > MAX_LIBERTY_BYTES:
            raise InputError(f"{liberty}: larger than {MAX_LIBERTY_BYTES} bytes")
    except OSError as e:
        raise InputError(f"{liberty}: cannot be read ({e.strerror}): check the path") from e
    cells = f"{where()}cells.lib"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "mapped.v"
        source.write_text(netlist_verilog(netlist, "mapped"), encoding="utf-8")
        script = (
            f"read_verilog {where()}circuit.v; synth -flatten -top mapped; abc -liberty {cells};"
            f" opt_clean -purge; tee -q -o {where()}design.json stat -json -liberty {cells}"
        )
        try:
            design = run_yosys(source, script, {"cells.lib": liberty})
        except InputError as e:
            raise InputError(f"{liberty}: {str(e).partition(': ')[2]}") from e
    area = float(design["design"].get("area", 0.0))
    if area <= 0 or any(name.startswith("$") for name in design["design"]["num_cells_by_type"]):
        raise InputError(f"{liberty}: its cells do not make up the circuit: give a whole library")
    return area
