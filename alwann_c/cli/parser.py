"""A parser that answers a bad command line in one line, with the name that was probably meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from alwann_c.targets.suggest import remedy

LAYER_KINDS = ("conv2d", "dense", "matmul")
"""The kinds that may be approximated (`quantized.KINDS`), here because `--help` must not load the
compiler."""


class Parser(argparse.ArgumentParser):
    """Reports a bad command line in one `error:` line, exit code 2."""

    commands: argparse._SubParsersAction[Parser] | None = None
    """Where this parser only chooses a command: the commands."""

    def error(self, message: str) -> NoReturn:
        """One line, exit 2."""
        print(f"error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)

    def add_commands(self, metavar: str, into: str) -> argparse._SubParsersAction[Parser]:
        """Makes this parser choose one of several commands."""
        self.commands = self.add_subparsers(dest=into, metavar=metavar, required=True)
        return self.commands

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse does, but an unknown option is named before what it leaves missing."""
        words = list(sys.argv[1:] if args is None else args)
        for word in words:
            if word == "--" or (self.commands is not None and not word.startswith("-")):
                break
            name = word.partition("=")[0]
            known = self._option_string_actions
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                options = [option for option in known if option.startswith("--")]
                self.error(f"unknown option '{name}'; {remedy(name, options)}")
        return super().parse_known_args(words, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "command" if action is self.commands else "value"
            known = [str(choice) for choice in action.choices]
            text = f"unknown {what} '{value}'; {remedy(str(value), known)}"
            raise argparse.ArgumentError(None if action is self.commands else action, text)


def positive(text: str) -> int:
    """A whole number above zero."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value


def share(text: str) -> float:
    """A number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number in 0..1")
    return value


def shape(text: str) -> tuple[int, ...]:
    """Sizes separated by commas."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not sizes like 3,224,224")
    return sizes


def image_numbers(text: str) -> list[int]:
    """Numbers of images: `0,3,10-12`."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise argparse.ArgumentTypeError(f"'{text}' is not like 0,3,10-12")
        numbers += range(int(first), int(last or first) + 1)
    if not numbers:
        raise argparse.ArgumentTypeError(f"'{text}' names no image")
    return numbers


def layer_kinds(text: str) -> tuple[str, ...]:
    """Kinds of layers separated by commas."""
    kinds = tuple(dict.fromkeys(text.split(",")))
    for kind in kinds:
        if kind not in LAYER_KINDS:
            raise argparse.ArgumentTypeError(f"'{kind}': {remedy(kind, LAYER_KINDS)}")
    return kinds
