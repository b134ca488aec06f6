"""Kernels on more than one thread, which the other tests may not have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_kernels_give_the_same_on_two_threads() -> None:
    """TVM's pool has one size for each process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += [str(HERE / "test_conv2d_kernel.py"), "-k", "few_channels_a_group and kernel0"]
    done = subprocess.run(
        command,
        cwd=HERE.parent.parent,
        env=environment | {"TVM_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
