"""The commands that work on a model."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Any

from alwann_c.accelerator import Exclusions, approximable_layers, layer_work
from alwann_c.cli.console import Console, table
from alwann_c.cli.inspection import load_model
from alwann_c.compensation import Compensator, Effort, bound_all
from alwann_c.compiler import CompileResult, SearchOptions, compile_model
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.evaluation import EvaluationResult, float_correct, network_correct
from alwann_c.libraries import open_libraries
from alwann_c.plan import load_plan, scheme_of
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.targets import (
    MAX_BITS,
    Multiplier,
    Target,
    load_builtin_library,
    load_target,
    relative_energy,
    sign_magnitude,
)

DEMO_CANDIDATES = 16


def _exclusions(arguments: Any) -> Exclusions:
    return Exclusions(
        tuple(arguments.exclude),
        arguments.exclude_first,
        arguments.exclude_last,
        arguments.approximate_dense,
    )


def _options(arguments: Any, max_drop: float) -> SearchOptions:
    return SearchOptions(
        max_drop=max_drop,
        population=arguments.population,
        generations=arguments.generations,
        seed=arguments.seed,
        search_images=arguments.search_images,
    )


def _summary_lines(result: CompileResult) -> list[str]:
    summary, found = result.summary, result.search
    chosen = summary["selected"]
    images = len(found.best.approximations)
    lines = [
        f"float accuracy   {summary['float_accuracy']:.4f} on the search data",
        f"int8 accuracy    {summary['int8_accuracy']:.4f}",
        f"approximate      {chosen['accuracy']:.4f}",
    ]
    if chosen["test_accuracy"] is not None:
        low, high = chosen["test_drop_ci95"]
        lines += [
            f"test data        float {summary['test_float_accuracy']:.4f}, int8 "
            f"{summary['test_int8_accuracy']:.4f}, approximate {chosen['test_accuracy']:.4f}",
            f"test drop        {100 * chosen['test_drop']:+.2f} points, 95 % interval "
            f"[{100 * low:+.2f}, {100 * high:+.2f}]",
        ]
    lines.append(
        f"energy saved     {100 * (1 - chosen['relative_energy']):.1f} % of the multiplication "
        f"energy of {images} layers"
    )
    rows = [
        [layer.name, layer.unit or "(exact)", layer.multiplier, f"{layer.relative_cost:.3f}"]
        for layer in found.plan.layers
    ]
    return [*lines, "", *table(["layer", "unit", "multiplier", "energy"], rows)]


def compile_(arguments: Any, console: Console) -> int:
    """`compile MODEL …`."""
    result = compile_model(
        load_model(arguments),
        target=arguments.target,
        calibration=arguments.calibration,
        search_data=arguments.search,
        test=arguments.test,
        output=arguments.output,
        libraries=arguments.library,
        options=replace(
            _options(arguments, arguments.max_drop),
            method=arguments.method,
            third=arguments.third,
            race=not arguments.no_race,
        ),
        exclusions=_exclusions(arguments),
        approximate=arguments.approximate,
        device=arguments.device,
        resume=arguments.resume,
        workers=arguments.workers,
        scheduler=arguments.scheduler,
        command="alwann-c " + shlex.join(arguments.argv),
        say=console.progress,
    )
    lines = [*_summary_lines(result), "", f"written to {result.folder}"]
    console.result(result.summary, lines)
    return 0


def _demo_target() -> Target:
    """The target power-gated-4 with fewer candidates, so that the demo keeps to its time."""
    target = load_target("power-gated-4")
    fitting = load_builtin_library().select(signed=False)
    step = (len(fitting) - 1) / (DEMO_CANDIDATES - 1)
    names = tuple(fitting[round(i * step)].name for i in range(DEMO_CANDIDATES))
    units = tuple(group.model_copy(update={"multipliers": names}) for group in target.unit)
    return target.model_copy(update={"name": f"{target.name}-demo", "unit": units})


def demo(arguments: Any, console: Console) -> int:
    """`demo`: `compile` on what ships with the package, then the module in a fresh process."""
    with as_file(files("alwann_c") / "demo") as shipped:
        result = compile_model(
            shipped / "resnet8_cifar10.onnx",
            target=_demo_target(),
            calibration=shipped / "calibration.toml",
            search_data=shipped / "search.toml",
            test=shipped / "test.toml",
            output=arguments.output,
            options=replace(
                _options(arguments, 0.01),
                in_order=5,
                refine=4,
                quick=Effort(rows=8_192, sweeps=0, every=False),
                thorough=Effort(rows=32_768, sweeps=2, every=False),
            ),
            resume=arguments.resume,
            command="alwann-c " + shlex.join(arguments.argv),
            say=console.progress,
        )
        console.progress("reloading the module in a fresh process")
        command = [sys.executable, "-m", "alwann_c", "run", str(result.folder)]
        command += ["--data", str(shipped / "test.toml"), "--self-test"]
        fresh = subprocess.run(command, capture_output=True, text=True, check=False)
    if fresh.returncode != 0:
        raise InputError(f"{result.folder}: the module does not run again: {fresh.stderr.strip()}")
    lines = [
        *_summary_lines(result),
        "",
        "the exported module, in a fresh process:",
        *(f"  {line}" for line in fresh.stdout.strip().splitlines()),
        "",
        f"look at {result.folder / 'report.html'}",
    ]
    console.result(result.summary, lines)
    return 0


def _scheme(arguments: Any, multiplier: Multiplier | None) -> QuantizationScheme:
    """The quantization that the arguments ask for, as wide and signed as the multiplier."""
    most = MAX_BITS if multiplier is None else multiplier.bits
    widths = {}
    for field in ("activation_bits", "weight_bits"):
        wanted = getattr(arguments, field)
        widths[field] = most if wanted is None else wanted
        if multiplier is not None and widths[field] > most:
            raise InputError(
                f"--{field.replace('_', '-')} {wanted}: multiplier {multiplier.name!r} takes {most} "
                "bits; give at most that"
            )
    return QuantizationScheme(
        arguments.weights,
        arguments.ranges,
        multiplier is not None and multiplier.signed,
        arguments.activations,
        equalize=arguments.equalize,
        approximate=arguments.approximate,
        **widths,
    )


def evaluate(arguments: Any, console: Console) -> int:
    """`evaluate MODEL …`."""
    library = open_libraries(arguments.library)
    plan = load_plan(arguments.plan) if arguments.plan else None
    uniform = library.find(arguments.multiplier) if arguments.multiplier else None
    calibration = load_dataset(arguments.calibration)
    test = load_dataset(arguments.test).limited(arguments.limit)
    model = load_model(arguments)
    test.check(model.input_shape, model.classes, need_labels=True)
    if uniform is not None and arguments.sign_magnitude:
        uniform = sign_magnitude(uniform)
    scheme = scheme_of(plan) if plan is not None else _scheme(arguments, uniform)
    console.progress("calibrating")
    count = plan.quantization.images if plan is not None else 500
    quantized = quantize(model, calibration, scheme, images=count)
    console.progress("evaluating float and int8")
    reference = float_correct(model, test)
    int8 = network_correct(quantized.network, test)
    timed, energy = int8, None
    if plan is not None or uniform is not None:
        compensator = Compensator(quantized)
        if plan is not None:
            chosen = plan.approximations(quantized, library)
            energy = plan.relative_energy
        else:
            assert uniform is not None
            names, _ = approximable_layers(quantized, _exclusions(arguments))
            console.progress(f"compensating ({arguments.compensation})")
            chosen = compensator.network(dict.fromkeys(names, uniform), arguments.compensation)
            if uniform.power_mw is not None:
                works = [layer_work(quantized.layers[name]) for name in names]
                exact = library.exact(signed=uniform.signed and not arguments.sign_magnitude)
                energy = relative_energy(works, [uniform] * len(works), exact)
        operands = bound_all(chosen)
        console.progress("evaluating the approximate network")
        timed = network_correct(quantized.network, test, operands)
    result = EvaluationResult(
        float_accuracy=float(reference.mean()),
        int8_accuracy=int8.accuracy,
        accuracy=timed.accuracy,
        samples=len(test),
        images_per_second=timed.images_per_second,
        macs_per_image=sum(layer.spec.macs for layer in quantized.layers.values()),
        relative_energy=energy,
    )
    lines = [
        f"float accuracy       {result.float_accuracy:.4f}",
        f"int8 accuracy        {result.int8_accuracy:.4f}",
        f"accuracy             {result.accuracy:.4f} on {result.samples} images",
        f"images per second    {result.images_per_second:.0f}",
        f"MACs per image       {result.macs_per_image:,}",
        f"relative energy      {'unknown' if energy is None else format(energy, '.4f')}",
    ]
    console.result(result.to_dict(), lines)
    return 0
