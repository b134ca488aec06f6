"""Cross-layer equalisation: channels of one layer given the range that its neighbour can spare.

A ReLU lets positive factors through, relu(s y) = s relu(y), so that for a layer a whose outputs are
read, through ReLUs, by a layer b alone,

    W_a[i] / s_i, b_a[i] / s_i, and W_b[:, i] * s_i,    s_i = sqrt(r_a[i] / r_b[i])

computes the same function with equal weight ranges r of channel i on both sides (M. Nagel et al.,
Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019). It matters where a
layer has one scale for all its weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from alwann_c.ir.ops import op_name
from alwann_c.ir.rewrite import Rebuilder, bindings, use_counts
from alwann_c.passes.layers import FloatLayer, find_layers

Float64 = npt.NDArray[np.float64]

HOMOGENEOUS = ("relax.nn.relu", "relax.nn.leakyrelu")
"""Activations with f(s y) = s f(y) for positive s."""

SWEEPS = 20
"""Passes over all pairs; layers in a chain take a few to settle."""


@dataclass(frozen=True)
class _Pair:
    """Names of two neighbours; `second` reads nothing but the outputs of `first`."""

    first: str
    second: str


def _pairs(mod: tvm.IRModule, layers: list[FloatLayer]) -> list[_Pair]:
    values = dict(bindings(mod))
    uses = use_counts(mod)
    owners = {layer.output: layer.name for layer in layers}
    pairs = []
    for layer in layers:
        var = layer.source
        while uses[var] == 1 and var in values and op_name(values[var]) in HOMOGENEOUS:
            var = values[var].args[0]
        if var in owners and uses[var] == 1 and layer.spec is not None:
            pairs.append(_Pair(owners[var], layer.name))
    return pairs


def _by_input(layer: FloatLayer, weight: Float64) -> Float64:
    """View of a weight [kh, kw, c/groups, n] as [c, everything that reads it]."""
    assert layer.spec is not None
    groups, (kh, kw, width, n) = layer.spec.groups, weight.shape
    split = weight.reshape(kh, kw, width, groups, n // groups)
    return split.transpose(3, 2, 0, 1, 4).reshape(groups * width, -1)


def equalization_factors(mod: tvm.IRModule) -> dict[str, tuple[Float64, Float64]]:
    """By layer what its inputs [c] and its outputs [n] are multiplied by; ones left out.

    Channels that either side leaves at zero keep their range.
    """
    layers = {layer.name: layer for layer in find_layers(mod)}
    pairs = _pairs(mod, list(layers.values()))
    weights = {name: layer.weight.astype(np.float64) for name, layer in layers.items()}
    factors: dict[str, Float64] = {
        pair.first: np.ones(weights[pair.first].shape[-1]) for pair in pairs
    }
    before = {pair.second: pair.first for pair in pairs}
    for _ in range(SWEEPS):
        for pair in pairs:
            first, second = layers[pair.first], layers[pair.second]
            mine = _scaled(first, weights, factors, before)
            theirs = _scaled(second, weights, factors, before)
            own = np.abs(mine).max(axis=(0, 1, 2))
            other = np.abs(_by_input(second, theirs)).max(axis=1)
            used = (own > 0) & (other > 0)
            ratio = np.sqrt(np.where(used, own, 1) / np.where(used, other, 1))
            factors[pair.first] /= ratio
    found = {}
    for name, layer in layers.items():
        if name in before or name in factors:
            channels = len(_by_input(layer, weights[name]))
            ins = 1 / factors[before[name]] if name in before else np.ones(channels)
            found[name] = ins, factors.get(name, np.ones(weights[name].shape[-1]))
    return found


def _scaled(
    layer: FloatLayer,
    weights: dict[str, Float64],
    factors: dict[str, Float64],
    before: dict[str, str],
) -> Float64:
    """A layer's weight under the factors found so far."""
    weight = weights[layer.name]
    if layer.name in before:
        weight = _times_inputs(layer, weight, 1 / factors[before[layer.name]])
    return weight * factors.get(layer.name, np.ones(weight.shape[-1]))


def _times_inputs(layer: FloatLayer, weight: Float64, factor: Float64) -> Float64:
    """The weight with input channel i multiplied by factor[i]."""
    assert layer.spec is not None
    groups, n = layer.spec.groups, weight.shape[-1]
    per_output = factor.reshape(groups, -1)[np.arange(n) // (n // groups)]  # [n, c/groups]
    return np.asarray(weight * per_output.T)


class _Equalizer(Rebuilder):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        factors = equalization_factors(mod)
        self.layers = {x.call: (x, *factors[x.name]) for x in find_layers(mod) if x.name in factors}
        self.biases = {
            x.output: outs for x, _, outs in self.layers.values() if x.output not in self._calls()
        }

    def _calls(self) -> set[relax.Var]:
        return {var for var, value in bindings(self.mod) if value in self.layers}

    def visit(self, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if value in self.layers:
            layer, ins, outs = self.layers[value]
            weight = _times_inputs(layer, layer.weight.astype(np.float64), ins) * outs
            shape = tuple(int(extent) for extent in value.args[1].ty.shape)
            scaled = relax.const(weight.astype(np.float32).reshape(shape))
            source = self.remap(value.args[0])
            return relax.Call(value.op, [source, scaled], value.attrs, value.ty_args)
        if var in self.biases:
            bias = value.args[1].value.numpy() * self.biases[var].astype(np.float32)
            return relax.op.add(self.remap(value.args[0]), relax.const(bias.astype(np.float32)))
        return self.remap(value)


@tvm.transform.module_pass(opt_level=0, name="Equalize")
class Equalize:
    """Equalises the weight ranges of neighbouring layers; the function stays the same."""

    def transform_module(self, mod: tvm.IRModule, _context: object) -> tvm.IRModule:
        """IRModule -> IRModule."""
        return _Equalizer(mod).run()
