"""`inspect`: what becomes of every layer and operator of a model, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

from alwann_c.cli.console import Console, table
from alwann_c.codegen.cpu import choose_strategy
from alwann_c.codegen.machine import host_target
from alwann_c.ir.ops import fixed_batch, op_name
from alwann_c.ir.rewrite import bindings
from alwann_c.model import Model, load
from alwann_c.passes.given import KEPT_FLOAT, given_codes
from alwann_c.passes.layers import FloatLayer

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


def _float_operators(model: Model, layers: list[FloatLayer]) -> list[dict[str, Any]]:
    """Operators that run in float beside the layers, with the reason."""
    own = [layer.call for layer in layers]
    counts: Counter[str] = Counter()
    for _, value in bindings(model.module):
        name = op_name(value)
        if name and value not in own and not name.startswith("alwann."):
            counts["a kernel of the importer" if name == "relax.call_tir" else name] += 1
    reasons = {
        "relax.nn.conv2d": "convolution without a constant weight",
        "relax.matmul": "matrix product with a weight of another rank",
        "relax.nn.conv2d_transpose": "transposed convolution",
        "relax.nn.conv1d": "1-D convolution",
        "relax.nn.conv3d": "3-D convolution",
    }
    return [
        {
            "operator": name.removeprefix("relax."),
            "count": count,
            "reason": reasons.get(name, "no multiplier array"),
        }
        for name, count in sorted(counts.items())
    ]


def inspect(arguments: Any, console: Console) -> int:
    """`inspect MODEL`."""
    model = load_model(arguments)
    layers = [*model.layers, *model.products]
    refusals = {layer.name: layer.refusal for layer in layers}
    if model.is_quantized:
        _, given = given_codes(model.module, layers, signed=False)
        refusals = {layer.name: given.get(layer.name) for layer in layers}
    rows = [_layer(layer, refusals[layer.name], arguments.approximate) for layer in layers]
    if arguments.kernels:
        target = host_target()
        for row, layer in zip(rows, layers, strict=True):
            row["kernel"] = None if layer.spec is None else choose_strategy(layer.spec, target).name
            if layer.kind == "matmul":
                row["kernel"] = "look-ups"
    total = sum(row["macs"] or 0 for row in rows)
    floats = _float_operators(model, layers)
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
        header = ["in float", "count", "why"]
        cells = [[str(f["operator"]), str(f["count"]), str(f["reason"])] for f in floats]
        lines += ["", *table(header, cells)]
    console.result(data, lines)
    return 0
