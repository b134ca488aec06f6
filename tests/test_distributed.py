"""A real local Dask cluster of two processes, one of which dies in mid-search."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import TARGET, alwann_c, compile_arguments, only_json
from searching import LIBRARY
from tiny import Case, make_target

from alwann_c.accelerator import Exclusions, place
from alwann_c.compiler import SearchOptions, search
from alwann_c.dataset import load_dataset
from alwann_c.errors import InputError
from alwann_c.progress import Progress
from alwann_c.search import cluster, dask_client, worker_setup

LocalCluster = pytest.importorskip(
    "distributed", reason="needs the extra `distributed`"
).LocalCluster

OPTIONS = SearchOptions(population=8, generations=3, refine=3)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_worker_killed_in_mid_search_changes_nothing(small: Case) -> None:
    data, target = load_dataset(small.search.path), make_target()
    killed: list[int] = []
    with dask_client(2, None) as client:

        def say(message: object) -> None:
            if isinstance(message, Progress) and message.step == "generation" and not killed:
                workers = client.run(os.getpid)
                assert len(set(workers.values())) == 2
                killed.append(min(workers.values()))
                os.kill(killed[0], signal.SIGKILL)

        found = search(
            small.quantized, target, data, library=LIBRARY, options=OPTIONS, client=client, say=say
        )
    assert killed
    alone = search(small.quantized, target, data, library=LIBRARY, options=OPTIONS)
    assert found.evaluations == alone.evaluations
    assert [p.assignment for p in found.front] == [p.assignment for p in alone.front]
    assert found.plan.sha256 == alone.plan.sha256


def test_the_command_line_on_two_workers_gives_what_one_process_does(
    small: Case, tmp_path: Path
) -> None:
    target = tmp_path / "target.toml"
    target.write_text(TARGET, encoding="utf-8")
    plans, found = [], []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        command = [*compile_arguments(small, target, folder), "--workers", workers, "--json"]
        found.append(only_json(alwann_c(*command)))
        plans.append(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
    assert plans[0] == plans[1]
    assert found[0]["front"] == found[1]["front"]


def test_a_cluster_that_cannot_serve_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 1)
    with (
        pytest.raises(InputError, match="cannot reach"),
        dask_client(1, "tcp://127.0.0.1:9"),
    ):
        pass
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as empty:
        address = empty.scheduler_address
        with pytest.raises(InputError, match="no workers: start some"), dask_client(1, address):
            pass


def test_a_worker_that_quantizes_otherwise_is_refused(small: Case) -> None:
    accelerator = place(small.quantized, make_target(), LIBRARY)
    data = load_dataset(small.search.path)
    setup = worker_setup(accelerator, LIBRARY, Exclusions(), data, "full")
    assert setup.build().accelerator.approximable == accelerator.approximable
    with pytest.raises(InputError, match="quantizes the model to other integers"):
        replace(setup, codes="0" * 64).build()
