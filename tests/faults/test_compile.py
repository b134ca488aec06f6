"""`compile` interrupted, starved of disk, or not alone: the same result in the end, or one line."""

from __future__ import annotations

import ast
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Compiled, Done, alwann_c
from conftest import Faulty
from tiny import Case

from alwann_c.search.store import SqliteMemory

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from alwann_c.search.store import SqliteMemory
with SqliteMemory(Path(sys.argv[1]), {}, resume=False):
    print("held", flush=True)
    time.sleep(600)
"""


def front(folder: Path) -> dict[str, Any]:
    """`front.json` without what differs from run to run."""
    document = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return {k: v for k, v in document.items() if k not in ("seconds", "command")}


def same(folder: Path, compiled: Compiled) -> None:
    """The folder holds what an undisturbed run wrote."""
    assert front(folder) == front(compiled.folder)
    plan = (folder / "plan.json").read_bytes()
    assert plan == (compiled.folder / "plan.json").read_bytes()


def one_line(done: Done) -> None:
    """Refused in one line, whatever was said of progress before."""
    assert done.code == 2, done.err
    assert [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.err


def nothing_half_written(folder: Path) -> None:
    """Every JSON file is whole, and no temporary one stayed."""
    for path in folder.glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    assert not list(folder.glob(".*"))


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own; skips where this process may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"needs the right to mount a tmpfs: {e}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def killed_runs(
    compiled: Compiled, small: Case, folder: Path, moments: list[float]
) -> list[tuple[int, int]]:
    """Kills `compile --resume` after each number of seconds after its first line of progress;
    exit codes and evaluations kept so far."""
    runs = []
    for moment in moments:
        arguments = [str(part) for part in compiled.command(small, folder)]
        process = subprocess.Popen(
            [sys.executable, "-m", "alwann_c", *arguments, "--resume"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )
        assert process.stderr is not None
        process.stderr.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        process.kill()
        process.communicate()
        runs.append((process.returncode, kept(folder)))
    return runs


def kept(folder: Path) -> int:
    """Evaluations in the store, read as another program would."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(folder / "evaluations.sqlite")) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM evaluation").fetchone()
        except sqlite3.OperationalError:
            return 0
    return int(count)


def test_killed_and_resumed(compiled: Compiled, small: Case, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    runs = killed_runs(compiled, small, folder, [0.5])
    assert [count for _, count in runs] == sorted(count for _, count in runs)
    done = alwann_c(*compiled.command(small, folder), "--resume")
    assert done.code == 0, done.err
    same(folder, compiled)


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(
    compiled: Compiled, small: Case, tmp_path: Path
) -> None:
    """Twenty deaths of one search; what was evaluated is never evaluated again."""
    folder = tmp_path / "out"
    draw = random.Random(7)
    runs = killed_runs(compiled, small, folder, [draw.uniform(0, 6) for _ in range(20)])
    assert [count for _, count in runs] == sorted(count for _, count in runs)
    assert sum(code == -9 for code, _ in runs) > 5
    done = alwann_c(*compiled.command(small, folder), "--resume")
    assert done.code == 0, done.err
    same(folder, compiled)


def test_full_disk_then_a_larger_one(compiled: Compiled, small: Case, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "256k") as disk:
        done = alwann_c(*compiled.command(small, disk / "out"))
        one_line(done)
        nothing_half_written(disk / "out")
        evaluated = kept(disk / "out")
        remount(disk, "size=64m")
        again = alwann_c(*compiled.command(small, disk / "out"), "--resume")
        assert again.code == 0, again.err
        same(disk / "out", compiled)
        assert kept(disk / "out") >= evaluated


def test_read_only_folder(compiled: Compiled, small: Case, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        remount(disk, "ro")
        done = alwann_c(*compiled.command(small, disk / "out"))
        one_line(done)
        assert "choose another" in done.err
        assert not list(disk.iterdir())


def test_folder_of_another_process(compiled: Compiled, small: Case, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", HOLDER, str(folder / "evaluations.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            done = alwann_c(*compiled.command(small, folder))
            one_line(done)
            assert "another process" in done.err
            assert {path.name.split("-")[0] for path in folder.iterdir()} == {"evaluations.sqlite"}
        finally:
            holder.kill()
    with SqliteMemory(folder / "evaluations.sqlite", {}, resume=True) as memory:
        assert memory.get(("a",)) is None


def test_clock_that_jumps(
    compiled: Compiled, small: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: draw.uniform(-1e9, 1e10))
    done = alwann_c(*compiled.command(small, tmp_path / "out"))
    assert done.code == 0, done.err
    same(tmp_path / "out", compiled)
    seconds = json.loads((tmp_path / "out" / "front.json").read_text())["seconds"]
    assert all(0 <= value < 3600 for value in seconds.values())


def test_no_source_reads_the_wall_clock() -> None:
    """Durations come from monotonic clocks; nothing stores a date."""
    reads = []
    for folder in ("alwann_c", "passes", "codegen", "targets"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                    "time.time",
                    "time.time_ns",
                    "datetime.now",
                    "datetime.datetime.now",
                    "date.today",
                ):
                    reads.append(f"{path}:{node.lineno}")
    assert not reads


def test_no_source_unpickles_or_evaluates() -> None:
    """What reads files must not be able to run what they hold."""
    found = []
    for folder in ("alwann_c", "passes", "codegen", "targets"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)):
                name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if name in ("eval", "exec", "compile", "__import__", "np.load", "numpy.load"):
                    found.append(f"{path}:{node.lineno}: {name}")
                modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    modules = [node.module or ""]
                if {m.split(".")[0] for m in modules} & {"pickle", "marshal", "shelve", "dill"}:
                    found.append(f"{path}:{node.lineno}: {modules}")
    assert not found


@pytest.mark.slow
def test_slow_disk(compiled: Compiled, small: Case, tmp_path: Path, faulty: Faulty) -> None:
    """A megabyte takes a second."""
    folder = tmp_path / "out"
    arguments = [str(part) for part in compiled.command(small, folder)]
    done = faulty(["-m", "alwann_c", *arguments], folder, "slow")
    assert done.returncode == 0, done.stderr
    same(folder, compiled)
