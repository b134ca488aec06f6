"""Circuits evolved for one network's operands against general ones: energy at equal accuracy.

    python tools/application_specific.py measure  STATE [--model M --calibration D]
    python tools/application_specific.py evolve   STATE [--minutes N --workers N]
    python tools/application_specific.py accuracy STATE [--model M --calibration D --test D --minutes N]
    python tools/application_specific.py report   STATE [-o FILE.json]

Every step goes on where it stopped. From circuits of the library `alwann` others are evolved that have
less power under the activations measured in the network, and a mean square error, under them, of at
most the square of the general circuit's spread: what a bias correction cannot take away. (Bounding the
mean error instead gives worse circuits: most activations are 0, and the rest may go wrong.) All are
then put on every convolution, compensated in full, and judged on the same images. Models and data
default to `../shared`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alwann_c.accelerator import Exclusions, approximable_layers
from alwann_c.atomic import write_json
from alwann_c.codegen.network import Operands as Bindings
from alwann_c.compensation import Compensator, Effort, bound
from alwann_c.dataset import Dataset, load_dataset
from alwann_c.evaluation import float_correct, network_correct
from alwann_c.model import load
from alwann_c.operand_shares import measure_operands
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.quantized import QuantizedModel, quantize
from alwann_c.targets import Multiplier, exact_products, load_builtin_library
from alwann_c.targets.arrays import exact_array
from alwann_c.targets.evolve.campaign import (
    STATE_FILE,
    Operands,
    Seed,
    Task,
    load_found,
    run_campaign,
)
from alwann_c.targets.evolve.search import Options
from alwann_c.targets.gate_model import switched_cells
from alwann_c.targets.netlist import Netlist, product_table
from alwann_c.targets.verilog_reader import read_netlist_file

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODEL = SHARED / "models" / "resnet8_alwann.onnx"
CALIBRATION = SHARED / "data" / "cifar10_calibration.toml"
TEST = [SHARED / "data" / f"cifar10_{part}.toml" for part in ("search", "test")]
POWERS = (0.10, 0.85)
"""Circuits of the library between these powers, relative to the exact one, are taken up."""
EVERY = 3
"""A circuit is evolved for every third of them."""
OPTIONS = Options(evaluations=40_000)
ROUNDS = 10
SPREAD = 0.01
"""Part of the activations taken as spread over all codes: what calibration has not seen may come."""
EFFORT = Effort(rows=32_768, sweeps=2)
"""Of the compensation, the same for both."""
DROPS = (0.25, 0.5, 1.0, 2.0, 4.0)
RESAMPLES = 2000


def general() -> list[Multiplier]:
    """The unsigned circuits of the shipped library to compare with."""
    library = load_builtin_library("alwann")
    full = library.exact().power_mw or 1.0
    low, high = POWERS
    return [m for m in library.select(signed=False) if low <= (m.power_mw or 0) / full <= high]


def netlist_of(multiplier: Multiplier) -> Netlist:
    """The circuit of a shipped multiplier."""
    assert multiplier.netlist is not None
    netlist = read_netlist_file(multiplier.netlist)
    assert netlist is not None
    return netlist


def measure(arguments: argparse.Namespace) -> None:
    """Writes STATE/operands.json."""
    quantized = quantize(load(arguments.model), load_dataset(arguments.calibration))
    names, _ = approximable_layers(quantized, Exclusions())
    shares = measure_operands(quantized, names)
    data = {"activations": shares.activations.tolist(), "weights": shares.weights.tolist()}
    write_json(arguments.state / "operands.json", data)


def shares_of(state: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of activation and weight codes as measured."""
    data = json.loads((state / "operands.json").read_text(encoding="utf-8"))
    return np.array(data["activations"]), np.array(data["weights"])


def operands_of(state: Path) -> Operands:
    """What is evolved for: the measured activations, no code left out, and all weights alike, as
    tuning may move weights to any code."""
    activations = (1 - SPREAD) * shares_of(state)[0] + SPREAD / 256
    return Operands(activations=tuple(activations.tolist()))


def spread(multiplier: Multiplier, activations: NDArray[np.float64]) -> float:
    """Mean square error once the mean error of every weight code is taken out."""
    error = (multiplier.table - exact_products(False)).astype(np.float64)
    return float((activations @ (error - activations @ error) ** 2).mean())


def tasks(state: Path) -> list[Task]:
    """One per general circuit."""
    operands = operands_of(state)
    activations = np.array(operands.activations)
    return [Task(operands, "mse", round(spread(m, activations), 3)) for m in general()[::EVERY]]


def evolve(arguments: argparse.Namespace) -> None:
    """Evolves the specific circuits; state in STATE/evolution.json."""
    run_campaign(
        tasks(arguments.state),
        arguments.state,
        rounds=ROUNDS,
        options=OPTIONS,
        workers=arguments.workers,
        seeds=[Seed(netlist_of(m), 8, False) for m in general()],
        seconds=60 * arguments.minutes,
        progress=lambda text: print(text, flush=True),
    )


def circuits(state: Path) -> dict[str, tuple[Netlist, str]]:
    """Netlist and family of every circuit; of the specific ones those of the last round."""
    chosen = {m.name: (netlist_of(m), "general") for m in general()[::EVERY]}
    for entry in load_found(state / STATE_FILE):
        name = general()[entry.task * EVERY].name.replace("mul8u_", "specific_")
        chosen[name] = (entry.netlist, "specific")
    chosen |= {m.name: (netlist_of(m), "general") for m in general() if m.name not in chosen}
    return chosen


def middle_first(
    chosen: dict[str, tuple[Netlist, str]],
) -> list[tuple[str, tuple[Netlist, str]]]:
    """Pairs of a general circuit and the specific one evolved from its bound, those of middling
    power first, as accuracies differ most there; then the other general circuits."""
    paired = [m.name for m in general()[::EVERY]]
    order = sorted(range(len(paired)), key=lambda i: abs(i - 0.55 * len(paired)))
    names = []
    for i in order:
        names += [paired[i], paired[i].replace("mul8u_", "specific_")]
    names += [name for name in chosen if name not in names]
    return [(name, chosen[name]) for name in names if name in chosen]


def correct(
    quantized: QuantizedModel, tests: list[Dataset], operands: Mapping[str, Bindings] | None
) -> NDArray[np.bool_]:
    """Which images of all data sets the approximated network gets right."""
    parts = [network_correct(quantized.network, test, operands).correct for test in tests]
    return np.concatenate(parts)


def tuned_shares(chosen: Mapping[str, LayerApproximation]) -> NDArray[np.float64]:
    """Share of the multiplications that have each weight code, after compensation."""
    shares = np.zeros(256)
    for fitted in chosen.values():
        shares += (
            fitted.layer.spec.macs
            * np.bincount(fitted.weight.ravel(), minlength=256)
            / (fitted.weight.size)
        )
    return shares / shares.sum()


def accuracy(arguments: argparse.Namespace) -> None:
    """Adds which images every circuit gets right to STATE/correct.npz."""
    deadline = time.time() + 60 * arguments.minutes
    path = arguments.state / "correct.npz"
    known = dict(np.load(path)) if path.exists() else {}
    tests = [load_dataset(path) for path in arguments.test]
    model = load(arguments.model)
    quantized = quantize(model, load_dataset(arguments.calibration))
    names, _ = approximable_layers(quantized, Exclusions())
    compensator = Compensator(quantized, thorough=EFFORT)
    if "float" not in known:
        known["float"] = np.concatenate([float_correct(model, test) for test in tests])
        known["int8"] = correct(quantized, tests, None)
    for name, (netlist, family) in middle_first(circuits(arguments.state)):
        if arguments.family not in (None, family):
            continue
        table = product_table(netlist, signed=False)
        multiplier = Multiplier(name, table)
        key = f"{name} {multiplier.content_hash[:12]}"
        if key in known:
            continue
        if time.time() > deadline:
            break
        chosen = compensator.network(dict.fromkeys(names, multiplier), "full")
        operands = {n: bound(chosen[n]) for n in names}
        known[key] = correct(quantized, tests, operands)
        known[f"weights {key}"] = tuned_shares(chosen)
        np.savez_compressed(path, **known)
        print(f"{name}: {100 * known[key].mean():.2f} % of {len(known[key])}", flush=True)


Points = list[tuple[float, NDArray[np.bool_]]]


def saved_at(points: Points, wanted: float, chosen: NDArray[np.int64]) -> float:
    """Energy saved at accuracy `wanted` on the chosen images, between the circuits of the front
    around it; NaN where none reaches it."""
    accuracy = np.array([correct[chosen].mean() for _, correct in points])
    energy = np.array([e for e, _ in points])
    order = np.argsort(energy, kind="stable")
    energy, accuracy = energy[order], accuracy[order]
    front = accuracy > np.concatenate([[-1.0], np.maximum.accumulate(accuracy)[:-1]])
    energy, accuracy = energy[front], accuracy[front]
    if accuracy[-1] < wanted:
        return float("nan")
    i = int(np.argmax(accuracy >= wanted))
    if i == 0:
        return float(1 - energy[0])
    t = (accuracy[i] - wanted) / (accuracy[i] - accuracy[i - 1])
    return float(1 - energy[i] + t * (energy[i] - energy[i - 1]))


def figures(state: Path) -> list[dict[str, object]]:
    """Family, energy and errors of every circuit, `measured` on the network's operands, `alike` with
    all operands alike; `spread` is the RMS error once the mean error of each weight is taken out."""
    activations, weights = shares_of(state)
    exact = exact_array(8, signed=False)
    full = switched_cells(exact, activations, weights), switched_cells(exact)
    rows = []
    for name, (netlist, family) in circuits(state).items():
        error = (product_table(netlist, signed=False) - exact_products(False)).astype(np.float64)
        variance = activations @ (error - activations @ error) ** 2
        rows.append({
            "name": name, "family": family, "gates": len(netlist.gates),
            "energy_measured": switched_cells(netlist, activations, weights) / full[0],
            "energy_alike": switched_cells(netlist) / full[1],
            "mae_measured": float(activations @ np.abs(error) @ weights),
            "spread_measured": float(np.sqrt(variance @ weights)),
            "mae_alike": float(np.abs(error).mean()),
            "spread_alike": float(np.sqrt(error.var(axis=0).mean())),
        })  # fmt: skip
    return rows


def at_equal_spread(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """For every specific circuit the energy that general ones need for its spread, interpolated over
    the logarithm of the spread along their front."""
    found = []
    for energy in ("energy_measured", "energy_alike"):
        points = sorted(
            (float(str(r[energy])), float(str(r["spread_measured"])))
            for r in rows
            if r["family"] == "general"
        )
        front: list[tuple[float, float]] = []
        for point in points:
            if not front or point[1] < front[-1][1]:
                front.append(point)
        e, spread = np.array(front).T
        for row in rows:
            if row["family"] == "specific" and spread[-1] <= row["spread_measured"] <= spread[0]:  # type: ignore[operator]
                log = np.log(float(str(row["spread_measured"])))
                general = float(np.interp(log, np.log(spread[::-1]), e[::-1]))
                saved = 100 * (general - float(str(row[energy])))
                found.append({"name": row["name"], "by": energy, "points_saved": round(saved, 2)})
    return found


def gains(
    known: dict[str, NDArray[np.bool_]], fronts: dict[str, Points]
) -> list[dict[str, object]]:
    """Energy both families save at equal drop from float, and the difference's 95 % interval."""
    generator = np.random.default_rng(0)
    images = len(known["float"])
    found: list[dict[str, object]] = []
    for drop in DROPS:
        drawn = []
        for turn in range(RESAMPLES + 1):
            chosen = generator.integers(0, images, images) if turn else np.arange(images)
            wanted = known["float"][chosen].mean() - drop / 100
            drawn.append([saved_at(fronts[f], wanted, chosen) for f in ("general", "specific")])
        values = 100 * np.array(drawn)
        low, high = np.nanpercentile(values[1:, 1] - values[1:, 0], [2.5, 97.5])
        general_saved, specific_saved = values[0]
        found.append({
            "drop": drop, "saved_general": round(float(general_saved), 2),
            "saved_specific": round(float(specific_saved), 2),
            "gain": round(float(specific_saved - general_saved), 2),
            "gain_ci95": [round(float(low), 2), round(float(high), 2)],
        })  # fmt: skip
    return found


def report(arguments: argparse.Namespace) -> None:
    """Prints figures of all circuits; with accuracies, the energy saved at equal accuracy."""
    path = arguments.state / "correct.npz"
    known = dict(np.load(path)) if path.exists() else {}
    rows = figures(arguments.state)
    data: dict[str, object] = {"at_equal_spread": at_equal_spread(rows)}
    chosen = circuits(arguments.state)
    for energy in ("energy_measured", "energy_alike"):
        fronts: dict[str, Points] = {"general": [], "specific": []}
        for row in rows:
            netlist, family = chosen[str(row["name"])]
            key = Multiplier("m", product_table(netlist, signed=False)).content_hash[:12]
            correct = known.get(f"{row['name']} {key}")
            if correct is not None:
                row["accuracy"] = float(correct.mean())
                fronts[family].append((float(str(row[energy])), correct))
        if all(fronts.values()):
            for points in fronts.values():
                points.append((1.0, known["int8"]))
            data[f"at_equal_drop, {energy}"] = gains(known, fronts)
    if "float" in known:
        accuracies = {name: float(known[name].mean()) for name in ("float", "int8")}
        data |= {"images": len(known["float"]), "accuracy": accuracies}
    rounded = [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows
    ]
    data["circuits"] = rounded
    print(json.dumps(data, indent=1))
    if arguments.output:
        write_json(arguments.output, data)


def main() -> None:
    """The four commands above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    steps = {"measure": measure, "evolve": evolve, "accuracy": accuracy, "report": report}
    parser.add_argument("action", choices=steps)
    parser.add_argument("state", type=Path)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--calibration", default=CALIBRATION)
    parser.add_argument("--test", nargs="+", default=TEST)
    parser.add_argument("--family", choices=("general", "specific"), help="only these accuracies")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    steps[arguments.action](arguments)


if __name__ == "__main__":
    main()
