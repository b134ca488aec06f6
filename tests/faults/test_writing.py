"""Processes killed, and disks that fill or fail, at every write: old content or new, never half."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Faulty
from writer import EVALUATIONS, correct, divergences

from alwann_c.search.store import SqliteMemory

WRITER = str(Path(__file__).parent / "writer.py")


def operations(faulty: Faulty, folder: Path) -> int:
    """Writes, renames and deletions of an undisturbed run."""
    count = folder.parent / "count"
    done = faulty([WRITER, str(folder)], folder, count=count)
    assert done.returncode == 0, done.stderr
    return int(count.read_text())


def sound(folder: Path) -> int:
    """Checks that every file is whole; how many evaluations survived, which must be the first."""
    for name in ("plan.json", "front.json"):
        if (folder / name).exists():
            assert json.loads((folder / name).read_text())["name"] == name
    if not (folder / "evaluations.sqlite").exists():
        return 0
    with SqliteMemory(folder / "evaluations.sqlite", {"model": "m"}, resume=True) as memory:
        found = [memory.get((str(index),)) for index in range(EVALUATIONS)]
    known = [row is not None for row in found]
    assert known == sorted(known, reverse=True)
    for index, row in enumerate(found):
        if row is not None:
            np.testing.assert_array_equal(row.correct, correct(index))
            np.testing.assert_array_equal(row.divergences, divergences(index))
    return sum(known)


def places(total: int, every: int) -> Iterator[int]:
    """1, 1 + every, …, and the last."""
    yield from range(1, total, every)
    yield total


def survives(faulty: Faulty, folder: Path, mode: str, every: int) -> int:
    """Injects a fault at every place, then resumes; the number of faults."""
    total = operations(faulty, folder / "whole")
    whole = {n: (folder / "whole" / n).read_bytes() for n in ("plan.json", "front.json")}
    for at in places(total, every):
        own = folder / str(at)
        done = faulty([WRITER, str(own)], own, mode, at)
        # SQLite may do without an operation (it tries a checkpoint again later)
        assert done.returncode in ((-9,) if mode == "kill" else (0, 2)), done.stderr
        if done.returncode == 2:
            assert done.stderr.startswith("error: ")
            assert done.stderr.count("\n") == 1, done.stderr
            assert not list(own.glob(".*.json")), "half-written files stayed"
        known = sound(own)
        again = faulty([WRITER, str(own)], own)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["evaluated"] == EVALUATIONS - known
        assert {name: (own / name).read_bytes() for name in whole} == whole
    return len(list(places(total, every)))


@pytest.mark.parametrize("mode", ["kill", "full", "error"])
def test_faults_at_some_writes(faulty: Faulty, tmp_path: Path, mode: str) -> None:
    assert survives(faulty, tmp_path, mode, every=8) > 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["kill", "full", "error"])
def test_faults_at_every_write(faulty: Faulty, tmp_path: Path, mode: str) -> None:
    assert survives(faulty, tmp_path, mode, every=1) > 20
