"""From a quantized network and a target to a front of plans and the plan that is chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.builder import make_plan
from alwann_c.compensation import QUICK, THOROUGH, Compensator, Effort
from alwann_c.dataset import Dataset
from alwann_c.errors import InputError
from alwann_c.evaluation import Outcome, Timed, float_correct, network_correct
from alwann_c.frames import point_fields
from alwann_c.libraries import open_libraries
from alwann_c.notebook import FrontView
from alwann_c.plan import Plan
from alwann_c.progress import Agenda, Ahead, Clock, Progress, Say
from alwann_c.quantized import QuantizedModel
from alwann_c.report.ranges import FrontData
from alwann_c.search import (
    DaskPool,
    Evaluation,
    Evaluator,
    Exploration,
    FrontPoint,
    LocalPool,
    refine,
    select,
    worker_setup,
)
from alwann_c.search.in_order import InOrderSearch, search_in_order
from alwann_c.search.methods import MethodName, Problem, search_with
from alwann_c.search.pool import Pool
from alwann_c.search.seeds import worth_searching
from alwann_c.search.store import SqliteMemory
from alwann_c.targets import Assignment, Library, Target, area_um2, timing

Bools = npt.NDArray[np.bool_]

_LOG = logging.getLogger(__name__)

ThirdName = Literal["area", "latency"]

_MEASURING, _GENERATION = "measuring multipliers", "generation"
_IN_ORDER, _REFINING = "fitting in order", "refining"


@dataclass(frozen=True)
class SearchOptions:
    """Effort and limits of a search.

    Attributes:
        max_drop: accuracy the chosen plan may lose against float, 0..1.
        population: candidates of a generation.
        generations: generations of the search.
        seed: same seed, same result.
        search_images: search images that candidates are judged on, final plans on all.
        in_order: plans fitted in order with little effort, see `alwann_c.search.in_order`.
        refine: final plans fitted in order with all effort.
        method: how to search, see `alwann_c.search.methods`.
        third: what else NSGA-II minimises.
        race: whether clear losers are stopped early, see `alwann_c.search.racing`.
        quick: effort of the fits in the search.
        thorough: effort of those of final plans.
    """

    max_drop: float = 0.005
    population: int = 50
    generations: int = 30
    seed: int = 0
    search_images: int = 1000
    in_order: int = 32
    refine: int = 12
    method: MethodName = "nsga2"
    third: ThirdName | None = None
    race: bool = True
    quick: Effort = QUICK
    thorough: Effort = THOROUGH


@dataclass(frozen=True, eq=False, repr=False)
class SearchResult(FrontView):
    """The front on the search data and the chosen plan.

    Attributes:
        front: the plans that no other plan beats, judged on all search images.
        selected: index of the chosen plan in it.
        plan: the chosen plan.
        evaluations: every candidate of the search, those stopped early among them.
        float_accuracy: of the float network on the search images.
        int8: what the exact integer network classifies correctly there, and how fast.
    """

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
        """The front with the candidates judged on all images and reference accuracies, without test
        data."""
        return FrontData(
            points=[point_fields(point) for point in self.front],
            selected=self.selected,
            seen=[(e.relative_energy, e.accuracy) for e in self.evaluations if not e.stopped],
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
    method: MethodName | None = None,
    exclusions: Exclusions | None = None,
    memory: SqliteMemory | None = None,
    client: Any = None,
    say: Say = _LOG.info,
    clock: Clock | None = None,
) -> SearchResult:
    """Searches assignments of `quantized` on `target` with labelled search data.

    Args:
        target: from `load_target`.
        data: labelled images; plans are chosen on them.
        library: the multipliers; the shipped library when None.
        options: effort and limits.
        method: how to search, instead of the method of the options.
        exclusions: layers that stay exact.
        memory: keeps finished evaluations for a later call.
        client: a Dask client whose workers evaluate; this process when None.
        say: gets progress messages; by default they are logged, level INFO.

    Raises InputError when the data does not fit or the target cannot run the network.
    """
    options, clock = options or SearchOptions(), clock or Clock()
    if method is not None:
        options = replace(options, method=method)
    data.check(quantized.model.input_shape, quantized.model.classes, need_labels=True)
    library, exclusions = library or open_libraries(()), exclusions or Exclusions()
    accelerator = place(quantized, target, library, exclusions)
    third = _third_objective(accelerator, options)
    with clock.stage("reference"):
        reference = float_correct(quantized.model, data)
        int8 = network_correct(quantized.network, data)
    told = f"float {reference.mean():.4f}, int8 {int8.accuracy:.4f} on {len(data)} search images"
    say(Agenda(told, _steps(options, len(set().union(*accelerator.binding.candidates)))))
    compensator = Compensator(quantized, quick=options.quick, thorough=options.thorough)
    few = data.limited(options.search_images)
    exact_few = int8.correct[: len(few)]
    pool: Pool = LocalPool(accelerator, compensator, few, "full")
    if client is not None:
        pool = DaskPool(
            client, worker_setup(accelerator, library, exclusions, few, "full", options.quick)
        )
    with clock.stage("sensitivity"):
        names, errors = _sensitivity(accelerator, pool, options, say)
    subset = Evaluator(accelerator, pool, len(few), memory, race=options.race)

    def generation(done: int, of: int, evaluations: int, _fresh: list[Evaluation]) -> None:
        finished = [e for e in subset.seen.values() if not e.stopped]
        least = float(exact_few.mean()) - options.max_drop
        good = [e.relative_energy for e in finished if e.accuracy >= least]
        say(Progress(_GENERATION, done, of, f": {evaluations} evaluated, {_best(good, options)}"))

    def refined(done: int, of: int, judged: Sequence[FrontPoint]) -> None:
        good = [p.relative_energy for p in judged if p.bound <= options.max_drop]
        say(Progress(_REFINING, done, of, f" plans of the front, {_best(good, options)}"))

    with clock.stage("search"):
        problem = Problem(
            accelerator,
            subset,
            names,
            errors,
            population=options.population,
            generations=options.generations,
            seed=options.seed,
            third=third,
            progress=generation,
        )
        exploration = search_with(options.method, problem)
    if not exploration.evaluations:
        raise InputError(
            f"target '{target.name}': no assignment found that keeps its constraints; relax them"
        )
    with clock.stage("in order"):
        ordered = _search_in_order(
            accelerator, exploration, problem, pool, memory, exact_few, options, say
        )
    with clock.stage("refine"):
        front = refine(
            accelerator,
            ordered,
            compensator,
            data,
            reference,
            max_drop=options.max_drop,
            count=options.refine,
            third=third,
            progress=refined,
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


def _best(energies: Sequence[float], options: SearchOptions) -> str:
    """The most that plans within the limit save."""
    return f"best saves {1 - min(energies, default=1.0):.1%} within {options.max_drop:.1%}"


def _steps(options: SearchOptions, multipliers: int) -> list[Ahead]:
    """The counted steps and what they cost, for the time that is left: rough, as on ResNet-8. None
    where the search has no planned end."""
    if options.method == "exhaustive":
        return []
    work = [effort.rows * (effort.sweeps + 1) for effort in (options.quick, options.thorough)]
    return [
        Ahead(_MEASURING, multipliers),
        Ahead(_GENERATION, options.generations, 0.06 * options.population),
        Ahead(_IN_ORDER, options.in_order),
        Ahead(_REFINING, options.refine, 0.8 + 0.19 * work[1] / work[0]),
    ]


def _third_objective(
    accelerator: Accelerator, options: SearchOptions
) -> Callable[[Assignment], float] | None:
    """What is minimised beside divergence and energy. Raises InputError where it is unknown."""
    binding, works, others = accelerator.binding, accelerator.works, accelerator.exact_works
    if options.third is None:
        return None
    if options.method != "nsga2":
        raise InputError(f"third objective: method {options.method} has none; take nsga2")
    if options.third == "latency":
        return lambda assignment: timing(binding, assignment, works, others).latency_us
    names = {binding.reference.name}.union(*binding.candidates)
    unknown = sorted(n for n in names if accelerator.multiplier(n).area_um2 is None)
    if unknown:
        raise InputError(
            f"third objective: area of {', '.join(unknown[:3])} unknown ({len(unknown)} in all); "
            "add area_um2 to library.toml or leave them out of the target's multipliers"
        )

    def area(assignment: Assignment) -> float:
        return area_um2(binding, assignment, exact_layers=bool(others)) or 0.0

    return area


def _search_in_order(
    accelerator: Accelerator,
    exploration: Exploration,
    problem: Problem,
    pool: Pool,
    memory: SqliteMemory | None,
    exact: Bools,
    options: SearchOptions,
    say: Say,
) -> Exploration:
    """See `alwann_c.search.in_order`; plans are judged on the images of `exact`: which of them the
    exact network gets right."""
    images, accuracy = len(exact), float(exact.mean())

    def kept(names: tuple[str, ...]) -> Outcome | None:
        known = None if memory is None else memory.get(_in_order_key(names))
        return known if known is not None and len(known.correct) == images else None

    def fitted(candidates: Sequence[tuple[str, ...]]) -> Iterator[Outcome]:
        known = {names: kept(names) for names in candidates}
        made = pool.in_order([names for names, outcome in known.items() if outcome is None])
        for names, outcome in known.items():
            if outcome is None:
                outcome = next(made)
                if memory is not None:
                    memory.put(_in_order_key(names), outcome)
            yield outcome

    def tell(done: int, of: int, seen: Sequence[Evaluation]) -> None:
        good = [e.relative_energy for e in seen if e.accuracy >= accuracy - options.max_drop]
        say(Progress(_IN_ORDER, done, of, f" plans, {_best(good, options)}"))

    names, errors, third = problem.names, problem.errors, problem.third
    return search_in_order(
        InOrderSearch(accelerator, names, errors, fitted, accuracy, options.max_drop, third),
        exploration,
        count=options.in_order,
        progress=tell,
    )


def _in_order_key(names: tuple[str, ...]) -> tuple[str, ...]:
    """Under which a plan fitted in order is kept, beside the same one fitted layer by layer."""
    return ("in order", *names)


def _sensitivity(
    accelerator: Accelerator, pool: Pool, options: SearchOptions, say: Say
) -> tuple[list[str], Any]:
    """Multipliers worth searching, and the divergence each causes on each layer alone."""
    binding = accelerator.binding
    names = sorted(set().union(*binding.candidates), key=lambda n: (binding.cost[n], n))
    errors = np.empty((len(accelerator.approximable), len(names)))
    for j, fits in enumerate(pool.fit(names)):
        errors[:, j] = fits.divergences
        say(Progress(_MEASURING, j + 1, len(names), f": {fits.multiplier}"))
    limited = accelerator.target.constraints.area_um2 is not None
    by_area = limited or options.third == "area"
    keep = worth_searching(accelerator, errors, names, by_area=by_area)
    return [names[j] for j in keep], errors[:, keep]
