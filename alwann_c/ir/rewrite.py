"""Rebuilding the dataflow of `main` binding by binding: the base of this package's rewrites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax

from alwann_c.errors import UnsupportedError

Emit = Callable[[relax.Expr], relax.Var]


def apply(transform: Any, mod: tvm.IRModule) -> tvm.IRModule:
    """Runs a TVM pass on a module."""
    return transform(mod)


def bindings(mod: tvm.IRModule) -> list[tuple[relax.Var, relax.Expr]]:
    """Variables and values of `main`, in order. Raises UnsupportedError on control flow."""
    body = mod["main"].body
    found = []
    for block in body.blocks:
        for binding in block.bindings:
            if not isinstance(binding, relax.VarBinding) or isinstance(binding.value, relax.If):
                raise UnsupportedError("model: control flow is not supported; export it unrolled")
            found.append((binding.var, binding.value))
    return found


def operands(expr: relax.Expr) -> list[relax.Expr]:
    """Direct operands of an expression, tuples flattened."""
    if isinstance(expr, relax.TupleGetItem):
        return [expr.tuple_value]
    if isinstance(expr, relax.Tuple):
        parts: Sequence[relax.Expr] = list(expr.fields)
    elif isinstance(expr, tvm.ir.Call):
        parts = list(expr.args)
    else:
        return [expr]
    flat: list[relax.Expr] = []
    for part in parts:
        flat.extend(operands(part) if isinstance(part, relax.Tuple) else [part])
    return flat


def use_counts(mod: tvm.IRModule) -> Counter[relax.Var]:
    """How often each variable of `main` is read, the result included."""
    uses: Counter[relax.Var] = Counter()
    values = [value for _, value in bindings(mod)] + [mod["main"].body.body]
    for value in values:
        uses.update(part for part in operands(value) if isinstance(part, relax.Var))
    return uses


class Rebuilder:
    """Rebuilds `main`. Subclasses override `visit`; `lookup` maps an old variable to its new value.

    `visit(var, value)` gets the original binding and returns its replacement (already expressed in
    new variables, see `remap`), or None to leave the variable pending: then `materialise(var)` is
    called once, on its first other use.
    """

    def __init__(self, mod: tvm.IRModule) -> None:
        self.mod = mod
        self.builder = relax.BlockBuilder()
        self.uses = use_counts(mod)
        self._env: dict[relax.Var, relax.Expr] = {}

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        """Replacement of a binding; default: the same operation on the new operands."""
        return self.remap(value)

    def materialise(self, var: relax.Var) -> relax.Expr:
        """Emits what `visit` left pending."""
        raise KeyError(f"{var} is used before it is defined")

    def bound(self, var: relax.Var, new: relax.Expr) -> None:
        """Called after a binding got its new value."""

    def emit(self, value: relax.Expr) -> relax.Var:
        """Appends a binding and returns its variable."""
        if isinstance(value, relax.Var):
            return value
        return self.builder.emit(value)

    def lookup(self, var: relax.Var) -> relax.Expr:
        """New expression of an old variable."""
        if var not in self._env:
            self._env[var] = self.emit(self.materialise(var))
        return self._env[var]

    def remap(self, expr: relax.Expr) -> relax.Expr:
        """The expression with every variable replaced by its new one."""
        if isinstance(expr, relax.Var):
            return self.lookup(expr)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.remap(field) for field in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self.remap(expr.tuple_value), expr.index)
        if isinstance(expr, tvm.ir.Call):
            args = [self.remap(arg) for arg in expr.args]
            return relax.Call(expr.op, args, expr.attrs, expr.ty_args)
        return expr

    def results(self, result: relax.Expr) -> relax.Expr:
        """The function's new result, from the remapped old one."""
        return result

    def run(self, extra_params: Sequence[relax.Var] = ()) -> tvm.IRModule:
        """The module with `main` rebuilt; other functions are kept."""
        main = self.mod["main"]
        params = [*main.params, *extra_params]
        with self.builder.function("main", params, attrs=dict(main.attrs or {})):
            with self.builder.dataflow():
                for param in main.params:
                    self._env[param] = param
                    self.bound(param, param)
                for var, value in bindings(self.mod):
                    new = self.visit(var, value)
                    if new is not None:
                        self._env[var] = self.emit(new)
                        self.bound(var, self._env[var])
                result = self.results(self.remap(main.body.body))
                output = self.builder.emit_output(result)
            self.builder.emit_func_output(output)
        rebuilt = self.builder.get()["main"]
        functions = {gv: fn for gv, fn in self.mod.functions.items() if gv.name_hint != "main"}
        functions[self.mod.get_global_var("main")] = rebuilt.with_attr("global_symbol", "main")
        return relax.transform.DeadCodeElimination()(tvm.IRModule(functions))
