"""A library that makes writing fail, preloaded into processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import alwann_c

Faulty = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """`faulty(command, folder, mode, at)` runs a Python command whose writes to `folder` fail."""
    compiler = next((c for c in ("gcc", "cc", "clang") if shutil.which(c)), None)
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and Linux's preloading")
    library = tmp_path_factory.mktemp("faults") / "faulty_io.so"
    source = Path(__file__).parent / "faulty_io.c"
    build = [compiler, "-shared", "-fPIC", "-O1", str(source), "-o", str(library), "-ldl"]
    subprocess.run(build, check=True, capture_output=True)
    root = str(Path(alwann_c.__file__).parents[1])

    def run(
        command: list[str], folder: Path, mode: str = "none", at: int = 0, count: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "LD_PRELOAD": str(library),
            "FAULT_FOLDER": str(folder),
            "FAULT_MODE": mode,
            "FAULT_AT": str(at),
            "PYTHONPATH": root,
            "TVM_NUM_THREADS": "1",
        }
        if count is not None:
            environment["FAULT_COUNT"] = str(count)
        return subprocess.run(
            [sys.executable, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
