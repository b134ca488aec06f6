"""How a convolution is computed: a named, inspectable choice that a caller may override."""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from alwann_c.codegen.cpu.machine import Machine
from alwann_c.ir.spec import ConvSpec


@dataclass(frozen=True)
class Gather:
    """Look every product up in the table; vectors run over output channels.

    Exact for every table and shape, needs no preparation; 1-2 products per cycle.
    """

    lanes: int = 16

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "gather"


@dataclass(frozen=True)
class Panels:
    """Product panels: for tap k and code a the products of `lanes` output channels are a row.

    Attributes:
        lanes: output channels of a block.
        width: int16 lanes of a vector register.
        taps: taps whose panels stay in the first-level cache together (at most).
        segments: numbers of rows that may be summed in int16 before widening, best first; which
            one applies is decided at run time, for each group of taps.
        tile: output pixels of a tile, whose accumulators are updated tap group by tap group.
        unroll: pixels computed together.
        chunk: bytes of panels kept in the second-level cache.
        task_bytes: bytes of accumulators of one task, when panels need more than one chunk.
    """

    lanes: int
    width: int = 16
    taps: int = 16
    segments: tuple[int, ...] = (4, 2, 1)
    tile: int = 1024
    unroll: int = 1
    chunk: int = 1 << 20
    task_bytes: int = 4 << 20

    @property
    def name(self) -> str:
        """Short name for reports."""
        return f"panels{self.lanes}x{self.taps}"


@dataclass(frozen=True)
class Permute:
    """Products looked up by vector permutes, 64 output pixels against one weight (AVX-512 VBMI).

    Attributes:
        outputs: output channels of a task.
        groups: convolution groups of a task that makes planes of its own input channels; 0: all
            tasks share the planes of all channels, of the whole batch (only for few pixels).
    """

    outputs: int = 16
    groups: int = 0

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "permute"


@dataclass(frozen=True)
class ByPixels:
    """Two strategies, chosen at run time by the number of output pixels of the whole batch.

    Building panels costs the same for one pixel as for thousands.

    Attributes:
        few: for at most `limit` pixels.
        many: for more, and for tables that `few` cannot use.
        limit: number of output pixels.
    """

    few: Gather | Permute
    many: Panels
    limit: int

    @property
    def name(self) -> str:
        """Short name for reports."""
        return f"{self.many.name}, {self.few.name} up to {self.limit} pixels"


Strategy = Gather | Panels | Permute | ByPixels

FEW_PIXELS = 512
"""Pixels up to which permutes beat panels; measured on CIFAR and ImageNet layers."""

FEWER_PIXELS = 64
"""Pixels up to which look-ups in memory beat panels."""


def _lanes(channels: int, vector_bytes: int) -> int:
    """Lanes of a panel; a row costs about as much as its lanes and half a vector more."""
    half = max(vector_bytes // 4, 8)  # panels are built from transposed blocks 8 wide
    choices = [half, 2 * half, 3 * half, 4 * half]
    return min(choices, key=lambda lanes: (-(-channels // lanes) * (lanes + half), -lanes))


def choose_strategy(spec: ConvSpec, target: tvm.target.Target) -> Strategy:
    """Strategy for a convolution on an LLVM target."""
    machine = Machine.of(target)
    per_group = spec.out_channels // spec.groups
    if per_group < 8:
        return Permute(groups=max(16 // per_group, 1)) if machine.byte_permute else Gather()
    panels = Panels(_lanes(per_group, machine.vector_bytes), machine.vector_bytes // 2)
    if machine.byte_permute:
        return ByPixels(Permute(outputs=8 if per_group < 64 else 16), panels, FEW_PIXELS)
    return ByPixels(Gather(), panels, FEWER_PIXELS)
