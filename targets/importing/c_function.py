"""Products of a C function, by compiling and running it; only ever done on explicit request.

The program runs in a process of its own in an empty folder, with limits on time, memory and the size
of files, and without this process's environment. That is no sandbox: compile only what you trust.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alwann_c.errors import InputError
from alwann_c.targets.comments import without_comments
from alwann_c.targets.suggest import remedy

MAX_SOURCE_BYTES = 8 << 20
SECONDS = 20
MEMORY_KIB = 4 << 20
FILE_BLOCKS = 1 << 16
"""Limits of compiler and program: processor seconds, KiB of memory, file size in 512-byte blocks."""

_TYPE = (
    r"(?:const\s+)?(?P<{0}>u?int(?:8|16|32|64)_t|(?:unsigned\s+|signed\s+)?(?:char|short|int|long))"
)
_FUNCTION = re.compile(
    r"\b(?:u?int(?:8|16|32|64)_t|(?:unsigned\s+)?(?:short|int|long))\s+(?P<name>\w+)\s*\(\s*"
    + _TYPE.format("first") + r"(?:\s+const)?\s+(?P<a>\w+)\s*,\s*"
    + _TYPE.format("second") + r"(?:\s+const)?\s+(?P<b>\w+)\s*\)\s*\{"
)  # fmt: skip

_PROGRAM = """\
#include <stdint.h>
#include <stdio.h>
#define main main_of_the_file
#include "circuit.c"
#undef main
int main(void) {{
  for (long a = 0; a < {side}; ++a)
    for (long b = 0; b < {side}; ++b) {{
      {first} x = ({first})({a_value});
      {second} y = ({second})({b_value});
      unsigned char bytes[8];
      uint64_t p = (uint64_t)(int64_t){name}({arguments});
      for (int i = 0; i < 8; ++i) bytes[i] = (unsigned char)(p >> (8 * i));
      fwrite(bytes, 1, 8, stdout);
    }}
  return 0;
}}
"""


@dataclass(frozen=True)
class CFunction:
    """A function of two integers: `first` and `second` are its parameters' types as declared.

    `reversed` where the parameter named a comes second, as in `f(B, A)`: the activation is a.
    """

    name: str
    first: str
    second: str
    reversed: bool

    @property
    def signed(self) -> bool:
        """Whether the operands are declared signed."""
        return not self.first.startswith("u")

    @property
    def operand_bits(self) -> int | None:
        """8 where the operands' type says so."""
        return 8 if self.first in ("int8_t", "uint8_t") else None


def find_function(path: Path, text: str, name: str | None = None) -> CFunction:
    """The function of two integers called `name`, or as the file, or the only one.

    Raises InputError where there is none, or several without a choice.
    """
    found = {}
    for match in _FUNCTION.finditer(without_comments(text)):
        a, b = match["a"].lower(), match["b"].lower()
        found[match["name"]] = CFunction(
            match["name"],
            re.sub(r"\s+", " ", match["first"]),
            re.sub(r"\s+", " ", match["second"]),
            reversed=(a, b) == ("b", "a"),
        )
    wanted = name or (path.stem if path.stem in found else None)
    if wanted is not None and wanted in found:
        return found[wanted]
    if wanted is not None:
        raise InputError(f"{path}: no function {wanted!r} of two integers: {remedy(wanted, found)}")
    if len(found) != 1:
        what = "no function" if not found else f"functions {', '.join(list(found)[:8])}"
        raise InputError(
            f"{path}: {what} of two integers: give one called {path.stem!r}, or name it"
        )
    return next(iter(found.values()))


def run_function(path: Path, function: CFunction, bits: int) -> NDArray[np.int64]:
    """Low 2 `bits` of the function's results, [2^bits, 2^bits], row = activation.

    Codes are given as signed numbers where the parameters are declared signed. Raises InputError
    where no compiler is found, or compiling or running fails.
    """
    side = 1 << bits
    values = {True: f"{{0}} - (({{0}} >> {bits - 1}) << {bits})", False: "{0}"}
    pair = ("b", "a") if function.reversed else ("a", "b")
    source = _PROGRAM.format(
        side=side,
        first=function.first,
        second=function.second,
        a_value=values[function.signed].format(pair[0]),
        b_value=values[not function.second.startswith("u")].format(pair[1]),
        arguments="x, y",
        name=function.name,
    )
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(path, Path(folder) / "circuit.c")
        (Path(folder) / "program.c").write_text(source, encoding="utf-8")
        compiler = _compiler()
        _limited([*compiler, "-O1", "-w", "-o", "program", "program.c"], folder, path, "compile")
        data = _limited(["./program"], folder, path, "run")
    if len(data) != 8 * side * side:
        raise InputError(f"{path}: printed something else beside its products: remove that")
    products = np.frombuffer(data, "<u8").reshape(side, side) & np.uint64((1 << 2 * bits) - 1)
    return products.astype(np.int64)


def _compiler() -> list[str]:
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return [name]
    raise InputError("C compiler: none found (cc, gcc, clang, $CC): install one")


def _limited(command: list[str], folder: str, path: Path, what: str) -> bytes:
    limits = f'ulimit -t {SECONDS} -v {MEMORY_KIB} -f {FILE_BLOCKS}; exec "$@"'
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", limits, "sh", *command],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=6 * SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise InputError(f"{path}: takes more than {6 * SECONDS} s to {what}") from e
    except OSError as e:
        raise InputError(f"{path}: cannot {what} ({e.strerror})") from e
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = next(
            (line for line in lines if "error" in line), lines[0] if lines else "no message"
        )
        raise InputError(f"{path}: does not {what} (exit {done.returncode}): {said[:200]}")
    return done.stdout
