"""`alwann.conv2d` for CPUs: assembles padding, panels, inner loops and epilogue into one PrimFunc."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.dot_activations import Activations
from alwann_c.codegen.cpu.dot_conv import emit_dot
from alwann_c.codegen.cpu.dot_operands import DotLayout, emit_weights
from alwann_c.codegen.cpu.gather import emit_gather
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.kernel_rows import emit_kernel_rows, fits_kernel_rows
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.panel_conv import emit_panels
from alwann_c.codegen.cpu.permute_conv import emit_permute
from alwann_c.codegen.cpu.strategy import (
    ByPixels,
    ByTable,
    Dot,
    Gather,
    KernelRows,
    Panels,
    Permute,
    Strategy,
    choose_strategy,
    dot_pixels,
)
from alwann_c.codegen.cpu.table import PreparedTable, prepared_views
from alwann_c.ir.spec import ConvSpec, Quantization


def conv2d_primfunc(
    spec: ConvSpec,
    target: tvm.target.Target,
    *,
    strategy: Strategy | None = None,
    constants: bool = False,
    name: str = "conv2d",
) -> tvm.tirx.PrimFunc:
    """PrimFunc of `alwann.conv2d`, equal to `alwann_c.ir.reference.conv2d` bit for bit.

    Parameters of the PrimFunc, all run-time inputs (B >= 1 is dynamic):

        x [B, h, w, c] uint8, weight [kh, kw, c/groups, n] uint8, table `PREPARED_SHAPE` int32,
        weight_zero_point [n] int32, offset [n] int32, scale [n] float32,
        residual [B, ho, wo, n] float32 or uint8 (only if the epilogue has one),
        output [B, ho, wo, n] float32, or uint8 if the epilogue quantizes.

    The table comes as `prepare_table` makes it of int16 or uint16 products (-32768..65535).

    Args:
        spec: the convolution.
        target: LLVM target; its features choose widths, any LLVM target is right.
        constants: whether the numbers of the epilogue are a parameter, after `scale`:
            `epilogue_constants(spec.epilogue)`. Layers that differ in these numbers only can then
            share a kernel (`kernel_spec`).
        strategy: overrides `choose_strategy`.
        name: name of the PrimFunc.
    """
    machine = Machine.of(target)
    chosen = choose_strategy(spec, target) if strategy is None else strategy

    def body() -> None:
        operands = Operands.declare(spec, constants=constants, fma=machine.fma)
        emitter = _Emitter(operands, Geometry(spec), prepared_views(operands.table), machine)
        emitter.emit(chosen)

    return emit.build(name, body)


@dataclass(frozen=True)
class _Emitter:
    """Emits the strategies and the choices between them."""

    operands: Operands
    geometry: Geometry
    table: PreparedTable
    machine: Machine

    def emit(self, strategy: Strategy) -> None:
        operands, geometry, table = self.operands, self.geometry, self.table
        if isinstance(strategy, Gather):
            emit_gather(operands, geometry, strategy)
        elif isinstance(strategy, Panels):
            emit_panels(operands, geometry, strategy, table)
        elif isinstance(strategy, Permute):
            emit.branch(
                table.fits,
                lambda: emit_permute(operands, geometry, strategy, table),
                lambda: self.emit(Gather()),
            )
        elif isinstance(strategy, KernelRows):
            if not fits_kernel_rows(operands.spec):
                self.emit(Gather())
                return
            emit.branch(
                table.fits,
                lambda: emit_kernel_rows(operands, geometry, table),
                lambda: self.emit(Gather()),
            )
        elif isinstance(strategy, Dot):
            self._by_table(strategy, Gather())
        elif isinstance(strategy, ByTable):
            self._by_table(strategy.few_terms, strategy.other)
        else:
            self._by_pixels(strategy)

    def _by_table(self, dot: Dot, other: Strategy) -> None:
        operands, geometry, table, unit = self.operands, self.geometry, self.table, self.machine.dot
        if unit is None:
            raise ValueError("the target has no dot product instruction")
        few = emit.i64(dot_pixels(self.machine) // geometry.pixels)
        cheap = emit.let(emit.T.Or(table.terms <= dot.terms, operands.batch <= few))
        weights = emit_weights(operands, DotLayout(geometry, unit, dot.lanes), table, cheap)

        def few_terms() -> None:
            permutes = self.machine.byte_permute
            activations = Activations(operands, geometry, table, unit, permutes)
            emit_dot(operands, geometry, dot, activations, table, weights)

        emit.branch(weights.fits[0] != 0, few_terms, lambda: self.emit(other))

    def _by_pixels(self, strategy: ByPixels) -> None:
        operands, geometry, table = self.operands, self.geometry, self.table
        few, images = strategy.few, strategy.limit // geometry.pixels
        is_few = operands.batch <= emit.i64(images)

        def many() -> None:
            self.emit(strategy.many)

        if not images:
            many()
        elif isinstance(few, Gather):
            emit.branch(is_few, lambda: self.emit(few), many)
        else:
            permute = lambda: emit_permute(operands, geometry, few, table, images)  # noqa: E731
            both: Any = emit.T.And(is_few, table.fits)
            emit.branch(both, permute, many)


def kernel_spec(spec: ConvSpec) -> ConvSpec:
    """The spec without the numbers that `constants` supplies: equal specs can share a kernel."""
    epilogue = spec.epilogue

    def plain(code: Quantization | None) -> Quantization | None:
        return None if code is None else Quantization(1.0, 0, code.signed)

    output, residual = plain(epilogue.output), plain(epilogue.residual_code)
    neutral = replace(epilogue, clip_min=0.0, clip_max=0.0, output=output, residual_code=residual)
    return replace(spec, epilogue=neutral)
