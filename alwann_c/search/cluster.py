"""A Dask cluster as the place where candidates are evaluated.

A worker gets model, data and target once, builds its own compiled network, and then receives
candidates as tasks. Fits and evaluations are deterministic, so results do not depend on how many
workers there are, nor on the order in which they finish.
"""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from alwann_c.accelerator import Accelerator, Exclusions, place
from alwann_c.compensation import QUICK, Compensator, Effort
from alwann_c.cores import available_cores
from alwann_c.dataset import Dataset
from alwann_c.errors import InputError
from alwann_c.evaluation import Outcome
from alwann_c.libraries import library_identity
from alwann_c.passes.compensate import Method
from alwann_c.plan import codes_hash
from alwann_c.quantized import QuantizationScheme, quantize
from alwann_c.search.pool import TOGETHER, Fits, Float32, LocalPool, Names, parts
from alwann_c.search.shipped import ShippedModel, ship
from alwann_c.targets import Library, Target

TASKS_PER_WORKER = 3
"""Tasks a generation is split into for each worker: few, so that candidates share first layers, but
more than one, as tasks take different times."""

PATIENCE_SECONDS = 10
"""For a scheduler to answer and for its first worker."""

ATTEMPTS = 5
"""How often work is sent again when workers are lost."""


@dataclass(frozen=True, eq=False)
class WorkerSetup:
    """All a worker needs; sent once. `key` identifies it, `codes` the integers of the network."""

    key: str
    codes: str
    model: ShippedModel
    calibration: Dataset
    calibration_images: int
    scheme: QuantizationScheme
    target: Target
    library: Library
    exclusions: Exclusions
    data: Dataset
    method: Method
    quick: Effort

    def build(self) -> LocalPool:
        """Compiles the network on the worker. Raises InputError when its integers are others there."""
        images = self.calibration_images
        model = self.model.load()
        quantized = quantize(model, self.calibration, self.scheme, images=images)
        if codes_hash(quantized) != self.codes:
            raise InputError(
                f"--scheduler: the worker on {platform.node()} ({platform.machine()}) quantizes the"
                " model to other integers: its CPU or its packages differ; take workers like this"
                " machine"
            )
        accelerator = place(quantized, self.target, self.library, self.exclusions)
        compensator = Compensator(quantized, quick=self.quick)
        return LocalPool(accelerator, compensator, self.data, self.method)


_BUILT: dict[str, LocalPool] = {}
"""Pools of this worker process."""
_BUSY = threading.RLock()
"""A worker process with several threads has its one network run one task at a time."""


def _one_at_a_time(task: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(task)
    def run(*arguments: Any) -> Any:
        with _BUSY:
            return task(*arguments)

    return run


def _pool(setup: WorkerSetup) -> LocalPool:
    if setup.key not in _BUILT:
        _BUILT.clear()
        _BUILT[setup.key] = setup.build()
    return _BUILT[setup.key]


@_one_at_a_time
def _prepare_on_worker(setup: WorkerSetup) -> None:
    _pool(setup)


@_one_at_a_time
def _fit_on_worker(setup: WorkerSetup, _fits: list[Fits], name: str, _attempt: int) -> Fits:
    return next(_pool(setup).fit([name]))


@_one_at_a_time
def _judge_on_worker(
    setup: WorkerSetup,
    fits: list[Fits],
    part: Sequence[tuple[Names, Float32 | None]],
    _attempt: int,
) -> list[Outcome]:
    pool = _pool(setup)
    for known in fits:
        multiplier = pool.accelerator.multiplier(known.multiplier)
        layers = pool.accelerator.approximable
        for layer, fitted in zip(layers, known.compensations, strict=True):
            pool.compensator.preload(layer, multiplier, pool.method, fitted)
    judged = dict(pool.judge([names for names, _ in part], [rival for _, rival in part]))
    return [judged[i] for i in range(len(part))]


@_one_at_a_time
def _in_order_on_worker(
    setup: WorkerSetup, _fits: list[Fits], names: Names, _attempt: int
) -> Outcome:
    return next(_pool(setup).in_order([names]))


class DaskPool:
    """Evaluates on the workers of a Dask cluster.

    Tasks of a worker that dies are done again by others; so is the sending of what they need, where
    that was on the dead worker alone.
    """

    def __init__(self, client: Any, setup: WorkerSetup) -> None:
        self._client = client
        self._given: tuple[WorkerSetup, list[Fits]] = (setup, [])
        self._sent: tuple[Any, Any] = (None, None)
        self._send()

    def _send(self) -> None:
        """Gives every worker model, data and, where there are some, fits."""
        setup, fits = self._given
        sent = self._client.scatter(setup, broadcast=True)
        self._sent = sent, (self._client.scatter(fits, broadcast=True) if fits else [])

    def prepare(self) -> None:
        """Has every worker build its network now, instead of with its first task."""
        setup, _ = self._sent
        tasks = [
            self._client.submit(_prepare_on_worker, setup, workers=[worker], pure=False)
            for worker in self._client.nthreads()
        ]
        for task in tasks:
            task.result()

    def _results(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Iterator[Any]:
        """What `function(setup, fits, argument)` gives for each argument, in order."""
        from distributed import KilledWorker

        done = 0
        for attempt in range(ATTEMPTS):
            tasks = [
                self._client.submit(function, *self._sent, argument, attempt)
                for argument in arguments[done:]
            ]
            try:
                for task in tasks:
                    yield task.result()
                    done += 1
            except CancelledError:  # what the tasks need is lost
                self._send()
            except KilledWorker as e:
                raise InputError(
                    f"--scheduler: {e.allowed_failures + 1} workers died of the same task, of too"
                    " little memory perhaps; see their logs, and go on with --resume"
                ) from e
            except ImportError as e:
                raise InputError(
                    f"--scheduler: a worker cannot run alwann-c ({e}): install the same version there"
                ) from e
            else:
                return
        raise InputError(
            f"--scheduler: workers were lost {ATTEMPTS} times in a row; see their logs, and go on "
            "with --resume"
        )

    def fit(self, multipliers: Sequence[str]) -> Iterator[Fits]:
        """See `Pool`."""
        found: list[Fits] = []
        for fits in self._results(_fit_on_worker, multipliers):
            found.append(fits)
            yield fits
        self._given = (self._given[0], found)
        self._send()

    def judge(
        self, candidates: Sequence[Names], rivals: Sequence[Float32 | None]
    ) -> Iterator[tuple[int, Outcome]]:
        """See `Pool`."""
        workers = max(1, len(self._client.nthreads()))
        size = min(TOGETHER, -(-len(candidates) // (TASKS_PER_WORKER * workers)))
        tasks = parts(candidates, max(1, size))
        given = [[(candidates[i], rivals[i]) for i in part] for part in tasks]
        for part, outcomes in zip(tasks, self._results(_judge_on_worker, given), strict=True):
            yield from zip(part, outcomes, strict=True)

    def in_order(self, candidates: Sequence[Names]) -> Iterator[Outcome]:
        """See `Pool`."""
        yield from self._results(_in_order_on_worker, candidates)


@contextmanager
def dask_client(workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of the scheduler at an address, or of `workers` new processes on this machine.

    Raises InputError when the extra is missing or the scheduler cannot be reached.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as e:
        raise InputError("--workers: needs the extra: pip install 'alwann-c[distributed]'") from e
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=PATIENCE_SECONDS)
        except (OSError, ValueError) as e:
            raise InputError(f"--scheduler: cannot reach '{scheduler}': {e}") from e
        with client:
            try:
                client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
            except TimeoutError as e:
                raise InputError(
                    f"--scheduler: '{scheduler}' has no workers: start some with"
                    f" `dask worker {scheduler} --nthreads 1`"
                ) from e
            yield client
        return
    threads = max(1, available_cores() // workers)
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            env={"TVM_NUM_THREADS": str(threads)},
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        yield client


def worker_setup(
    accelerator: Accelerator,
    library: Library,
    exclusions: Exclusions,
    data: Dataset,
    method: Method,
    quick: Effort = QUICK,
) -> WorkerSetup:
    """Everything a worker needs to evaluate candidates of `accelerator` on `data`."""
    quantized = accelerator.quantized
    parts = (
        quantized.model.identity,
        codes_hash(quantized),
        quantized.calibration.sha256,
        str(len(quantized.calibration)),
        str(quantized.scheme),
        data.sha256,
        str(len(data)),
        ", ".join(accelerator.approximable),
        accelerator.target.model_dump_json(),
        library_identity(library)["sha256"],
        method,
        str(quick),
    )
    return WorkerSetup(
        hashlib.sha256("/".join(parts).encode()).hexdigest(),
        codes_hash(quantized),
        ship(quantized.model),
        quantized.calibration,
        quantized.images,
        quantized.scheme,
        accelerator.target,
        library,
        exclusions,
        data,
        method,
        quick,
    )
