"""Command line: `alwann-c COMMAND …`, see `alwann-c --help`."""

from alwann_c.cli.main import main

__all__ = ["main"]
