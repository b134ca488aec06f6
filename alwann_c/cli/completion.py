"""Shell completion: names of targets and multipliers beside commands, options and files."""

from __future__ import annotations

from typing import Any

from argcomplete.completers import FilesCompleter
from argcomplete.shell_integration import shellcode

from alwann_c.cli.console import Console

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def target_names(prefix: str, **_: Any) -> list[str]:
    """Shipped targets, and files."""
    from alwann_c.targets import builtin_target_names

    return [*builtin_target_names(), *FilesCompleter((".toml",))(prefix)]


def multiplier_names(parsed_args: Any, **_: Any) -> list[str]:
    """Multipliers of the libraries given so far on the command line."""
    from alwann_c.libraries import open_libraries

    return [multiplier.name for multiplier in open_libraries(parsed_args.library)]


def files(*suffixes: str) -> Any:
    """Completes to files of these suffixes, and folders."""
    return FilesCompleter(suffixes)


def completion(arguments: Any, console: Console) -> int:
    """`completion SHELL`."""
    script: str = shellcode(["alwann-c"], shell=arguments.shell)
    console.result({"shell": arguments.shell, "script": script}, [script.strip()])
    return 0
