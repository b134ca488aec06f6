"""Makes a float module also return tensors of its layers, for calibration."""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax

from alwann_c.ir.rewrite import Rebuilder


class _Observer(Rebuilder):
    def __init__(self, mod: tvm.IRModule, watched: Sequence[relax.Var]) -> None:
        super().__init__(mod)
        self.watched = list(watched)

    def results(self, result: relax.Expr) -> relax.Expr:
        return relax.Tuple([result, *(self.lookup(var) for var in self.watched)])


@tvm.transform.module_pass(opt_level=0, name="Observe")
class Observe:
    """`main` returns (result, *watched): the watched variables of the module, in order."""

    def __init__(self, watched: Sequence[relax.Var]) -> None:
        self.watched = watched

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        return _Observer(mod, self.watched).run()
