"""The main job: model in; front of plans, chosen plan and deployed module out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.atomic import fresh_folder
from alwann_c.builder import build, make_plan
from alwann_c.codegen.build import check_tools, resolve_device
from alwann_c.compensation import QUICK, THOROUGH, Compensator, Effort
from alwann_c.dataset import Dataset, load_dataset
from alwann_c.errors import InputError
from alwann_c.evaluation import Timed, float_correct, network_correct
from alwann_c.frames import Point, drop_fields, point_fields
from alwann_c.libraries import library_identity, open_libraries
from alwann_c.model import Model, load
from alwann_c.notebook import FrontView
from alwann_c.plan import Plan, codes_hash
from alwann_c.progress import Clock, Progress, Say
from alwann_c.quantized import Kind, QuantizedModel, quantize, scheme_for
from alwann_c.report.ranges import FrontData
from alwann_c.results_folder import write_results
from alwann_c.search import (
    DaskPool,
    Evaluation,
    Evaluator,
    FrontPoint,
    LocalPool,
    approximate_correct,
    dask_client,
    explore,
    refine,
    select,
    worker_setup,
)
from alwann_c.search.pool import Pool
from alwann_c.search.seeds import guided_assignments, uniform_assignments
from alwann_c.search.store import SqliteMemory
from alwann_c.statistics import paired_drop
from alwann_c.targets import Library, Target, bind, load_target
from alwann_c.version import TOOL

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchOptions:
    """Effort and limits of a search."""

    max_drop: float = 0.005
    population: int = 50
    generations: int = 30
    seed: int = 0
    search_images: int = 1000
    refine: int = 12
    quick: Effort = QUICK
    thorough: Effort = THOROUGH


@dataclass(frozen=True, eq=False, repr=False)
class SearchResult(FrontView):
    """The front on the search data and the chosen plan."""

    accelerator: Accelerator
    front: list[FrontPoint]
    selected: int
    plan: Plan
    evaluations: list[Evaluation]
    float_accuracy: float
    int8: Timed
    max_drop: float = 0.005

    @property
    def best(self) -> FrontPoint:
        """The selected point."""
        return self.front[self.selected]

    def front_data(self) -> FrontData:
        """The front with its candidates and reference accuracies, without test data."""
        return FrontData(
            points=[point_fields(point) for point in self.front],
            selected=self.selected,
            seen=[(e.relative_energy, e.accuracy) for e in self.evaluations],
            float_accuracy=self.float_accuracy,
            int8_accuracy=self.int8.accuracy,
            max_drop=self.max_drop,
        )

    def columns(self) -> tuple[list[str], list[str]]:
        """Names of the units and of the layers."""
        units = [unit.name for unit in self.accelerator.binding.units]
        return units, list(self.accelerator.approximable)

    def _subject(self) -> str:
        return f"{self.plan.model['name']} on {self.plan.target}"


def search(
    quantized: QuantizedModel,
    target: Target,
    data: Dataset,
    *,
    library: Library | None = None,
    options: SearchOptions | None = None,
    exclusions: Exclusions | None = None,
    memory: SqliteMemory | None = None,
    client: Any = None,
    say: Say = _LOG.info,
    clock: Clock | None = None,
) -> SearchResult:
    """Searches assignments of `quantized` on `target` with labelled search data.

    `client`: a Dask client whose workers evaluate the candidates; this process when None.

    Raises InputError when the data does not fit or the target cannot run the network.
    """
    options, clock = options or SearchOptions(), clock or Clock()
    data.check(quantized.model.input_shape, quantized.model.classes, need_labels=True)
    library, exclusions = library or open_libraries(()), exclusions or Exclusions()
    accelerator = place(quantized, target, library, exclusions)
    with clock.stage("reference"):
        reference = float_correct(quantized.model, data)
        int8 = network_correct(quantized.network, data)
    say(f"float {reference.mean():.4f}, int8 {int8.accuracy:.4f} on {len(data)} search images")
    compensator = Compensator(quantized, quick=options.quick, thorough=options.thorough)
    few = data.limited(options.search_images)
    pool: Pool = LocalPool(accelerator, compensator, few, "full")
    if client is not None:
        pool = DaskPool(
            client, worker_setup(accelerator, library, exclusions, few, "full", options.quick)
        )
    with clock.stage("sensitivity"):
        names, errors = _sensitivity(accelerator, pool, say)
    first = _first_population(accelerator, names, errors, options)
    subset = Evaluator(accelerator, pool, len(few), memory)

    def generation(done: int, of: int, evaluations: int, _fresh: list[Evaluation]) -> None:
        good = [e for e in subset.seen.values() if e.accuracy >= int8.accuracy - options.max_drop]
        best = min((e.relative_energy for e in good), default=1.0)
        said = f": {evaluations} evaluated, best saves {1 - best:.1%} within {options.max_drop:.1%}"
        say(Progress("generation", done, of, said))

    with clock.stage("search"):
        exploration = explore(
            accelerator,
            subset,
            first,
            names,
            population=options.population,
            generations=options.generations,
            seed=options.seed,
            progress=generation,
        )
    if not exploration.evaluations:
        raise InputError(
            f"target '{target.name}': no assignment found that keeps its constraints; relax them"
        )
    with clock.stage("refine"):
        front = refine(
            accelerator,
            exploration,
            compensator,
            data,
            reference,
            max_drop=options.max_drop,
            count=options.refine,
            progress=lambda done, of: say(Progress("refining", done, of, " plans of the front")),
        )
    chosen = select(front, options.max_drop)
    best = front[chosen]
    plan = make_plan(accelerator, best.assignment, best.approximations, "full")
    return SearchResult(
        accelerator,
        front,
        chosen,
        plan,
        exploration.evaluations,
        float(reference.mean()),
        int8,
        options.max_drop,
    )


def _sensitivity(accelerator: Accelerator, pool: Pool, say: Say) -> tuple[list[str], Any]:
    """Multipliers worth searching, and the divergence each causes on each layer alone.

    A multiplier is left out when another one is no dearer and no worse on any layer.
    """
    binding = accelerator.binding
    shared = set(binding.candidates[0]).union(*binding.candidates)
    names = sorted(shared, key=lambda n: (binding.cost[n], n))
    layers = accelerator.approximable
    errors = np.empty((len(layers), len(names)))
    for j, fits in enumerate(pool.fit(names)):
        errors[:, j] = fits.divergences
        say(Progress("measuring multipliers", j + 1, len(names), f": {fits.multiplier}"))
    keep = [
        j
        for j in range(len(names))
        if names[j] == binding.reference.name
        or not any((errors[:, k] <= errors[:, j]).all() for k in range(j))
    ]
    return [names[j] for j in keep], errors[:, keep]


def _first_population(
    accelerator: Accelerator, names: list[str], errors: Any, options: SearchOptions
) -> list[Any]:
    uniform = [a for a in uniform_assignments(accelerator) if set(a.units) <= set(names)]
    guided = guided_assignments(accelerator, errors, names, options.population)
    return list(dict.fromkeys([*uniform, *guided]))[: max(options.population, len(uniform))]


@dataclass(frozen=True, eq=False, repr=False)
class CompileResult(FrontView):
    """Everything `compile` found; `summary` is the JSON of the command line."""

    folder: Path
    search: SearchResult
    summary: dict[str, Any]
    tested: list[Point]

    def front_data(self) -> FrontData:
        """The front with its candidates and reference accuracies."""
        return replace(self.search.front_data(), points=self.tested)

    def columns(self) -> tuple[list[str], list[str]]:
        """Names of the units and of the layers."""
        return self.search.columns()

    def _subject(self) -> str:
        return self.search._subject()


def compile_model(
    model: str | Path | Model,
    *,
    target: str | Path | Target,
    calibration: str | Path,
    search_data: str | Path,
    output: str | Path,
    test: str | Path | None = None,
    libraries: Sequence[str | Path] = (),
    options: SearchOptions | None = None,
    exclusions: Exclusions | None = None,
    approximate: tuple[Kind, ...] = ("conv2d",),
    device: str = "cpu",
    resume: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    command: str = "",
    say: Say = _LOG.info,
) -> CompileResult:
    """The whole job on `approximate` kinds of layers; `output` gets what docs/formats.md says.

    Raises InputError on bad input, before anything is written.
    """
    options, clock = options or SearchOptions(), Clock()
    aim = target if isinstance(target, Target) else load_target(target)
    library = open_libraries(libraries)
    sets = {"calibration": load_dataset(calibration), "search": load_dataset(search_data)}
    if test is not None:
        sets["test"] = load_dataset(test)
    network = model if isinstance(model, Model) else load(model)
    for name, data in sets.items():
        data.check(network.input_shape, network.classes, need_labels=name != "calibration")
    bind(aim, library)
    check_tools(resolve_device(device))
    with ExitStack() as stack:
        folder = stack.enter_context(fresh_folder(Path(output)))
        with clock.stage("calibrate"):
            scheme = scheme_for(aim, approximate)
            quantized = quantize(network, sets["calibration"], scheme)
        approximable = place(quantized, aim, library, exclusions).approximable
        say(f"{network.name}: {len(quantized.layers)} integer layers")
        identity = {
            "model": network.sha256,
            "search": sets["search"].sha256,
            "calibration": sets["calibration"].sha256,
            "codes": codes_hash(quantized),
            "layers": ", ".join(approximable),
            "library": library_identity(library)["sha256"],
            "effort": str(options.quick),
            "tool": TOOL,
        }
        store = SqliteMemory(folder / "evaluations.sqlite", identity, resume=resume)
        memory = stack.enter_context(store)
        client = None
        if workers > 1 or scheduler is not None:
            client = stack.enter_context(dask_client(workers, scheduler))
        found = search(
            quantized,
            aim,
            sets["search"],
            library=library,
            options=options,
            exclusions=exclusions,
            memory=memory,
            client=client,
            say=say,
            clock=clock,
        )
    with clock.stage("build"):
        say(f"building for {device}")
        module = build(quantized, found.plan, device, library=library)
    tested: dict[str, Any] = {}
    test_fields: list[dict[str, Any]] = [{} for _ in found.front]
    if "test" in sets:
        with clock.stage("test"):
            tested, test_fields = _test(found, sets["test"], say)
    summary, points = write_results(
        folder,
        found,
        module,
        library=library,
        sets=sets,
        device=device,
        options=options,
        tested=tested,
        test_fields=test_fields,
        command=command,
        clock=clock,
    )
    return CompileResult(folder, found, summary, points)


def _test(
    found: SearchResult, data: Dataset, say: Say
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Judges the front once on data that chose nothing."""
    quantized = found.accelerator.quantized
    reference = float_correct(quantized.model, data)
    int8 = network_correct(quantized.network, data)
    compensator = Compensator(quantized)
    fields = []
    for point in found.front:
        correct = approximate_correct(compensator, point.approximations, data)
        drop = paired_drop(reference, correct)
        fields.append({"test_accuracy": float(correct.mean()), **drop_fields(drop, "test_")})
    say(f"tested {len(fields)} plans on {len(data)} test images")
    tested = {"float_accuracy": float(reference.mean()), "int8_accuracy": int8.accuracy}
    return tested, fields
