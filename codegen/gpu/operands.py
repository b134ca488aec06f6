"""The parameters of an integer layer's GPU kernels."""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Arithmetic, Buffer, Expr, Kind, T
from alwann_c.ir.spec import ConvSpec


@dataclass(frozen=True)
class Operands:
    """Flat views; `products` is the table, or its panels."""

    spec: ConvSpec
    arithmetic: Arithmetic
    pixels: Expr
    x: Buffer
    weight: Buffer | None
    products: Buffer
    weight_zero_point: Buffer
    offset: Buffer
    scale: Buffer
    residual: Buffer | None
    output: Buffer

    @staticmethod
    def declare(spec: ConvSpec, kind: Kind, panels: tuple[int, ...] | None = None) -> Operands:
        """Declares the parameters: x, weight and table (or `panels` of that shape), the vectors,
        the residual, the output. The batch is dynamic."""
        batch, n = T.int64(), spec.out_channels
        result = (batch, spec.out_height, spec.out_width, n)
        filters = (*spec.kernel, spec.in_channels // spec.groups, n)
        epilogue = spec.epilogue
        declared = [
            ("x", (batch, spec.height, spec.width, spec.in_channels), "uint8"),
            ("weight", filters, "uint8"),
            ("products", panels or (256, 256), "int32"),
            ("weight_zero_point", (n,), "int32"),
            ("offset", (n,), "int32"),
            ("scale", (n,), "float32"),
            ("residual", result, "uint8" if epilogue.residual == "codes" else "float32"),
            ("output", result, "float32" if epilogue.output is None else "uint8"),
        ]
        absent = {"weight"} if panels is not None else set()
        absent |= {"residual"} if epilogue.residual == "none" else set()
        views = emit.arguments([entry for entry in declared if entry[0] not in absent])
        pixels = emit.i32(batch) * emit.i32(spec.out_height * spec.out_width)
        return Operands(
            spec=spec,
            arithmetic=Arithmetic(kind),
            pixels=pixels,
            x=views["x"],
            weight=views.get("weight"),
            products=views["products"],
            weight_zero_point=views["weight_zero_point"],
            offset=views["offset"],
            scale=views["scale"],
            residual=views.get("residual"),
            output=views["output"],
        )

    def corner(self, pixel: Expr) -> tuple[Expr, Expr, Expr]:
        """First row and column of an output pixel's window, and where its image begins in x."""
        spec = self.spec
        area = spec.out_height * spec.out_width
        at = emit.named(pixel % area)
        row = emit.named(at // spec.out_width * spec.strides[0] - spec.padding[0])
        column = emit.named(at % spec.out_width * spec.strides[1] - spec.padding[1])
        image = emit.named(pixel // area * (spec.height * spec.width * spec.in_channels))
        return row, column, image

    def code(self, row: Expr, column: Expr, image: Expr, channel: Expr) -> Expr:
        """Activation code there, int32; the zero point's pattern outside the image."""
        spec = self.spec
        inside = T.And(T.And(row >= 0, row < spec.height), T.And(column >= 0, column < spec.width))
        at = image + (row * spec.width + column) * spec.in_channels + channel
        return T.if_then_else(inside, emit.i32(self.x[at]), T.int32(spec.zero_point & 255))

    def write(self, pixel: Expr, channel: Expr, products: Expr, codes: Expr) -> None:
        """Corrects, finishes and stores one output from its sums of products and of codes."""
        at = emit.named(pixel * self.spec.out_channels + channel)
        accumulator = emit.named(
            products - self.weight_zero_point[channel] * codes + self.offset[channel]
        )
        residual = None if self.residual is None else self.residual[at]
        value = self.arithmetic.finish(
            accumulator, self.scale[channel], residual, self.spec.epilogue
        )
        emit.store(self.output, at, value)
