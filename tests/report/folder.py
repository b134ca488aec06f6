"""What `compile` leaves behind, made up: six points on three units."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LAYERS = [("conv0", 442_368), ("conv1", 2_359_296), ("conv2", 2_359_296), ("conv3", 1_179_648)]
CIRCUITS = {"mul8u_a": 0.8, "mul8u_b": 0.55, "mul8u_c": 0.3}


def _front(points: int, layers: Sequence[tuple[str, int]]) -> dict[str, Any]:
    draw = random.Random(3)
    front = []
    for index in range(points):
        drop = 0.12 * (1 - (index + 1) / points) ** 2 - 0.001
        placed = {"units": list(CIRCUITS), "layers": [draw.randrange(3) for _ in layers]}
        search: dict[str, Any] = {
            "accuracy": 0.87 - drop,
            "drop": drop,
            "drop_ci95": [drop - 0.006, drop + 0.006],
        }
        search |= {
            "divergence": 2 * max(drop, 0.0),
            "expected_drop": drop,
            "expected_drop_bound": drop + 0.001,
        }
        test: dict[str, Any] = {"test_accuracy": 0.866 - drop, "test_drop": drop + 0.001}
        test["test_drop_ci95"] = [drop - 0.005, drop + 0.007]
        energy = 0.3 + 0.65 * index / points
        front.append({**search, **test, "relative_energy": energy, "assignment": placed})
    seen = [(0.86 - draw.random() ** 3 * 0.7, 0.25 + 0.75 * draw.random()) for _ in range(200)]
    data = {"path": "data/d.toml", "sha256": "d" * 64, "images": 1000}
    return {
        "version": 1,
        "tool": "alwann-c 0.1.0",
        "command": "alwann-c compile model.onnx",
        "model": {"name": "resnet8", "sha256": "a" * 64},
        "target": "power-gated-3",
        "architecture": "power-gated",
        "seed": 7,
        "population": 50,
        "generations": 30,
        "libraries": [{"name": "classic", "sha256": "b" * 64, "multipliers": 29}],
        "data": {"calibration": data, "search": data, "test": data},
        "max_drop": 0.005,
        "method": "greedy",
        "target_sha256": "e" * 64,
        "target_content": {"name": "power-gated-3", "unit": [{"name": "tile", "rows": 17}]},
        "options": {
            "seed": 7,
            "search_images": 321,
            "race": True,
            "quick": {"rows": 16_384},
            "exclusions": {"names": ["conv0", "fc"], "first": False},
        },
        "float_accuracy": {"search": 0.87, "test": 0.867},
        "int8_accuracy": {"search": 0.8695, "test": 0.8662},
        "layers": [{"name": n, "kind": "conv2d", "macs": m} for n, m in layers],
        "front": front,
        "selected": points - 2,
        "evaluations": len(seen),
        "stopped_early": 77,
        "evaluated": [{"accuracy": a, "relative_energy": e} for a, e in seen],
        "seconds": {"calibrate": 2.0, "search": 40.0, "refine": 8.0, "total": 61.2},
    }


def _plan(front: dict[str, Any]) -> dict[str, Any]:
    chosen = front["front"][front["selected"]]
    units = [{"name": f"tile{u}", "multiplier": m} for u, m in enumerate(CIRCUITS)]
    layers, energies = [], []
    for layer, at in zip(front["layers"], chosen["assignment"]["layers"], strict=True):
        name, cost = units[at]["multiplier"], CIRCUITS[units[at]["multiplier"]]
        placed = {"unit": units[at]["name"], "multiplier": name}
        tuned = {"changed_weights": 0.31, "mean_correction": -0.0123}
        layers.append({**layer, **placed, **tuned, "relative_cost": cost, "excluded": False})
        parts = {"multiplication_pj": 0.2 * cost * layer["macs"], "buffer_pj": 1e5, "dram_pj": 3e5}
        own = {"name": layer["name"], "macs": layer["macs"], "total_pj": sum(parts.values())}
        time = {"cycles": layer["macs"] // 200, "utilisation": 0.78}
        energies.append({**own, **placed, **parts, **time})
    dense = {"name": "dense", "kind": "dense", "macs": 640, "unit": None, "multiplier": "exact"}
    total = sum(layer["total_pj"] for layer in energies)
    cycles = sum(layer["cycles"] for layer in energies)
    sums = []
    for unit in units:
        own = [layer for layer in energies if layer["unit"] == unit["name"]]
        keys = ("macs", "multiplication_pj", "total_pj")
        added = {key: sum(layer[key] for layer in own) for key in keys}
        busy = sum(layer["cycles"] for layer in own) / max(cycles, 1)
        sums.append({**unit, "layers": len(own), "busy": busy, **added})
    energy = {"relative_energy": 0.5, "total_pj": total, "relative_total": 0.93}
    energy.update(layers=energies, units=sums)
    return {
        "version": 1,
        "units": units,
        "layers": [*layers, {**dense, "relative_cost": 1.0, "excluded": True}],
        "relative_energy": chosen["relative_energy"],
        "energy": {**energy, "area_um2": 4e5, "images_per_second": 10_400.0},
        "multipliers": {m: {"power_mw": c, "mae": 12.25, "wce": 49} for m, c in CIRCUITS.items()},
    }


def _operands(layers: Sequence[tuple[str, int]]) -> dict[str, Any]:
    error = {"mean": -61.25, "absolute": 87.5, "deviation": 99.0, "product": 1062.0}
    layer = {
        "multiplier": "mul8u_a",
        "zero_point": 0,
        "activations": [1000, *range(255)],
        "weights": [min(i, 256 - i) for i in range(256)],
        "product_error": error,
        "weight_changes": {"share": 0.42, "mean_step": 2.75, "largest_step": 9},
        "output_error": {"before": 0.987, "after": 0.0504},
    }
    shown = [{"name": name, **layer} for name, _ in layers]
    return {"version": 1, "images": 96, "first_code": 0, "layers": shown}


def results_folder(path: Path, points: int = 6, layers: Sequence[tuple[str, int]] = LAYERS) -> Path:
    """The JSON files of an output folder, as `compile` would have written them."""
    path.mkdir(exist_ok=True)
    front = _front(points, layers)
    manifest = {"version": 1, "device": "cpu", "input": {"shape": [0, 3]}}
    files = {"front": front, "plan": _plan(front), "operands": _operands(layers)}
    for name, content in (files | {"manifest": manifest}).items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path
