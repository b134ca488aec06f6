"""The parameters of an integer layer's PrimFunc, and storing its output."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr
from alwann_c.codegen.cpu.epilogue import CONSTANTS, Finish
from alwann_c.codegen.cpu.table import PREPARED_SHAPE
from alwann_c.ir.spec import ConvSpec


@dataclass(frozen=True)
class Operands:
    """Flat views of the parameters of `alwann.conv2d` (see `conv2d_primfunc`).

    `table` is a prepared table, which starts with the flat [256][256] products.
    """

    spec: ConvSpec
    batch: Expr
    x: Buffer
    weight: Buffer
    table: Buffer
    weight_zero_point: Buffer
    offset: Buffer
    scale: Buffer
    residual: Buffer | None
    output: Buffer
    finish: Finish

    @staticmethod
    def declare(spec: ConvSpec, *, constants: bool, fma: bool) -> Operands:
        """Declare the parameters in order, inside the PrimFunc under construction."""
        batch, n = emit.symbol(), spec.out_channels
        image = (batch, spec.height, spec.width, spec.in_channels)
        filters = (*spec.kernel, spec.in_channels // spec.groups, n)
        result = (batch, spec.out_height, spec.out_width, n)
        epilogue = spec.epilogue
        residual_type = "uint8" if epilogue.residual == "codes" else "float32"
        output_type = "float32" if epilogue.output is None else "uint8"
        x = emit.argument("x", image, "uint8")
        weight = emit.argument("weight", filters, "uint8")
        table = emit.argument("table", PREPARED_SHAPE, "int32")
        zero_point = emit.argument("weight_zero_point", (n,), "int32")
        offset = emit.argument("offset", (n,), "int32")
        scale = emit.argument("scale", (n,), "float32")
        numbers = emit.argument("constants", (CONSTANTS,), "float32") if constants else None
        residual = None
        if epilogue.residual != "none":
            residual = emit.argument("residual", result, residual_type)
        output = emit.argument("output", result, output_type)
        flat_numbers = None if numbers is None else emit.flat(numbers, "float32")
        return Operands(
            spec=spec,
            batch=batch,
            x=emit.flat(x, "uint8"),
            weight=emit.flat(weight, "uint8"),
            table=emit.flat(table, "int32"),
            weight_zero_point=emit.flat(zero_point, "int32"),
            offset=emit.flat(offset, "int32"),
            scale=emit.flat(scale, "float32"),
            residual=None if residual is None else emit.flat(residual, residual_type),
            output=emit.flat(output, output_type),
            finish=Finish.of(epilogue, flat_numbers, fma),
        )

    def emit_output(self, accumulators: Expr, scale: Expr, start: Expr) -> None:
        """Finish int32 accumulator lanes (offset included) and store them from flat `start`."""
        value = self.finish.lanes(accumulators, scale, self.residual, start)
        emit.store(self.output, start, value)
