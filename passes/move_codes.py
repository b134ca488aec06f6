"""Lets operators that only move values work on the codes of a quantized file.

    d = alwann.dequantize(q)          p = permute_dims(q)
    p = permute_dims(d)         =>    e = alwann.dequantize(p)

    d = alwann.dequantize(q)
    c = alwann.quantize(d)      =>    q, where both codes are the same

An exact rewrite. Afterwards every layer the file quantized reads `alwann.dequantize` itself.
"""

from __future__ import annotations

import tvm
from tvm import relax

from alwann_c.ir import ops
from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import Rebuilder

MOVING = {
    "relax.permute_dims",
    "relax.reshape",
    "relax.flatten",
    "relax.squeeze",
    "relax.expand_dims",
    "relax.strided_slice",
}


class _Mover(Rebuilder):
    def _made(self, expr: relax.Expr) -> relax.Expr | None:
        return self.builder.lookup_binding(expr) if isinstance(expr, relax.Var) else None

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        new = self.remap(value)
        name = op_name(value)
        if name not in MOVING and name != ops.QUANTIZE:
            return new
        source = self._made(new.args[0])
        if source is None or op_name(source) != ops.DEQUANTIZE:
            return new
        code = ops.quantization(source)
        if name == ops.QUANTIZE:
            return source.args[0] if ops.quantization(value) == code else new
        moved = relax.Call(new.op, [source.args[0], *new.args[1:]], new.attrs, new.ty_args)
        return ops.dequantize(self.emit(moved), code)


@tvm.transform.module_pass(opt_level=0, name="MoveCodes")
class MoveCodes:
    """Moves `alwann.dequantize` behind permutations, reshapes and slices."""

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        return _Mover(mod).run()
