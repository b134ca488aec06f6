"""Entry point: parses arguments, runs a command, turns errors into one line."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import argcomplete

from alwann_c.cli.arguments import build_parser
from alwann_c.cli.console import Console
from alwann_c.errors import InputError
from alwann_c.targets.evolve import STATE_FILE


def _commands() -> dict[str, Callable[[Any, Console], int]]:
    """Imported on demand: `--help` must not load the compiler."""
    from alwann_c.cli import (
        catalogue,
        completion,
        deployment,
        inspection,
        jobs,
        multipliers,
        pictures,
    )

    return {
        "demo": jobs.demo,
        "inspect": inspection.inspect,
        "compile": jobs.compile_,
        "evaluate": jobs.evaluate,
        "run": deployment.run,
        "export-rtl": deployment.export_rtl,
        "report": pictures.report,
        "plot": pictures.plot,
        "multipliers": multipliers.multipliers,
        "targets": catalogue.targets,
        "schema": catalogue.schema,
        "completion": completion.completion,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 on bad input, 130 when interrupted."""
    parser = build_parser()
    argcomplete.autocomplete(parser, always_complete_options=False)
    arguments = parser.parse_args(argv)
    arguments.argv = [*(sys.argv[1:] if argv is None else argv)]
    console = Console(arguments.json, arguments.progress)
    try:
        return _commands()[arguments.command](arguments, console)
    except InputError as e:
        console.done()
        print(f"error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.done()
        print(_interrupted(arguments), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as e:  # a disk that fills or fails, wherever it does
        console.done()
        reason = InputError(f"{e.filename or 'system'}: {e.strerror or e}")
        print(f"error: {reason}", file=sys.stderr)
        return 2


def _interrupted(arguments: Any) -> str:
    """What is kept of an interrupted command, and how to go on."""
    if arguments.command == "multipliers" and arguments.action == "evolve":
        return _evolution_interrupted(arguments)
    if arguments.command == "plot":
        return "interrupted; run the same command again"
    if getattr(arguments, "resume", None) is None:
        return "interrupted; nothing was written"
    if not (Path(arguments.output) / "evaluations.sqlite").exists():
        return "interrupted before the search; run the same command again"
    again = [*arguments.argv, *([] if arguments.resume else ["--resume"])]
    return f"interrupted; finished evaluations are kept in {arguments.output}, {_go_on(again)}"


def _evolution_interrupted(arguments: Any) -> str:
    if not (Path(arguments.output) / STATE_FILE).exists():
        return "interrupted before a circuit was finished; run the same command again"
    return (
        f"interrupted; finished circuits are kept in {arguments.output}, {_go_on(arguments.argv)}"
    )


def _go_on(words: Sequence[str]) -> str:
    return f"go on with:\n  alwann-c {shlex.join(words)}"
