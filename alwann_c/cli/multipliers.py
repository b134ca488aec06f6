"""`multipliers`: what a library holds, and what goes into one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alwann_c.atomic import output_folder
from alwann_c.cli.console import Console, table
from alwann_c.cli.inspection import load_model
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.libraries import library_identity, open_libraries
from alwann_c.operand_shares import OperandShares, measure_operands
from alwann_c.plots import check_plot, plot_library, plot_multiplier
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.targets import Library, Multiplier, operand_values
from alwann_c.targets.characterise import characterise, circuit_of, under_operands
from alwann_c.targets.importing import Choices, add_to_library, import_files
from alwann_c.targets.multiplier import MAX_BITS, MIN_BITS


def multipliers(arguments: Any, console: Console) -> int:
    """`multipliers list|show|import|evolve`."""
    actions = {"list": _list, "show": _show, "import": _import, "evolve": _evolve}
    return actions[arguments.action](arguments, console)


def _reference(library: Library, multiplier: Multiplier) -> Multiplier | None:
    """The exact multiplier of that format whose power is 1, if the library has one."""
    same = [m for m in library if (m.signed, m.bits) == (multiplier.signed, multiplier.bits)]
    exact = [m for m in same if m.is_exact and m.power_mw]
    return min(exact, key=lambda m: m.power_mw or 0.0) if exact else None


def _relative(multiplier: Multiplier, reference: Multiplier | None) -> float | None:
    power, base = multiplier.power_mw, None if reference is None else reference.power_mw
    return power / base if power is not None and base else None


def _fields(multiplier: Multiplier, reference: Multiplier | None) -> dict[str, Any]:
    return {
        "name": multiplier.name,
        "library": multiplier.library,
        "signed": multiplier.signed,
        "bits": multiplier.bits,
        "exact": multiplier.is_exact,
        "power_mw": multiplier.power_mw,
        "relative_power": _relative(multiplier, reference),
        "area_um2": multiplier.area_um2,
        "delay_ns": multiplier.delay_ns,
        "origin": multiplier.origin,
        **characterise(multiplier),
        "netlist": None if multiplier.netlist is None else str(multiplier.netlist),
        "sha256": multiplier.content_hash,
    }


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _list(arguments: Any, console: Console) -> int:
    library = open_libraries(arguments.library)
    rows = [_fields(m, _reference(library, m)) for m in library]
    header = ["name", "signed", "bits", "power mW", "relative", "area um2", "delay ns"]
    header += ["MAE", "WCE", "EP %", "MRE %", "bias", "rank", "gates"]
    lines = table(
        header,
        [
            [
                row["name"],
                "yes" if row["signed"] else "no",
                str(row["bits"]),
                _number(row["power_mw"], ".4f"),
                _number(row["relative_power"], ".3f"),
                _number(row["area_um2"], ".1f"),
                _number(row["delay_ns"], ".2f"),
                format(row["mae"], ".2f"),
                str(row["wce"]),
                format(100 * row["ep"], ".1f"),
                format(100 * row["mre"], ".2f"),
                format(row["bias"], ".2f"),
                str(row["rank"]),
                _number(row["gates"], "d"),
            ]
            for row in rows
        ],
    )
    if arguments.plot:
        path = Path(arguments.plot)
        check_plot(path)
        known = [(m, _relative(m, _reference(library, m))) for m in library]
        shown = [(m, power) for m, power in known if power is not None]
        if not shown:
            raise InputError(
                f"library {library.name!r}: no multiplier has a power figure and an exact one beside"
                " it: nothing to plot"
            )
        plot_library(shown, path)
        lines.append(f"written {path}")
    console.result({**library_identity(library), "list": rows}, lines)
    return 0


def _show(arguments: Any, console: Console) -> int:
    library = open_libraries(arguments.library)
    chosen = library.find(arguments.name)
    reference = _reference(library, chosen)
    if arguments.plot:
        check_plot(Path(arguments.plot))
    fields = _fields(chosen, reference)
    lines = [f"{key:15} {value}" for key, value in fields.items()]
    shares = _operands(arguments, console, signed=chosen.signed, bits=chosen.bits)
    if shares is not None:
        measured = under_operands(chosen, reference, shares.activations, shares.weights)
        fields["on_network"] = {"layers": list(shares.layers), **measured}
        lines += ["", f"on the operands of {arguments.model}, {len(shares.layers)} layers:"]
        lines += [f"{key:15} {value}" for key, value in measured.items()]
    if arguments.plot:
        plot_multiplier(chosen, Path(arguments.plot), shares)
        lines += ["", f"written {arguments.plot}"]
    console.result(fields, lines)
    return 0


def _operands(arguments: Any, console: Console, *, signed: bool, bits: int) -> OperandShares | None:
    """The operand distribution of the network named on the command line, if any."""
    if arguments.model is None:
        if arguments.calibration or arguments.layer:
            raise InputError("--calibration and --layer: give --model too")
        return None
    if arguments.calibration is None:
        raise InputError("--model: give --calibration, unlabelled images to measure operands with")
    if bits != MAX_BITS:
        raise InputError(f"--model: networks have operands of 8 bits, the multiplier {bits}")
    console.progress("measuring operands")
    scheme = QuantizationScheme(signed=signed)
    quantized = quantize(load_model(arguments), load_dataset(arguments.calibration), scheme)
    return measure_operands(quantized, arguments.layer or None)


def _import(arguments: Any, console: Console) -> int:
    _check_bits(arguments.bits)
    choices = Choices(
        bits=arguments.bits,
        signed=arguments.signed,
        swap=arguments.swap,
        allow_c=arguments.allow_c,
        function=arguments.function,
        liberty=None if arguments.liberty is None else Path(arguments.liberty),
    )
    found, left_out = import_files(
        [Path(path) for path in arguments.paths], choices, console.progress
    )
    folder = Path(arguments.output)
    written = add_to_library(folder, found, name=arguments.name, license_name=arguments.license)
    rows = [
        {
            "name": entry.multiplier.name,
            "files": [str(path) for path in entry.files],
            "signed": entry.multiplier.signed,
            "bits": entry.multiplier.bits,
            "mae": entry.multiplier.mae,
            "wce": entry.multiplier.wce,
            "power_mw": entry.multiplier.power_mw,
            "area_um2": entry.multiplier.area_um2,
            "delay_ns": entry.multiplier.delay_ns,
            "netlist": entry.circuit.netlist is not None or entry.multiplier.netlist is not None,
            "origin": entry.multiplier.origin,
            "notes": list(entry.notes),
            "sha256": entry.multiplier.content_hash,
        }
        for entry in written
    ]
    lines = table(
        ["name", "signed", "bits", "MAE", "WCE", "power mW", "notes"],
        [
            [
                str(row["name"]),
                "yes" if row["signed"] else "no",
                str(row["bits"]),
                f"{row['mae']:.2f}",
                str(row["wce"]),
                "-" if row["power_mw"] is None else f"{row['power_mw']:.4f}",
                "; ".join(entry.notes),
            ]
            for row, entry in zip(rows, written, strict=True)
        ],
    )
    lines += [f"left out {path}: {reason}" for path, reason in left_out.items()]
    without = [str(row["name"]) for row in rows if row["power_mw"] is None]
    if without:
        lines.append(f"no power figure, which a search needs: {', '.join(without[:8])}")
    lines.append(f"{len(rows)} circuits written to {folder}")
    skipped = {str(path): reason for path, reason in left_out.items()}
    console.result({"library": str(folder), "imported": rows, "left_out": skipped}, lines)
    return 0


def _check_bits(bits: int | None) -> None:
    if bits is not None and not MIN_BITS <= bits <= MAX_BITS:
        raise InputError(f"--bits: {bits}: give {MIN_BITS} to {MAX_BITS}")


def _evolve(arguments: Any, console: Console) -> int:
    _check_bits(arguments.bits)
    try:
        from alwann_c.targets.evolve.campaign import Operands, Seed, Task, run_campaign
        from alwann_c.targets.evolve.result import write_found
        from alwann_c.targets.evolve.search import Options
    except ImportError as e:
        raise InputError("multipliers evolve: needs numba: pip install 'alwann-c[evolve]'") from e
    bits, signed = arguments.bits, arguments.signed
    shares = _operands(arguments, console, signed=signed, bits=bits)
    operands = Operands(
        bits,
        signed,
        None if shares is None else tuple(shares.activations.tolist()),
        None if shares is None else tuple(shares.weights.tolist()),
    )
    wanted = arguments.bounds or _default_bounds(arguments.error, bits, signed)
    tasks = [
        Task(operands, "mae", 1e18, int(bound))
        if arguments.error == "wce"
        else Task(operands, arguments.error, bound)
        for bound in wanted
    ]
    seeds = []
    if bits == MAX_BITS or arguments.library:
        for multiplier in open_libraries(arguments.library):
            netlist = circuit_of(multiplier)
            if netlist is not None and (multiplier.bits, multiplier.signed) == (bits, signed):
                seeds.append(Seed(netlist, bits, signed))
    folder = output_folder(Path(arguments.output))
    found = run_campaign(
        tasks,
        folder,
        rounds=arguments.rounds,
        options=Options(evaluations=arguments.evaluations),
        seed=arguments.seed,
        workers=arguments.workers,
        seeds=seeds,
        seconds=arguments.minutes,
        progress=console.progress,
    )
    name = arguments.name or folder.resolve().name
    written = write_found(folder, name, tasks, found)
    missing = arguments.rounds * len(tasks) - len(found)
    base = written[0].power_mw or 1.0
    rows = [
        {
            "name": m.name,
            "mae": m.mae,
            "wce": m.wce,
            "relative_power": (m.power_mw or 0.0) / base,
            "area_um2": m.area_um2,
            "delay_ns": m.delay_ns,
            "origin": m.origin,
        }
        for m in written
    ]
    cells = [
        [str(r["name"]), f"{r['mae']:.3f}", str(r["wce"]), f"{r['relative_power']:.3f}"]
        for r in rows
    ]
    lines = table(["name", "MAE", "WCE", "power"], cells)
    lines.append(f"{len(rows)} circuits written to {folder}")
    if missing:
        lines.append(f"{missing} runs are left: the same command goes on with them")
    console.result({"library": str(folder), "circuits": rows, "runs_left": missing}, lines)
    return 0


def _default_bounds(error: str, bits: int, signed: bool) -> list[float]:
    """Eight bounds from nearly exact to a tenth of the mean product, evenly spaced in logarithm."""
    values = operand_values(signed=signed, bits=bits)[: 1 << bits].astype(np.float64)
    mean = float(np.abs(values).mean()) ** 2
    spaced = np.geomspace(2e-5 * mean + 0.1, 0.1 * mean, 8)
    if error == "mse":
        return [float(f"{2 * value**2:.4g}") for value in spaced]
    if error == "wce":
        return [float(max(1, round(4 * value))) for value in spaced]
    return [float(f"{value:.4g}") for value in spaced]
