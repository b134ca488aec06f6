"""What `compile` does to its folder, without the compiler: evaluations, then results.

`python writer.py FOLDER` continues what it finds there, as `--resume` does.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import alwann_c
from alwann_c.atomic import output_folder, write_json
from alwann_c.errors import InputError


class Outcome(NamedTuple):
    """Stands for `alwann_c.evaluation.Outcome`."""

    correct: Any
    divergences: Any


EVALUATIONS = 6
IMAGES = 1000


def store() -> Any:
    """`alwann_c.search.store` without its package and what it imports, which load the compiler:
    hundreds of processes start here."""
    light = ModuleType("alwann_c.evaluation")
    light.Outcome = Outcome  # type: ignore[attr-defined]
    sys.modules[light.__name__] = light
    path = Path(alwann_c.__file__).parent / "search" / "store.py"
    spec = importlib.util.spec_from_file_location("store", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def correct(index: int) -> np.ndarray:  # type: ignore[type-arg]
    """The evaluation of that number."""
    return np.random.default_rng(index).random(IMAGES) < 0.5


def divergences(index: int) -> np.ndarray:  # type: ignore[type-arg]
    """Of the evaluation of that number."""
    return np.full(IMAGES, index / 8, np.float32)


def main() -> int:
    """Entry point."""
    folder = output_folder(Path(sys.argv[1]))
    taken = 0
    memory_of = store().SqliteMemory
    with memory_of(folder / "evaluations.sqlite", {"model": "m"}, resume=True) as memory:
        for index in range(EVALUATIONS):
            if memory.get((str(index),)) is None:
                memory.put((str(index),), Outcome(correct(index), divergences(index)))
                taken += 1
    results = [int(correct(index).sum()) for index in range(EVALUATIONS)]
    for name in ("plan.json", "front.json"):
        write_json(folder / name, {"name": name, "results": results, "text": "x" * 20_000})
    print(json.dumps({"evaluated": taken}))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except InputError as e:
        print(f"error: {e}", file=sys.stderr)
        os._exit(2)
