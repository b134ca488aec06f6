"""From a float model to its 8-bit integer network, and the data its compensation needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import tvm

from alwann_c.codegen.float_network import FloatNetwork
from alwann_c.codegen.stepwise import StepwiseNetwork
from alwann_c.dataset import Dataset
from alwann_c.errors import InputError
from alwann_c.ir.ops import fixed_batch
from alwann_c.ir.rewrite import apply
from alwann_c.model import Model
from alwann_c.passes.calibrate import CodeFormat, Estimator, Observation, estimate
from alwann_c.passes.equalize import Equalize
from alwann_c.passes.fuse_epilogue import FuseEpilogue
from alwann_c.passes.given import Recode, given_codes
from alwann_c.passes.layers import FloatLayer
from alwann_c.passes.observe import Observe
from alwann_c.passes.quantize import LayerCodes, Quantize, layer_codes, product_codes
from alwann_c.targets import MAX_BITS, MIN_BITS, Target, exact_products

Float32 = npt.NDArray[np.float32]
BATCH = 250

Kind = Literal["conv2d", "dense", "matmul"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of layers that may be approximated; `conv2d` includes grouped and depthwise ones."""


@dataclass(frozen=True)
class QuantizationScheme:
    """Choices of the integer conversion.

    Attributes:
        weights: one scale and zero point for each output channel, or one for the layer.
        ranges: how a tensor's range is found (`alwann_c.passes.calibrate`).
        signed: two's complement codes, for signed multipliers.
        activations: zero point of signed activations: 0 (`symmetric`: after a ReLU the codes are
            unsigned ones of 7 bits), or where the range wants it (`affine`). Unsigned codes are
            affine.
        activation_bits: width of the activations' codes, 2 to 8, for narrower multipliers.
        weight_bits: width of the weights' codes, likewise.
        equalize: cross-layer equalisation first (`alwann_c.passes.equalize`).
        approximate: kinds of layers that may run on approximate multipliers. Dense layers are exact
            integer layers otherwise; products of two activations (`matmul`) are integer only if
            named.
    """

    weights: Literal["per-channel", "per-tensor"] = "per-channel"
    ranges: Estimator = "noise"
    signed: bool = False
    activations: Literal["symmetric", "affine"] = "symmetric"
    activation_bits: int = 8
    weight_bits: int = 8
    equalize: bool = False
    approximate: tuple[Kind, ...] = ("conv2d",)

    def __post_init__(self) -> None:
        for name in ("activation_bits", "weight_bits"):
            if not MIN_BITS <= getattr(self, name) <= MAX_BITS:
                raise InputError(
                    f"quantization scheme: {name}: {getattr(self, name)}; give {MIN_BITS} to "
                    f"{MAX_BITS}"
                )

    @property
    def activation_format(self) -> CodeFormat:
        """Codes of activations."""
        return CodeFormat(self.signed, self.activation_bits, self.activations == "symmetric")


def scheme_for(target: Target, approximate: tuple[Kind, ...]) -> QuantizationScheme:
    """The scheme that an accelerator's operands ask for."""
    operands = target.operands
    return QuantizationScheme(
        signed=operands.signed,
        activation_bits=operands.activation_bits,
        weight_bits=operands.weight_bits,
        approximate=approximate,
    )


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """`module`: fused integer IRModule on exact tables; `layers`: its integer layers by name."""

    model: Model
    scheme: QuantizationScheme
    calibration_data: Dataset | None
    module: tvm.IRModule
    layers: dict[str, LayerCodes]
    images: int
    refusals: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """In one line, without the IR."""
        return f"<QuantizedModel {self.model.name}: {len(self.layers)} integer layers>"

    @property
    def calibration(self) -> Dataset:
        """The unlabelled images. Raises InputError when the codes came with the file alone."""
        if self.calibration_data is None:
            raise InputError(
                f"{self.model.name}: quantized without calibration images; give some, "
                "compensation and plans need them"
            )
        return self.calibration_data

    @cached_property
    def network(self) -> StepwiseNetwork:
        """The compiled network: run-time operands, layer by layer."""
        return StepwiseNetwork(self.module, batch=fixed_batch(self.module) or BATCH)


def _wanted(model: Model, scheme: QuantizationScheme) -> list[FloatLayer]:
    """The layers that are to become integer ones, where they can."""
    if "matmul" not in scheme.approximate:
        return model.layers
    products = model.products
    if scheme.activation_bits != scheme.weight_bits:
        reason = "its operands are both activations: it needs codes of one width"
        products = [replace(product, refusal=product.refusal or reason) for product in products]
    return [*model.layers, *products]


def _observe(
    model: Model, layers: list[FloatLayer], images: Float32
) -> dict[tvm.ir.Var, Observation]:
    """Histograms of the distinct layer inputs, in two passes over the images."""
    read = [var for layer in layers for var in (layer.source, layer.other) if var is not None]
    sources = list(dict.fromkeys(read))
    network = FloatNetwork(apply(Observe(sources), model.module))
    observations = {var: Observation() for var in sources}
    for _, *tensors in network.batches(images):
        for observation, tensor in zip(observations.values(), tensors, strict=True):
            observation.see_range(tensor)
    for _, *tensors in network.batches(images):
        for observation, tensor in zip(observations.values(), tensors, strict=True):
            observation.see_values(tensor)
    return observations


def _as_given(
    model: Model, calibration: Dataset | None, scheme: QuantizationScheme, images: int
) -> QuantizedModel:
    """The integer network of a model that is quantized already."""
    module = apply(Recode(scheme.signed), model.module)
    recoded = replace(model, module=module)
    codes, refusals = given_codes(module, _wanted(recoded, scheme), signed=scheme.signed)
    if not codes:
        raise InputError(
            f"{model.name}: no layer has 8-bit input and weight in the file; quantize activations "
            "and weights, or give the float model"
        )
    quantized = apply(Quantize(codes, exact_products(scheme.signed)), module)
    fused = apply(FuseEpilogue(), quantized)
    return QuantizedModel(model, scheme, calibration, fused, codes, images, refusals)


def quantize(
    model: Model,
    calibration: Dataset | None = None,
    scheme: QuantizationScheme | None = None,
    *,
    images: int = 500,
) -> QuantizedModel:
    """Converts every convolution and dense layer to 8-bit integer arithmetic; products of two
    activations as well where the scheme asks for it.

    Args:
        model: from `load`.
        calibration: unlabelled images; the first `images` of them are used. A model that brings
            its own scales and zero points (QDQ, QOperator) needs none.
        scheme: see `QuantizationScheme`.

    Raises InputError when the data does not fit the model or nothing can be converted.
    """
    scheme = scheme or QuantizationScheme()
    if calibration is not None:
        calibration.check(model.input_shape, model.classes, need_labels=False)
    if model.is_quantized:
        return _as_given(model, calibration, scheme, images)
    if scheme.equalize:
        model = replace(model, module=apply(Equalize(), model.module))
    if calibration is None:
        raise InputError(f"{model.name}: a float model needs calibration images; give some")
    found = _wanted(model, scheme)
    taken = [layer for layer in found if layer.refusal is None]
    if not taken:
        raise InputError(f"{model.name}: no layer can be converted to integer arithmetic")
    observations = _observe(model, taken, calibration.images(0, images))
    codes: dict[str, LayerCodes] = {}
    for layer in taken:
        code = estimate(observations[layer.source], scheme.ranges, scheme.activation_format)
        if layer.other is not None:
            other = estimate(observations[layer.other], scheme.ranges, scheme.activation_format)
            codes[layer.name] = product_codes(layer, code, other, bits=scheme.activation_bits)
            continue
        codes[layer.name] = layer_codes(
            layer,
            code,
            per_channel=scheme.weights == "per-channel",
            activation_bits=scheme.activation_bits,
            weight_bits=scheme.weight_bits,
        )
    table = exact_products(scheme.signed)
    module = apply(FuseEpilogue(), apply(Quantize(codes, table), model.module))
    refusals = {layer.name: layer.refusal for layer in found if layer.refusal is not None}
    return QuantizedModel(model, scheme, calibration, module, codes, images, refusals)
