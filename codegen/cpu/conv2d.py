"""`alwann.conv2d` for CPUs: assembles padding, panels, inner loops and epilogue into one PrimFunc."""

from __future__ import annotations

import tvm

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.gather import emit_gather
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.panel_conv import emit_panels
from alwann_c.codegen.cpu.permute_conv import emit_permute
from alwann_c.codegen.cpu.strategy import Gather, Permute, Strategy, choose_strategy
from alwann_c.codegen.cpu.table import emit_byte_planes, emit_prepared
from alwann_c.ir.spec import ConvSpec


def conv2d_primfunc(
    spec: ConvSpec,
    target: tvm.target.Target,
    *,
    strategy: Strategy | None = None,
    name: str = "conv2d",
) -> tvm.tirx.PrimFunc:
    """PrimFunc of `alwann.conv2d`, equal to `alwann_c.ir.reference.conv2d` bit for bit.

    Parameters of the PrimFunc, all run-time inputs (B >= 1 is dynamic):

        x [B, h, w, c] uint8, weight [kh, kw, c/groups, n] uint8, table [256, 256] int32,
        weight_zero_point [n] int32, offset [n] int32, scale [n] float32,
        residual [B, ho, wo, n] float32 or uint8 (only if the epilogue has one),
        output [B, ho, wo, n] float32, or uint8 if the epilogue quantizes.

    Table entries must be int16 or uint16 products (-32768..65535).

    Args:
        spec: the convolution.
        target: LLVM target; its features choose widths, any LLVM target is right.
        strategy: overrides `choose_strategy`.
        name: name of the PrimFunc.
    """
    chosen = choose_strategy(spec, target) if strategy is None else strategy

    def body() -> None:
        operands = Operands.declare(spec)
        geometry = Geometry(spec)
        if isinstance(chosen, Gather):
            emit_gather(operands, geometry, chosen)
        elif isinstance(chosen, Permute):
            table = emit_byte_planes(emit_prepared(operands.table, spec.signed, 32))
            emit.branch(
                table.fits,
                lambda: emit_permute(operands, geometry, chosen, table),
                lambda: emit_gather(operands, geometry, Gather()),
            )
        else:
            emit_panels(operands, geometry, chosen)

    return emit.build(name, body)
