"""Compensates whole networks: layers in order, each seeing what those before really produce."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.codegen.layer_kernel import LayerKernel
from alwann_c.codegen.network import Operands, bind
from alwann_c.codegen.tap_residual import TapKernels
from alwann_c.ir.rewrite import apply
from alwann_c.ir.spec import ConvSpec
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.passes.compensate import Compensation, LayerData, Method, compensate_layer
from alwann_c.passes.observe import Observe
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import QuantizedModel
from alwann_c.targets import Multiplier

Float32 = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

FIT_IMAGES = 256
HELD_BACK = 128


class OperandStore:
    """Device tensors of approximations; equal tables are shared."""

    def __init__(self) -> None:
        self._tables: dict[str, Operands] = {}

    def operands(self, layer: LayerCodes, approximation: LayerApproximation) -> Operands:
        """Run-time operands of a layer."""
        key = approximation.multiplier.content_hash
        known = self._tables.get(key)
        made = bind(
            approximation.weight,
            approximation.multiplier.table if known is None else known.table,
            layer.weight_zero_point,
            approximation.offset,
            approximation.scale,
        )
        self._tables.setdefault(key, made)
        return made


class Compensator:
    """Fits compensations of one quantized model on unlabelled calibration images.

    Deterministic. `cached` gives the compensation of a layer whose upstream layers are exact (for
    the search, which asks for it thousands of times); `network` compensates a whole assignment.
    """

    def __init__(
        self, quantized: QuantizedModel, *, fit: int = FIT_IMAGES, held_back: int = HELD_BACK
    ) -> None:
        self.quantized = quantized
        self.store = OperandStore()
        self._images = quantized.calibration.images(0, fit + held_back)
        self._held_back = max(1, len(self._images) * held_back // (fit + held_back))
        self._kernels: dict[ConvSpec, LayerKernel] = {}
        self._exact_codes: dict[str, Codes] | None = None
        self._targets: dict[str, Float32] | None = None
        self._taps = TapKernels()
        self._exact_data: dict[str, LayerData] = {}
        self._cache: dict[tuple[str, str, Method], Compensation] = {}
        self._variances: dict[str, float] = {}

    @property
    def targets(self) -> dict[str, Float32]:
        """The float network's output of every layer on the calibration images."""
        if self._targets is None:
            layers = [x for x in self.quantized.model.layers if x.name in self.quantized.layers]
            watched = [layer.output for layer in layers]
            network = FloatNetwork(apply(Observe(watched), self.quantized.model.module))
            parts = [tensors for _, *tensors in network.batches(self._images)]
            self._targets = {
                layer.name: np.concatenate([tensors[i] for tensors in parts])
                for i, layer in enumerate(layers)
            }
        return self._targets

    @property
    def exact_codes(self) -> dict[str, Codes]:
        """Input codes of every layer in the exact int8 network."""
        if self._exact_codes is None:
            self._exact_codes = self.quantized.network.run_probed(self._images).codes
        return self._exact_codes

    def _kernel(self, layer: LayerCodes) -> LayerKernel:
        if layer.spec not in self._kernels:
            self._kernels[layer.spec] = LayerKernel(layer.spec)
        return self._kernels[layer.spec]

    def _data(self, layer: LayerCodes, codes: Codes) -> LayerData:
        kernel = self._kernel(layer)

        def run(given: Codes, approximation: LayerApproximation) -> Float32:
            return kernel.run(given, self.store.operands(layer, approximation))

        target = self.targets[layer.name]
        return LayerData(layer.spec, codes, target, run, self._taps.residual, self._held_back)

    def cached(self, name: str, multiplier: Multiplier, method: Method) -> Compensation:
        """Compensation of one layer after exact ones; computed once per (layer, table, method)."""
        key = (name, multiplier.content_hash, method)
        if key not in self._cache:
            layer = self.quantized.layers[name]
            if name not in self._exact_data:
                self._exact_data[name] = self._data(layer, self.exact_codes[name])
            data = self._exact_data[name]
            self._cache[key] = compensate_layer(layer, multiplier, method, data)
        return self._cache[key]

    def relative_error(self, name: str, multiplier: Multiplier, method: Method) -> float:
        """Held-back output error of `cached`, relative to the variance of the layer's output."""
        return self.cached(name, multiplier, method).error / self._variance(name)

    def _variance(self, name: str) -> float:
        if name not in self._variances:
            self._variances[name] = float(self.targets[name].var()) or 1.0
        return self._variances[name]

    def network(
        self, multipliers: Mapping[str, Multiplier], method: Method
    ) -> dict[str, LayerApproximation]:
        """Compensations of the assigned layers, in order, upstream approximation included."""
        chosen: dict[str, LayerApproximation] = {}
        bound: dict[str, Operands] = {}
        upstream_exact = True
        for name in self.quantized.network.layer_names:
            if name not in multipliers:
                continue
            layer, multiplier = self.quantized.layers[name], multipliers[name]
            if method != "full" or multiplier.is_exact or upstream_exact:
                chosen[name] = self.cached(name, multiplier, method).approximation
            else:
                codes = self.quantized.network.run_probed(self._images, bound, [name]).codes
                data = self._data(layer, codes[name])
                chosen[name] = compensate_layer(layer, multiplier, method, data).approximation
            upstream_exact = upstream_exact and multiplier.is_exact
            bound[name] = self.store.operands(layer, chosen[name])
        return chosen
