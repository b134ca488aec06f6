"""Measures the tables of the README and docs: `python tools/reproduce.py [--only NAME]…`.

Needs the models, data and libraries of docs/reproduce.md (see --shared).
Results: docs/results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from shared_folder import SHARED

import alwann_c as ax
from alwann_c.accelerator import Exclusions, approximable_layers
from alwann_c.atomic import write_json
from alwann_c.compensation import Compensator, bound_all
from alwann_c.evaluation import float_correct, network_correct
from alwann_c.passes.compensate import METHODS, Method
from alwann_c.statistics import paired_drop
from alwann_c.version import TOOL

MODELS = {
    "resnet8_alwann": "",
    "resnet8_mlperf_tiny": "",
    "resnet20_cifar10": "_normalized",
}
UNIFORM = {
    "resnet8_alwann": ("mul8u_NGR", "mul8u_185Q", "mul8u_12N4", "mul8u_17KS"),
    "resnet8_mlperf_tiny": ("mul8u_DM1",),
    "resnet20_cifar10": ("mul8u_NGR", "mul8u_185Q", "mul8u_12N4", "mul8u_17KS"),
}
SEARCHES = (
    ("resnet8_alwann", "power-gated-4"),
    ("resnet8_alwann", "power-gated-2"),
    ("resnet8_mlperf_tiny", "power-gated-4"),
    ("resnet20_cifar10", "power-gated-4"),
)
ABLATION = ("mul8u_NGR", "mul8u_185Q", "mul8u_DM1", "mul8u_12N4", "mul8u_17KS", "mul8u_FTA")
ABLATION_IMAGES = 2000
WHOLE_TEST = """file = "{file}"
layout = "NHWC"
scale = {scale}
mean = {mean}
std = {std}
"""


def alwann(*arguments: str) -> dict[str, Any]:
    """Runs a command with --json and returns its result."""
    command = [sys.executable, "-m", "alwann_c", *arguments, "--json"]
    print("$ alwann-c", " ".join(arguments), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def whole_test(shared: Path, suffix: str, folder: Path) -> Path:
    """A data set of all 10,000 test images, made from the description of the last 5,000."""
    given = tomllib.loads((shared / "data" / f"cifar10_test{suffix}.toml").read_text())
    path = folder / f"whole{suffix}.toml"
    link = folder / str(given["file"])
    if not link.exists():
        link.symlink_to((shared / "data" / str(given["file"])).resolve())
    path.write_text(WHOLE_TEST.format(**{k: given[k] for k in ("file", "scale", "mean", "std")}))
    return path


def accuracy_table(
    shared: Path,
    folder: Path,
    uniform: dict[str, tuple[str, ...]] = UNIFORM,
    methods: tuple[Method, ...] = ("none", "alwann", "full"),
    images: int | None = None,
) -> list[dict[str, Any]]:
    """Float, int8 and uniform approximation with each compensation, all 10,000 test images or the
    first `images`.

    The same steps as `alwann-c evaluate`, in one process per model.
    """
    library = ax.load_library(shared / "evoapprox")
    rows: list[dict[str, Any]] = []
    for name, suffix in MODELS.items():
        if not uniform.get(name):
            continue
        test = ax.load_dataset(whole_test(shared, suffix, folder))
        test = test if images is None else test.limited(images)
        calibration = ax.load_dataset(shared / "data" / f"cifar10_calibration{suffix}.toml")
        quantized = ax.quantize(ax.load(shared / "models" / f"{name}.onnx"), calibration)
        reference = float_correct(quantized.model, test)
        int8 = network_correct(quantized.network, test)
        compensator = Compensator(quantized)
        layers, _ = approximable_layers(quantized, Exclusions())
        known = {"model": name, "samples": len(test), "float_accuracy": float(reference.mean())}
        known["int8_accuracy"] = int8.accuracy
        print(known, flush=True)
        for multiplier in (library.find(each) for each in uniform[name]):
            for method in methods:
                began = time.perf_counter()
                chosen = compensator.network(dict.fromkeys(layers, multiplier), method)
                seconds = time.perf_counter() - began
                operands = bound_all(chosen)
                timed = network_correct(quantized.network, test, operands)
                drop = paired_drop(reference, timed.correct)
                rows.append(
                    {
                        **known,
                        "multiplier": multiplier.name,
                        "compensation": method,
                        "accuracy": timed.accuracy,
                        "drop": drop.mean,
                        "drop_ci95": list(drop.ci95),
                        "fit_seconds": round(seconds, 1),
                    }
                )
                print(rows[-1], flush=True)
    return rows


def ablation_table(shared: Path, folder: Path) -> list[dict[str, Any]]:
    """Every rung of the ladder on six multipliers, first 2,000 test images."""
    uniform = dict.fromkeys(MODELS, ABLATION)
    return accuracy_table(shared, folder, uniform, METHODS, ABLATION_IMAGES)


def search_table(shared: Path, folder: Path) -> list[dict[str, Any]]:
    """`compile` with the default effort; chosen on `search`, reported on `test`."""
    rows, data = [], shared / "data"
    for name, target in SEARCHES:
        suffix = MODELS[name]
        result = alwann(
            "compile",
            str(shared / "models" / f"{name}.onnx"),
            "--target",
            target,
            "--calibration",
            str(data / f"cifar10_calibration{suffix}.toml"),
            "--search",
            str(data / f"cifar10_search{suffix}.toml"),
            "--test",
            str(data / f"cifar10_test{suffix}.toml"),
            "--library",
            str(shared / "evoapprox"),
            "-o",
            str(folder / f"{name}-{target}"),
        )
        rows.append({"model": name, "target": target, **result["selected"]})
    return rows


def main() -> int:
    """Measures and writes docs/results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--only", action="append", choices=("accuracy", "search", "ablation"))
    parser.add_argument("-o", "--output", type=Path, default=root / "docs" / "results.json")
    options = parser.parse_args()
    if not options.shared.is_dir():
        print(
            f"error: {options.shared}: no such folder; give --shared, see docs/reproduce.md",
            file=sys.stderr,
        )
        return 2
    wanted = options.only or ["accuracy", "search"]
    results: dict[str, Any] = (
        json.loads(options.output.read_text()) if options.output.is_file() else {}
    )
    results["tool"] = TOOL
    results["machine"] = {"cores": os.cpu_count(), "architecture": platform.machine()}
    with tempfile.TemporaryDirectory() as temporary:
        tables = {
            "accuracy": accuracy_table,
            "search": search_table,
            "ablation": ablation_table,
        }
        for name in wanted:
            results[name] = tables[name](options.shared, Path(temporary))
            write_json(options.output, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
