"""Arguments and examples of every command, in place of `<!-- commands -->` on a page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from alwann_c.cli.arguments import build_parser
from alwann_c.cli.examples import EXAMPLES
from alwann_c.cli.parser import Parser

MARK = "<!-- commands -->"
COMMON = ("--help", "--json", "--progress", "--version")
"""Said once for all commands, on the page itself."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    return markdown.replace(MARK, "\n".join(commands())) if MARK in markdown else markdown


def commands() -> Iterator[str]:
    """A section for each command, in the order of `--help`, in Markdown."""
    for name, parser in parsers(build_parser()).items():
        if name and parser.commands is None:
            yield from _section(name, parser)


def parsers(parser: Parser, name: str = "") -> dict[str, Parser]:
    """This parser and those of its commands, by the words that lead to them."""
    found = {name: parser}
    if parser.commands is not None:
        for word, below in parser.commands.choices.items():
            found |= parsers(below, f"{name} {word}".strip())
    return found


def _section(name: str, parser: Parser) -> Iterator[str]:
    yield f"### {name}\n\n{parser.description}\n"
    shown = [action for action in parser._actions if not set(COMMON) & set(action.option_strings)]
    if shown:
        yield "| argument | what |\n|---|---|"
    for action in shown:
        preset = "" if action.default is None else f"default {action.default}"
        text = action.help or preset
        needed = "required; " if action.required and action.option_strings else ""
        cells = (" or ".join(_spellings(action)), f"{needed}{text}".removesuffix("; "))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    for text, line in EXAMPLES[name]:
        yield f"\n{text}\n\n```sh\n{line}\n```"
    yield ""


def _spellings(action: argparse.Action) -> list[str]:
    """How an argument is written on the command line."""
    if not action.option_strings:
        return [f"`{action.metavar or action.dest}`"]
    value = ""
    if action.nargs != 0:
        choices = "" if action.choices is None else "|".join(map(str, action.choices))
        value = f" {action.metavar or choices or action.dest.upper()}"
    return [f"`{option}{value}`" for option in action.option_strings]
