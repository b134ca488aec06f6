"""Adding circuits to a library on disk, or making a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alwann_c.errors import InputError
from alwann_c.targets.importing.collect import Imported
from alwann_c.targets.library import load_library
from alwann_c.targets.library_file import LIBRARY_FILE
from alwann_c.targets.library_writer import Circuit, write_library


def add_to_library(
    folder: Path, imported: Sequence[Imported], *, name: str | None, license_name: str | None
) -> list[Imported]:
    """Writes the circuits into the library `folder`, beside those it has; returns them as named.

    A circuit that the library has under its name is written again with the figures of the import; a
    name that stands for another circuit there gets a piece of the table's hash. Raises InputError
    where the folder holds a broken library or cannot be written.
    """
    circuits: dict[str, Circuit] = {}
    if (folder / LIBRARY_FILE).exists():
        library = load_library(folder)
        circuits = {m.name: Circuit(m) for m in library}
        name, license_name = name or library.name, license_name or library.license
    written = []
    for entry in imported:
        multiplier = entry.multiplier
        known = circuits.get(multiplier.name)
        if known is not None and known.multiplier.content_hash != multiplier.content_hash:
            new = f"{multiplier.name}_{multiplier.content_hash[:6]}"
            entry = replace(
                entry,
                circuit=replace(entry.circuit, multiplier=replace(multiplier, name=new)),
                notes=(
                    *entry.notes,
                    f"renamed: the library's {multiplier.name} is another circuit",
                ),
            )
        elif known is not None and entry.circuit.netlist is None:
            kept = replace(multiplier, netlist=known.multiplier.netlist)
            if multiplier.power_mw is None:
                kept = known.multiplier
            entry = replace(entry, circuit=Circuit(kept))
        circuits[entry.multiplier.name] = entry.circuit
        written.append(entry)
    name = name or folder.resolve().name
    try:
        write_library(folder, name, license_name or "", list(circuits.values()))
        load_library(folder)
    except UnicodeDecodeError as e:
        raise InputError(f"{folder}: a netlist is no text: {e}") from e
    return written
