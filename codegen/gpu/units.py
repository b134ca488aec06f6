"""What multiplies small matrices of bytes: int8 tensor cores, dot products of four bytes.

A unit works on a tile of `rows` pixels, 8 channels and `words` words of four taps each, whose parts
the 32 lanes of a warp hold in registers: lane = 4 * group + member. Left factors have 8 unsigned bits,
right ones 8 signed; sums wrap around at 32 bits, nothing saturates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Buffer, Expr, I, T

COLUMNS = 8
"""Output channels of a tile."""

Name = Literal["m16n8k32", "m8n8k16", "dp4a", "plain"]


@dataclass(frozen=True)
class MatrixUnit:
    """Shapes of a unit's tile, and which part of it each register of a lane holds.

    Attributes:
        name: PTX's shape of the tensor core instruction, `dp4a`, or `plain` arithmetic.
        rows: pixels of a tile.
        words: words of four taps of a tile.
        lefts, rights, totals: registers of a lane.
    """

    name: Name
    rows: int
    words: int
    lefts: int
    rights: int
    totals: int

    def left(self, index: int, group: Expr, member: Expr) -> tuple[Expr, Expr]:
        """Row and word of a left register."""
        if self.words == 1:
            return group + 8 * index, T.int32(0)
        return group + 8 * (index % 2), member + 4 * (index // 2)

    def right(self, index: int, group: Expr, member: Expr) -> tuple[Expr, Expr]:
        """Column and word of a right register."""
        if self.words == 1:
            return 2 * member + index, T.int32(0)
        return group, member + 4 * index

    def total(self, index: int, group: Expr, member: Expr) -> tuple[Expr, Expr]:
        """Row and column of a total."""
        return group + 8 * (index // 2), 2 * member + index % 2

    def multiply(
        self, totals: Buffer, at: Expr, lefts: Buffer, first: Expr, rights: Buffer
    ) -> None:
        """`totals[at + i] += ` the tile's products; `lefts` from `first` on, all of `rights`."""
        if self.words > 1:
            operands = (T.address_of(b[i]) for b, i in ((totals, at), (lefts, first)))
            call = T.cuda.func_call(
                f"alwann_{self.name}",
                *operands,
                T.address_of(rights[0]),
                source_code=self._source(),
            )
            I.evaluate(call)
            return
        for index in range(self.totals):
            row, column = index // 2, index % 2
            place = emit.named(at + index)
            value = self._dot(totals[place], lefts[first + row], rights[T.int32(column)])
            emit.store(totals, place, value)

    def _dot(self, total: Expr, left: Expr, right: Expr) -> Expr:
        if self.name == "dp4a":
            return T.cuda.func_call(
                "alwann_dp4a", total, left, right, source_code=_DP4A, return_type="int32"
            )
        for byte in range(4):
            unsigned = T.shift_right(left, T.int32(8 * byte)) & T.int32(255)
            shifted = T.shift_left(right, T.int32(24 - 8 * byte))
            total = total + unsigned * T.shift_right(shifted, T.int32(24))
        return total

    def _source(self) -> str:
        """A device function around the tensor core instruction."""

        def registers(name: str, first: int, count: int) -> tuple[str, str]:
            places = ", ".join(f"%{first + i}" for i in range(count))
            constraint = '"+r"' if name == "total" else '"r"'
            return f"{{{places}}}", ", ".join(f"{constraint}({name}[{i}])" for i in range(count))

        totals, inout = registers("total", 0, self.totals)
        lefts, left = registers("left", self.totals, self.lefts)
        rights, right = registers("right", self.totals + self.lefts, self.rights)
        instruction = f"mma.sync.aligned.{self.name}.row.col.s32.u8.s8.s32"
        return (
            f"__device__ __forceinline__ void alwann_{self.name}(int* total, const int* left, "
            "const int* right) {\n"
            f'  asm volatile("{instruction} {totals}, {lefts}, {rights}, {totals};"\n'
            f"      : {inout}\n      : {left}, {right});\n}}\n"
        )


_DP4A = """\
__device__ __forceinline__ int alwann_dp4a(int total, int left, int right) {
  int result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(left), "r"(right), "r"(total));
  return result;
}
"""

AMPERE = MatrixUnit("m16n8k32", 16, 8, lefts=4, rights=2, totals=4)
TURING = MatrixUnit("m8n8k16", 8, 4, lefts=1, rights=1, totals=2)
DP4A = MatrixUnit("dp4a", 16, 1, lefts=2, rights=2, totals=4)
PLAIN = MatrixUnit("plain", 16, 1, lefts=2, rights=2, totals=4)


def matrix_unit(kind: str, arch: str = "") -> MatrixUnit:
    """The best unit of a kind of target, for `cuda` of an architecture like `sm_90`."""
    if kind != "cuda":
        return PLAIN
    found = re.match(r"sm_(\d+)", arch)
    version = int(found.group(1)) if found else 0
    return AMPERE if version >= 80 else TURING if version >= 75 else DP4A
