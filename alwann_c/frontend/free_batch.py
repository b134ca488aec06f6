"""Whether a network imported with a symbolic batch treats every image alike.

Exporters bake a batch of 1 into constants (a Reshape to [1, 256], a class token of one row). Such a
network is wrong for any other batch, and nothing in its types need say so. Here it is proved from
the shapes that no operator mixes images; where the proof fails the network runs image by image.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, sym

from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import bindings, operands

_MIXING = {"relax.cumsum", "relax.sort", "relax.argsort", "relax.flip", "relax.unique"}


def batch_symbol(mod: tvm.IRModule) -> Any | None:
    """The symbolic batch extent of `main`'s input; None when it is a number."""
    extent = mod["main"].params[0].ty.shape[0]
    return None if isinstance(extent, tvm.tirx.IntImm) else extent


def _shape(expr: relax.Expr) -> list[Any] | None:
    ty = getattr(expr, "ty", None)
    return list(ty.shape) if isinstance(ty, relax.TensorType) and ty.shape is not None else None


def _elements(shape: list[Any]) -> Any:
    total: Any = tvm.tirx.IntImm("int64", 1)
    for extent in shape:
        total = total * extent
    return total


class _Prover:
    def __init__(self, mod: tvm.IRModule, symbol: Any) -> None:
        self.mod, self.symbol = mod, symbol
        self.analyzer, self.without = sym.Analyzer(), sym.Analyzer()
        self.without.bind(symbol, tvm.tirx.IntImm("int64", 0))
        self.depends: set[relax.Var] = set(mod["main"].params)

    def equal(self, a: Any, b: Any) -> bool:
        return bool(self.analyzer.can_prove_equal(a, b))

    def scales(self, shape: list[Any]) -> bool:
        """Whether the number of elements is a multiple of the batch."""
        total = _elements(shape)
        none = self.without.simplify(total)
        return isinstance(none, tvm.tirx.IntImm) and int(none) == 0

    def problem(self, value: relax.Expr) -> str | None:
        """Why this operation may treat a batch otherwise than its images one by one."""
        name, shape = op_name(value), _shape(value)
        if shape is None:
            return None if isinstance(value.ty, relax.TupleType) else "a value of unknown shape"
        if not self.scales(shape):
            return f"{name or 'an operation'} gives {[str(extent) for extent in shape]}"
        inputs = [part for part in operands(value) if _shape(part) is not None]
        if name == "relax.reshape":
            before = _shape(value.args[0])
            if before is None or not self.equal(_elements(before), _elements(shape)):
                return f"a reshape to {[str(extent) for extent in shape]}"
        if name == "relax.concat":
            axis = int(value.attrs.axis) % len(shape)
            for part in inputs:
                other = _shape(part) or []
                alike = (
                    self.equal(a, b)
                    for i, (a, b) in enumerate(zip(other, shape, strict=True))
                    if i != axis
                )
                if not all(alike):
                    return "a concatenation with a constant of one row"
            if axis == 0:
                return "a concatenation of images"
        if name in _MIXING or (name == "relax.nn.softmax" and int(value.attrs.axis) == 0):
            return name
        return None


def _statistic(value: relax.Expr, sources: dict[relax.Var, relax.Expr]) -> bool:
    """Whether this is the mean or variance that a batch normalisation hands through."""
    if not isinstance(value, relax.TupleGetItem) or value.index == 0:
        return False
    return op_name(sources.get(value.tuple_value, value)) == "relax.nn.batch_norm"


def batch_problem(mod: tvm.IRModule) -> str | None:
    """Why the network must run image by image; None when any batch gives the images' results."""
    symbol = batch_symbol(mod)
    if symbol is None:
        return "the batch is fixed"
    prover, sources = _Prover(mod, symbol), dict(bindings(mod))
    for var, value in bindings(mod):
        if not any(part in prover.depends for part in operands(value)):
            continue
        if isinstance(value.ty, relax.ShapeType) or _statistic(value, sources):
            continue
        prover.depends.add(var)
        problem = prover.problem(value)
        if problem is not None:
            return problem
    return None
