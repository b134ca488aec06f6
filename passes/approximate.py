"""Gives every integer layer its multiplier's product table, tuned weights and corrections.

    alwann.conv2d(q, W, exact_table, z_w, offset, scale)
=>
    alwann.conv2d(q, t(W), table, z_w', offset', scale')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.errors import InputError
from alwann_c.ir import ops
from alwann_c.ir.rewrite import Rebuilder
from alwann_c.passes.quantize import LayerCodes
from alwann_c.targets import Multiplier


@dataclass(frozen=True, eq=False)
class LayerApproximation:
    """What replaces the exact operands of one layer.

    `layer` is the layer in the coding it is approximated in (see
    `alwann_c.passes.compensate.coding`): its codes are the ORIGINAL ones of the arithmetic.
    `weight` tuned uint8 codes [kh, kw, c_in/groups, n], `offset` int32 [n] (zero-point terms of the
    original codes, bias and correction), `scale` float32 [n].
    """

    layer: LayerCodes
    multiplier: Multiplier
    weight: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int32]
    scale: npt.NDArray[np.float32]


def refusal(layer: LayerCodes, multiplier: Multiplier) -> str | None:
    """Why `multiplier` cannot run `layer`, or None."""
    if layer.signed != multiplier.signed:
        kinds = {True: "signed", False: "unsigned"}
        return (
            f"layer '{layer.name}' has {kinds[layer.signed]} codes, multiplier "
            f"'{multiplier.name}' is {kinds[multiplier.signed]}"
        )
    return None


def uncompensated(layer: LayerCodes, multiplier: Multiplier) -> LayerApproximation:
    """The multiplier alone: original weights, no correction. Raises InputError when refused."""
    reason = refusal(layer, multiplier)
    if reason is not None:
        raise InputError(reason)
    return LayerApproximation(layer, multiplier, layer.weight, layer.offset(), layer.scale)


class _Approximator(Rebuilder):
    def __init__(self, mod: tvm.IRModule, approximations: Mapping[str, LayerApproximation]) -> None:
        super().__init__(mod)
        self.approximations = approximations
        self.tables: dict[str, relax.Expr] = {}

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        new = self.remap(value)
        if not ops.is_layer(value) or ops.layer_name(value) not in self.approximations:
            return new
        chosen = self.approximations[ops.layer_name(value)]
        multiplier = chosen.multiplier
        table = multiplier.content_hash
        if table not in self.tables:
            self.tables[table] = relax.const(multiplier.table)
        args = list(new.args)
        args[1:3] = [relax.const(chosen.weight), self.tables[table]]
        vectors = (chosen.layer.weight_zero_point, chosen.offset, chosen.scale)
        args[3:6] = [relax.const(vector) for vector in vectors]
        return ops.with_spec(new, ops.conv_spec(new), args)


@tvm.transform.module_pass(opt_level=0, name="Approximate")
class Approximate:
    """Binds the approximations of the named layers as constants; other layers stay as they are."""

    def __init__(self, approximations: Mapping[str, LayerApproximation]) -> None:
        self.approximations = approximations

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        return _Approximator(mod, self.approximations).run()
