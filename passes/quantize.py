"""Turns every approximable layer of a normalised module into an integer operator, still exact.

    lv = conv2d(x, W); y = add(lv, b)
=>
    q = alwann.quantize(x)
    y = alwann.conv2d(q, W_codes, exact_table, z_w, offset, scale)

A tensor that feeds an integer layer is stored as codes once; its other consumers (a residual
addition, a pooling) read `alwann.dequantize(q)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.ir import ops
from alwann_c.ir.reference import accumulator_offset
from alwann_c.ir.rewrite import Rebuilder
from alwann_c.ir.spec import ConvSpec, Quantization
from alwann_c.passes.calibrate import CodeFormat
from alwann_c.passes.layers import FloatLayer, find_layers, find_products


@dataclass(frozen=True, eq=False)
class LayerCodes:
    """Everything integer about one layer, before approximation.

    `weight` uint8 codes [kh, kw, c_in/groups, n] (int8 bit patterns when signed),
    `weight_zero_point` int32 [n], `weight_scale` float32 [n], `bias` int32 [n] in accumulator
    units of `input.scale * weight_scale[n]`. Codes are `activation_bits` and `weight_bits` wide.

    Of a product of two activations (`kind` matmul) the vectors have one element, and
    `weight_zero_point` and `weight_scale` are those of the second operand, see `other`; `weight` is
    one code, the zero point, which nothing multiplies.
    """

    name: str
    kind: str
    spec: ConvSpec
    input: Quantization
    weight: npt.NDArray[np.uint8]
    weight_zero_point: npt.NDArray[np.int32]
    weight_scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]
    activation_bits: int = 8
    weight_bits: int = 8

    @property
    def signed(self) -> bool:
        """Whether codes are int8 bit patterns."""
        return self.input.signed

    @property
    def scale(self) -> npt.NDArray[np.float32]:
        """float32 [n]: what one unit of the accumulator is worth."""
        return (np.float32(self.input.scale) * self.weight_scale).astype(np.float32)

    @property
    def other(self) -> Quantization:
        """Code of the second operand of a product of two activations."""
        scale, zero_point = float(self.weight_scale[0]), int(self.weight_zero_point[0])
        return Quantization(scale, zero_point, self.signed)

    def offset(self, correction: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int32]:
        """Activation-independent part of the accumulator, a bias correction included."""
        bias = self.bias if correction is None else self.bias + correction
        return accumulator_offset(
            self.weight, self.input.zero_point, self.weight_zero_point, bias, self.signed
        )


def quantize_weight(
    layer: FloatLayer, per_channel: bool, form: CodeFormat
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Codes, zero points [n] and scales [n] of a layer's weight.

    Per channel: symmetric, `scale = max |w| / 127`, zero point 128 (0 when signed).
    Per tensor: asymmetric over [min(w, 0), max(w, 0)] (symmetric when signed). Codes of fewer bits
    likewise, within their range.
    """
    weight = layer.weight.astype(np.float64)
    channels = weight.shape[-1]
    half = 1 << (form.bits - 1)
    if per_channel or form.signed:
        axes = tuple(range(weight.ndim - 1)) if per_channel else None
        peak = np.broadcast_to(np.abs(weight).max(axis=axes), (channels,))
        scale = np.where(peak > 0, peak / (half - 1), 1.0).astype(np.float32)
        zero_point = np.full(channels, 0 if form.signed else half, np.int32)
    else:
        smallest, largest = min(weight.min(), 0.0), max(weight.max(), 0.0)
        span = np.float32((largest - smallest) / form.high) or np.float32(1.0)
        scale = np.full(channels, span, np.float32)
        zero_point = np.full(channels, int(np.rint(-smallest / span)), np.int32)
    codes = np.clip(np.rint(weight / scale) + zero_point, form.low, form.high).astype(np.int16)
    return codes.astype(np.uint8), zero_point, scale


def layer_codes(
    layer: FloatLayer,
    code: Quantization,
    *,
    per_channel: bool = True,
    activation_bits: int = 8,
    weight_bits: int = 8,
) -> LayerCodes:
    """Quantizes one layer whose input is coded by `code`."""
    assert layer.spec is not None
    form = CodeFormat(code.signed, weight_bits)
    codes, zero_point, scale = quantize_weight(layer, per_channel, form)
    unit = np.float64(np.float32(code.scale)) * scale.astype(np.float64)
    bias = np.clip(np.rint(layer.bias / unit), -(2**30), 2**30).astype(np.int32)
    spec = dataclasses.replace(layer.spec, zero_point=code.zero_point, signed=code.signed)
    widths = activation_bits, weight_bits
    return LayerCodes(layer.name, layer.kind, spec, code, codes, zero_point, scale, bias, *widths)


def product_codes(
    layer: FloatLayer, code: Quantization, other: Quantization, *, bits: int = 8
) -> LayerCodes:
    """Quantizes a product of two activations coded by `code` and `other`, of one signedness and
    one width."""
    assert layer.spec is not None
    spec = dataclasses.replace(layer.spec, zero_point=code.zero_point, signed=code.signed)
    return LayerCodes(
        layer.name,
        layer.kind,
        spec,
        code,
        np.full((1, 1, 1, 1), other.zero_point & 255, np.uint8),
        np.array([other.zero_point], np.int32),
        np.array([other.scale], np.float32),
        np.zeros(1, np.int32),
        bits,
        bits,
    )


class _Quantizer(Rebuilder):
    def __init__(
        self,
        mod: tvm.IRModule,
        codes: Mapping[str, LayerCodes],
        table: npt.NDArray[np.int32],
    ) -> None:
        super().__init__(mod)
        found = [*find_layers(mod), *find_products(mod)]
        self.layers = [layer for layer in found if layer.name in codes]
        self.by_output = {layer.output: layer for layer in self.layers}
        self.inner = {ops_var for layer in self.layers for ops_var in self._inner(layer)}
        self.codes = codes
        self.table = relax.const(table)
        self.stored_as = {layer.source: codes[layer.name] for layer in self.layers}
        for layer in self.layers:
            if layer.other is not None:
                product = codes[layer.name]
                self.stored_as[layer.other] = dataclasses.replace(product, input=product.other)
        self.code_vars: dict[relax.Var, relax.Expr] = {}

    @staticmethod
    def _inner(layer: FloatLayer) -> list[relax.Call]:
        return [layer.call]

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        layer = self.by_output.get(var)
        if layer is None:
            return None if value in self.inner else self.remap(value)
        codes = self.codes[layer.name]
        self.lookup(layer.source)
        operands = [
            self.code_vars[layer.source],
            relax.const(codes.weight),
            self.table,
            relax.const(codes.weight_zero_point),
            relax.const(codes.offset()),
            relax.const(codes.scale),
        ]
        if layer.other is not None:
            self.lookup(layer.other)
            return ops.matmul(layer.name, codes.spec, [*operands, self.code_vars[layer.other]])
        make = ops.dense if layer.kind == "dense" else ops.conv2d
        return make(layer.name, codes.spec, operands)

    def bound(self, var: relax.Var, new: relax.Expr) -> None:
        if var not in self.stored_as:
            return
        layer = self.stored_as[var]
        code = layer.input
        made: Any = self.builder.lookup_binding(new) if isinstance(new, relax.Var) else None
        if ops.op_name(made) == ops.DEQUANTIZE and ops.quantization(made) == code:
            self.code_vars[var] = made.args[0]
            return
        if layer.activation_bits < 8:  # what is clipped to the narrow codes' range stays in it
            ends = CodeFormat(code.signed, layer.activation_bits).ends(code)
            new = self.emit(relax.op.clip(new, *map(float, ends)))
        quantized = self.emit(ops.quantize(new, code))
        self.code_vars[var] = quantized
        if var in self.mod["main"].params:
            return
        self._env[var] = self.emit(ops.dequantize(quantized, code))


@tvm.transform.module_pass(opt_level=0, name="Quantize")
class Quantize:
    """Replaces the layers named in `codes` by integer operators on the exact product table.

    `table` is the exact int32 [256, 256] table of the codes' signedness.
    """

    def __init__(self, codes: Mapping[str, LayerCodes], table: npt.NDArray[np.int32]) -> None:
        self.codes = codes
        self.table = table

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        return _Quantizer(mod, self.codes, self.table).run()
