"""`alwann.conv2d` for CPUs: assembles padding, panels, inner loops and epilogue into one PrimFunc."""

from __future__ import annotations

from dataclasses import replace

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.gather import emit_gather
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.machine import Machine
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.panel_conv import emit_panels
from alwann_c.codegen.cpu.permute_conv import emit_permute
from alwann_c.codegen.cpu.strategy import (
    ByPixels,
    Gather,
    Panels,
    Permute,
    Strategy,
    choose_strategy,
)
from alwann_c.codegen.cpu.table import PREPARED_SHAPE, PreparedTable, emit_prepare, prepared_views
from alwann_c.ir.spec import ConvSpec, Quantization


def conv2d_primfunc(
    spec: ConvSpec,
    target: tvm.target.Target,
    *,
    strategy: Strategy | None = None,
    prepared: bool = False,
    constants: bool = False,
    name: str = "conv2d",
) -> tvm.tirx.PrimFunc:
    """PrimFunc of `alwann.conv2d`, equal to `alwann_c.ir.reference.conv2d` bit for bit.

    Parameters of the PrimFunc, all run-time inputs (B >= 1 is dynamic):

        x [B, h, w, c] uint8, weight [kh, kw, c/groups, n] uint8, table [256, 256] int32,
        weight_zero_point [n] int32, offset [n] int32, scale [n] float32,
        residual [B, ho, wo, n] float32 or uint8 (only if the epilogue has one),
        output [B, ho, wo, n] float32, or uint8 if the epilogue quantizes.

    Table entries must be int16 or uint16 products (-32768..65535). If `prepared`, the third parameter
    is instead what `prepare_table_primfunc` makes of the table, `PREPARED_SHAPE` int32: it saves each
    layer some 10 microseconds and the code to do it itself.

    Args:
        spec: the convolution.
        target: LLVM target; its features choose widths, any LLVM target is right.
        prepared: whether tables come prepared.
        constants: whether the numbers of the epilogue are a parameter, after `scale`:
            `epilogue_constants(spec.epilogue)`. Layers that differ in these numbers only can then
            share a kernel (`kernel_spec`).
        strategy: overrides `choose_strategy`.
        name: name of the PrimFunc.
    """
    machine = Machine.of(target)
    chosen = choose_strategy(spec, target) if strategy is None else strategy

    def body() -> None:
        operands, geometry = (
            Operands.declare(spec, prepared=prepared, constants=constants, fma=machine.fma),
            Geometry(spec),
        )
        if isinstance(chosen, Gather):
            emit_gather(operands, geometry, chosen)
            return
        blob = operands.table
        if not prepared:
            blob = emit.scratch(PREPARED_SHAPE[0] * PREPARED_SHAPE[1], "int32")
            emit_prepare(operands.table, blob, spec.signed, machine.vector_bytes // 2)
        table = prepared_views(blob)
        if isinstance(chosen, Panels):
            emit_panels(operands, geometry, chosen, table)
        elif isinstance(chosen, Permute):
            emit.branch(
                table.fits,
                lambda: emit_permute(operands, geometry, chosen, table),
                lambda: emit_gather(operands, geometry, Gather()),
            )
        else:
            _emit_by_pixels(operands, geometry, chosen, table)

    return emit.build(name, body)


def _emit_by_pixels(
    operands: Operands, geometry: Geometry, strategy: ByPixels, table: PreparedTable
) -> None:
    """Both strategies, and the choice between them."""
    few, images = strategy.few, strategy.limit // geometry.pixels
    is_few = operands.batch <= emit.i64(images)

    def many() -> None:
        emit_panels(operands, geometry, strategy.many, table)

    if not images:
        many()
    elif isinstance(few, Gather):
        emit.branch(is_few, lambda: emit_gather(operands, geometry, few), many)
    else:
        emit.branch(
            emit.T.And(is_few, table.fits),
            lambda: emit_permute(operands, geometry, few, table, images),
            many,
        )


def kernel_spec(spec: ConvSpec) -> ConvSpec:
    """The spec without the numbers that `constants` supplies: equal specs can share a kernel."""
    epilogue = spec.epilogue

    def plain(code: Quantization | None) -> Quantization | None:
        return None if code is None else Quantization(1.0, 0, code.signed)

    output, residual = plain(epilogue.output), plain(epilogue.residual_code)
    neutral = replace(epilogue, clip_min=0.0, clip_max=0.0, output=output, residual_code=residual)
    return replace(spec, epilogue=neutral)
