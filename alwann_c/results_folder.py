"""The output folder of the main job: module, manifest, plan, front and report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alwann_c.atomic import write_json, write_text
from alwann_c.builder import write_module
from alwann_c.dataset import Dataset
from alwann_c.frames import Point, front_records, to_csv
from alwann_c.libraries import library_identity
from alwann_c.operands import describe_operands
from alwann_c.plan import write_plan
from alwann_c.progress import Clock
from alwann_c.report import write_report
from alwann_c.targets import EnergyReport, Library
from alwann_c.version import TOOL

PACKAGES = ("apache-tvm", "numpy", "onnx", "pymoo")

if TYPE_CHECKING:
    from alwann_c.accelerator import Exclusions
    from alwann_c.deploy import Module
    from alwann_c.quantized import Kind
    from alwann_c.search_job import SearchOptions, SearchResult


def _describe(data: Dataset) -> dict[str, Any]:
    return {"path": str(data.path), "sha256": data.sha256, "images": len(data)}


def _versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _costs(report: EnergyReport) -> dict[str, float | None]:
    """What a plan of the front costs beside multiplications."""
    return {
        "total_pj": report.total_pj,
        "area_um2": report.area_um2,
        "latency_us": report.timing.latency_us,
    }


def write_results(
    folder: Path,
    found: SearchResult,
    module: Module,
    *,
    library: Library,
    sets: Mapping[str, Dataset],
    device: str,
    options: SearchOptions,
    exclusions: Exclusions,
    approximate: Sequence[Kind],
    tested: Mapping[str, Any],
    test_fields: Sequence[Mapping[str, Any]],
    command: str,
    clock: Clock,
) -> tuple[dict[str, Any], list[Point]]:
    """Writes every file of the folder; returns the JSON of the command line and the front's points.

    `sets`: `calibration`, `search` and, where given, `test`. `tested`: accuracies of float and int8
    on the test data; `test_fields`: what each point of the front adds, both empty without it.
    """
    quantized = found.accelerator.quantized
    network, aim = quantized.model, found.accelerator.target
    write_plan(found.plan, folder / "plan.json")
    with clock.stage("describe"):
        operands = describe_operands(quantized, found.best.approximations)
        write_json(folder / "operands.json", operands)
    described = {name: _describe(data) for name, data in sets.items()}
    write_module(
        module,
        folder,
        quantized=quantized,
        plan=found.plan,
        library=library,
        data=described,
        device=device,
    )
    searched = found.front_data()
    costs = [_costs(found.accelerator.energy(point.assignment)) for point in found.front]
    front = [
        {**point, **cost, **extra}
        for point, cost, extra in zip(searched.points, costs, test_fields, strict=True)
    ]
    seconds = clock.total()
    chosen = front[found.selected]
    summary = {
        "float_accuracy": found.float_accuracy,
        "int8_accuracy": found.int8.accuracy,
        "front": [
            {key: point[key] for key in ("accuracy", "relative_energy", "assignment")}
            for point in front
        ],
        "selected": {
            "accuracy": chosen["accuracy"],
            "relative_energy": chosen["relative_energy"],
            "test_accuracy": chosen.get("test_accuracy"),
            "test_drop": chosen.get("test_drop"),
            "test_drop_ci95": chosen.get("test_drop_ci95"),
            "assignment": chosen["assignment"],
        },
        "evaluations": len(found.evaluations),
        "seconds": seconds["total"],
        **{f"test_{key}": value for key, value in tested.items()},
    }
    write_json(
        folder / "front.json",
        {
            "version": 1,
            "tool": TOOL,
            "command": command,
            "versions": _versions(),
            "model": {"name": network.name, "sha256": network.sha256},
            "target": aim.name,
            "target_sha256": aim.content_hash,
            "target_content": aim.content,
            "architecture": aim.architecture,
            "libraries": [library_identity(library)],
            "data": {**described, "test": described.get("test")},
            "seed": options.seed,
            "population": options.population,
            "generations": options.generations,
            "method": options.method,
            "third_objective": options.third,
            "max_drop": options.max_drop,
            "options": {
                **asdict(options),
                "exclusions": asdict(exclusions),
                "approximate": list(approximate),
                "device": device,
            },
            "float_accuracy": {
                "search": found.float_accuracy,
                "test": tested.get("float_accuracy"),
            },
            "int8_accuracy": {
                "search": found.int8.accuracy,
                "test": tested.get("int8_accuracy"),
            },
            "layers": [
                {"name": work.name, "kind": work.kind, "macs": work.macs}
                for work in found.accelerator.works
            ],
            "front": front,
            "selected": found.selected,
            "evaluated": [
                {"accuracy": e.accuracy, "relative_energy": e.relative_energy}
                for e in found.evaluations
                if not e.stopped
            ],
            "evaluations": len(found.evaluations),
            "stopped_early": sum(e.stopped for e in found.evaluations),
            "seconds": seconds,
        },
    )
    records = front_records(front, *found.columns(), found.selected)
    write_text(folder / "front.csv", to_csv(records))
    write_report(folder)
    return summary, front
