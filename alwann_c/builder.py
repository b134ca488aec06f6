"""From a plan to a deployed module."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alwann_c.accelerator import Accelerator
from alwann_c.codegen.build import compile_module, export, write_source
from alwann_c.codegen.device import resolve_device, why_not_here
from alwann_c.deploy import (
    MODULE,
    Manifest,
    Module,
    Preprocessing,
    SelfTest,
    TensorSpec,
    make_self_test,
    write_manifest,
)
from alwann_c.ir.ops import fixed_batch
from alwann_c.ir.rewrite import apply
from alwann_c.libraries import library_identity, open_libraries
from alwann_c.model import Model
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
            coded = chosen.layer
            shift = (chosen.offset - coded.offset()).astype(np.float64) * coded.scale
            planned.changed_weights = float((chosen.weight != coded.weight).mean())
            planned.mean_correction = float(np.abs(shift).mean())
            planned.weight = PackedArray.pack(chosen.weight)
            planned.offset = PackedArray.pack(chosen.offset)
            planned.scale = PackedArray.pack(chosen.scale)
            planned.weight_zero_point = PackedArray.pack(coded.weight_zero_point)
            planned.weight_scale = PackedArray.pack(coded.weight_scale)
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
    target = resolve_device(device)
    executable = compile_module(module, target)
    return Module(executable, target=target, batch=fixed_batch(module))


def _plan_summary(plan: Plan) -> dict[str, Any]:
    """What the manifest says of the plan."""
    return {
        "target": plan.target,
        "compensation": plan.compensation,
        "relative_energy": plan.relative_energy,
        "units": {unit.name: unit.multiplier for unit in plan.units},
        "layers": {
            layer.name: {"unit": layer.unit, "multiplier": layer.multiplier}
            for layer in plan.layers
        },
    }


def _model_summary(model: Model) -> dict[str, str]:
    """What the manifest says of the model, and how it was loaded where that was asked for."""
    options = model.options
    said = {"name": model.name, "sha256": model.sha256, "path": str(model.path or "")}
    if options.input_shape is not None:
        said["input_shape"] = ",".join(map(str, options.input_shape))
    if options.output is not None:
        said["output"] = options.output
    if options.params is not None:
        said["params"] = str(options.params)
    return said


def _preprocessing(quantized: QuantizedModel) -> Preprocessing:
    described = quantized.calibration.description
    return Preprocessing(
        layout=described.layout, scale=described.scale, mean=described.mean, std=described.std
    )


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
    """Writes `module.so`, `manifest.json`, and for `c`, `cuda` and `opencl` the source, into a folder.

    The self-test of a module that cannot run here is recorded with one built for this machine.
    """
    target = resolve_device(device)
    model = quantized.model
    fixed = fixed_batch(model.module) or 0
    shape = [fixed, *model.input_shape]
    sample = quantized.calibration.images(0, 32)
    runs_here = why_not_here(target) is None
    judge = module if runs_here else build(quantized, plan, library=library)
    test: SelfTest = make_self_test(judge, shape, float(sample.min()), float(sample.max()))
    source = write_source(module._executable, folder, target)
    source_sha256 = None
    if source is not None:
        source_sha256 = hashlib.sha256((folder / source).read_bytes()).hexdigest()
    manifest = Manifest(
        module_sha256=export(module._executable, folder / MODULE, target),
        source=source,
        source_sha256=source_sha256,
        device=device,
        input=TensorSpec(name=model.input_name, shape=shape),
        output=TensorSpec(name=model.output_name, shape=[fixed, *model.output_shape]),
        model=_model_summary(model),
        preprocessing=_preprocessing(quantized),
        plan=_plan_summary(plan),
        plan_sha256=plan.sha256,
        libraries=[library_identity(library)],
        data=data,
        self_test=test,
    )
    write_manifest(manifest, folder)
    return manifest
