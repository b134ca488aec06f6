"""What the schedules need to know of a target's CPU, from the features of its TVM target."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm.target import codegen as llvm_info

from alwann_c.codegen.cpu.dot import DotUnit, dot_unit


@dataclass(frozen=True)
class Machine:
    """Vector unit of a target.

    Attributes:
        vector_bytes: width of a vector register as the compiler will use it.
        vectors: number of vector registers.
        fma: whether float32 fused multiply-add is an instruction.
        byte_permute: whether 64 bytes can be picked by 64 others (AVX-512 VBMI).
        dot: instruction for integer dot products; None if there is none.
    """

    vector_bytes: int
    vectors: int
    fma: bool
    byte_permute: bool = False
    dot: DotUnit | None = None

    @staticmethod
    def of(target: tvm.target.Target) -> Machine:
        """Reads the features of an LLVM target (name, cpu and attributes)."""
        features = {str(name) for name in llvm_info.llvm_get_cpu_features(target)}
        if "avx512bw" in features and "prefer-256-bit" not in features:
            permutes = "avx512vbmi" in features
            return Machine(64, 32, True, permutes, dot_unit(features, 64))
        fma = "fma" in features
        if "avx2" in features:
            vectors = 32 if "avx512vl" in features else 16
            return Machine(32, vectors, fma, dot=dot_unit(features, 32))
        if "neon" in features:
            return Machine(16, 32, True, dot=dot_unit(features, 16))
        return Machine(16, 16, fma, dot=dot_unit(features, 16))
