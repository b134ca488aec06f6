"""One layer's folder: operands, golden vectors, and the parameters of its test bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alwann_c.ir.spec import Quantization
from alwann_c.rtl.files import indexed, short, write_csv, write_hex
from alwann_c.rtl.golden import LayerVectors

MAX_LANES = 16
SOURCES = ("float32.sv", "requantize.sv", "mac_tile.sv", "layer_tb.sv")

_ACTIVATIONS = {"none": 0, "relu": 1, "clip": 2}
_RESIDUALS = {"none": 0, "float": 1, "codes": 2}


def lanes(vectors: LayerVectors) -> int:
    """Output channels a tile computes at once: the largest divisor of a group's, up to 16."""
    outputs = vectors.spec.out_channels // vectors.spec.groups
    return max(n for n in range(1, MAX_LANES + 1) if outputs % n == 0)


def _bits(value: float) -> str:
    return f"32'h{int(np.float32(value).view(np.uint32)):08x}"


def parameters(vectors: LayerVectors) -> dict[str, int | str]:
    """Parameters of `layer_tb`, by name."""
    spec, epilogue = vectors.spec, vectors.spec.epilogue
    residual = epilogue.residual_code or Quantization(1.0, 0)
    output = epilogue.output or Quantization(1.0, 0)
    return {
        "IMAGES": len(vectors.input),
        "HEIGHT": spec.height,
        "WIDTH": spec.width,
        "IN_CHANNELS": spec.in_channels,
        "OUT_HEIGHT": spec.out_height,
        "OUT_WIDTH": spec.out_width,
        "OUT_CHANNELS": spec.out_channels,
        "KERNEL_HEIGHT": spec.kernel[0],
        "KERNEL_WIDTH": spec.kernel[1],
        "STRIDE_Y": spec.strides[0],
        "STRIDE_X": spec.strides[1],
        "PAD_TOP": spec.padding[0],
        "PAD_LEFT": spec.padding[1],
        "DILATION_Y": spec.dilation[0],
        "DILATION_X": spec.dilation[1],
        "GROUPS": spec.groups,
        "PAD_CODE": f"8'h{spec.zero_point & 0xFF:02x}",
        "SIGNED": int(spec.signed),
        "LANES": lanes(vectors),
        "ACTIVATION": _ACTIVATIONS[epilogue.activation],
        "CLIP_MIN": _bits(epilogue.clip_min),
        "CLIP_MAX": _bits(epilogue.clip_max),
        "RESIDUAL": _RESIDUALS[epilogue.residual],
        "RESIDUAL_SCALE": _bits(residual.scale),
        "RESIDUAL_ZERO_POINT": residual.zero_point,
        "RESIDUAL_SIGNED": int(residual.signed),
        "OUTPUT_CODES": int(epilogue.output is not None),
        "OUTPUT_SCALE": _bits(output.scale),
        "OUTPUT_ZERO_POINT": output.zero_point,
        "OUTPUT_SIGNED": int(output.signed),
    }


def _header(vectors: LayerVectors) -> str:
    lines = [f"// {vectors.name}".replace("\n", " ")]
    for name, value in parameters(vectors).items():
        kind = "integer" if isinstance(value, int) else "logic [31:0]"
        lines.append(
            f"localparam {'logic [7:0]' if name == 'PAD_CODE' else kind} {name} = {value};"
        )
    return "\n".join(lines) + "\n"


def write_layer(vectors: LayerVectors, folder: Path, module: str) -> None:
    """Writes a layer's files; `module`: path of its multiplier's module from there."""
    parts: dict[str, Any] = {
        "weight": vectors.weight,
        "original_weight": vectors.original_weight,
        "weight_zero_point": vectors.weight_zero_point,
        "offset": vectors.offset,
        "bias": vectors.bias,
        "scale": vectors.scale,
    }
    stored = parts | {"weight_scale": vectors.weight_scale, "table": vectors.table}
    np.savez_compressed(folder / "operands.npz", **stored)
    for name, array in parts.items():
        write_hex(folder / f"{name}.hex", array)
    write_csv(
        folder / "weights.csv",
        ["ky", "kx", "c", "n", "tuned", "original"],
        indexed(vectors.weight, vectors.original_weight),
    )
    channels = zip(
        range(vectors.spec.out_channels),
        vectors.weight_zero_point.tolist(),
        short(vectors.weight_scale),
        vectors.bias.tolist(),
        vectors.offset.tolist(),
        short(vectors.scale),
        strict=True,
    )
    write_csv(
        folder / "channels.csv",
        ["n", "weight_zero_point", "weight_scale", "bias", "offset", "scale"],
        channels,
    )
    golden: dict[str, Any] = {
        "input": vectors.input,
        "accumulator": vectors.accumulator,
        "output": vectors.output,
    }
    if vectors.residual is not None:
        golden["residual"] = vectors.residual
    np.savez_compressed(folder / "golden.npz", **golden)
    write_hex(folder / "input.hex", vectors.input)
    write_hex(folder / "accumulator.hex", vectors.accumulator)
    for name in ("output", "residual"):
        if name in golden:
            write_hex(folder / f"{name}.hex", golden[name], width=4)
    (folder / "layer.vh").write_text(_header(vectors), encoding="utf-8")
    multiplier = Path(module).stem
    sources = [f"../../rtl/{source}" for source in SOURCES]
    lines = [f"+define+MULTIPLIER={multiplier}", "+incdir+.", *sources[:3], module, sources[3]]
    (folder / "layer.f").write_text("\n".join(lines) + "\n", encoding="utf-8")
