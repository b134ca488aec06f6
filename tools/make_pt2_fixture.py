"""Writes tests/fixtures/pt2/net.pt2: a small network with random weights, exported by PyTorch.

.venv/bin/python -m pip install torch==2.13.0
.venv/bin/python tools/make_pt2_fixture.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "pt2"


def main() -> None:
    """Entry point."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
    ).eval()
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layers, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=batch)
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, FOLDER / "net.pt2")


if __name__ == "__main__":
    main()
