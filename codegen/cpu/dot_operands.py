"""Operands of a convolution on a table of few terms, as dot product units want them (see `low_rank`).

With left factors u_r(a), their shifts l_r and right factors g_r(w) of a table's terms r,

    sum_k (M(a_k, w_k) - z_w * a_k) = sum_r sum_k u_r(a_k) * v_r(w_k) + sum_r l_r sum_k v_r(w_k)

where v_r = g_r, but v_0 = g_0 - z_w for the linear term. The last sum is a constant of the output
channel and goes into its offset.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.dot import DotUnit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.table import CODES, PreparedTable
from alwann_c.codegen.low_rank import MAX_TERMS


@dataclass(frozen=True)
class DotLayout:
    """Sizes of packed weights: [block][term][run][group of taps][channel of the block][tap].

    A run of taps is filled up with zeros to a multiple of `unit.group`; a block of output channels
    is `lanes` channels of one convolution group.
    """

    geometry: Geometry
    unit: DotUnit
    lanes: int

    @property
    def steps(self) -> int:
        """Groups of taps of a run."""
        return -(-self.geometry.run // self.unit.group)

    @property
    def step(self) -> int:
        """Elements of a group of taps of a block."""
        return self.lanes * self.unit.group

    @property
    def term(self) -> int:
        """Elements of a term of a block."""
        return self.geometry.runs * self.steps * self.step

    @property
    def blocks_per_group(self) -> int:
        """Blocks of a convolution group."""
        return -(-self.geometry.group_out // self.lanes)

    @property
    def blocks(self) -> int:
        """Blocks of all output channels."""
        return self.geometry.spec.groups * self.blocks_per_group

    def first_channel(self, block: Expr) -> Expr:
        """First output channel of a block."""
        group, within = block // self.blocks_per_group, block % self.blocks_per_group
        return group * self.geometry.group_out + within * self.lanes

    def channels(self, block: Expr) -> Expr:
        """Number of output channels of a block."""
        within = block % self.blocks_per_group * self.lanes
        return T.min(emit.i32(self.lanes), self.geometry.group_out - within)


@dataclass(frozen=True)
class DotWeights:
    """Packed weights.

    Attributes:
        packed: elements of the unit's right type, see `DotLayout`.
        offset: int32 [block][lane] offsets with the terms' constants.
        fits: int32 [1], whether the weights' factors fit the unit; 0 where they were not packed.
    """

    packed: Buffer
    offset: Buffer
    fits: Buffer


def emit_weights(
    operands: Operands, layout: DotLayout, table: PreparedTable, wanted: Expr
) -> DotWeights:
    """Pack the weights, if that is wanted and the table is a sum of terms."""
    geometry, unit, lanes = layout.geometry, layout.unit, layout.lanes
    count = layout.blocks
    packed = emit.scratch(MAX_TERMS * layout.term * count, unit.right)
    offset = emit.scratch(count * lanes, "int32")
    wrong = emit.scratch(count, "int32")
    fits = emit.variable(0)

    def block(index: Expr) -> None:
        first = emit.opaque(layout.first_channel(index))
        last = emit.opaque(layout.channels(index) - 1)
        bad = emit.scratch(lanes, "int32")
        zero = emit.scratch(lanes, "int32")
        with emit.serial(lanes) as n:
            channel = first + T.min(n, last)
            value = emit.let(operands.weight_zero_point[channel])
            emit.store(zero, n, T.Select(table.linear, value, emit.i32(0)))
            nonzero = T.And(value != 0, T.Not(table.linear))
            emit.store(bad, n, T.cast(nonzero, "int32"))
            emit.store(offset, index * lanes + n, operands.offset[channel])
        sums = emit.scratch(lanes, "int32")
        with emit.serial(table.terms) as r:
            shift = emit.let(table.shift[r])
            start = emit.opaque((index * table.terms + r) * layout.term)
            column = emit.opaque(r * CODES)
            with emit.serial(lanes) as n:
                emit.store(sums, n, emit.i32(0))
            with emit.serial(geometry.runs) as run, emit.serial(layout.steps) as s:
                to = emit.opaque(start + (run * layout.steps + s) * layout.step)
                with emit.serial(unit.group) as i:
                    position = emit.let(s * unit.group + i)
                    tap = emit.let(run * geometry.run + T.min(position, geometry.run - 1))
                    inside = emit.let(T.cast(position < geometry.run, "int32"))
                    row = emit.opaque(tap * geometry.spec.out_channels + first)
                    with emit.serial(lanes) as n:
                        code = emit.i32(operands.weight[row + T.min(n, last)])
                        factor = emit.i32(table.right[column + code])
                        minus = T.Select(r == 0, zero[n], emit.i32(0))
                        value = emit.let((factor - minus) * inside)
                        emit.store(packed, to + n * unit.group + i, T.cast(value, unit.right))
                        outside = T.cast(T.Or(value < -128, value > 127), "int32")
                        emit.store(bad, n, bad[n] | outside)
                        emit.store(sums, n, sums[n] + value)
            with emit.serial(lanes) as n:
                place = emit.let(index * lanes + n)
                emit.store(offset, place, offset[place] + sums[n] * shift)
        total = emit.variable(0)
        with emit.serial(lanes) as n:
            emit.store(total, emit.i32(0), total[0] | bad[n])
        emit.store(wrong, index, total[0])

    with emit.when(T.And(table.terms > 0, wanted)):
        loop = (
            emit.parallel(emit.i64(count))
            if count > 1
            else emit.serial(emit.i64(count), emit.i64(0))
        )
        with loop as task:
            block(emit.opaque(emit.i32(task)))
        emit.store(fits, emit.i32(0), emit.i32(1))
        with emit.serial(count) as index:
            emit.store(fits, emit.i32(0), fits[0] & (emit.i32(1) - wrong[index]))
    return DotWeights(packed, offset, fits)
