"""Runs the test benches of a hand-off with Icarus Verilog or Verilator."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from alwann_c.errors import InputError

Simulator = Literal["iverilog", "verilator"]
PROGRAMS: dict[Simulator, tuple[str, ...]] = {
    "iverilog": ("iverilog", "vvp"),
    "verilator": ("verilator", "make", "g++"),
}
"""What each simulator needs on PATH."""

VERILATOR = ("--binary", "--timing", "-Wno-fatal", "-Wno-lint")


def simulators() -> list[Simulator]:
    """Those that are here, the quicker to start first."""
    return [name for name, needed in PROGRAMS.items() if all(shutil.which(p) for p in needed)]


def _commands(simulator: Simulator, bench: str, folder: str) -> list[list[str]]:
    """Compile and run, in the bench's folder; `folder` is for what is built."""
    if simulator == "iverilog":
        program = f"{folder}/sim.vvp"
        compile_ = ["iverilog", "-g2012", "-s", f"{bench}_tb", "-o", program, "-c", f"{bench}.f"]
        return [compile_, ["vvp", "-n", program]]
    options = ["--top-module", f"{bench}_tb", "-o", "sim", "-Mdir", folder]
    return [["verilator", *VERILATOR, *options, "-f", f"{bench}.f"], [f"{folder}/sim"]]


def _run(command: Sequence[str], folder: Path) -> list[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode != 0:
        raise InputError(f"{folder}: {'; '.join(lines[-3:]) or command[0] + ' failed'}")
    return lines


def simulate(folder: Path, bench: str, simulator: Simulator | None = None) -> str:
    """Compiles `BENCH.f` of a layer's or multiplier's folder and runs `BENCH_tb`; how it passed.

    Args:
        simulator: the first one that is here when None.

    Raises InputError when there is no simulator, or the bench does not pass.
    """
    here = simulators()
    if not here or (simulator is not None and simulator not in here):
        raise InputError(
            f"simulation: no {simulator or 'Icarus Verilog or Verilator'} here; install it "
            "(Debian: iverilog or verilator)"
        )
    with tempfile.TemporaryDirectory() as name:
        for command in _commands(simulator or here[0], bench, name):
            lines = _run(command, folder)
    passed = [line for line in lines if line.startswith("PASS")]
    if not passed:
        last = lines[-1] if lines else ""
        raise InputError(f"{folder}: the test bench did not finish: {last}")
    return passed[-1]


def lint(folder: Path) -> str:
    """What Verilator warns of in a layer's `mac_tile`, all warnings on; empty if nothing.

    Raises InputError where Verilator is absent.
    """
    if shutil.which("verilator") is None:
        raise InputError("lint: no verilator here; install it (Debian: verilator)")
    command = ["verilator", "--lint-only", "-Wall", "--top-module", "mac_tile", "-f", "layer.f"]
    done = subprocess.run(
        [*command, "--timing"], cwd=folder, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip()


def simulate_all(folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Every multiplier and every layer of a hand-off; what each bench said."""
    results = {}
    for bench, kind in (("multiplier", "multipliers"), ("layer", "layers")):
        for place in sorted((folder / kind).iterdir()):
            results[f"{kind}/{place.name}"] = simulate(place, bench)
            say(f"simulated {place.name}: {results[f'{kind}/{place.name}']}")
    return results
