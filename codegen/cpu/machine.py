"""What the schedules need to know of a target's CPU, from the features of its TVM target."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm.target import codegen as llvm_info


@dataclass(frozen=True)
class Machine:
    """Vector unit of a target.

    Attributes:
        vector_bytes: width of a vector register as the compiler will use it.
        vectors: number of vector registers.
        fma: whether float32 fused multiply-add is an instruction.
        byte_permute: whether 64 bytes can be picked by 64 others (AVX-512 VBMI).
    """

    vector_bytes: int
    vectors: int
    fma: bool
    byte_permute: bool = False

    @staticmethod
    def of(target: tvm.target.Target) -> Machine:
        """Reads the features of an LLVM target (name, cpu and attributes)."""
        features = {str(name) for name in llvm_info.llvm_get_cpu_features(target)}
        if "avx512bw" in features and "prefer-256-bit" not in features:
            return Machine(64, 32, True, "avx512vbmi" in features)
        if "avx2" in features:
            return Machine(32, 32 if "avx512vl" in features else 16, "fma" in features)
        if "neon" in features:
            return Machine(16, 32, True)
        return Machine(16, 16, "fma" in features)
