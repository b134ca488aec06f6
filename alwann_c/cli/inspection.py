"""`inspect`: what becomes of every layer and operator of a model, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from alwann_c.cli.console import Console, table
from alwann_c.codegen.cpu import choose_strategy
from alwann_c.codegen.machine import host_target
from alwann_c.ir.ops import fixed_batch, op_name, static_shape
from alwann_c.ir.rewrite import apply, bindings
from alwann_c.ir.spec import Quantization
from alwann_c.model import Model, load
from alwann_c.passes.fuse_epilogue import FuseEpilogue
from alwann_c.passes.given import KEPT_FLOAT, given_codes
from alwann_c.passes.layers import FloatLayer, find_layers, find_products
from alwann_c.passes.move_codes import MOVING
from alwann_c.passes.quantize import LayerCodes, Quantize, product_codes
from alwann_c.targets import exact_products

FEW = 4
"""Results of an operator that are listed."""

EXACT_UNLESS_ASKED = {
    "conv2d": "conv2d: exact, --approximate names other kinds",
    "dense": "dense: exact unless asked",
    "matmul": "product of two activations: float unless asked",
}


def load_model(arguments: Any) -> Model:
    """The model of a command line, its open ends settled by options."""
    return load(
        arguments.model,
        input_shape=arguments.input_shape,
        output=arguments.model_output,
        params=arguments.params,
    )


def _layer(layer: FloatLayer, refusal: str | None, asked: tuple[str, ...]) -> dict[str, Any]:
    spec = layer.spec
    kind = layer.kind if layer.kind in ("dense", "matmul") else "conv2d"
    unasked = None if kind in asked else EXACT_UNLESS_ASKED[kind]
    integer = refusal is None and (kind != "matmul" or kind in asked)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "input": None if spec is None else [spec.height, spec.width, spec.in_channels],
        "output": None if spec is None else [spec.out_height, spec.out_width, spec.out_channels],
        "weight": None if layer.other is not None else list(layer.weight.shape),
        "macs": None if spec is None else spec.macs,
        "approximable": refusal is None,
        "runs": "int8" if integer else "float",
        "reason": refusal or unasked,
    }


_REASONS = {
    "relax.nn.conv2d": "convolution without a constant weight",
    "relax.matmul": "matrix product with a weight of another rank",
    "relax.nn.conv2d_transpose": "transposed convolution",
    "relax.nn.conv1d": "1-D convolution",
    "relax.nn.conv3d": "3-D convolution",
    **dict.fromkeys((*sorted(MOVING), "relax.concat", "relax.split"), "only moves values"),
}


def _stand_in(layer: FloatLayer) -> LayerCodes:
    """Codes of any value: what is fused into a layer does not depend on them."""
    assert layer.spec is not None
    code = Quantization(1.0, 0)
    if layer.other is not None:
        return product_codes(layer, code, code)
    channels = layer.weight.shape[-1]
    weight, zero = np.zeros(layer.weight.shape, np.uint8), np.zeros(channels, np.int32)
    scale = np.ones(channels, np.float32)
    return LayerCodes(layer.name, layer.kind, layer.spec, code, weight, zero, scale, zero)


def _float_operators(mod: tvm.IRModule, codes: dict[str, LayerCodes]) -> list[dict[str, Any]]:
    """Operators that run in float beside the layers, with the reason and their results' shapes.

    `codes`: of the layers that become integer ones. A bias, activation or residual addition that is
    fused into one of them is no operator any more.
    """
    fused = apply(FuseEpilogue(), apply(Quantize(codes, exact_products(signed=False)), mod))
    left = [*find_layers(fused), *find_products(fused)]
    calls, outputs = [layer.call for layer in left], {layer.output for layer in left}
    found: dict[str, list[list[int | None]]] = {}
    for var, value in bindings(fused):
        name = op_name(value)
        if not name or name.startswith("alwann.") or value in calls or var in outputs:
            continue
        if not isinstance(var.ty, relax.TensorType) or str(var.ty.dtype) == "uint8":
            continue
        known = f"{value.args[0].name_hint} (importer)" if name == "relax.call_tir" else name
        found.setdefault(known, []).append(list(static_shape(var))[1:])
    return [
        {
            "operator": name.removeprefix("relax."),
            "count": len(shapes),
            "reason": _REASONS.get(name, "no multiplier array"),
            "results": shapes,
        }
        for name, shapes in sorted(found.items())
    ]


def _shapes(shapes: list[list[int | None]]) -> str:
    """Results as `8x64`, where they are few."""
    texts = ["x".join("?" if extent is None else str(extent) for extent in s) for s in shapes]
    return ", ".join(texts[:FEW]) + (", ..." if len(texts) > FEW else "")


def inspect(arguments: Any, console: Console) -> int:
    """`inspect MODEL`."""
    model = load_model(arguments)
    layers = [*model.layers, *model.products]
    refusals = {layer.name: layer.refusal for layer in layers}
    taken = [layer for layer in layers if layer.refusal is None]
    codes = {layer.name: _stand_in(layer) for layer in taken}
    if model.is_quantized:
        codes, given = given_codes(model.module, layers, signed=False)
        refusals = {layer.name: given.get(layer.name) for layer in layers}
    if "matmul" not in arguments.approximate:
        codes = {name: code for name, code in codes.items() if code.kind != "matmul"}
    rows = [_layer(layer, refusals[layer.name], arguments.approximate) for layer in layers]
    if arguments.kernels:
        target = host_target()
        for row, layer in zip(rows, layers, strict=True):
            row["kernel"] = None if layer.spec is None else choose_strategy(layer.spec, target).name
            if layer.kind == "matmul":
                row["kernel"] = "look-ups"
    total = sum(row["macs"] or 0 for row in rows)
    floats = _float_operators(model.module, codes)
    batch = fixed_batch(model.module)
    data = {
        "name": model.name,
        "input": {"name": model.input_name, "shape": list(model.input_shape)},
        "output": {"name": model.output_name, "shape": list(model.output_shape)},
        "classes": model.classes,
        "batch": batch,
        "quantized": model.is_quantized,
        "macs": total,
        "layers": rows,
        "float_operators": floats,
    }
    lines = table(
        ["layer", "kind", "weight", "output", "MACs", "runs", "approximable"],
        [
            [
                str(row["name"]),
                str(row["kind"]),
                "-" if row["weight"] is None else "x".join(map(str, row["weight"])),
                "-" if row["output"] is None else "x".join(map(str, row["output"])),
                "-" if row["macs"] is None else f"{row['macs']:,}",
                row["runs"],
                "yes" if row["reason"] is None else f"({row['reason']})",
            ]
            for row in rows
        ],
    )
    if arguments.kernels:
        lines += [
            "",
            *table(["layer", "kernel"], [[row["name"], row["kernel"] or "-"] for row in rows]),
        ]
    lines.append(f"{total:,} MACs per image")
    if model.is_quantized:
        lines.append(f"quantized by the file; layers it keeps in float: ({KEPT_FLOAT})")
    if batch is not None:
        lines.append(f"runs {batch} image at a time: its graph is fixed at that batch")
    if floats:
        header = ["in float", "count", "why", "results"]
        cells = [
            [str(f["operator"]), str(f["count"]), str(f["reason"]), _shapes(f["results"])]
            for f in floats
        ]
        lines += ["", *table(header, cells)]
    console.result(data, lines)
    return 0
