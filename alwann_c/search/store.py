"""Evaluations kept in a SQLite file as they finish, so that a search can be resumed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from alwann_c.errors import InputError
from alwann_c.evaluation import Outcome

_DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file raises; texts that are not UTF-8 raise the second."""
_TABLES = {
    "identity": "CREATE TABLE identity (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "evaluation": (
        "CREATE TABLE evaluation (names TEXT PRIMARY KEY, images INTEGER NOT NULL, "
        "correct BLOB NOT NULL, divergences BLOB NOT NULL)"
    ),
}
MAX_VALUE_BYTES = 1 << 26
"""Of one cell: a bit for each of half a thousand million images."""


class SqliteMemory:
    """Evaluations by the multipliers of the layers: a bit and a little-endian float32 per image.

    Holds an exclusive lock while open: a second process on the same file is refused. With `resume`
    a file of the same identity (model, data, library, tool) is continued; otherwise it is emptied,
    whatever version wrote it.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], *, resume: bool) -> None:
        self.path, self._created = path, not path.exists()
        try:
            self._connection = sqlite3.connect(path, timeout=0.5, isolation_level=None)
        except sqlite3.OperationalError as e:
            raise InputError(f"{path}: {e}; choose another output folder") from e
        try:
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute("COMMIT")
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            self._make_tables(resume)
            self._take_over(dict(identity), resume)
        except InputError:
            self._connection.close()
            raise
        except _DAMAGE as e:
            self._connection.close()
            raise self._reason(e) from e

    def _reason(self, error: Exception) -> InputError:
        if not isinstance(error, sqlite3.OperationalError):
            return InputError(f"{self.path}: damaged ({error}); delete it and start again")
        if "locked" in str(error):
            return InputError(
                f"{self.path}: another process is searching into this folder; choose another"
            )
        return InputError(f"{self.path}: {error}; choose another output folder")

    def _make_tables(self, resume: bool) -> None:
        """Makes the tables of a new file. Nothing else may be in it: a view or trigger of the same
        name would run whatever its author wrote."""
        listing = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        found = self._connection.execute(listing).fetchall()
        if found and {name: sql for _, name, sql in found} != _TABLES:
            if resume:
                raise InputError(
                    f"{self.path}: not written by this version; run without --resume to start anew"
                )
            self._drop([(kind, name) for kind, name, _ in found])
            found = []
        if not found:
            self._connection.execute("BEGIN EXCLUSIVE")
            for statement in _TABLES.values():
                self._connection.execute(statement)
            self._connection.execute("COMMIT")

    def _drop(self, found: list[tuple[str, str]]) -> None:
        """Removes what another version wrote; nothing of it is run or read."""
        self._connection.execute("BEGIN EXCLUSIVE")
        for kind in ("trigger", "view", "index", "table"):
            for name in (name for of, name in found if of == kind):
                quoted = name.replace('"', '""')
                self._connection.execute(f'DROP {kind} IF EXISTS "{quoted}"')
        self._connection.execute("COMMIT")

    def _take_over(self, identity: dict[str, str], resume: bool) -> None:
        known = dict(self._connection.execute("SELECT key, value FROM identity"))
        if resume and known and known != identity:
            differing = sorted(k for k in identity if known.get(k) != identity[k])
            raise InputError(
                f"{self.path}: made with other input ({', '.join(differing)}); "
                "run without --resume, or give the same"
            )
        rows = list(identity.items())
        self._connection.execute("BEGIN EXCLUSIVE")
        if not resume:
            self._connection.execute("DELETE FROM evaluation")
            self._connection.execute("DELETE FROM identity")
        self._connection.executemany("INSERT OR REPLACE INTO identity VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def get(self, names: tuple[str, ...]) -> Outcome | None:
        """The outcome, if known."""
        query = "SELECT images, correct, divergences FROM evaluation WHERE names = ?"
        try:
            row: Any = self._connection.execute(query, (json.dumps(names),)).fetchone()
        except _DAMAGE as e:
            raise self._reason(e) from e
        if row is None:
            return None
        images, correct, divergences = row
        types = (isinstance(images, int), *(isinstance(x, bytes) for x in (correct, divergences)))
        if not all(types) or not 0 < images <= 8 * len(correct) or len(divergences) != 4 * images:
            raise self._damaged()
        bits = np.unpackbits(np.frombuffer(correct, np.uint8), count=images)
        values = np.frombuffer(divergences, "<f4").astype(np.float32)
        if not (values >= 0).all():
            raise self._damaged()
        return Outcome(bits.astype(bool), values)

    def _damaged(self) -> InputError:
        return InputError(f"{self.path}: damaged evaluation; delete the file and start again")

    def put(self, names: tuple[str, ...], outcome: Outcome) -> None:
        """Stores an evaluation durably."""
        bits = np.packbits(outcome.correct).tobytes()
        values = outcome.divergences.astype("<f4").tobytes()
        row = (json.dumps(names), len(outcome.correct), bits, values)
        try:
            self._connection.execute("INSERT OR REPLACE INTO evaluation VALUES (?, ?, ?, ?)", row)
        except sqlite3.DatabaseError as e:
            raise InputError(f"{self.path}: cannot store an evaluation: {e}") from e

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Closes; a file that this search created and that holds nothing goes with a failure."""
        try:
            empty = not self._connection.execute("SELECT 1 FROM evaluation LIMIT 1").fetchall()
        except sqlite3.DatabaseError:
            empty = False
        self._connection.close()
        if error is not None and self._created and empty:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
