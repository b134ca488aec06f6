"""Writing multiplier libraries: tables, netlists and `library.toml`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alwann_c.atomic import output_folder, replacing, write_text
from alwann_c.errors import InputError
from alwann_c.targets.library_file import LIBRARY_FILE
from alwann_c.targets.multiplier import Multiplier
from alwann_c.targets.netlist import Netlist
from alwann_c.targets.verilog import netlist_verilog


@dataclass(frozen=True, eq=False)
class Circuit:
    """A multiplier to be written, with its netlist where one is known."""

    multiplier: Multiplier
    netlist: Netlist | None = None


def write_library(
    folder: Path,
    name: str,
    license_name: str,
    circuits: Sequence[Circuit],
    comment: str = "",
) -> None:
    """Writes `circuits` as the library `folder`; `library.toml`, which names all, comes last.

    Tables are `.bin` as `library_file` reads them, netlists Verilog with the circuit's figures in
    their head. A netlist known only as a file is copied. Raises InputError where it cannot write.
    """
    output_folder(folder)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [
        "schema = 1",
        f"name = {json.dumps(name)}",
        f"license = {json.dumps(license_name, ensure_ascii=False)}",
    ]
    for circuit in circuits:
        m = circuit.multiplier
        _write_table(folder / f"{m.name}.bin", m)
        fields = _fields(m)
        if circuit.netlist is not None:
            write_text(folder / f"{m.name}.v", netlist_verilog(circuit.netlist, m.name, _head(m)))
        elif m.netlist is not None:
            write_text(folder / f"{m.name}.v", m.netlist.read_text(encoding="utf-8"))
        if circuit.netlist is not None or m.netlist is not None:
            fields["netlist"] = f'"{m.name}.v"'
        lines += ["", "[[multiplier]]", *(f"{key} = {value}" for key, value in fields.items())]
    write_text(folder / LIBRARY_FILE, "\n".join(lines) + "\n")


def _fields(m: Multiplier) -> dict[str, str]:
    fields = {
        "name": json.dumps(m.name),
        "table": json.dumps(f"{m.name}.bin"),
        "signed": str(m.signed).lower(),
        "bits": str(m.bits),
    }
    figures = (("power_mw", m.power_mw), ("area_um2", m.area_um2), ("delay_ns", m.delay_ns))
    fields |= {key: f"{value:.6g}" for key, value in figures if value is not None}
    fields |= {"mae": f"{m.mae:.6g}", "wce": str(m.wce)}
    return fields | {"origin": json.dumps(m.origin, ensure_ascii=False)}


def _write_table(path: Path, m: Multiplier) -> None:
    side = 1 << m.bits
    data = m.table[:side, :side].astype("<i2" if m.signed else "<u2").tobytes()
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as e:
        raise InputError(f"{path}: cannot write: {e.strerror or e}") from e


def _head(m: Multiplier) -> str:
    sign = "signed" if m.signed else "unsigned"
    return (
        f"{m.name}: approximate {m.bits} x {m.bits} bit {sign} multiplier, O = A B\n"
        f"MAE = {m.mae:.6g}, WCE = {m.wce}\n"
        f"power {m.power_mw or 0:.4g} mW, area {m.area_um2 or 0:.4g} um2,"
        f" delay {m.delay_ns or 0:.4g} ns ({m.origin})"
    )
