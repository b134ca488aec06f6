"""Every example runs: on tiny networks here, on the shipped one when a person starts it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import Case

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Example = Callable[..., Any]


@pytest.fixture
def example(small: Case, monkeypatch: pytest.MonkeyPatch) -> Example:
    """`example(name, *arguments)` runs examples/<name>/run.py on the small network."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    data = ["--calibration", small.calibration.path, "--search", small.search.path]
    effort = ["--images", 48, "--population", 4, "--generations", 1]

    def run(name: str, *arguments: object) -> Any:
        path = EXAMPLES / name / "run.py"
        spec = importlib.util.spec_from_file_location(f"example_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        given = ["--model", small.path, *data, *effort, *arguments]
        return module.main([str(argument) for argument in given])

    return run


def test_own_model(example: Example, tmp_path: Path) -> None:
    assert 0 < example("own_model", "-o", tmp_path) <= 1
    assert {p.name for p in tmp_path.iterdir()} >= {"mine.npz", "mine.toml", "plan.json"}


def test_own_multipliers(example: Example, tmp_path: Path) -> None:
    fitted = example("own_multipliers", "-o", tmp_path)
    assert set(fitted) <= {"mine_exact", "mine_rounded", "mine_logarithm"}


def test_own_accelerator(example: Example) -> None:
    energy = example("own_accelerator")
    assert all(picojoule > 0 for picojoule in energy.values())


def test_compare_accelerators(example: Example) -> None:
    energies = example("compare_accelerators")
    assert set(energies) == {"power-gated", "pipelined"}
    assert all(0 < energy <= 1 for energy in energies.values())


def test_distributed_search(example: Example) -> None:
    pytest.importorskip("distributed")
    together, alone = example("distributed_search", "--threads")
    assert together == alone


def test_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the shipped network and 24 images: every cell runs, compensation wins."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("ALWANN_IMAGES", "24")
    path = EXAMPLES / "notebook" / "approximate.ipynb"
    notebook = nbformat.read(path, as_version=4)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(EXAMPLES)}}
    ).execute()
    text = notebook.cells[-1].outputs[-1]["text"]
    assert "exact int8" in text
    none, full = (float(part.split()[1].rstrip("%")) for part in text.split(", ")[1:])
    assert full >= none
