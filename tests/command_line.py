"""Runs the command line in this process and looks at what it did."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny import Case

from alwann_c.cli import main

TARGET = """
name = "three"
architecture = "power-gated"
clock_mhz = 100.0
[[unit]]
name = "u"
count = 2
rows = 4
columns = 4
multipliers = ["mul8u_exact", "mul8u_p64", "mul8u_p50"]
"""


@dataclass(frozen=True)
class Done:
    """Exit code and both streams of a command."""

    code: int
    out: str
    err: str


def alwann_c(*arguments: object) -> Done:
    """`alwann-c ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as e:
            code = int(e.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def only_json(done: Done) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    data = json.loads(done.out)
    assert isinstance(data, dict)
    return data


@dataclass(frozen=True)
class Compiled:
    """What `compile --json` of the small network gave, and how it was asked."""

    folder: Path
    target: Path
    data: dict[str, Any]
    err: str

    @staticmethod
    def inputs(case: Case) -> list[object]:
        """Arguments of `evaluate` on the search data."""
        calibration, search = case.calibration.path, case.search.path
        return [case.path, "--calibration", calibration, "--test", search]

    def command(self, case: Case, folder: Path) -> list[object]:
        """The arguments of the same `compile` into another folder."""
        return compile_arguments(case, self.target, folder)


def compile_arguments(case: Case, target: object, folder: Path) -> list[object]:
    """A small `compile`: population 6, 2 generations, the calibration data as test data."""
    data = ["--calibration", case.calibration.path, "--search", case.search.path]
    data += ["--test", case.calibration.path]
    effort = ["--population", 6, "--generations", 2]
    return ["compile", case.path, "--target", target, *data, *effort, "-o", folder]
