"""The epilogue of an integer layer, bit-exact: scale, residual, activation, output codes."""

from __future__ import annotations

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr
from alwann_c.ir.spec import Epilogue, Quantization


def quantized(value: Expr, code: Quantization) -> Expr:
    """uint8 codes of float32 lanes, equal to `reference.quantize`.

    `rint(clip(x / s, low - z, high - z)) + z`: clipping to integers and rounding commute.
    """
    lanes = emit.lanes_of(value)
    steps = value / emit.f32(code.scale, lanes)
    low, high = float(code.low - code.zero_point), float(code.high - code.zero_point)
    steps = emit.T.min(emit.T.max(steps, emit.f32(low, lanes)), emit.f32(high, lanes))
    bits = emit.T.reinterpret(
        emit.typed("int32", lanes), steps + emit.f32(emit.ROUND_MAGIC, lanes)
    )
    return emit.convert(bits + emit.splat(emit.i32(code.zero_point - 0x4B400000), lanes), "uint8")


def dequantized(codes: Expr, code: Quantization) -> Expr:
    """float32 values of uint8 codes: `s * (q - z)`, rounded once."""
    lanes = emit.lanes_of(codes)
    values = emit.code_value(emit.convert(codes, "int32"), code.signed)
    steps = emit.convert(values - emit.splat(emit.i32(code.zero_point), lanes), "float32")
    return emit.product(emit.f32(code.scale, lanes), steps)


def finish(
    accumulators: Expr, scale: Expr, residual: Buffer | None, start: Expr, epilogue: Epilogue
) -> Expr:
    """Output lanes from int32 accumulators (offset included).

    Args:
        accumulators: int32 lanes.
        scale: float32 lanes.
        residual: flat tensor of the output's shape, or None.
        start: position of the lanes in the flat output.
        epilogue: what to do.
    """
    lanes = emit.lanes_of(accumulators)
    value = emit.product(emit.convert(accumulators, "float32"), scale)
    if residual is not None:
        other = emit.load(residual, start, lanes)
        if epilogue.residual_code is not None:
            other = dequantized(other, epilogue.residual_code)
        value = value + other
    if epilogue.activation == "relu":
        value = emit.T.max(value, emit.f32(0.0, lanes))
    elif epilogue.activation == "clip":
        value = emit.T.max(value, emit.f32(epilogue.clip_min, lanes))
        value = emit.T.min(value, emit.f32(epilogue.clip_max, lanes))
    value = emit.let(value)
    return value if epilogue.output is None else quantized(value, epilogue.output)
