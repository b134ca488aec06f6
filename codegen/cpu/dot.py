"""Dot product units: instructions that add several narrow products to each int32 lane.

All of them are exact: with left factors of 8 unsigned bits and right factors of 8 signed ones, neither
the products nor the sums within an instruction saturate (`vpmaddubsw`, which does, is not used).
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Expr, T


@dataclass(frozen=True)
class DotUnit:
    """`total[lane] += sum_i left[i] * right[lane][i]`, i < `group`.

    Attributes:
        lanes: int32 lanes.
        group: factors a lane takes from either side, 4 bytes together.
        left, right: element types in memory.
        intrinsic: LLVM's name.
        adds: whether the instruction adds to the total itself.
    """

    lanes: int
    group: int
    left: str
    right: str
    intrinsic: str
    adds: bool = True

    @property
    def element_bytes(self) -> int:
        """Bytes of a factor in memory, the same on both sides."""
        return 4 // self.group

    def __call__(self, total: Expr, activations: Expr, weights: Expr) -> Expr:
        """int32 lanes.

        Args:
            total: int32 [lanes].
            activations: int32, `group` left factors; the same for every lane.
            weights: [lanes * group] right factors.
        """
        count = self.lanes * self.group
        spread = T.reinterpret(emit.typed(self.left, count), emit.splat(activations, self.lanes))
        kind = emit.typed("int32", self.lanes)
        if self.adds:
            return T.call_llvm_pure_intrin(kind, self.intrinsic, total, spread, weights)
        return total + T.call_llvm_pure_intrin(kind, self.intrinsic, spread, weights)


def dot_unit(features: set[str], vector_bytes: int) -> DotUnit | None:
    """The best unit of a target with these LLVM features and vectors as wide as given."""
    lanes = vector_bytes // 4
    bits = vector_bytes * 8
    if "avx512vnni" in features and (bits == 512 or "avx512vl" in features):
        return DotUnit(lanes, 4, "uint8", "int8", f"llvm.x86.avx512.vpdpbusd.{bits}")
    if "avxvnni" in features and bits == 256:
        return DotUnit(lanes, 4, "uint8", "int8", "llvm.x86.avx512.vpdpbusd.256")
    if "i8mm" in features:
        return DotUnit(4, 4, "uint8", "int8", "llvm.aarch64.neon.usdot.v4i32.v16i8")
    words = {
        "avx512bw": (512, "llvm.x86.avx512.pmaddw.d.512"),
        "avx2": (256, "llvm.x86.avx2.pmadd.wd"),
        "sse2": (128, "llvm.x86.sse2.pmadd.wd"),
    }
    for feature, (width, intrinsic) in words.items():
        if feature in features and width <= bits:
            return DotUnit(width // 32, 2, "int16", "int16", intrinsic, adds=False)
    return None
