"""Fixtures shared by all tests; what they are made of is in `tiny`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# beside other workers one thread each: threads waiting for each other would fight for the cores
os.environ.setdefault("TVM_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

import pytest
from command_line import TARGET, Compiled, alwann_c, compile_arguments, only_json
from shared_folder import NEEDED, SHARED
from spoiling import Job
from tiny import Case, make_case, residual_net, small_net

from alwann_c.codegen.machine import use_all_cores

use_all_cores()

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--refresh-golden` rewrites `tests/golden/*.txt` from what the code gives now."""
    parser.addoption("--refresh-golden", action="store_true", help="rewrite tests/golden/*.txt")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and data that do not ship; skips where it is absent."""
    if not (SHARED / "models").is_dir():
        pytest.skip(NEEDED)
    return SHARED


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text equals tests/golden/<name>.txt."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--refresh-golden"):
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: run pytest --refresh-golden and review it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two convolutions of 6 channels and a dense layer: quick to compile."""
    return make_case(tmp_path_factory.mktemp("small"), small_net())


@pytest.fixture(scope="session")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Five convolutions, a residual addition, a strided block with option-A shortcut, dense."""
    return make_case(tmp_path_factory.mktemp("residual"), residual_net())


@pytest.fixture(scope="session")
def compiled(small: Case, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The small network through `alwann-c compile --json`."""
    folder = tmp_path_factory.mktemp("compiled")
    target = folder / "three.toml"
    target.write_text(TARGET, encoding="utf-8")
    done = alwann_c(
        *compile_arguments(small, target, folder / "out"), "--progress", "lines", "--json"
    )
    return Compiled(folder / "out", target, only_json(done), done.err)


@pytest.fixture
def job(small: Case, tmp_path: Path) -> Job:
    """A compile to spoil."""
    return Job(small, tmp_path)
