"""Entry point: parses arguments, runs a command, turns errors into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from alwann_c.cli.arguments import build_parser
from alwann_c.cli.console import Console
from alwann_c.errors import InputError


def _commands() -> dict[str, Callable[[Any, Console], int]]:
    """Imported on demand: `--help` must not load the compiler."""
    from alwann_c.cli import catalogue, deployment, inspection, jobs, multipliers

    return {
        "demo": jobs.demo,
        "inspect": inspection.inspect,
        "compile": jobs.compile_,
        "evaluate": jobs.evaluate,
        "run": deployment.run,
        "export-rtl": deployment.export_rtl,
        "report": jobs.report,
        "multipliers": multipliers.multipliers,
        "targets": catalogue.targets,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 on bad input, 130 when interrupted."""
    arguments = build_parser().parse_args(argv)
    console = Console(arguments.json)
    try:
        return _commands()[arguments.command](arguments, console)
    except InputError as e:
        console.done()
        print(f"error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.done()
        print(
            "interrupted; finished evaluations are kept: run again with --resume", file=sys.stderr
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
