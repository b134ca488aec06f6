"""What commands print: results on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


class Console:
    """With `as_json`, stdout gets one JSON object and nothing else."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._began = time.monotonic()
        self._live = sys.stderr.isatty()

    def progress(self, text: str) -> None:
        """A line about what is going on; rewritten in place on a terminal."""
        stamp = f"[{time.monotonic() - self._began:6.1f} s] {text}"
        if self._live:
            print(f"\r\033[K{stamp}", end="", file=sys.stderr, flush=True)
        else:
            print(stamp, file=sys.stderr, flush=True)

    def done(self) -> None:
        """Ends a progress line."""
        if self._live:
            print(file=sys.stderr, flush=True)

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
