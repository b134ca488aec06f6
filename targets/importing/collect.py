"""Imports files, one circuit each, and brings together what belongs to the same circuit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alwann_c.errors import InputError
from alwann_c.targets.gate_model import estimate
from alwann_c.targets.importing.c_function import MAX_SOURCE_BYTES, find_function, run_function
from alwann_c.targets.importing.figures import published_figures
from alwann_c.targets.importing.interpret import Raw, Reading, read_as_multiplier, swapped
from alwann_c.targets.importing.liberty import mapped_area
from alwann_c.targets.importing.netlists import read_netlist
from alwann_c.targets.importing.tables import TABLE_SUFFIXES, read_products
from alwann_c.targets.library_writer import Circuit
from alwann_c.targets.multiplier import MAX_BITS, MIN_BITS, Multiplier
from alwann_c.targets.netlist import product_table
from alwann_c.targets.verilog_reader import netlist_from_verilog
from alwann_c.untrusted import read_bounded

C_SUFFIXES = (".c",)
NETLIST_SUFFIXES = (".v", ".sv", ".blif")
SUFFIXES = (*TABLE_SUFFIXES, *NETLIST_SUFFIXES, *C_SUFFIXES)
MAX_FILES = 4096
MAX_DEPTH = 6

_NAME = re.compile(r"mul(\d)(?:x\d)?([su])?(?=[_\W]|$)", re.I)


@dataclass(frozen=True)
class Choices:
    """How files are read. None leaves `bits` and `signed` to the files.

    `swap` exchanges the operands of every file, `allow_c` lets C functions be compiled and run,
    `function` names the C function or Verilog module, `liberty` a cell library to map netlists to
    for their area.
    """

    bits: int | None = None
    signed: bool | None = None
    swap: bool = False
    allow_c: bool = False
    function: str | None = None
    liberty: Path | None = None


@dataclass(frozen=True, eq=False)
class Imported:
    """A circuit, the files it came from, and what had to be decided about it."""

    circuit: Circuit
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def multiplier(self) -> Multiplier:
        """The multiplier itself."""
        return self.circuit.multiplier


def import_files(
    paths: Sequence[Path],
    choices: Choices,
    progress: Callable[[str], None] | None = None,
) -> tuple[list[Imported], dict[Path, str]]:
    """The circuits of all files, and the files of folders that were left out, with the reason.

    Folders are searched for files of known kinds; what is no multiplier there is left out, while a
    file named outright must be one. Files of one name are one circuit where their tables are equal
    or each other's transpose (the first file then decides on the order of operands); otherwise the
    later ones get a piece of their table's hash as part of the name. Raises InputError with every
    problem of the files named, or where nothing is left.
    """
    named, found = _files(paths)
    collected: dict[str, Imported] = {}
    problems: list[str] = []
    left_out: dict[Path, str] = {}
    for path in sorted([*named, *found], key=lambda p: (p.suffix not in TABLE_SUFFIXES, str(p))):
        if progress is not None:
            progress(f"reading {path}")
        try:
            raw = read_file(path, choices)
            if choices.swap:
                raw = swapped(raw)
            _collect(raw, choices, collected)
        except InputError as error:
            if path in named:
                problems.append(str(error))
            else:
                left_out[path] = str(error).removeprefix(f"{path}: ")
    if problems:
        raise InputError("; ".join(problems))
    if not collected:
        reasons = "; ".join(f"{p}: {why}" for p, why in list(left_out.items())[:3])
        raise InputError(f"{paths[0]}: no multiplier found: {reasons or 'no file of a known kind'}")
    return list(collected.values()), left_out


def read_file(path: Path, choices: Choices) -> Raw:
    """One file's circuit as the file gives it. Raises InputError."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown kind: give {', '.join(SUFFIXES)}")
    name = re.sub(r"[^A-Za-z0-9_]", "_", path.stem)
    name = (name if name[:1].isalpha() else f"m{name}")[:48]
    bits, declared = _hints(name)
    if path.suffix in TABLE_SUFFIXES:
        products = read_products(path)
        wanted = choices.bits or bits
        if wanted is not None and len(products) > 1 << wanted:
            side = 1 << wanted
            repeated = np.tile(products[:side, :side], (len(products) // side,) * 2)
            if not np.array_equal(products, repeated):
                raise InputError(
                    f"{path}: a table of {len(products)} codes that does not repeat every {side}:"
                    f" no {wanted}-bit multiplier"
                )
            products = products[:side, :side]
        raw = Raw(path, name, products, "table", declared)
    else:
        raw = _circuit(path, name, choices, bits, declared)
    if choices.bits is not None and raw.bits != choices.bits:
        raise InputError(f"{path}: {raw.bits} x {raw.bits} bits, not {choices.bits}")
    return raw


def _circuit(
    path: Path, name: str, choices: Choices, bits: int | None, declared: bool | None
) -> Raw:
    text = _text(path)
    published = published_figures(text)
    if path.suffix in C_SUFFIXES:
        if not choices.allow_c:
            raise InputError(f"{path}: C has to be compiled and run: allow that with --allow-c")
        function = find_function(path, text, choices.function)
        width = choices.bits or _hints(function.name)[0] or bits or function.operand_bits
        if width is None:
            raise InputError(f"{path}: {function.name}: width unknown: give --bits")
        products = run_function(path, function, width)
        declared = _hints(function.name)[1] if function.first == "uint64_t" else function.signed
        note = ("second parameter is the activation",) if function.reversed else ()
        return Raw(path, name, products, "C function", declared, None, published, note)
    netlist = netlist_from_verilog(text) if path.suffix == ".v" else None
    if netlist is None:
        read = read_netlist(path, text, choices.function)
        netlist, declared = read.netlist, read.signed if read.signed is not None else declared
    width = netlist.inputs // 2
    if width < MIN_BITS:
        raise InputError(f"{path}: operands of {width} bit: give {MIN_BITS} to {MAX_BITS}")
    products = product_table(netlist, signed=False)[: 1 << width, : 1 << width].astype(np.int64)
    return Raw(path, name, products, "netlist", declared, netlist, published)


def _collect(raw: Raw, choices: Choices, collected: dict[str, Imported]) -> None:
    reading = read_as_multiplier(raw, choices.signed)
    known = collected.get(raw.name)
    if known is not None:
        other = known.multiplier
        alike = other.signed == reading.signed and other.bits == raw.bits
        turned = alike and np.array_equal(other.table, reading.table.T)
        if turned and not np.array_equal(other.table, reading.table):
            raw = swapped(raw)
            reading = read_as_multiplier(raw, choices.signed)
    made = _imported(raw, reading, choices)
    if known is not None and known.multiplier == made.multiplier:
        collected[raw.name] = _together(known, made)
        return
    if known is not None:
        name = f"{raw.name}_{made.multiplier.content_hash[:6]}"
        again = collected.get(name)
        made = replace(
            made,
            circuit=replace(made.circuit, multiplier=replace(made.multiplier, name=name)),
            notes=(*made.notes, f"renamed: {raw.name} is another circuit"),
        )
        if again is not None:
            collected[name] = _together(again, made)
            return
    collected[made.multiplier.name] = made


def _imported(raw: Raw, reading: Reading, choices: Choices) -> Imported:
    figures: dict[str, float] = {}
    origins: list[str] = []

    def take(given: dict[str, float | None], origin: str) -> None:
        new = {key: v for key, v in given.items() if v is not None and key not in figures}
        if new:
            names = ", ".join(key.partition("_")[0] for key in new)
            origins.append(f"{names}: {origin}")
            figures.update(new)

    p = raw.published
    take(
        {"power_mw": p.power_mw, "area_um2": p.area_um2, "delay_ns": p.delay_ns},
        f"as published ({p.source})",
    )
    if raw.netlist is not None:
        if choices.liberty is not None and "area_um2" not in figures:
            area = mapped_area(raw.netlist, choices.liberty)
            take({"area_um2": area}, f"Yosys, cells of {choices.liberty.name}")
        e = estimate(raw.netlist)
        take({"power_mw": e.power_mw, "area_um2": e.area_um2, "delay_ns": e.delay_ns}, e.origin)
    multiplier = Multiplier(
        raw.name,
        reading.table,
        signed=reading.signed,
        bits=raw.bits,
        origin="; ".join([*origins, f"products: {raw.origin}"]),
        **figures,  # type: ignore[arg-type]
    )
    return Imported(Circuit(multiplier, raw.netlist), (raw.file,), reading.notes)


def _together(first: Imported, second: Imported) -> Imported:
    """Two files of one circuit: published figures win, a netlist is kept whosever it is."""
    ranked = sorted((first, second), key=lambda i: "as published" not in i.multiplier.origin)
    chosen = ranked[0].multiplier if ranked[0].multiplier.power_mw is not None else None
    better = (
        chosen or max((first, second), key=lambda i: i.multiplier.power_mw is not None).multiplier
    )
    netlist = first.circuit.netlist or second.circuit.netlist
    notes = tuple(dict.fromkeys([*first.notes, *second.notes]))
    named = replace(better, name=first.multiplier.name)
    return Imported(Circuit(named, netlist), (*first.files, *second.files), notes)


def _hints(name: str) -> tuple[int | None, bool | None]:
    """Width and signedness in names like mul8u_1JFF."""
    found = _NAME.search(name)
    if found is None or not MIN_BITS <= int(found[1]) <= MAX_BITS:
        return None, None
    return int(found[1]), None if found[2] is None else found[2].lower() == "s"


def _text(path: Path) -> str:
    data = read_bounded(path, MAX_SOURCE_BYTES, "give a circuit")
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _files(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    named: list[Path] = []
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file: check the path")
        if not path.is_dir():
            named.append(path)
            continue
        for entry in sorted(path.rglob("*")):
            depth = len(entry.relative_to(path).parts)
            if depth <= MAX_DEPTH and entry.suffix in SUFFIXES and entry.is_file():
                found.append(entry)
            if len(found) > MAX_FILES:
                raise InputError(f"{path}: more than {MAX_FILES} files: give a folder of them")
    return list(dict.fromkeys(named)), [p for p in found if p not in named]
