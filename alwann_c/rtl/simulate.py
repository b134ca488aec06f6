"""Runs the test benches of a hand-off with Icarus Verilog."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from alwann_c.errors import InputError


def simulator() -> str | None:
    """Path of Icarus Verilog's compiler, or None."""
    return shutil.which("iverilog") if shutil.which("vvp") else None


def simulate(folder: Path, bench: str) -> str:
    """Compiles `BENCH.f` of a layer's or multiplier's folder and runs `BENCH_tb`; its last line.

    Raises InputError when there is no simulator, or the bench does not pass.
    """
    compiler = simulator()
    if compiler is None:
        raise InputError("simulation: no Icarus Verilog here; install it (Debian: iverilog)")
    with tempfile.TemporaryDirectory() as name:
        program = str(Path(name) / "sim.vvp")
        compile_ = [compiler, "-g2012", "-s", f"{bench}_tb", "-o", program, "-c", f"{bench}.f"]
        for command in (compile_, ["vvp", "-n", program]):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            lines = (done.stdout + done.stderr).strip().splitlines()
            if done.returncode != 0:
                raise InputError(f"{folder}: {'; '.join(lines[-3:]) or command[0] + ' failed'}")
    last = lines[-1] if lines else ""
    if not last.startswith("PASS"):
        raise InputError(f"{folder}: the test bench did not finish: {last}")
    return last


def simulate_all(folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Every multiplier and every layer of a hand-off; what each bench said."""
    results = {}
    for bench, kind in (("multiplier", "multipliers"), ("layer", "layers")):
        for place in sorted((folder / kind).iterdir()):
            results[f"{kind}/{place.name}"] = simulate(place, bench)
            say(f"simulated {place.name}: {results[f'{kind}/{place.name}']}")
    return results
