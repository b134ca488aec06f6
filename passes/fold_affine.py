"""Folds per-channel affine operations that follow a convolution or dense layer into it.

    lv1 = conv2d(x, W)                     lv1 = conv2d(x, W * alpha)
    lv2 = multiply(lv1, gamma)      =>     lv2 = add(lv1, beta)
    lv3 = add(lv2, b)

Batch normalisation arrives here decomposed into subtract, divide, multiply and add. Folding is done
in float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import Rebuilder, bindings
from alwann_c.passes.layers import (
    LAYER_NAMES,
    constant,
    is_float_layer,
    layer_names,
    per_channel,
    weight_codes,
)

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Affine:
    """`alpha * layer(x) + beta`, per output channel (the last axis)."""

    call: relax.Call
    alpha: Float64
    beta: Float64


class _Folder(Rebuilder):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.pending: dict[relax.Var, _Affine] = {}
        calls = [value for _, value in bindings(mod) if is_float_layer(value)]
        self.names = dict(zip(calls, layer_names(mod, len(calls)), strict=True))
        self.stored = set(weight_codes(mod))
        self.emitted: list[str] = []

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if is_float_layer(value):
            if isinstance(value.args[0], relax.Var):
                self.lookup(value.args[0])  # nothing folds into it any more; chains stay flat
            channels = int(value.args[1].ty.shape[-1])
            self.pending[var] = _Affine(value, np.ones(channels), np.zeros(channels))
            return None
        folded = self._extend(value)
        if folded is not None:
            self.pending[var] = folded
            return None
        return self.remap(value)

    def _extend(self, value: relax.Expr) -> _Affine | None:
        name = op_name(value)
        if name not in ("relax.add", "relax.subtract", "relax.multiply", "relax.divide"):
            return None
        left, right = value.args
        if left in self.pending and self.uses[left] == 1:
            base, other, swapped = self.pending[left], right, False
        elif right in self.pending and self.uses[right] == 1:
            base, other, swapped = self.pending[right], left, True
        else:
            return None
        factor = per_channel(other, len(base.alpha), len(value.ty.shape))
        if factor is None:
            return None
        if name in ("relax.multiply", "relax.divide") and self.names[base.call] in self.stored:
            return None  # its codes belong to this very weight
        if name == "relax.multiply":
            return _Affine(base.call, base.alpha * factor, base.beta * factor)
        if name == "relax.divide":
            if swapped:
                return None
            return _Affine(base.call, base.alpha / factor, base.beta / factor)
        if name == "relax.add":
            return _Affine(base.call, base.alpha, base.beta + factor)
        if swapped:
            if self.names[base.call] in self.stored:
                return None
            return _Affine(base.call, -base.alpha, factor - base.beta)
        return _Affine(base.call, base.alpha, base.beta - factor)

    def materialise(self, var: relax.Var) -> relax.Expr:
        affine = self.pending[var]
        call = self.remap(affine.call)  # may emit a pending layer before this one
        self.emitted.append(self.names[affine.call])
        weight = constant(call.args[1])
        assert weight is not None
        scaled = (weight.astype(np.float64) * affine.alpha).astype(np.float32)
        folded = relax.Call(call.op, [call.args[0], relax.const(scaled)], call.attrs, call.ty_args)
        if not affine.beta.any():
            return folded
        return relax.op.add(self.emit(folded), relax.const(affine.beta.astype(np.float32)))


@tvm.transform.module_pass(opt_level=0, name="FoldAffine")
class FoldAffine:
    """Folds batch normalisation and constant scaling into the layer before it."""

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        folder = _Folder(mod)
        folded = folder.run()
        main = folded.get_global_var("main")
        folded.update_func(main, folded[main].with_attr(LAYER_NAMES, folder.emitted))
        return folded
