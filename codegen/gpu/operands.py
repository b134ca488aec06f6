"""The parameters of an integer layer's GPU kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alwann_c.codegen.gpu import emit
from alwann_c.codegen.gpu.emit import Arithmetic, Buffer, Expr, Kind, T
from alwann_c.ir.spec import ConvSpec

Declared = tuple[str, tuple[int, ...], str]
"""Name, shape and type of a parameter."""


def table_inputs(spec: ConvSpec) -> list[Declared]:
    """What a kernel that looks products up in the table takes between x and offset."""
    filters = (*spec.kernel, spec.in_channels // spec.groups, spec.out_channels)
    return [
        ("weight", filters, "uint8"),
        ("products", (256, 256), "int32"),
        ("weight_zero_point", (spec.out_channels,), "int32"),
    ]


@dataclass(frozen=True)
class Operands:
    """Flat views of a kernel's parameters; `inputs` are those between x and offset, by name."""

    spec: ConvSpec
    arithmetic: Arithmetic
    pixels: Expr
    x: Buffer
    inputs: dict[str, Buffer]
    offset: Buffer
    scale: Buffer
    residual: Buffer | None
    output: Buffer

    @staticmethod
    def declare(spec: ConvSpec, kind: Kind, inputs: Sequence[Declared]) -> Operands:
        """Declares the parameters: x, the inputs, offset, scale, the residual where there is one,
        the output. The batch is dynamic."""
        batch, n = T.int64(), spec.out_channels
        result = (batch, spec.out_height, spec.out_width, n)
        epilogue = spec.epilogue
        declared = [
            ("x", (batch, spec.height, spec.width, spec.in_channels), "uint8"),
            *inputs,
            ("offset", (n,), "int32"),
            ("scale", (n,), "float32"),
            ("residual", result, "uint8" if epilogue.residual == "codes" else "float32"),
            ("output", result, "float32" if epilogue.output is None else "uint8"),
        ]
        absent = "residual" if epilogue.residual == "none" else ""
        views = emit.arguments([entry for entry in declared if entry[0] != absent])
        return Operands(
            spec=spec,
            arithmetic=Arithmetic(kind),
            pixels=emit.i32(batch) * emit.i32(spec.out_height * spec.out_width),
            x=views["x"],
            inputs={name: views[name] for name, _, _ in inputs},
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

    def correction(self, channel: Expr, codes: Expr) -> Expr:
        """What weight zero points add to a sum of products, from the sum of activation codes."""
        return T.int32(0) - self.inputs["weight_zero_point"][channel] * codes

    def write(self, pixel: Expr, channel: Expr, products: Expr) -> None:
        """Finishes and stores one output from its corrected sum of products."""
        at = emit.named(pixel * self.spec.out_channels + channel)
        accumulator = emit.named(products + self.offset[channel])
        residual = None if self.residual is None else self.residual[at]
        value = self.arithmetic.finish(
            accumulator, self.scale[channel], residual, self.spec.epilogue
        )
        emit.store(self.output, at, value)
