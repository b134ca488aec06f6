"""Circuits evolved for one network's operands against general ones: energy at equal accuracy.

    python tools/application_specific.py measure  STATE [--model M --calibration D]
    python tools/application_specific.py evolve   STATE [--family F --minutes N --workers N]
    python tools/application_specific.py accuracy STATE [--family F --test D… --minutes N]
    python tools/application_specific.py report   STATE [-o FILE.json]

Every step goes on where it stopped. `specific_circuits.py` says what is evolved; FAMILY is `general`,
the circuits of the library `alwann`, or a way of evolving, all of them by default. Circuits are put on
every convolution, compensated in full, and judged on the same images. Models and data default to those
of docs/reproduce.md, the test data to all 10,000 test images: nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shared_folder import SHARED
from specific_circuits import GENERAL, WAYS, circuits, evolve, shares_of

from alwann_c.accelerator import Exclusions, approximable_layers
from alwann_c.atomic import replacing, write_json
from alwann_c.codegen.network import Operands
from alwann_c.compensation import Compensator, Effort, bound_all
from alwann_c.dataset import Dataset, load_dataset
from alwann_c.evaluation import float_correct, network_correct
from alwann_c.model import load
from alwann_c.operand_shares import measure_operands
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.quantized import QuantizedModel, quantize
from alwann_c.targets import Multiplier, exact_products
from alwann_c.targets.arrays import exact_array
from alwann_c.targets.evolve.campaign import STATE_FILE
from alwann_c.targets.gate_model import switched_cells
from alwann_c.targets.netlist import product_table

MODEL = SHARED / "models" / "resnet8_alwann.onnx"
CALIBRATION = SHARED / "data" / "cifar10_calibration.toml"
TEST = [SHARED / "data" / f"cifar10_{part}.toml" for part in ("search", "test")]
EFFORT = Effort(rows=32_768, sweeps=2)
"""Of the compensation, the same for all."""
DROPS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
RESAMPLES = 2000
ENERGIES = ("energy_tuned", "energy_measured", "energy_alike")
"""By the gate model: with the measured activations and every circuit's own tuned weights, with the
measured activations and weights, with all operands alike."""

Bools = NDArray[np.bool_]
Row = dict[str, object]
Points = list[tuple[float, Bools]]


def measure(state: Path, model: str, calibration: str) -> None:
    """Writes STATE/operands.json."""
    quantized = quantize(load(model), load_dataset(calibration))
    names, _ = approximable_layers(quantized, Exclusions())
    shares = measure_operands(quantized, names)
    data = {"activations": shares.activations.tolist(), "weights": shares.weights.tolist()}
    write_json(state / "operands.json", data)


def key_of(name: str, multiplier: Multiplier) -> str:
    """Under which a circuit's results are kept: a circuit of another table has another."""
    return f"{name} {multiplier.content_hash[:12]}"


def correct(
    quantized: QuantizedModel, tests: list[Dataset], operands: Mapping[str, Operands] | None
) -> Bools:
    """Which images of all data sets the approximated network gets right."""
    parts = [network_correct(quantized.network, test, operands).correct for test in tests]
    return np.concatenate(parts)


def tuned_shares(chosen: Mapping[str, LayerApproximation]) -> NDArray[np.float64]:
    """Share of the multiplications that have each weight code, after compensation."""
    shares = np.zeros(256)
    for fitted in chosen.values():
        codes = np.bincount(fitted.weight.ravel(), minlength=256) / fitted.weight.size
        shares += fitted.layer.spec.macs * codes
    return shares / shares.sum()


def accuracy(arguments: argparse.Namespace, families: list[str]) -> None:
    """Adds to STATE/FAMILY/correct.npz which images every circuit gets right, and its tuned weights."""
    deadline = time.monotonic() + 60 * arguments.minutes
    tests = [load_dataset(path) for path in arguments.test]
    model = load(arguments.model)
    quantized = quantize(model, load_dataset(arguments.calibration))
    layers, _ = approximable_layers(quantized, Exclusions())
    compensator = Compensator(quantized, thorough=EFFORT)
    for family in families:
        path = arguments.state / family / "correct.npz"
        path.parent.mkdir(exist_ok=True)
        known = dict(np.load(path)) if path.exists() else {}
        if family == GENERAL and "float" not in known:
            known["float"] = np.concatenate([float_correct(model, test) for test in tests])
            known["int8"] = correct(quantized, tests, None)
        for name, netlist in circuits(arguments.state, family).items():
            multiplier = Multiplier(name, product_table(netlist, signed=False))
            key = key_of(name, multiplier)
            if key in known:
                continue
            if time.monotonic() > deadline:
                return
            chosen = compensator.network(dict.fromkeys(layers, multiplier), "full")
            operands = bound_all(chosen)
            known[key] = correct(quantized, tests, operands)
            known[f"weights {key}"] = tuned_shares(chosen)
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, **known)
            print(f"{name}: {100 * known[key].mean():.2f} % of {len(known[key])}", flush=True)


def figures(state: Path, family: str, known: Mapping[str, NDArray[np.generic]]) -> list[Row]:
    """Energy, errors and accuracy of a family's circuits; `measured` on the network's operands,
    `alike` with all operands alike. `spread` is the RMS error once the mean error of each weight is
    taken out."""
    activations, weights = shares_of(state)
    exact = exact_array(8, signed=False)
    measured, alike = switched_cells(exact, activations, weights), switched_cells(exact)
    rows: list[Row] = []
    for name, netlist in circuits(state, family).items():
        table = product_table(netlist, signed=False)
        error = (table - exact_products(False)).astype(np.float64)
        variance = activations @ (error - activations @ error) ** 2
        row: Row = {
            "name": name, "family": family, "gates": len(netlist.gates),
            "energy_measured": switched_cells(netlist, activations, weights) / measured,
            "energy_alike": switched_cells(netlist) / alike,
            "mae_measured": float(activations @ np.abs(error) @ weights),
            "spread_measured": float(np.sqrt(variance @ weights)),
            "mae_alike": float(np.abs(error).mean()),
            "spread_alike": float(np.sqrt(error.var(axis=0).mean())),
        }  # fmt: skip
        key = key_of(name, Multiplier(name, table))
        if key in known:
            tuned = np.asarray(known[f"weights {key}"], np.float64)
            row["energy_tuned"] = switched_cells(netlist, activations, tuned) / measured
            row["accuracy"] = float(known[key].mean())
            row["correct"] = known[key]
        rows.append(row)
    return rows


def saved_at(energy: NDArray[np.float64], accuracy: NDArray[np.float64], wanted: float) -> float:
    """Energy saved at an accuracy, between the circuits of the front around it; NaN where none
    reaches it, or all do."""
    order = np.argsort(energy, kind="stable")
    energy, accuracy = energy[order], accuracy[order]
    front = accuracy > np.concatenate([[-1.0], np.maximum.accumulate(accuracy)[:-1]])
    energy, accuracy = energy[front], accuracy[front]
    if accuracy[-1] < wanted or accuracy[0] > wanted:
        return float("nan")
    return float(1 - np.interp(wanted, accuracy, energy))


def gains(float_correct: Bools, general: Points, specific: Points) -> list[Row]:
    """Energy both save at equal drop from float, in points, and the difference's 95 % interval: images
    drawn again with replacement, the same for both, and the fronts anew for every draw."""
    generator = np.random.default_rng(0)
    images = len(float_correct)
    families = general, specific
    right = np.stack([float_correct, *(c for points in families for _, c in points)], axis=1)
    numbers, accuracy = right.astype(np.float32), [right.mean(axis=0)]
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(0, images, images), minlength=images)
        accuracy.append(times.astype(np.float32) @ numbers / images)
    energies = [np.array([energy for energy, _ in points]) for points in families]
    found: list[Row] = []
    for drop in DROPS:
        values = np.empty((len(accuracy), 2))
        for row, drawn in zip(values, accuracy, strict=True):
            parts = drawn[1 : 1 + len(general)], drawn[1 + len(general) :]
            wanted = float(drawn[0]) - drop / 100
            row[:] = [saved_at(e, part, wanted) for e, part in zip(energies, parts, strict=True)]
        values *= 100
        if np.isnan(values[0]).any():
            continue
        low, high = np.nanpercentile(values[1:, 1] - values[1:, 0], [2.5, 97.5])
        found.append({
            "drop": drop, "saved_general": round(float(values[0, 0]), 2),
            "saved_specific": round(float(values[0, 1]), 2),
            "gain": round(float(values[0, 1] - values[0, 0]), 2),
            "gain_ci95": [round(float(low), 2), round(float(high), 2)],
        })  # fmt: skip
    return found


def points_of(rows: list[Row], energy: str, int8: Bools) -> Points:
    """(energy, images right) of the circuits whose accuracy is known, and of the exact one."""
    judged = [row for row in rows if "correct" in row]
    return [(float(str(r[energy])), np.asarray(r["correct"])) for r in judged] + [(1.0, int8)]


def report(state: Path, output: Path | None) -> None:
    """Prints figures of all circuits, and the energy saved at equal accuracy."""
    families = [GENERAL, *(way for way in WAYS if (state / way / STATE_FILE).exists())]
    rows: dict[str, list[Row]] = {}
    known: dict[str, NDArray[np.generic]] = {}
    for family in families:
        path = state / family / "correct.npz"
        judged = dict(np.load(path)) if path.exists() else {}
        known |= {name: judged[name] for name in ("float", "int8") if name in judged}
        rows[family] = figures(state, family, judged)
    data: dict[str, object] = {}
    if "float" in known:
        reference, int8 = (np.asarray(known[name], np.bool_) for name in ("float", "int8"))
        data["images"] = len(reference)
        data["accuracy"] = {"float": float(reference.mean()), "int8": float(int8.mean())}
        judged_ways = [f for f in families[1:] if any("correct" in row for row in rows[f])]
        compared = {family: rows[family] for family in judged_ways}
        compared |= {f"general or {f}": rows[GENERAL] + rows[f] for f in judged_ways}
        data["at_equal_drop"] = {
            f"{name}, {energy}": gains(
                reference,
                points_of(rows[GENERAL], energy, int8),
                points_of(chosen, energy, int8),
            )
            for name, chosen in compared.items()
            for energy in ENERGIES
        }
    data["circuits"] = [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if k != "correct"}
        for family in families
        for row in rows[family]
    ]
    print(json.dumps(data, indent=1))
    if output:
        write_json(output, data)


def main() -> None:
    """The four commands above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("action", choices=("measure", "evolve", "accuracy", "report"))
    parser.add_argument("state", type=Path)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--calibration", default=CALIBRATION)
    parser.add_argument("--test", nargs="+", default=TEST)
    parser.add_argument("--family", choices=(GENERAL, *WAYS), help="only this one")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin nothing after these")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    families = [arguments.family] if arguments.family else [GENERAL, *WAYS]
    if arguments.action == "measure":
        measure(arguments.state, arguments.model, arguments.calibration)
    elif arguments.action == "evolve":
        for name in (family for family in families if family != GENERAL):
            evolve(arguments.state, name, arguments.minutes, arguments.workers)
    elif arguments.action == "accuracy":
        accuracy(arguments, families)
    else:
        report(arguments.state, arguments.output)


if __name__ == "__main__":
    main()
