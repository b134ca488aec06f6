"""Compensates whole networks: layers in order, each seeing what those before really produce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import tvm
from threadpoolctl import threadpool_limits

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.codegen.network import Operands, bind, prepared
from alwann_c.codegen.stepwise import ProbedRun, Walk
from alwann_c.codegen.tap_residual import TapKernels
from alwann_c.ir.ops import op_name
from alwann_c.ir.reference import dequantize
from alwann_c.ir.rewrite import apply, bindings
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.passes.compensate import (
    RUNGS,
    Coding,
    Compensation,
    FitOptions,
    LayerData,
    Method,
    ProductData,
    ProductRows,
    Rows,
    compensate_layer,
    compensate_product,
    draw_pixels,
    patches_at,
    targets_at,
)
from alwann_c.passes.layers import FloatLayer
from alwann_c.passes.observe import Observe
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import QuantizedModel
from alwann_c.targets import Multiplier

Float32 = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Effort:
    """How much data and work a fit may use.

    `rows`: sampled output pixels to fit on, at least `rows / 4` of a layer with many channels
    (`rows * channels` is held near `rows * 32`); `sweeps` of joint reconstruction; `every`
    tuning competes, or the best ones alone (see `FitOptions`).
    """

    rows: int
    sweeps: int
    every: bool = True

    def rows_of(self, layer: LayerCodes) -> int:
        """Rows for one layer; of a product of two activations as many as need about
        `rows * 128` look-ups."""
        spec = layer.spec
        if layer.kind == "matmul":
            return max(1, self.rows * 128 // (spec.taps * spec.out_channels))
        return max(self.rows // 4, min(self.rows, self.rows * 32 // spec.out_channels))


QUICK = Effort(rows=16_384, sweeps=0, every=False)
"""For the search, which fits every layer on every multiplier: error feeding alone."""

THOROUGH = Effort(rows=65_536, sweeps=6)
"""For the plans of the front."""

FIT_IMAGES = 512
HELD_BACK_SHARE = 0.25


@lru_cache(maxsize=256)
def _device_table(multiplier: Multiplier) -> tvm.runtime.Tensor:
    return prepared(multiplier.table, multiplier.signed)


def bound(approximation: LayerApproximation) -> Operands:
    """Run-time operands of a layer; equal tables are shared."""
    return bind(
        approximation.weight,
        _device_table(approximation.multiplier),
        approximation.layer.weight_zero_point,
        approximation.offset,
        approximation.scale,
    )


def bound_all(approximations: Mapping[str, LayerApproximation]) -> dict[str, Operands]:
    """Run-time operands of approximated layers."""
    return {name: bound(chosen) for name, chosen in approximations.items()}


def _added(mod: tvm.IRModule, layers: Sequence[FloatLayer]) -> dict[str, tvm.relax.Var]:
    """By layer, the tensor that the float network adds to its output."""
    owners = {layer.output: layer.name for layer in layers}
    found: dict[str, tvm.relax.Var] = {}
    for _, value in bindings(mod):
        if op_name(value) == "relax.add":
            for mine, other in (value.args, reversed(value.args)):
                if mine in owners and isinstance(other, tvm.relax.Var):
                    found[owners[mine]] = other
    return found


class Compensator:
    """Fits compensations of one quantized model on unlabelled calibration images.

    Deterministic. `cached` gives the compensation of a layer whose upstream layers are exact (for
    the search, which asks for it thousands of times); `network` compensates a whole assignment.
    """

    def __init__(
        self,
        quantized: QuantizedModel,
        *,
        images: int = FIT_IMAGES,
        quick: Effort = QUICK,
        thorough: Effort = THOROUGH,
    ) -> None:
        self.quick, self.thorough = quick, thorough
        self.quantized = quantized
        self._images = quantized.calibration.images(0, images)
        if len(self._images) == 1:  # it serves for fitting and for choosing
            self._images = np.repeat(self._images, 2, axis=0)
        self._fit_count = len(self._images) - max(1, round(len(self._images) * HELD_BACK_SHARE))
        self._kernels = TapKernels()
        self._targets: dict[tuple[str, Effort], Float32] = {}
        self._shortcuts: dict[tuple[str, Effort], Float32] = {}
        self._exact: dict[str, LayerData | ProductData] = {}
        self._cache: dict[tuple[str, Multiplier, Method], Compensation] = {}
        self._prefixes: dict[tuple[object, ...], LayerApproximation] = {}

    def _pixels(self, layer: LayerCodes, effort: Effort) -> npt.NDArray[np.intp]:
        """Sampled output pixels of every image; fit images first, then the held-back ones."""
        limit = effort.rows_of(layer) * len(self._images) // self._fit_count
        return draw_pixels(len(self._images), layer.spec, limit)

    def _sampled_targets(self, effort: Effort) -> None:
        """Samples the float network's output of every layer, and what is added to it."""
        model = self.quantized.model
        known = [*model.layers, *model.products]
        layers = [layer for layer in known if layer.name in self.quantized.layers]
        added = _added(model.module, layers)
        codes = [self.quantized.layers[layer.name] for layer in layers]
        specs = [layer.spec for layer in codes]
        pixels = [self._pixels(layer, effort) for layer in codes]
        order = {layer.name: i for i, layer in enumerate(layers)}
        watched = [*(layer.output for layer in layers), *added.values()]
        sampled = [*range(len(layers)), *(order[name] for name in added)]
        network = FloatNetwork(apply(Observe(watched), model.module))
        parts: list[list[Float32]] = [[] for _ in watched]
        start = 0
        for output, *tensors in network.batches(self._images):
            stop = start + len(output)
            for part, i, tensor in zip(parts, sampled, tensors, strict=True):
                part.append(targets_at(tensor, specs[i], pixels[i][start:stop]))
            start = stop
        rows = [np.concatenate(part) for part in parts]
        for layer, found in zip(layers, rows, strict=False):
            self._targets[layer.name, effort] = found
        for name, found in zip(added, rows[len(layers) :], strict=True):
            self._shortcuts[name, effort] = found

    def _product_data(self, name: str, run: ProbedRun, effort: Effort) -> ProductData:
        """The same of a product of two activations: rows of the first with their matrices."""
        layer, fit = self.quantized.layers[name], self._fit_count
        spec, pixels, target = layer.spec, self._pixels(layer, effort), self._targets[name, effort]
        left = patches_at(run.codes[name], spec, pixels)[:, 0]
        right = run.residuals[name].astype(np.uint8).reshape(-1, spec.taps, spec.out_channels)
        first = np.arange(len(pixels))[:, None] * spec.matrices
        matrix = (first + pixels // (spec.height // spec.matrices)).reshape(-1)
        split = fit * pixels.shape[1]
        parts = (slice(split), slice(split, None))
        return ProductData(
            *(ProductRows(left[part], right, matrix[part], target[part]) for part in parts)
        )

    def _data(self, name: str, run: ProbedRun, effort: Effort) -> LayerData | ProductData:
        """What a layer reads in `run`, and what it should give.

        A residual block is reconstructed as a whole: where the layer's output is added to another
        tensor, the target makes up for that tensor's error,

            target = float output + (float shortcut - approximate shortcut),

        so that errors do not pile up along the network.
        """
        if (name, effort) not in self._targets:
            self._sampled_targets(effort)
        layer = self.quantized.layers[name]
        if layer.kind == "matmul":
            return self._product_data(name, run, effort)
        codes, target = run.codes[name], self._targets[name, effort]
        spec, pixels, fit = layer.spec, self._pixels(layer, effort), self._fit_count
        if name in run.residuals and (name, effort) in self._shortcuts:
            added: Any = targets_at(cast(Any, run.residuals[name]), spec, pixels)
            code = self.quantized.network.residual_codes[name]
            values = added if code is None else dequantize(added, code)
            target = target + (self._shortcuts[name, effort] - values)
        split = fit * pixels.shape[1]
        patches = patches_at(codes, spec, pixels)
        return LayerData(
            Rows(patches[:split], target[:split]),
            Rows(patches[split:], target[split:]),
            self._kernels.residual,
        )

    def layer_data(self, name: str, run: ProbedRun) -> LayerData | ProductData:
        """What a fit of the layer would see in `run`, a run on the compensator's images."""
        return self._data(name, run, self.thorough)

    @property
    def images(self) -> Float32:
        """The calibration images it works on."""
        return self._images

    def _fit(
        self,
        layer: LayerCodes,
        multiplier: Multiplier,
        method: Method,
        data: LayerData | ProductData,
        effort: Effort,
    ) -> Compensation:
        if isinstance(data, ProductData):
            correction = RUNGS[method].correction if method in RUNGS else "none"
            return compensate_product(layer, multiplier, data, correction)
        options = RUNGS.get(method, FitOptions())
        coding: Coding = self.quantized.scheme.weights
        if options.coding == "own" or self.quantized.model.is_quantized:
            coding = "own"  # what a quantized file says is kept
        options = replace(options, coding=coding, sweeps=min(options.sweeps, effort.sweeps))
        if not effort.every:
            options = replace(options, tunings=("fed",), keep_own=False)
        # BLAS threads and TVM's would fight for the same cores
        with threadpool_limits(1, "blas"):
            return compensate_layer(layer, multiplier, method, data, options)

    def cached(self, name: str, multiplier: Multiplier, method: Method) -> Compensation:
        """Compensation of one layer after exact ones; computed once per (layer, table, method)."""
        key = (name, multiplier, method)
        if key not in self._cache:
            layer = self.quantized.layers[name]
            if not self._exact:
                run = self.quantized.network.run_probed(self._images)
                self._exact = {other: self._data(other, run, self.quick) for other in run.codes}
            data = self._exact[name]
            self._cache[key] = self._fit(layer, multiplier, method, data, self.quick)
        return self._cache[key]

    def preload(
        self, name: str, multiplier: Multiplier, method: Method, fitted: Compensation
    ) -> None:
        """Takes over what `cached` gave elsewhere."""
        self._cache.setdefault((name, multiplier, method), fitted)

    def network(
        self, multipliers: Mapping[str, Multiplier], method: Method, effort: Effort | None = None
    ) -> dict[str, LayerApproximation]:
        """Compensations of the assigned layers, in order, upstream approximation included.

        `effort`: instead of the thorough one.
        """
        effort = effort or self.thorough
        chosen: dict[str, LayerApproximation] = {}
        network = self.quantized.network
        walk = Walk(network, self._images)
        prefix: tuple[object, ...] = (method, effort)
        for name in network.layer_names:
            if name not in multipliers:
                walk.advance(None)
                continue
            layer, multiplier = self.quantized.layers[name], multipliers[name]
            prefix = (*prefix, name, multiplier.name, multiplier.content_hash)
            if method not in RUNGS or multiplier.is_exact:
                chosen[name] = self.cached(name, multiplier, method).approximation
            elif prefix in self._prefixes:
                chosen[name] = self._prefixes[prefix]
            else:
                data = self._data(name, walk.read(), effort)
                fitted = self._fit(layer, multiplier, method, data, effort)
                chosen[name] = fitted.approximation
                self._prefixes[prefix] = chosen[name]
            walk.advance(bound(chosen[name]))
        return chosen
