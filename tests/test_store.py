"""Evaluations kept in SQLite: resumed with the same input, refused otherwise."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from alwann_c.errors import InputError
from alwann_c.evaluation import Outcome
from alwann_c.search.store import SqliteMemory

IDENTITY = {"model": "m", "search": "s", "tool": "t"}
NAMES = ("exact", "cut6")
VALUES = np.random.default_rng(1).random(21).astype(np.float32)
DAMAGING = (1, 2, 3, 4, 5)


def opened(path: Path, *, resume: bool, **changes: str) -> SqliteMemory:
    return SqliteMemory(path / "e.sqlite", IDENTITY | changes, resume=resume)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A folder whose store holds one evaluation of 21 images."""
    correct = np.random.default_rng(0).random(21) < 0.5
    with opened(tmp_path, resume=False) as memory:
        memory.put(NAMES, Outcome(correct, VALUES))
    return tmp_path


def test_resumes(filled: Path) -> None:
    with opened(filled, resume=True) as memory:
        found = memory.get(NAMES)
        assert found is not None
        np.testing.assert_array_equal(found.correct, np.random.default_rng(0).random(21) < 0.5)
        assert found.correct.dtype == np.bool_
        np.testing.assert_array_equal(found.divergences, VALUES)
        assert memory.get(("exact", "exact")) is None
        memory.put(NAMES, Outcome(np.ones(3, bool), np.full(3, 0.5, np.float32)))
        again = memory.get(NAMES)
        assert again is not None
        assert again.correct.tolist() == [True] * 3
        assert again.divergence == 0.5


def test_starts_afresh_without_resume(filled: Path) -> None:
    with opened(filled, resume=False, model="other") as memory:
        assert memory.get(NAMES) is None
    with opened(filled, resume=True, model="other") as memory:
        assert memory.get(NAMES) is None


def test_refuses_other_input(filled: Path) -> None:
    with pytest.raises(InputError, match=r"other input \(model, search\).*--resume"):
        opened(filled, resume=True, model="other", search="other")
    with opened(filled, resume=True) as memory:
        assert memory.get(NAMES) is not None


EARLIER = "CREATE TABLE evaluation (names TEXT PRIMARY KEY, divergence REAL NOT NULL)"


@pytest.mark.parametrize(
    "statements",
    [
        (EARLIER, "INSERT INTO evaluation VALUES ('x', 1.0)"),
        ("CREATE TABLE identity (x)", "CREATE VIEW evaluation AS SELECT * FROM identity"),
        ('CREATE TABLE "a""b" (x)', 'CREATE INDEX i ON "a""b" (x)'),
    ],
)
def test_a_store_of_another_version_is_replaced(
    tmp_path: Path, statements: tuple[str, str]
) -> None:
    """Refused with --resume, emptied without."""
    with contextlib.closing(sqlite3.connect(tmp_path / "e.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    with pytest.raises(InputError, match=r"e\.sqlite: not written by this.*without --resume"):
        opened(tmp_path, resume=True)
    with opened(tmp_path, resume=False) as memory:
        assert memory.get(NAMES) is None
        memory.put(NAMES, Outcome(np.ones(21, bool), VALUES))
    with opened(tmp_path, resume=True) as memory:
        assert memory.get(NAMES) is not None


def test_second_opener_is_refused(filled: Path) -> None:
    with opened(filled, resume=True) as memory:
        for resume in (True, False):
            with pytest.raises(InputError, match="another process"):
                opened(filled, resume=resume)
        assert memory.get(NAMES) is not None
    with opened(filled, resume=True) as memory:
        assert memory.get(NAMES) is not None


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "e.sqlite").write_bytes(b"definitely no database " * 300)
    with pytest.raises(InputError, match=r"e\.sqlite: damaged.*delete it"):
        opened(tmp_path, resume=True)


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5])
def test_a_damaged_page_is_reported_or_harmless(filled: Path, page: int) -> None:
    path = filled / "e.sqlite"
    content = bytearray(path.read_bytes())
    assert len(content) >= 6 * 4096 or page * 4096 <= len(content)
    start = max(100, (page - 1) * 4096)
    content[start : page * 4096] = b"\xa5" * (page * 4096 - start)
    path.write_bytes(content)
    original = np.random.default_rng(0).random(21) < 0.5
    problem, found = "", None
    try:
        with opened(filled, resume=True) as memory:
            found = memory.get(NAMES)
            memory.put(("a", "b"), Outcome(np.ones(3, bool), np.zeros(3, np.float32)))
    except InputError as error:
        problem = str(error)
    assert "e.sqlite" in problem or found is None or np.array_equal(found, original)
    assert (problem != "") == (page in DAMAGING)


def test_unwritable_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another"):
        SqliteMemory(tmp_path / "none" / "e.sqlite", IDENTITY, resume=False)
