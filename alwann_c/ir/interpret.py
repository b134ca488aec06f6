"""Executes an IRModule stage by stage: what each stage of the pipeline means, without kernels.

The operators of this package run through `alwann_c.ir.reference`, every other Relax operator alone
through TVM's own legalisation on LLVM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.ir import ops, reference
from alwann_c.ir.rewrite import bindings

Array = npt.NDArray[Any]
Value = Array | tuple["Value", ...]


def interpret(mod: tvm.IRModule, images: npt.NDArray[np.float32]) -> Array:
    """Output of `main` for a batch of images [n, ...].

    `main` takes the images alone: constants are bound. Where it returns a tuple (see `Observe`),
    the first element is the output. Slow: small batches of small networks only.
    """
    output = _Interpreter(mod, len(images)).run(images)
    return output[0] if isinstance(output, tuple) else output  # type: ignore[return-value]


def layer_values(
    mod: tvm.IRModule, images: npt.NDArray[np.float32]
) -> tuple[list[tuple[relax.Call, list[Any], Array]], Array]:
    """Integer layers of `main` with their operands' and outputs' values, in order; its output."""
    interpreter = _Interpreter(mod, len(images))
    output = interpreter.run(images)
    assert isinstance(output, np.ndarray)
    return interpreter.layers, output


def _concrete(mod: tvm.IRModule, batch: int) -> tvm.IRModule:
    """The module with its dynamic batch axis fixed."""
    first = mod["main"].params[0].ty.shape[0]
    if isinstance(first, tvm.tirx.IntImm):
        return mod
    return relax.transform.BindSymbolicVars({first: batch}, "main")(mod)


class _Interpreter:
    def __init__(self, mod: tvm.IRModule, batch: int) -> None:
        self.mod = _concrete(mod, batch)
        self.values: dict[relax.Var, Value] = {}
        self.layers: list[tuple[relax.Call, list[Any], Array]] = []

    def run(self, images: npt.NDArray[np.float32]) -> Value:
        (param,) = self.mod["main"].params
        self.values[param] = images
        for var, value in bindings(self.mod):
            self.values[var] = self.evaluate(value)
        return self.evaluate(self.mod["main"].body.body)

    def evaluate(self, expr: relax.Expr) -> Value:
        if isinstance(expr, relax.Var):
            return self.values[expr]
        if isinstance(expr, tvm.ir.GenericConst):
            return np.asarray(expr.value.numpy())
        if isinstance(expr, relax.Tuple):
            return tuple(self.evaluate(field) for field in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            value: Value = self.evaluate(expr.tuple_value)[expr.index]
            return value
        own: dict[str, Callable[[relax.Call], Value]] = {
            ops.QUANTIZE: self._quantize,
            ops.DEQUANTIZE: self._dequantize,
            ops.CONV2D: self._layer,
            ops.DENSE: self._layer,
            ops.MATMUL: self._product,
        }
        return own.get(ops.op_name(expr), self._with_tvm)(expr)

    def _operands(self, call: relax.Call) -> list[Any]:
        return [self.evaluate(arg) for arg in call.args]

    def _quantize(self, call: relax.Call) -> Array:
        (x,) = self._operands(call)
        return reference.quantize(x, ops.quantization(call))

    def _dequantize(self, call: relax.Call) -> Array:
        (codes,) = self._operands(call)
        return reference.dequantize(codes, ops.quantization(call))

    def _layer(self, call: relax.Call) -> Array:
        """A dense layer is a 1 x 1 convolution of its rows."""
        spec = ops.conv_spec(call)
        operands = self._operands(call)
        x, weight, table, zero_point, offset, scale, *rest = operands
        residual = rest[0] if rest else None
        image = x.reshape(len(x), spec.height, spec.width, spec.in_channels)
        if residual is not None:
            residual = residual.reshape(len(x), spec.out_height, spec.out_width, -1)
        output = reference.conv2d(image, weight, table, zero_point, offset, scale, residual, spec)
        if ops.op_name(call) == ops.DENSE:
            output = output.reshape(*x.shape[:-1], -1)
        self.layers.append((call, operands, output))
        return output

    def _product(self, call: relax.Call) -> Array:
        operands = self._operands(call)
        a, _, table, zero_point, offset, scale, b = operands
        output = reference.matmul(a, b, table, zero_point, offset, scale, ops.conv_spec(call))
        self.layers.append((call, operands, output))
        return output

    def _with_tvm(self, call: relax.Call) -> Value:
        """Any other operator, a kernel of the importer's included: compiled alone, its tensor
        operands as parameters."""
        params: list[relax.Var] = []
        arrays: list[Array] = []

        def operand(arg: relax.Expr) -> relax.Expr:
            if isinstance(arg, relax.Tuple):
                return relax.Tuple([operand(field) for field in arg.fields])
            if not isinstance(arg, relax.Var | tvm.ir.GenericConst):
                return arg
            value = self.evaluate(arg)
            assert isinstance(value, np.ndarray)
            params.append(relax.Var(f"x{len(params)}", arg.ty))
            arrays.append(value)
            return params[-1]

        alone = relax.Call(call.op, [operand(arg) for arg in call.args], call.attrs, call.ty_args)
        builder = relax.BlockBuilder()
        with builder.function("main", params):
            with builder.dataflow():
                output = builder.emit_output(alone)
            builder.emit_func_output(output)
        functions = {gv: fn for gv, fn in self.mod.functions.items() if gv.name_hint != "main"}
        functions[self.mod.get_global_var("main")] = builder.get()["main"]
        kernels = relax.transform.DeadCodeElimination()(tvm.IRModule(functions))
        legal = relax.transform.LegalizeOps()(kernels)
        executable = tvm.compile(legal, tvm.target.Target("llvm"))
        machine = relax.VirtualMachine(executable, tvm.cpu())
        result = machine["main"](*(tvm.runtime.tensor(np.array(a, order="C")) for a in arrays))
        if hasattr(result, "numpy"):
            return np.asarray(result.numpy())
        return tuple(np.asarray(part.numpy()) for part in result)
