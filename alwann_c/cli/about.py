"""`--version`: this tool, and what the speed and the results of its modules depend on."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from alwann_c.version import TOOL

NOTABLE = (
    *("sse4.2", "avx2", "f16c", "fma", "avxvnni", "avxvnniint8"),
    *("avx512f", "avx512bw", "avx512vnni", "avx512vbmi", "amx-int8"),
    *("neon", "dotprod", "i8mm", "sve"),
)
"""Features that decide about the speed of 8-bit arithmetic."""


def about() -> list[str]:
    """Tool, TVM, LLVM, CPU with the features the kernels care about, Python."""
    import tvm
    from tvm.target import codegen as llvm

    from alwann_c.codegen.machine import host_target
    from alwann_c.cores import available_cores

    cpu = llvm.llvm_get_system_cpu()
    present = {str(name) for name in llvm.llvm_get_cpu_features(host_target())}
    features = " ".join(name for name in NOTABLE if name in present) or "none that matter"
    return [
        TOOL,
        f"TVM {tvm.__version__}, LLVM {llvm.llvm_version_major()}",
        f"CPU {cpu} ({platform.machine()}), {available_cores()} cores available: {features}",
        f"Python {platform.python_version()}",
    ]


class Version(argparse.Action):
    """Prints `about()`; TVM is loaded only here."""

    def __init__(self, option_strings: list[str], dest: str, **_: Any) -> None:
        text = "versions of this tool, TVM and LLVM, and features of this CPU"
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=text)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Prints and exits."""
        print("\n".join(about()))
        parser.exit()
