"""From a plan to a deployed module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alwann_c.accelerator import Accelerator
from alwann_c.codegen.build import compile_module, export, resolve_device
from alwann_c.deploy import (
    MODULE,
    Manifest,
    Module,
    SelfTest,
    TensorSpec,
    make_self_test,
    write_manifest,
)
from alwann_c.ir.rewrite import apply
from alwann_c.libraries import library_identity, open_libraries
from alwann_c.passes.approximate import Approximate, LayerApproximation
from alwann_c.plan import PackedArray, Plan, PlannedLayer, PlannedUnit, plan_quantization
from alwann_c.quantized import QuantizedModel
from alwann_c.targets import Assignment, Library


def make_plan(
    accelerator: Accelerator,
    assignment: Assignment,
    approximations: Mapping[str, LayerApproximation],
    compensation: str,
) -> Plan:
    """The plan of an assignment with its fitted approximations."""
    quantized, binding = accelerator.quantized, accelerator.binding
    unit_of = dict(zip(accelerator.approximable, assignment.layers, strict=True))
    layers = []
    for name, layer in quantized.layers.items():
        excluded = name not in unit_of
        chosen = approximations.get(name)
        multiplier = binding.reference if chosen is None else chosen.multiplier
        planned = PlannedLayer(
            name=name,
            kind=layer.kind,
            macs=layer.spec.macs,
            excluded=excluded,
            unit=None if excluded else binding.units[unit_of[name]].name,
            multiplier=multiplier.name,
            multiplier_sha256=multiplier.content_hash,
            relative_cost=binding.relative_cost(multiplier.name),
        )
        if chosen is not None:
            shift = (chosen.offset - layer.offset()).astype(np.float64) * layer.scale
            planned.changed_weights = float((chosen.weight != layer.weight).mean())
            planned.mean_correction = float(np.abs(shift).mean())
            planned.weight = PackedArray.pack(chosen.weight)
            planned.offset = PackedArray.pack(chosen.offset)
            planned.scale = PackedArray.pack(chosen.scale)
        layers.append(planned)
    used = {name: binding.library.find(name) for name in dict.fromkeys(assignment.units)}
    return Plan(
        model={"name": quantized.model.name, "sha256": quantized.model.sha256},
        calibration_sha256=quantized.calibration.sha256,
        target=accelerator.target.name,
        compensation=compensation,
        quantization=plan_quantization(quantized),
        units=[
            PlannedUnit(name=unit.name, multiplier=name)
            for unit, name in zip(binding.units, assignment.units, strict=True)
        ],
        layers=layers,
        multipliers={
            name: {
                "power_mw": m.power_mw,
                "area_um2": m.area_um2,
                "mae": m.mae,
                "wce": m.wce,
                "library": m.library,
                "sha256": m.content_hash,
            }
            for name, m in used.items()
        },
        relative_energy=accelerator.relative_energy(assignment.layer_multipliers),
        energy=accelerator.energy(assignment).to_dict(),
    )


def build(
    quantized: QuantizedModel,
    plan: Plan | None = None,
    device: str = "cpu",
    *,
    library: Library | None = None,
) -> Module:
    """Compiles the network of a plan (the exact int8 network without one) for a device.

    Args:
        library: where the plan's multipliers are looked up; the shipped one when None.

    Raises InputError when plan, model and library do not belong together.
    """
    module = quantized.module
    if plan is not None:
        chosen = plan.approximations(quantized, library or open_libraries(()))
        module = apply(Approximate(chosen), module)
    return Module(compile_module(module, resolve_device(device)))


def write_module(
    module: Module,
    folder: Path,
    *,
    quantized: QuantizedModel,
    plan: Plan,
    library: Library,
    data: dict[str, Any],
    device: str,
) -> Manifest:
    """Writes `module.so` and `manifest.json` into a folder."""
    model = quantized.model
    shape = [0, *model.input_shape]
    sample = quantized.calibration.images(0, 32)
    test: SelfTest = make_self_test(module, shape, float(sample.min()), float(sample.max()))
    manifest = Manifest(
        module_sha256=export(module._executable, folder / MODULE),
        device=device,
        input=TensorSpec(name=model.input_name, shape=shape),
        output=TensorSpec(name=model.output_name, shape=[0, model.classes]),
        model={"name": model.name, "sha256": model.sha256, "path": str(model.path)},
        plan_sha256=plan.sha256,
        libraries=[library_identity(library)],
        data=data,
        self_test=test,
    )
    write_manifest(manifest, folder)
    return manifest
