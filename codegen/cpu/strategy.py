"""How a convolution is computed: a named, inspectable choice that a caller may override."""

from __future__ import annotations

from dataclasses import dataclass, replace

import tvm

from alwann_c.codegen.cpu.kernel_rows import fits_kernel_rows
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.low_rank import MAX_TERMS
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
class KernelRows:
    """The products of a kernel row in one vector, for few channels a group (depthwise).

    Leaves shapes and tables that it is not made for to `Gather`.
    """

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "kernel rows"


@dataclass(frozen=True)
class Dot:
    """Integer GEMM by dot product instructions, for tables that are sums of few terms.

    Attributes:
        lanes: output channels of a tile, a multiple of the unit's lanes.
        pixels: output pixels of a tile.
        terms: most terms of a table it is used for, where there are many output pixels; each costs a
            GEMM of its own.
    """

    lanes: int
    pixels: int
    terms: int = MAX_TERMS

    @property
    def name(self) -> str:
        """Short name for reports."""
        return f"dot{self.lanes}x{self.pixels}"


@dataclass(frozen=True)
class ByPixels:
    """Two strategies, chosen at run time by the number of output pixels of the whole batch.

    Building panels (or kernel rows) costs the same for one pixel as for thousands.

    Attributes:
        few: for at most `limit` pixels.
        many: for more, and for tables that `few` cannot use.
        limit: number of output pixels.
    """

    few: Gather | Permute
    many: Panels | KernelRows
    limit: int

    @property
    def name(self) -> str:
        """Short name for reports."""
        return f"{self.many.name}, {self.few.name} up to {self.limit} pixels"


@dataclass(frozen=True)
class ByTable:
    """Two strategies, chosen at run time by the table (and whether the weights' factors fit).

    Attributes:
        few_terms: for tables that are sums of few terms.
        other: for all others.
    """

    few_terms: Dot
    other: Gather | Panels | Permute | ByPixels

    @property
    def name(self) -> str:
        """Short name for reports."""
        return f"{self.few_terms.name} if low rank, {self.other.name}"


Strategy = Gather | Panels | Permute | KernelRows | Dot | ByPixels | ByTable
"""`Dot` alone leaves tables it cannot use to `Gather`."""

FEW_PIXELS = 128
"""Pixels up to which permutes beat panels; measured on CIFAR and ImageNet layers."""

FEWER_PIXELS = 16
"""Pixels up to which look-ups in memory beat panels; at 64 panels are twice as fast (AVX2)."""

FEW_DEPTHWISE = 256
"""Pixels up to which look-ups in memory beat kernel rows."""

WIDE_LANES, NARROW_TERMS = 64, 3
"""Tiles of fewer lanes beat panels only for tables of few terms; measured as above."""

DOT_PIXELS, DOT_PIXELS_OF_WORDS = 2048, 128
"""Pixels up to which dot products beat panels for every number of terms: panels are not built.

Instructions on 16-bit words do half the products of those on bytes, from twice the memory.
"""

NARROW_CHUNK = 1 << 18
"""Bytes of panels kept at once where vectors are narrower than 64 bytes: such machines have 256 or
512 KiB of second-level cache, those with wider vectors 1 MiB or more."""


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
        if machine.byte_permute:
            return Permute(groups=max(16 // per_group, 1))
        rows = fits_kernel_rows(spec)
        return ByPixels(Gather(), KernelRows(), FEW_DEPTHWISE) if rows else Gather()
    by_pixels = _by_pixels(per_group, machine)
    dot = choose_dot(spec, machine)
    return by_pixels if dot is None else ByTable(dot, by_pixels)


def _by_pixels(per_group: int, machine: Machine) -> ByPixels:
    panels = Panels(_lanes(per_group, machine.vector_bytes), machine.vector_bytes // 2)
    if machine.vector_bytes < 64:
        panels = replace(panels, chunk=NARROW_CHUNK)
    if machine.byte_permute:
        return ByPixels(Permute(outputs=8 if per_group < 64 else 16), panels, FEW_PIXELS)
    return ByPixels(Gather(), panels, FEWER_PIXELS)


def choose_dot(spec: ConvSpec, machine: Machine) -> Dot | None:
    """Tile of the dot product kernel: as much work per load as registers allow."""
    if machine.dot is None:
        return None
    unit, per_group = machine.dot.lanes, spec.out_channels // spec.groups
    vectors = -(-per_group // unit)
    blocks = -(-vectors // 4)
    vectors = -(-vectors // blocks)
    room = (machine.vectors - vectors - 2) // vectors
    width = 1 << 20 if is_flat(spec) else spec.out_width
    pixels = min(width, room, 16)
    even = [p for p in range(pixels, pixels // 2, -1) if width % p == 0]
    terms = MAX_TERMS if vectors * unit >= WIDE_LANES else NARROW_TERMS
    return Dot(vectors * unit, even[0] if even else pixels, terms)


def dot_pixels(machine: Machine) -> int:
    """Pixels up to which dot products are used for every number of terms."""
    bytes_at_once = machine.dot is not None and machine.dot.group == 4
    return DOT_PIXELS if bytes_at_once else DOT_PIXELS_OF_WORDS


def is_flat(spec: ConvSpec) -> bool:
    """Whether output pixels are input pixels: tiles may then cross rows and images."""
    return spec.kernel == (1, 1) and spec.strides == (1, 1) and not any(spec.padding)
