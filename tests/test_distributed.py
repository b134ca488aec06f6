"""A real local Dask cluster of two processes, one of which dies in mid-search."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from searching import LIBRARY
from tiny import Case, make_target

from alwann_c.compiler import SearchOptions, search
from alwann_c.dataset import load_dataset
from alwann_c.progress import Progress
from alwann_c.search import dask_client

pytest.importorskip("distributed", reason="needs the extra `distributed`")

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
