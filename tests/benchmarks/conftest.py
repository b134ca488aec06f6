"""The table of `make bench`: ratios to the baseline measured beside each benchmark.

`benchmarks.json` in the current folder gets this run's ratios. They are compared with the committed
ratios of machines of this kind in `baseline.json`; what fell by more than 15 % is named.
`--write-baseline` replaces them. A machine's kind is what the kernels know of it (vector width,
permutes, dot product unit) and the number of threads: a ratio measured with AVX-512 is no baseline
for AVX2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kernels_ort import threads

from alwann_c.atomic import write_json
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.machine import host_target

BASELINE = Path(__file__).parent / "baseline.json"
RESULTS = Path("benchmarks.json")
TOLERANCE = 0.15


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--write-baseline` makes this run's ratios the committed ones."""
    parser.addoption("--write-baseline", action="store_true", help="rewrite baseline.json")


def slower(found: dict[str, float], known: dict[str, float]) -> list[str]:
    """What is slower than the baseline by more than the tolerance, one line each."""
    return [
        f"{name}: {found[name]:.2f}, baseline {known[name]:.2f}"
        for name in sorted(found.keys() & known.keys())
        if found[name] < (1 - TOLERANCE) * known[name]
    ]


def machine_kind() -> str:
    """Vector width, permutes, dot product instruction and threads: what ratios depend on."""
    machine = Machine.of(host_target())
    unit = "none" if machine.dot is None else machine.dot.intrinsic.removeprefix("llvm.")
    permute = ", byte permutes" if machine.byte_permute else ""
    return f"{8 * machine.vector_bytes} bits{permute}, {unit}, {threads()} threads"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, write it, compare it."""
    session = getattr(config, "_benchmarksession", None)
    measured = [] if session is None else session.benchmarks
    rows = {bench.name: dict(bench.extra_info) for bench in measured if bench.extra_info}
    if not rows:
        return
    write = terminalreporter.write_line
    terminalreporter.section("ratios to the yardstick measured beside (higher is better)")
    for name, info in rows.items():
        rest = ", ".join(f"{key} {value}" for key, value in info.items() if key != "ratio")
        ratio = f"{info['ratio']:8.2f}" if "ratio" in info else " " * 8
        write(f"{ratio}  {name}  ({rest})")
    ratios = {name: info["ratio"] for name, info in rows.items() if "ratio" in info}
    kind, baselines = machine_kind(), json.loads(BASELINE.read_text())["ratios"]
    known = baselines.get(kind, {})
    fallen = slower(ratios, known)
    write("")
    write(f"{kind}: {len(known)} committed ratios")
    for line in fallen:
        write(f"slower than the baseline by more than {TOLERANCE:.0%}: {line}", red=True)
    if known and not fallen:
        write(f"nothing is slower than the baseline by more than {TOLERANCE:.0%}")
    write_json(RESULTS, {"machine": kind, "results": rows})
    if config.getoption("--write-baseline"):
        write_json(BASELINE, {"ratios": {**baselines, kind: {**known, **ratios}}})
