"""The chosen kernel on every table of EvoApproxLib, against the numpy reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kernel_cases import Kernel, random_operands

from alwann_c.codegen.machine import host_target
from alwann_c.ir.spec import ConvSpec, Epilogue, Quantization
from alwann_c.targets import load_library

TARGET = host_target()


@pytest.mark.parametrize("signed", [False, True])
def test_every_table(shared: Path, signed: bool) -> None:
    """Few pixels and many: below and above the limits between strategies on every machine."""
    epilogue = Epilogue("relu", output=Quantization(0.05, 3))
    spec = ConvSpec(16, 16, 9, 24, (3, 3), padding=(1, 1, 1, 1), signed=signed, epilogue=epilogue)
    kernel, rng = Kernel(spec, TARGET), np.random.default_rng(0)
    tables = load_library(shared / "evoapprox").select(signed=signed)
    assert len(tables) == (13 if signed else 36)
    for multiplier in tables:
        kernel.check(random_operands(spec, 1, rng, multiplier.table, 60))
    for multiplier in tables[::6]:
        kernel.check(random_operands(spec, 9, rng, multiplier.table, 200))
