"""The epilogue of an integer layer, bit-exact: scale, residual, activation, output codes.

**Division.** Quantizing divides by the code's scale s, rounded to nearest even. Where the target has
fused multiply-add, y / s is computed from r = 1 / s (rounded) as

    q = y * r;  twice: q = fma(fma(-q, s, y), r, q)

The first correction makes q faithful (within one unit in the last place), the second one correctly
rounded (Markstein's theorem: r is correctly rounded and the remainder exact). It holds when nothing
overflows or underflows: y is clipped to +-1024 s first, which cannot change a code, the scale is
restricted to `SCALES`, and where a remainder underflows the quotient rounds to 0 either way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.ir.spec import Epilogue, Quantization

SCALES = (2.0**-60, 2.0**60)
"""Least and greatest scale of a code."""

FAR = 1024.0
"""Steps from zero beyond which every value saturates."""

CONSTANTS = 6
"""Number of values in `epilogue_constants`."""


def _checked(code: Quantization | None) -> Quantization:
    code = code or Quantization(1.0, 0)
    if not SCALES[0] <= code.scale <= SCALES[1]:
        raise ValueError(f"scale {code.scale} of a code is outside {SCALES}")
    return code


def epilogue_constants(epilogue: Epilogue) -> npt.NDArray[np.float32]:
    """The numbers in an epilogue, float32 [6], for kernels that take them at run time.

    Scale and zero point of the output, scale and zero point of the residual, clip_min, clip_max.
    """
    output, residual = _checked(epilogue.output), _checked(epilogue.residual_code)
    numbers = (
        *(output.scale, output.zero_point, residual.scale, residual.zero_point),
        *(epilogue.clip_min, epilogue.clip_max),
    )
    return np.array(numbers, np.float32)


@dataclass(frozen=True)
class Code:
    """An affine code whose numbers are expressions.

    Attributes:
        scale: float32.
        inverse: float32 correctly rounded 1 / scale; None to divide.
        zero: float32 zero point.
        signed: whether codes are int8 patterns.
    """

    scale: Expr
    inverse: Expr | None
    zero: Expr
    signed: bool

    @staticmethod
    def constant(code: Quantization, fma: bool) -> Code:
        """Of numbers known now."""
        scale = np.float32(_checked(code).scale)
        inverse = T.float32(float(np.float32(1) / scale)) if fma else None
        return Code(
            T.float32(float(scale)), inverse, T.float32(float(code.zero_point)), code.signed
        )

    @staticmethod
    def variable(values: Buffer, first: int, signed: bool, fma: bool) -> Code:
        """Of values[first] (scale) and values[first + 1] (zero point)."""
        scale = emit.let(values[first])
        inverse = emit.let(T.float32(1) / scale) if fma else None
        return Code(scale, inverse, emit.let(values[first + 1]), signed)

    def _divided(self, value: Expr, positive: bool) -> Expr:
        lanes = emit.lanes_of(value)
        scale = emit.splat(self.scale, lanes)
        if self.inverse is None:
            return value / scale
        far = emit.let(scale * emit.f32(FAR, lanes))
        if not positive:
            value = T.max(value, emit.f32(0, lanes) - far)
        value = emit.let(T.min(value, far))
        inverse = emit.splat(self.inverse, lanes)
        quotient = emit.let(emit.product(value, inverse))
        minus = emit.splat(T.float32(0) - self.scale, lanes)
        for _ in range(2):
            rest = emit.fused(quotient, minus, value)
            quotient = emit.let(emit.fused(rest, inverse, quotient))
        return quotient

    def quantized(self, value: Expr, positive: bool = False) -> Expr:
        """uint8 codes of float32 lanes (`positive`: none below 0), equal to `reference.quantize`.

        `rint(clip(x / s, low - z, high - z)) + z`: clipping to integers and rounding commute.
        """
        lanes = emit.lanes_of(value)
        lowest, highest = (-128.0, 127.0) if self.signed else (0.0, 255.0)
        low = emit.splat(T.float32(lowest) - self.zero, lanes)
        high = emit.splat(T.float32(highest) - self.zero, lanes)
        steps = T.min(T.max(self._divided(value, positive), low), high)
        # Within [-383, 383]: adding the zero point to the rounded steps is exact.
        rounded = steps + emit.f32(emit.ROUND_MAGIC, lanes) + emit.splat(self.zero, lanes)
        return emit.convert(T.reinterpret(emit.typed("int32", lanes), rounded), "uint8")

    def dequantized(self, codes: Expr) -> Expr:
        """float32 values of uint8 codes: `s * (q - z)`, rounded once."""
        lanes = emit.lanes_of(codes)
        values = emit.convert(emit.code_value(emit.convert(codes, "int32"), self.signed), "float32")
        return emit.product(emit.splat(self.scale, lanes), values - emit.splat(self.zero, lanes))


@dataclass(frozen=True)
class Finish:
    """What follows the accumulators, with its numbers."""

    epilogue: Epilogue
    output: Code | None
    residual_code: Code | None
    clip: tuple[Expr, Expr]

    @staticmethod
    def of(epilogue: Epilogue, constants: Buffer | None, fma: bool) -> Finish:
        """From the epilogue's own numbers, or from run-time `constants`."""

        def code(given: Quantization | None, first: int) -> Code | None:
            if given is None:
                return None
            if constants is None:
                return Code.constant(given, fma)
            return Code.variable(constants, first, given.signed, fma)

        clip = T.float32(epilogue.clip_min), T.float32(epilogue.clip_max)
        if constants is not None:
            clip = emit.let(constants[4]), emit.let(constants[5])
        return Finish(epilogue, code(epilogue.output, 0), code(epilogue.residual_code, 2), clip)

    def lanes(self, accumulators: Expr, scale: Expr, residual: Buffer | None, start: Expr) -> Expr:
        """Output lanes from int32 accumulators (offset included).

        Args:
            accumulators: int32 lanes.
            scale: float32 lanes.
            residual: flat tensor of the output's shape, or None.
            start: position of the lanes in the flat output.
        """
        lanes = emit.lanes_of(accumulators)
        value = emit.product(emit.convert(accumulators, "float32"), scale)
        if residual is not None:
            other = emit.load(residual, start, lanes)
            if self.residual_code is not None:
                other = self.residual_code.dequantized(other)
            value = value + other
        if self.epilogue.activation == "relu":
            value = T.max(value, emit.f32(0.0, lanes))
        elif self.epilogue.activation == "clip":
            low, high = (emit.splat(bound, lanes) for bound in self.clip)
            value = T.min(T.max(value, low), high)
        value = emit.let(value)
        return (
            value
            if self.output is None
            else self.output.quantized(value, self.epilogue.activation == "relu")
        )
