"""What the examples share: the network and the CIFAR-10 images that ship with the package."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import alwann_c as ax
from alwann_c.compensation import Effort

DEMO = Path(str(files("alwann_c") / "demo"))
FEW = ("mul8u_exact", "mul8u_p43", "mul8u_p30")
"""Three multipliers of the shipped library: an example is no search for the best."""


@dataclass(frozen=True)
class Job:
    """A network, its images, and how hard to search."""

    model: Path
    calibration: ax.Dataset
    search: ax.Dataset
    options: ax.SearchOptions


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options of every example; defaults: the demo's network on a few of its images."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=DEMO / "resnet8_cifar10.onnx")
    parser.add_argument("--calibration", type=Path, default=DEMO / "calibration.toml")
    parser.add_argument("--search", type=Path, default=DEMO / "search.toml")
    parser.add_argument("--images", type=int, default=500, help="of each set")
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--generations", type=int, default=4)
    return parser


def job(chosen: argparse.Namespace) -> Job:
    """Reads what the arguments name."""
    effort = Effort(rows=8_192, sweeps=1)
    options = ax.SearchOptions(
        max_drop=0.01,
        population=chosen.population,
        generations=chosen.generations,
        refine=3,
        quick=effort,
        thorough=effort,
    )
    return Job(
        chosen.model,
        ax.load_dataset(chosen.calibration).limited(chosen.images),
        ax.load_dataset(chosen.search).limited(chosen.images),
        options,
    )
