"""Whether a network imported with a symbolic batch treats every image alike.

Exporters bake a batch of 1 into constants (a Reshape to [1, 256], a class token of one row). Such a
network is wrong for any other batch, and nothing in its types need say so. Here it is proved from
the shapes that no operator mixes images; where the proof fails the network runs image by image.
"""

from __future__ import annotations

import re
from typing import Any

import tvm
from tvm import relax, sym

from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import bindings, operands

_MOVING_IMAGES = (
    *("cumsum", "cumprod", "sort", "argsort", "topk", "flip", "unique", "reverse_sequence"),
    *("scatter_nd", "scatter_elements", "slice_scatter", "index_put", "index_tensor", "gather_nd"),
    *("dynamic_strided_slice", "multinomial_from_uniform", "nonzero"),
)
"""Operators that may read or write by an image's number."""

_ANYWHERE = frozenset(
    re.findall(
        r"[\w.]+",
        """
add subtract multiply divide floor_divide mod floor_mod power maximum minimum atan2 log_add_exp where
equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor
abs negative exp log sqrt rsqrt square sign floor ceil round trunc sin cos tan sinh cosh tanh asin acos
atan asinh acosh atanh sigmoid erf clip astype isfinite isinf isnan full_like zeros_like ones_like
nn.relu nn.leakyrelu nn.prelu nn.gelu nn.gelu_tanh nn.silu nn.selu nn.softplus nn.dropout
mean sum max min prod std variance argmax argmin permute_dims expand_dims squeeze broadcast_to
reshape flatten nn.batch_flatten strided_slice concat split stack take gather_elements matmul
alwann.quantize alwann.dequantize nn.softmax nn.log_softmax nn.layer_norm nn.rms_norm tril triu one_hot
""",
    )
)
"""Operators that treat images alike whichever axis counts these; of some the axes they work along are
checked. All others have to find the images along the first axis."""


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


def _along(name: str, value: relax.Expr, rank: int) -> list[int]:
    """Axes of the first operand (of the result, of a concatenation) whose elements meet."""
    given: Any = []
    if name in ("nn.softmax", "nn.log_softmax", "concat", "split", "take", "gather_elements"):
        given = [value.attrs.axis or 0]
    elif name in ("nn.layer_norm", "nn.rms_norm"):
        given = value.attrs.axes
    elif name in ("tril", "triu"):
        given = [-1, -2]
    elif name == "strided_slice" and len(value.args) > 4:
        axes, steps = value.args[1].fields, value.args[4].fields
        given = [axis for axis, step in zip(axes, steps, strict=True) if int(step) < 0]
    return [int(axis) % rank for axis in given]


class _Prover:
    """In every tensor that depends on the input one axis counts the images: of extent `m * N`, those
    of image n at `m * n` to `m * n + m - 1`."""

    def __init__(self, mod: tvm.IRModule, symbol: Any) -> None:
        self.mod, self.symbol = mod, symbol
        self.analyzer = sym.Analyzer()
        self.trials = [sym.Analyzer() for _ in range(3)]
        for batch, trial in enumerate(self.trials):
            trial.bind(symbol, tvm.tirx.IntImm("int64", batch))
        self.depends: set[relax.Var] = set(mod["main"].params)

    def equal(self, a: Any, b: Any) -> bool:
        return bool(self.analyzer.can_prove_equal(a, b))

    def images(self, shape: list[Any]) -> int | None:
        """The axis that counts the images; None where it is not exactly one, or counts others."""
        simple = [self.analyzer.simplify(e) for e in shape]
        free = [i for i, extent in enumerate(simple) if not isinstance(extent, tvm.tirx.IntImm)]
        if len(free) != 1:
            return None
        counts = [trial.simplify(simple[free[0]]) for trial in self.trials]
        if not all(isinstance(count, tvm.tirx.IntImm) for count in counts):
            return None
        none, one, two = (int(count) for count in counts)
        return free[0] if none == 0 and two == 2 * one else None

    def problem(self, value: relax.Expr) -> str | None:
        """Why this operation may treat a batch otherwise than its images one by one."""
        name, shape = op_name(value).removeprefix("relax."), _shape(value)
        axis = None if shape is None else self.images(shape)
        if axis is None and not isinstance(value.ty, relax.TupleType):
            if shape is None:
                return "a value of unknown shape"
            return f"{name or 'an operation'} gives {[str(extent) for extent in shape]}"
        if not name:
            return None
        shapes = [_shape(part) or [] for part in operands(value)]
        inputs = [(other, self.images(other)) for other in shapes]
        counting = [(other, i) for other, i in inputs if i is not None]
        if name in _MOVING_IMAGES or not counting:
            return name
        if name not in _ANYWHERE:
            extents = [other[0] for other, _ in counting] + ([] if shape is None else [shape[0]])
            first = axis in (0, None) and all(i == 0 for _, i in counting)
            if not first or not all(self.equal(extents[0], extent) for extent in extents):
                return f"{name.replace('call_tir', 'a kernel')} that finds them on a later axis"
            return None
        reference, place = (shape, axis) if name == "concat" else counting[0]
        if name in ("take", "gather_elements"):
            reference, place = inputs[0]
        if reference is not None and place in _along(name, value, len(reference)):
            return f"{name} along their axis"
        return self.shapes(name, value, shape or [], axis or 0)

    def shapes(self, name: str, value: relax.Expr, shape: list[Any], axis: int) -> str | None:
        """Why the shapes of an operator that moves values mix images."""
        before = _shape(value.args[0]) if isinstance(value, tvm.ir.Call) else None
        if name in ("reshape", "flatten", "nn.batch_flatten") and before is not None:
            place = self.images(before)
            ends = [(before, shape), (before[: place or 0], shape[:axis])]
            if not all(self.equal(_elements(a), _elements(b)) for a, b in ends):
                return f"a reshape to {[str(extent) for extent in shape]}"
        if name == "concat":
            for part in operands(value):
                other = _shape(part) or []
                if len(other) != len(shape) or not self.equal(other[axis], shape[axis]):
                    return "a concatenation with a constant of one row"
        if name == "strided_slice" and not self.equal((before or shape)[axis], shape[axis]):
            return "a slice of them"
        if name == "matmul":
            left, right = (_shape(part) or [0] for part in value.args)
            met = (left[-1], right[max(len(right) - 2, 0)])
            if not all(isinstance(extent, tvm.tirx.IntImm | int) for extent in met):
                return "a product that sums over them"
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
