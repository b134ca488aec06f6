"""What commands print: results on stdout, progress on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import Any, Literal

from alwann_c.progress import Remaining

How = Literal["auto", "lines", "off"]


class Console:
    """With `as_json`, stdout gets one JSON object and nothing else.

    Progress is one line rewritten in place on a terminal, one line per step when asked for, and
    otherwise silence: a log file or a calling program wants results and errors.
    """

    def __init__(self, as_json: bool = False, how: How = "auto") -> None:
        self.as_json = as_json
        self._began = time.monotonic()
        self._remaining = Remaining()
        self._live = how == "auto" and sys.stderr.isatty()
        self._lines = how == "lines"
        self._open = False

    def progress(self, text: str) -> None:
        """What is going on, with the time since the start and about how much is left."""
        left = self._remaining.after(text)
        if not (self._live or self._lines):
            return
        stamp = f"[{time.monotonic() - self._began:6.1f} s] {text}"
        if self._live:
            # of a line that is too long, the end of the text gives way: not the time that is left
            room = max(shutil.get_terminal_size().columns - 1, 1)
            space = max(room - len(left), 1)
            short = stamp if len(stamp) <= space else stamp[: space - 1] + "…"
            print(f"\r\033[K{(short + left)[:room]}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            print(f"{stamp}{left}", file=sys.stderr, flush=True)

    def done(self) -> None:
        """Ends a progress line."""
        if self._open:
            print(file=sys.stderr, flush=True)
            self._open = False

    def result(self, data: dict[str, Any], lines: list[str]) -> None:
        """The command's result: `data` as JSON, or `lines` for people."""
        self.done()
        if self.as_json:
            print(json.dumps(data, allow_nan=False))
        else:
            print("\n".join(lines))


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Rows in aligned columns; columns that hold numbers are right-aligned."""
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    numeric = [
        bool(rows) and all(r[i][:1].isdigit() or r[i][:1] in "-+." for r in rows)
        for i in range(len(header))
    ]

    def line(cells: list[str]) -> str:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return [line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)]
