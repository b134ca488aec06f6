"""float32 constants that survive being printed.

TVM's C and OpenCL generators print constants with seven digits; a float32 needs nine. One ulp in a
scale is enough to change a code. Constants that would not read back are therefore written otherwise:

    y * 0.034216784f32    =>    y * as_float(1024203537)                          OpenCL
                                y * fmaf(1, 3.422000e-02f, -3.216000e-06f)        C
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import tvm
from tvm.script import tirx as T

_CONSTANT = re.compile(r"T\.float32\((-?[0-9][^()\"']*)\)")


def survives(value: float, kind: str) -> bool:
    """Whether a generator prints the number so that it reads back."""
    return kind == "cuda" or bool(np.float32(f"{value:e}") == np.float32(value))


def constant(value: float | np.float32, kind: str) -> Any:
    """An expression of exactly this float32 on a kind of target."""
    number = np.float32(value)
    if survives(float(number), kind):
        return T.float32(float(number))
    if kind == "opencl":
        return T.call_pure_extern("float32", "as_float", T.int32(int(number.view(np.int32))))
    near = float(number) * (0.999 if abs(number) > 1e38 else 1.0)  # rounding up would overflow
    short = np.float32(f"{near:.3e}")  # four digits survive; the difference is exact
    rest = constant(number - short, kind)
    return T.call_pure_extern("float32", "fmaf", T.float32(1), T.float32(float(short)), rest)


def _rewritten(func: Any, kind: str) -> Any:
    """`func` with exact constants; through its text, TVM having no mutator of TIR in Python."""

    def replace(match: re.Match[str]) -> str:
        value = float(match.group(1))
        return match.group(0) if survives(value, kind) else constant(value, kind).script()

    text = func.script(show_meta=True)
    changed = _CONSTANT.sub(replace, text)
    return func if changed == text else tvm.script.from_source(changed).with_attrs(func.attrs)


@tvm.transform.module_pass(opt_level=0, name="ExactConstants")
class ExactConstants:
    """Exact constants in TVM's own functions; this package's kernels come with theirs."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        result = tvm.IRModule(mod.functions, attrs=mod.attrs)
        for name, func in mod.functions.items():
            if isinstance(func, tvm.tirx.PrimFunc) and self.kind != "cuda":
                result[name] = _rewritten(func, self.kind)
        return result
