"""Fetch TVM's runtime for another machine: the libraries of the wheels of the installed version.

    python tools/fetch_runtime.py [aarch64] [FOLDER]

FOLDER defaults to `build/aarch64`; it gets `tvm/lib` and `tvm_ffi/lib`, which is what
`examples/cpp_deploy/Makefile` takes as LIBRARIES.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("apache-tvm", "apache-tvm-ffi")
TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux2014")
LIBRARIES = ("tvm/lib/libtvm_runtime.so", "tvm_ffi/lib/libtvm_ffi.so")


def fetch(machine: str, folder: Path) -> list[str]:
    """Downloads the wheels and unpacks their runtime libraries; returns the files' names."""
    platforms = [f"--platform={tag}_{machine}" for tag in TAGS]
    wanted = [f"{package}=={version(package)}" for package in PACKAGES]
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", name]
        command += ["--only-binary=:all:", "--python-version=3.11", *platforms, *wanted]
        subprocess.run(command, check=True)
        for wheel in Path(name).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in set(LIBRARIES) & set(archive.namelist()):
                    archive.extract(member, folder)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.so"))


if __name__ == "__main__":
    machine = sys.argv[1] if len(sys.argv) > 1 else "aarch64"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "build" / machine
    print(f"{folder}: {', '.join(fetch(machine, folder))}")
