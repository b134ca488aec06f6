"""The main job: model in; front of plans, chosen plan and deployed module out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alwann_c.accelerator import Exclusions, place
from alwann_c.atomic import fresh_folder
from alwann_c.builder import build
from alwann_c.codegen.build import check_tools, resolve_device
from alwann_c.compensation import Compensator
from alwann_c.dataset import Dataset, load_dataset
from alwann_c.evaluation import float_correct, network_correct
from alwann_c.frames import Point, drop_fields
from alwann_c.libraries import library_identity, open_libraries
from alwann_c.model import Model, load
from alwann_c.notebook import FrontView
from alwann_c.plan import codes_hash
from alwann_c.progress import Ahead, Clock, Progress, Say, followed_by
from alwann_c.python_call import python_call
from alwann_c.quantized import Kind, quantize, scheme_for
from alwann_c.report.ranges import FrontData
from alwann_c.results_folder import write_results
from alwann_c.search import approximate_correct, dask_client
from alwann_c.search.store import SqliteMemory
from alwann_c.search_job import SearchOptions, SearchResult, search
from alwann_c.statistics import paired_drop
from alwann_c.targets import Target, bind, load_target
from alwann_c.version import TOOL

__all__ = ["CompileResult", "SearchOptions", "SearchResult", "compile_model", "search"]

_LOG = logging.getLogger(__name__)

_TESTING = "testing"
_TESTING_COST = 0.15
"""Of a plan on as many images as the search looks at, where measuring a multiplier costs 1."""


@dataclass(frozen=True, eq=False, repr=False)
class CompileResult(FrontView):
    """Everything `compile` found.

    Attributes:
        folder: where the files are.
        search: what the search found, the chosen plan among it.
        summary: the JSON of the command line.
        tested: the points of the front as `front.json` holds them, test data included.
    """

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
    """The whole job: calibrate, quantize, search, build, test; `alwann-c compile` as a function.

    Args:
        model: a model file, or a model from `load`.
        target: name of a shipped target, a `.toml` file, or a target from `load_target`.
        calibration: data set of unlabelled images, `.toml` or `.npz`.
        search_data: labelled images; plans are chosen on them.
        output: folder for everything that is written; docs/formats.md lists the files.
        test: labelled images that choose nothing; the front is judged on them at the end.
        libraries: folders or names of multiplier libraries; the shipped one when empty.
        options: effort and limits of the search.
        exclusions: layers that stay exact.
        approximate: kinds of layers that may be approximated: `conv2d`, `dense`, `matmul`.
        device: what the module is built for, as `--device` takes it.
        resume: go on with an interrupted search in `output`.
        workers: processes on this machine; more than one needs the extra `distributed`.
        scheduler: address of a Dask scheduler whose workers search, instead of `workers`.
        command: the command line to record in the results.
        say: gets progress messages; by default they are logged, level INFO.

    Raises InputError on bad input, before anything is written.
    """
    command = command or python_call("ax.compile", compile_model, locals(), {"command", "say"})
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
            "model": network.identity,
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
        tell = say
        if test is not None:
            share = len(sets["test"]) / min(options.search_images, len(sets["search"]))
            tell = followed_by(say, Ahead(_TESTING, options.refine, _TESTING_COST * share))
        with ExitStack() as cluster:
            client = None
            if workers > 1 or scheduler is not None:
                client = cluster.enter_context(dask_client(workers, scheduler))
            found = search(
                quantized,
                aim,
                sets["search"],
                library=library,
                options=options,
                exclusions=exclusions,
                memory=memory,
                client=client,
                say=tell,
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
            exclusions=exclusions or Exclusions(),
            approximate=approximate,
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
    fields: list[dict[str, Any]] = []
    for point in found.front:
        correct = approximate_correct(compensator, point.approximations, data)
        drop = paired_drop(reference, correct)
        fields.append({"test_accuracy": float(correct.mean()), **drop_fields(drop, "test_")})
        say(Progress(_TESTING, len(fields), len(found.front), f" plans on {len(data)} images"))
    tested = {"float_accuracy": float(reference.mean()), "int8_accuracy": int8.accuracy}
    return tested, fields
