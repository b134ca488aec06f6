"""A compile that would work, to spoil one of its inputs, and how it is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from command_line import TARGET, Done, alwann_c
from tiny import Case


def refused(done: Done, *parts: str) -> None:
    """Exit 2, nothing on stdout, progress and then exactly one error line with these parts."""
    assert done.code == 2, done
    assert done.out == ""
    lines = done.err.splitlines()
    assert [line.startswith("error: ") for line in lines].count(True) == 1, done.err
    assert lines[-1].startswith("error: ")
    for line in lines[:-1]:
        assert re.match(r"\[ *\d+\.\d s\] ", line), line
    for part in parts:
        assert part in lines[-1], lines[-1]


class Job:
    """The arguments of a compile that would work, to spoil one of."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "target.toml"
        self.target.write_text(TARGET, encoding="utf-8")
        self.model = Path(shutil.copy(case.path, folder / "net.onnx"))
        self.data = folder / "data.toml"
        self.write(images=case.calibration.images[:8], labels=case.calibration.labels[:8])
        self.good = Path(shutil.copy(self.data, folder / "good.toml"))
        self.good.write_text('file = "good.npz"\nlayout = "NCHW"\n', encoding="utf-8")
        shutil.copy(folder / "data.npz", folder / "good.npz")
        self.output = folder / "out"
        self.extra: list[object] = []

    def write(self, **arrays: Any) -> None:
        """Replaces the spoilt data set."""
        np.savez(self.folder / "data.npz", **arrays)
        self.data.write_text('file = "data.npz"\nlayout = "NCHW"\n', encoding="utf-8")

    def library(self, content: bytes, fields: dict[str, object]) -> Path:
        """A library of one multiplier; `fields` replace lines of its entry."""
        folder = self.folder / "library"
        folder.mkdir()
        (folder / "m.bin").write_bytes(content)
        entry = {"name": '"m"', "table": '"m.bin"', "signed": "false", "bits": 8, "power_mw": 1.0}
        lines = [f"{key} = {value}" for key, value in (entry | fields).items()]
        head = ["schema = 1", 'name = "l"', 'license = "MIT"', "[[multiplier]]"]
        (folder / "library.toml").write_text("\n".join([*head, *lines]), encoding="utf-8")
        return folder

    def compile(self, *, spoilt: str = "") -> Done:
        """`compile` with the spoilt data as `spoilt` (calibration, search or test)."""
        arguments: list[object] = ["compile", self.model, "--target", self.target]
        for role in ("calibration", "search", "test"):
            arguments += [f"--{role}", self.data if role == spoilt else self.good]
        effort = ["--population", 4, "--generations", 1]
        return alwann_c(*arguments, *effort, "-o", self.output, *self.extra)

    def nothing_written(self) -> None:
        """The output folder is absent or empty."""
        assert not self.output.is_dir() or not list(self.output.iterdir())
