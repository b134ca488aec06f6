"""What every integer layer of a network holds, takes and gives, from the numpy reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from alwann_c.ir import ops, reference
from alwann_c.ir.interpret import layer_values
from alwann_c.ir.spec import ConvSpec
from alwann_c.passes.quantize import LayerCodes

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class LayerVectors:
    """One layer at integer level; a dense layer is the convolution of a 1 x 1 image.

    `weight` tuned and `original_weight` codes uint8 [kh, kw, c_in/groups, n]; `weight_zero_point`,
    `offset`, `bias` int32 [n] (`bias` without the zero-point terms, correction included); `scale`
    float32 [n]; `table` int32 [256, 256]; `input` uint8 [images, h, w, c]; `accumulator` int32
    [images, oh, ow, n]; `residual` uint8 or float32 and `output` likewise, of the same shape.
    """

    name: str
    kind: str
    spec: ConvSpec
    input_scale: float
    weight: Array
    original_weight: Array
    weight_zero_point: Array
    weight_scale: Array
    offset: Array
    bias: Array
    scale: Array
    table: Array
    input: Array
    accumulator: Array
    residual: Array | None
    output: Array


def golden_vectors(
    mod: tvm.IRModule, layers: dict[str, LayerCodes], images: npt.NDArray[np.float32]
) -> tuple[list[LayerVectors], Array]:
    """Every layer of the approximated module `mod` for a few images, in order; and its outputs.
    Products of two activations are left out: there are no weights to hand over.

    `layers`: the layers in the coding they are approximated in, for the original codes.
    """
    values, outputs = layer_values(mod, images)
    vectors = []
    for call, operands, output in values:
        if ops.op_name(call) == ops.MATMUL:
            continue
        spec = ops.conv_spec(call)
        x, weight, table, zero_point, offset, scale, *rest = operands
        original = layers[ops.layer_name(call)]
        image = x.reshape(len(x), spec.height, spec.width, spec.in_channels)
        shape = (len(x), spec.out_height, spec.out_width, spec.out_channels)
        constants = reference.accumulator_offset(
            original.weight,
            spec.zero_point,
            zero_point,
            np.zeros(spec.out_channels, np.int32),
            spec.signed,
        )
        vectors.append(
            LayerVectors(
                name=original.name,
                kind=original.kind,
                spec=spec,
                input_scale=original.input.scale,
                weight=weight,
                original_weight=original.weight,
                weight_zero_point=zero_point,
                weight_scale=original.weight_scale,
                offset=offset,
                bias=(offset.astype(np.int64) - constants).astype(np.int32),
                scale=scale,
                table=table,
                input=image,
                accumulator=reference.accumulate(image, weight, table, zero_point, offset, spec),
                residual=rest[0].reshape(shape) if rest else None,
                output=output.reshape(shape),
            )
        )
    return vectors, outputs
