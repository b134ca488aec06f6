"""Coverage-guided fuzzing of every reader (`tests/fuzz/readers.py`) with Atheris.

`python tools/fuzz.py --seconds 60` gives every reader that long, in a process of its own, and appends
a line per reader to `build/fuzz/log.jsonl`: inputs executed, whether one broke the contract, memory.
What breaks it lies in `build/fuzz/found/READER/`; once fixed, it belongs into
`tests/fuzz/corpus/READER/`, which the test suite replays. `--total` adds the log up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "fuzz"
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
MAX_INPUT_BYTES = 1 << 18
MEMORY_MB = 2048
SECONDS_PER_INPUT = 20
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_PEAK = re.compile(r"stat::peak_rss_mb:\s*(\d+)")
_PROGRESS = re.compile(r"^#(\d+)\s", re.MULTILINE)


def child(name: str, options: list[str]) -> None:
    """Fuzzes one reader in this process until libFuzzer ends it."""
    import atheris

    sys.path[:0] = [str(ROOT / "tests" / "fuzz"), str(ROOT / "tests")]
    with atheris.instrument_imports(include=["alwann_c", "tomllib", "zipfile"]):
        from readers import READERS, feed
    from mutations import mutated

    reader = READERS[name]
    own = WORK / "corpus" / name
    own.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(reader.seeds()):
        (own / f"seed{index}").write_bytes(seed)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None

    with tempfile.TemporaryDirectory(dir=memory) as folder:
        place = Path(folder)

        def one(data: bytes) -> None:
            feed(reader, data, place)

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            if seed % 2:
                return bytes(atheris.Mutate(data, most))
            return mutated(data, random.Random(seed))[:most]

        found = WORK / "found" / name
        found.mkdir(parents=True, exist_ok=True)
        committed = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
        limits = [
            f"-rss_limit_mb={MEMORY_MB}",
            f"-timeout={SECONDS_PER_INPUT}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-artifact_prefix={found}/",
            "-print_final_stats=1",
        ]
        atheris.Setup(
            [sys.argv[0], *limits, *options, str(own), *committed], one, custom_mutator=mutate
        )
        atheris.Fuzz()


def run(name: str, seconds: int, inputs: int) -> dict[str, Any]:
    """Fuzzes one reader in a process of its own; what the log says of it."""
    bounds = [f"-max_total_time={seconds}", f"-runs={inputs or -1}"]
    command = [sys.executable, __file__, "--child", name, *bounds]
    began = time.monotonic()
    (WORK / "logs").mkdir(parents=True, exist_ok=True)
    with (WORK / "logs" / f"{name}.txt").open("w+b") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
        stream.seek(0)
        text = stream.read().decode("utf-8", "replace")
    executed, peak = _EXECUTED.findall(text), _PEAK.findall(text)
    progress = _PROGRESS.findall(text)
    return {
        "reader": name,
        "executed": int((executed or progress or ["0"])[-1]),
        "exit": done.returncode,
        "peak_rss_mb": int(peak[-1]) if peak else None,
        "seconds": round(time.monotonic() - began, 1),
    }


def total() -> None:
    """Prints inputs, runs, failures and the highest memory of every reader in the log."""
    sums: dict[str, list[int]] = {}
    for line in (WORK / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        row = sums.setdefault(entry["reader"], [0, 0, 0, 0])
        row[0] += entry["executed"]
        row[1] += 1
        row[2] += entry["exit"] != 0
        row[3] = max(row[3], entry["peak_rss_mb"] or 0)
    for name, row in sorted(sums.items()):
        print(f"{name:16} {row[0]:>10,} inputs {row[1]:>4} runs {row[2]:>3} failed {row[3]:>6} MiB")
    print(f"{'all':16} {sum(row[0] for row in sums.values()):>10,} inputs")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", action="append", help="default: every one")
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--inputs", type=int, default=0, help="at most, for each; 0: no bound")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--total", action="store_true", help="adds the log up, runs nothing")
    options, rest = parser.parse_known_args()
    if options.child:
        child(options.child, rest)
        return 0
    if options.total:
        total()
        return 0
    sys.path[:0] = [str(ROOT / "tests" / "fuzz"), str(ROOT / "tests")]
    from readers import READERS

    failed = []
    for name in options.reader or list(READERS):
        entry = run(name, options.seconds, options.inputs)
        with (WORK / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        print(json.dumps(entry), flush=True)
        if entry["exit"] != 0:
            failed.append(name)
    if failed:
        print(f"broke the contract: {', '.join(failed)}; see {WORK / 'found'}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
