"""The plan: everything needed to build one approximate network, as versioned JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alwann_c.atomic import write_json
from alwann_c.errors import InputError
from alwann_c.notebook import plan_html
from alwann_c.passes.approximate import LayerApproximation
from alwann_c.passes.calibrate import Estimator
from alwann_c.passes.compensate import recode
from alwann_c.passes.quantize import LayerCodes
from alwann_c.quantized import QuantizationScheme, QuantizedModel
from alwann_c.targets import Library
from alwann_c.untrusted import read_bounded
from alwann_c.version import TOOL

MAX_PLAN_BYTES = 1 << 28
MAX_ARRAY_BYTES = 1 << 28


class PackedArray(BaseModel):
    """A small numpy array: `data` is its little-endian bytes, zlib-compressed, in base64."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    dtype: Literal["uint8", "int32", "float32"]
    shape: list[int]
    data: str

    @staticmethod
    def pack(array: npt.NDArray[Any]) -> PackedArray:
        """Encodes an array."""
        raw = zlib.compress(np.ascontiguousarray(array).tobytes(), 9)
        return PackedArray(
            dtype=str(array.dtype),  # type: ignore[arg-type]
            shape=list(array.shape),
            data=base64.b64encode(raw).decode(),
        )

    def unpack(self) -> npt.NDArray[Any]:
        """Decodes the array. Raises ValueError when it is damaged."""
        expected = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        bounded = len(self.shape) <= 8 and all(0 <= extent < 1 << 31 for extent in self.shape)
        if not bounded or expected > MAX_ARRAY_BYTES:
            raise ValueError(f"shape {str(self.shape)[:100]} is out of bounds")
        try:
            packed = base64.b64decode(self.data, validate=True)
            raw = zlib.decompressobj().decompress(packed, expected + 1)
        except zlib.error as e:
            raise ValueError(str(e)) from e
        if len(raw) != expected:
            raise ValueError(f"{len(raw)} bytes do not fill shape {self.shape}")
        return np.frombuffer(raw, self.dtype).reshape(self.shape)


class PlannedLayer(BaseModel):
    """One layer of the plan. Excluded layers stay on the exact table and carry no arrays."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    kind: Annotated[str, Field(description="`conv2d`, `dense` or `matmul`.")]
    macs: Annotated[int, Field(description="Multiplications for one image.")]
    excluded: Annotated[bool, Field(description="Whether it stays exact.")] = False
    unit: Annotated[str | None, Field(description="Its unit; null where it stays exact.")] = None
    multiplier: str
    multiplier_sha256: Annotated[str, Field(description="Hash of the product table.")]
    relative_cost: Annotated[
        float, Field(description="Energy of a multiplication, relative to the exact one.")
    ]
    changed_weights: Annotated[
        float, Field(description="Share of the weight codes that tuning changed.")
    ] = 0.0
    mean_correction: Annotated[
        float | None,
        Field(description="Mean size of what the offsets add to an output, in its own units."),
    ] = None
    weight: Annotated[PackedArray | None, Field(description="Tuned weight codes.")] = None
    offset: Annotated[
        PackedArray | None, Field(description="Added to the accumulators, bias included.")
    ] = None
    scale: Annotated[PackedArray | None, Field(description="Of the accumulators.")] = None
    weight_zero_point: Annotated[
        PackedArray | None,
        Field(description="With `weight_scale` the coding of its weights; the model's if absent."),
    ] = None
    weight_scale: PackedArray | None = None


class PlannedUnit(BaseModel):
    """A compute unit and the multiplier it is fitted with."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    multiplier: str


class PlanQuantization(BaseModel):
    """How the network was quantized; repeating it with the same data gives the same codes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    weights: Literal["per-channel", "per-tensor"]
    ranges: Estimator
    signed: bool
    activations: Literal["symmetric", "affine"] = "symmetric"
    activation_bits: int = 8
    weight_bits: int = 8
    equalize: bool = False
    approximate: tuple[Literal["conv2d", "dense", "matmul"], ...] = ("conv2d",)
    images: Annotated[int, Field(description="How many calibration images were used.")]
    codes_sha256: Annotated[str, Field(description="Hash of every integer of the exact network.")]


class Plan(BaseModel):
    """A plan file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    version: Annotated[Literal[1], Field(description="Format version.")] = 1
    tool: Annotated[str, Field(description="Name and version of what wrote it.")] = TOOL
    model: Annotated[dict[str, str], Field(description="`name` and `sha256`.")]
    calibration_sha256: Annotated[str, Field(description="Hash of the calibration data.")]
    target: Annotated[str, Field(description="Name of the accelerator.")]
    compensation: Annotated[str, Field(description="Method the operands were fitted with.")]
    quantization: PlanQuantization
    units: list[PlannedUnit]
    layers: Annotated[list[PlannedLayer], Field(description="The integer layers, in order.")]
    multipliers: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Figures of the multipliers in use, by name."
    )
    relative_energy: Annotated[
        float, Field(description="Energy of the multiplications, relative to the exact ones'.")
    ]
    energy: dict[str, Any] = Field(
        default_factory=dict, description="Energy, cycles and area, by layer and in all."
    )
    content_sha256: Annotated[
        str | None, Field(exclude=True, description="Seal: hash of everything else.")
    ] = None

    @property
    def sha256(self) -> str:
        """Content hash."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _repr_html_(self) -> str:
        """The layers as a table, in a notebook."""
        return plan_html(self)

    def __repr__(self) -> str:
        """In one line, without the arrays."""
        return (
            f"<Plan of {self.model.get('name')} on {self.target}: {len(self.layers)} layers, "
            f"{1 - self.relative_energy:.1%} of the multiplication energy saved>"
        )

    def approximations(
        self, quantized: QuantizedModel, library: Library
    ) -> dict[str, LayerApproximation]:
        """The layers' operands. Raises InputError when model, quantization or tables differ."""
        if self.model.get("sha256") != quantized.model.sha256:
            raise InputError(
                f"plan: made for model '{self.model.get('name')}' with another content hash; "
                "give the model it was made for"
            )
        if self.quantization.codes_sha256 != codes_hash(quantized):
            raise InputError(
                "plan: quantization: the codes differ; give the calibration data it was made with"
            )
        chosen = {}
        for layer in self.layers:
            if layer.weight is None or layer.offset is None or layer.scale is None:
                continue
            multiplier = library.find(layer.multiplier)
            if multiplier.content_hash != layer.multiplier_sha256:
                raise InputError(
                    f"plan: layer '{layer.name}': multiplier '{layer.multiplier}' has another "
                    "table in this library; give the library the plan was made with"
                )
            original = quantized.layers.get(layer.name)
            if original is None:
                raise InputError(f"plan: layer '{layer.name}' does not fit the model")
            try:
                arrays = [part.unpack() for part in (layer.weight, layer.offset, layer.scale)]
                coded = _coded(original, layer)
            except ValueError as e:
                raise InputError(f"plan: layer '{layer.name}': damaged array: {e}") from e
            if coded is None or not _fits(coded, arrays):
                raise InputError(f"plan: layer '{layer.name}' does not fit the model")
            chosen[layer.name] = LayerApproximation(coded, multiplier, *arrays)
        return chosen


def _alike(arrays: Sequence[npt.NDArray[Any]], own: Sequence[npt.NDArray[Any]]) -> bool:
    pairs = zip(arrays, own, strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)


def _fits(layer: LayerCodes, arrays: list[npt.NDArray[Any]]) -> bool:
    """Whether weight, offset and scale are what the layer takes."""
    own = (layer.weight, layer.offset(), layer.scale)
    return _alike(arrays, own) and bool(np.isfinite(arrays[2]).all())


def _coded(layer: LayerCodes, planned: PlannedLayer) -> LayerCodes | None:
    """The layer in the plan's coding; None when that does not fit. Raises ValueError when damaged."""
    if planned.weight_scale is None or planned.weight_zero_point is None:
        return layer
    scale, zero_point = planned.weight_scale.unpack(), planned.weight_zero_point.unpack()
    if not _alike((scale, zero_point), (layer.weight_scale, layer.weight_zero_point)):
        return None
    if not (np.isfinite(scale).all() and (scale > 0).all() and (np.abs(zero_point) < 256).all()):
        return None
    return recode(layer, scale, zero_point)


def codes_hash(quantized: QuantizedModel) -> str:
    """Hash of every integer of a quantized model."""
    digest = hashlib.sha256()
    for name, layer in quantized.layers.items():
        digest.update(f"{name} {layer.input}".encode())
        for array in (layer.weight, layer.weight_zero_point, layer.weight_scale, layer.bias):
            digest.update(array.tobytes())
        if layer.other is not None:
            digest.update(f"{layer.other}".encode())
    return digest.hexdigest()


def plan_quantization(quantized: QuantizedModel) -> PlanQuantization:
    """Description of a model's quantization."""
    return PlanQuantization(
        **asdict(quantized.scheme),
        images=quantized.images,
        codes_sha256=codes_hash(quantized),
    )


def scheme_of(plan: Plan) -> QuantizationScheme:
    """The quantization scheme a plan was made with."""
    chosen = plan.quantization.model_dump(exclude={"images", "codes_sha256"})
    return QuantizationScheme(**chosen)


def write_plan(plan: Plan, path: Path) -> None:
    """Writes a plan file, sealed by the hash of its content."""
    write_json(path, {**plan.model_dump(mode="json"), "content_sha256": plan.sha256})


def load_plan(path: str | Path) -> Plan:
    """Reads a plan file. Raises InputError naming file and field, and where the seal is broken."""
    path = Path(path)
    content = read_bounded(path, MAX_PLAN_BYTES, "give a plan.json")
    try:
        plan = Plan.model_validate_json(content)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise InputError(f"{path}: {where}: {first['msg']}; give a plan of this version") from e
    if plan.content_sha256 is None:
        raise InputError(f"{path}: content_sha256: missing; compile again with this version")
    if plan.content_sha256 != plan.sha256:
        raise InputError(
            f"{path}: content_sha256: the plan was altered or damaged after it was written; "
            "give the file as it was written, or compile again"
        )
    return plan
