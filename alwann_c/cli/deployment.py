"""The commands that work on what `compile` wrote: running it, handing it to hardware."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from alwann_c.atomic import replacing
from alwann_c.cli.console import Console
from alwann_c.cli.recorded import recorded_beside
from alwann_c.dataset import load_dataset
from alwann_c.deploy import MANIFEST, load_module
from alwann_c.errors import InputError
from alwann_c.libraries import open_libraries
from alwann_c.model import load
from alwann_c.plan import load_plan, scheme_of
from alwann_c.quantized import quantize
from alwann_c.rtl import export_rtl as write_handoff
from alwann_c.rtl.simulate import simulate_all


def run(arguments: Any, console: Console) -> int:
    """`run MODULE --data D`."""
    if arguments.data is None and not arguments.self_test:
        raise InputError("run: give --data, or --self-test")
    module = load_module(arguments.module, rpc=arguments.rpc)
    assert module.manifest is not None
    data: dict[str, Any] = {}
    lines = []
    if arguments.self_test:
        if not module.self_test():
            raise InputError(
                f"{arguments.module}: self-test failed: outputs differ from the recorded ones; "
                "was it built for another machine?"
            )
        data["self_test"] = "passed"
        lines.append("self-test passed: outputs are bit-identical to the recorded ones")
    if arguments.data is not None:
        images = load_dataset(arguments.data)
        classes = module.manifest.output.shape[1]
        shape = tuple(module.manifest.input.shape[1:])
        images.check(shape, classes, need_labels=images.labels is not None)
        parts = [module(images.images(i, i + 500)) for i in range(0, len(images), 500)]
        outputs = np.concatenate(parts)
        data["samples"] = len(images)
        lines.append(f"{len(images)} images")
        if images.labels is not None:
            data["accuracy"] = float((outputs.argmax(axis=1) == images.labels).mean())
            lines.append(f"accuracy {data['accuracy']:.4f}")
        if arguments.output is not None:
            _write_array(Path(arguments.output), outputs)
            data["output"] = arguments.output
            lines.append(f"outputs written to {arguments.output}")
    console.result(data, lines)
    return 0


def _write_array(path: Path, outputs: Any) -> None:
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, outputs)
    except OSError as e:
        raise InputError(f"{path}: cannot write: {e.strerror or e}") from e


def export_rtl(arguments: Any, console: Console) -> int:
    """`export-rtl PLAN -o DIR`."""
    path = Path(arguments.plan)
    path = path / "plan.json" if path.is_dir() else path
    plan = load_plan(path)
    recorded = recorded_beside(path)
    sources: dict[str, Any] = {
        "model": arguments.model or recorded.model,
        "calibration": arguments.calibration or recorded.calibration,
    }
    for name, source in sources.items():
        if source is None:
            raise InputError(f"{path}: no {MANIFEST} beside it names the {name}; give --{name}")
        if getattr(arguments, name) is None and not os.path.isfile(source):
            raise InputError(
                f"{path.parent / MANIFEST}: {name}: there is no {source} here; give --{name}"
            )
    data = load_dataset(arguments.data or sources["calibration"])
    chosen = arguments.images or [0]
    if max(chosen) >= len(data):
        raise InputError(f"{data.path}: no image {max(chosen)}; it holds {len(data)}")
    model = load(
        sources["model"],
        input_shape=arguments.input_shape or recorded.input_shape,
        output=arguments.model_output or recorded.output,
        params=arguments.params or recorded.params,
    )
    data.check(model.input_shape, model.classes, need_labels=False)
    console.progress("calibrating")
    calibration = load_dataset(sources["calibration"])
    quantized = quantize(model, calibration, scheme_of(plan), images=plan.quantization.images)
    console.progress(f"golden vectors of {len(chosen)} images")
    network = write_handoff(
        plan,
        quantized,
        np.concatenate([data.images(i, i + 1) for i in chosen]),
        arguments.output,
        library=open_libraries(arguments.library),
        origin={"data": str(data.path), "sha256": data.sha256, "images": chosen},
    )
    layers = network["layers"]
    summary: dict[str, Any] = {
        "folder": str(arguments.output),
        "layers": len(layers),
        "netlists": sum(layer["netlist"] for layer in layers),
        "images": len(chosen),
        "files": len(network["files"]),
    }
    lines = [f"{layer['folder']:24} {layer['multiplier']}" for layer in layers]
    if arguments.simulate:
        summary["simulated"] = simulate_all(Path(arguments.output), console.progress)
        lines += [f"{name:40} {said}" for name, said in summary["simulated"].items()]
    console.result(summary, [*lines, f"written to {arguments.output}"])
    return 0
