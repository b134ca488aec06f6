"""Codes a quantized file brings along: its scales and zero points are kept, nothing is calibrated.

    q = alwann.quantize(x); d = alwann.dequantize(q); y = conv2d(d, W)    W = s * (codes - z)
=>
    the layer's input code is that of d, its weight codes are W / s + z exactly
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.ir import ops
from alwann_c.ir.rewrite import Rebuilder, bindings
from alwann_c.ir.spec import Quantization
from alwann_c.passes.layers import FloatLayer, weight_codes
from alwann_c.passes.quantize import LayerCodes, product_codes

KEPT_FLOAT = "the file keeps it in float"


def recoded(code: Quantization, signed: bool) -> Quantization:
    """The same code in the other signedness: every code and the zero point move by 128."""
    if code.signed == signed:
        return code
    return Quantization(code.scale, code.zero_point + (-128 if signed else 128), signed)


class _Recoder(Rebuilder):
    def __init__(self, mod: tvm.IRModule, signed: bool) -> None:
        super().__init__(mod)
        self.signed = signed

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        new = self.remap(value)
        make = {ops.QUANTIZE: ops.quantize, ops.DEQUANTIZE: ops.dequantize}.get(ops.op_name(value))
        if make is None:
            return new
        return make(new.args[0], recoded(ops.quantization(value), self.signed))


@tvm.transform.module_pass(opt_level=0, name="Recode")
class Recode:
    """Stores every tensor of codes as int8 bit patterns (`signed`) or as uint8; no value changes."""

    def __init__(self, signed: bool) -> None:
        self.signed = signed

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        return _Recoder(mod, self.signed).run()


def _weight(
    layer: FloatLayer, scale: npt.NDArray[np.float32], zero: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64] | None:
    """Unsigned weight codes; None when the weight is not a multiple of its scale."""
    steps = layer.weight.astype(np.float64) / scale.astype(np.float64)
    codes = np.rint(steps) + zero
    exact = np.abs(np.rint(steps) - steps).max(initial=0.0) < 1e-3
    if not exact or codes.min(initial=0) < 0 or codes.max(initial=0) > 255:
        return None
    return codes.astype(np.int64)


def given_codes(
    mod: tvm.IRModule, layers: list[FloatLayer], *, signed: bool
) -> tuple[dict[str, LayerCodes], dict[str, str]]:
    """Codes of the layers the file quantized, and why the others stay float."""
    stored = weight_codes(mod)
    made = dict(bindings(mod))
    codes: dict[str, LayerCodes] = {}
    refusals: dict[str, str] = {}
    for layer in layers:
        if layer.refusal is not None or layer.spec is None:
            refusals[layer.name] = layer.refusal or KEPT_FLOAT
            continue
        if layer.other is not None:
            found = [made.get(var) for var in (layer.source, layer.other)]
            if any(value is None or ops.op_name(value) != ops.DEQUANTIZE for value in found):
                refusals[layer.name] = KEPT_FLOAT
                continue
            pair = [recoded(ops.quantization(value), signed) for value in found]
            codes[layer.name] = product_codes(layer, *pair)
            continue
        source = made.get(layer.source)
        if source is None or ops.op_name(source) != ops.DEQUANTIZE or layer.name not in stored:
            refusals[layer.name] = KEPT_FLOAT
            continue
        scale, zero = stored[layer.name]
        weight = _weight(layer, scale, zero)
        if weight is None:
            refusals[layer.name] = "its weight is no multiple of the scale in the file"
            continue
        code = recoded(ops.quantization(source), signed)
        unit = np.float64(np.float32(code.scale)) * scale.astype(np.float64)
        bias = np.clip(np.rint(layer.bias / unit), -(2**30), 2**30).astype(np.int32)
        move = 128 if signed else 0
        codes[layer.name] = LayerCodes(
            layer.name,
            layer.kind,
            dataclasses.replace(layer.spec, zero_point=code.zero_point, signed=signed),
            code,
            (weight - move).astype(np.int16).astype(np.uint8),
            (zero - move).astype(np.int32),
            scale,
            bias,
        )
    return codes, refusals
