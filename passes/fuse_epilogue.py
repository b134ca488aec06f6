"""Moves residual addition, activation and output quantization into the layer before them.

    y = alwann.conv2d(q, ...)
    r = alwann.dequantize(q_r)
    s = add(y, r); t = relu(s)       =>      c = alwann.conv2d(q, ..., q_r, activation="relu",
    c = alwann.quantize(t)                       residual="codes", out_scale=...)

An exact rewrite: every operation keeps its own float32 rounding (see `Epilogue`).
"""

from __future__ import annotations

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from alwann_c.ir import ops
from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import Rebuilder
from alwann_c.ir.spec import Quantization


class _Fuser(Rebuilder):
    """`pending` holds layers not emitted yet, in terms of new variables."""

    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.pending: dict[relax.Var, relax.Call] = {}
        self.decoded: dict[relax.Expr, tuple[relax.Expr, Quantization]] = {}

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if ops.is_layer(value) and op_name(value) != ops.MATMUL:
            self.pending[var] = self.remap(value)
            return None
        fused = self._fuse(value)
        if fused is not None:
            self.pending[var] = fused
            return None
        return self.remap(value)

    def bound(self, var: relax.Var, new: relax.Expr) -> None:
        value = self.builder.lookup_binding(new) if isinstance(new, relax.Var) else None
        if value is not None and op_name(value) == ops.DEQUANTIZE:
            self.decoded[new] = (value.args[0], ops.quantization(value))

    def materialise(self, var: relax.Var) -> relax.Expr:
        return self.pending[var]

    def _open(self, operand: relax.Expr) -> relax.Call | None:
        """The pending float-valued layer behind an operand that nothing else reads."""
        if not isinstance(operand, relax.Var) or operand in self._env or self.uses[operand] != 1:
            return None
        call = self.pending.get(operand)
        if call is None or ops.conv_spec(call).epilogue.output is not None:
            return None
        return call

    def _fuse(self, value: relax.Expr) -> relax.Call | None:
        name = op_name(value)
        if name == "relax.add":
            return self._fuse_add(*value.args)
        if name not in ("relax.nn.relu", "relax.clip", ops.QUANTIZE):
            return None
        call = self._open(value.args[0])
        if call is None:
            return None
        if name == ops.QUANTIZE:
            return ops.with_epilogue(call, None, output=ops.quantization(value))
        epilogue = ops.conv_spec(call).epilogue
        if name == "relax.nn.relu" and epilogue.activation == "none":
            return ops.with_epilogue(call, None, activation="relu")
        low, high = 0.0, np.inf
        if name == "relax.clip":
            low, high = (float(bound.value) for bound in value.args[1:])
        if epilogue.activation != "none":  # one after the other is one clip
            first, last = 0.0, np.inf
            if epilogue.activation == "clip":
                first, last = epilogue.clip_min, epilogue.clip_max
            low, high = (min(max(bound, low), high) for bound in (first, last))
        return ops.with_epilogue(call, None, activation="clip", clip_min=low, clip_max=high)

    def _fuse_add(self, left: relax.Expr, right: relax.Expr) -> relax.Call | None:
        for mine, other in ((right, left), (left, right)):
            call = self._open(mine)
            if call is None or not isinstance(other, relax.Var) or other is mine:
                continue
            epilogue = ops.conv_spec(call).epilogue
            same_shape = tvm_ffi.structural_equal(mine.ty.shape, other.ty.shape)
            if epilogue.residual != "none" or epilogue.activation != "none" or not same_shape:
                continue
            residual = self.lookup(other)
            if residual in self.decoded:
                codes, code = self.decoded[residual]
                return ops.with_epilogue(call, codes, residual="codes", residual_code=code)
            return ops.with_epilogue(call, residual, residual="float")
        return None


@tvm.transform.module_pass(opt_level=0, name="FuseEpilogue")
class FuseEpilogue:
    """Fuses what follows an integer layer into its epilogue."""

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        return _Fuser(mod).run()
