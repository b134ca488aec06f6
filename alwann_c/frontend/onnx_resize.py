"""ONNX's Resize: by TVM where it rounds alike, else by the pixels and weights of its definition."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from tvm import relax

from alwann_c.ir import ops
from alwann_c.passes.layers import constant

Places: TypeAlias = npt.NDArray[np.float64]
Tap: TypeAlias = tuple[npt.NDArray[np.int64], Places]


class Importer(Protocol):
    """What a converter needs of the importer."""

    bb: Any
    """Block builder."""

    @property
    def batch(self) -> Any:
        """Extent of the input's first axis."""

    def fallback(self, op: str, inputs: list[Any], attrs: dict[str, Any]) -> Any:
        """TVM's own conversion."""


def _is_empty(part: Any) -> bool:
    value = constant(part) if isinstance(part, relax.Expr) else None
    return value is not None and value.size == 0


def _text(attrs: dict[str, Any], key: str, otherwise: str) -> str:
    value = attrs.get(key, otherwise)
    return value.decode() if isinstance(value, bytes) else str(value)


def _places(extent: int, size: int, scale: float, mode: str) -> Places:
    """Where every pixel of an axis lies in the source, as the operator's definition has it."""
    x = np.arange(size, dtype=np.float64)
    if mode == "asymmetric":
        return x / scale
    if mode == "align_corners":
        return x * (extent - 1) / (size - 1) if size > 1 else np.zeros(size)
    if mode == "pytorch_half_pixel" and size == 1:
        return np.zeros(size)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (x + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        middle = extent / 2 * (1 - size / (extent * scale))
        return middle + (x + 0.5) / scale - 0.5
    raise ValueError(f"coordinate_transformation_mode {mode}; export with half_pixel")


def _indices(extent: int, at: Places, rounding: str) -> npt.NDArray[np.int64]:
    """The source pixel nearest to every place."""
    at = np.round(at, 6)  # the definition's float32 would fall beside the ties
    rounded = {
        "round_prefer_floor": lambda: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda: np.floor(at + 0.5),
        "floor": lambda: np.floor(at),
        "ceil": lambda: np.ceil(at),
    }
    if rounding not in rounded:
        raise ValueError(f"nearest_mode {rounding}")
    return np.clip(rounded[rounding](), 0, extent - 1).astype(np.int64)


def _taps(extent: int, at: Places, attrs: dict[str, Any], kind: str) -> list[Tap]:
    """Source pixels of every place, with their weights: two when linear, four when cubic."""
    if kind == "linear":
        at = np.clip(at, 0, extent - 1)
    first = np.floor(at)
    t = at - first
    if kind == "linear":
        pairs = [(0, 1 - t), (1, t)]
    else:
        a = float(attrs.get("cubic_coeff_a", -0.75))
        near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
        far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (1 + t, 2 - t)]
        pairs = [(-1, far[0]), (0, near[0]), (1, near[1]), (2, far[1])]
    if attrs.get("exclude_outside"):
        inside = [(first + step >= 0) & (first + step < extent) for step, _ in pairs]
        kept = [weight * there for (_, weight), there in zip(pairs, inside, strict=True)]
        total = np.sum(kept, axis=0)
        pairs = [(step, weight / total) for (step, _), weight in zip(pairs, kept, strict=True)]
    return [(np.clip(first + s, 0, extent - 1).astype(np.int64), w) for s, w in pairs]


def _weighted(
    importer: Importer, data: Any, sizes: list[int], scales: list[float], attrs: dict[str, Any]
) -> Any:
    """Linear or cubic, axis by axis."""
    mode = _text(attrs, "coordinate_transformation_mode", "half_pixel")
    extents, emit = ops.static_shape(data), importer.bb.normalize
    for axis in range(2, len(extents)):
        extent = extents[axis] or 0
        if sizes[axis] == extent and scales[axis] == 1:
            continue
        shape = [1] * len(extents)
        shape[axis] = sizes[axis]
        at = _places(extent, sizes[axis], scales[axis], mode)
        total = None
        for index, weight in _taps(extent, at, attrs, _text(attrs, "mode", "linear")):
            taken = emit(relax.op.take(data, relax.const(index), axis=axis, mode="clip"))
            factor = relax.const(weight.astype(np.float32).reshape(shape))
            part = emit(relax.op.multiply(taken, factor))
            total = part if total is None else emit(relax.op.add(total, part))
        data = total
    return data


def _nearest(
    importer: Importer, data: Any, sizes: list[int], scales: list[float], attrs: dict[str, Any]
) -> Any:
    mode = _text(attrs, "coordinate_transformation_mode", "half_pixel")
    rounding = _text(attrs, "nearest_mode", "round_prefer_floor")
    extents = ops.static_shape(data)
    for axis in range(2, len(extents)):
        extent = extents[axis] or 0
        taken = _indices(extent, _places(extent, sizes[axis], scales[axis], mode), rounding)
        if len(taken) == extent and (taken == np.arange(extent)).all():
            continue
        data = importer.bb.normalize(
            relax.op.take(data, relax.const(taken), axis=axis, mode="clip")
        )
    return data


def upsample(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """`Upsample` (before opset 10): pixels repeated, or bilinear."""
    given = constant(inputs[1]) if len(inputs) > 1 else attrs.get("scales")
    if given is None:
        raise ValueError("scales are not constant; export with a fixed size")
    extents = [extent or 1 for extent in ops.static_shape(inputs[0])]
    scales = [float(scale) for scale in given]
    sizes = [int(np.floor(s * e)) for s, e in zip(scales, extents, strict=True)]
    if _text(attrs, "mode", "nearest") == "nearest":
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return _nearest(importer, inputs[0], sizes, scales, how)
    how = {"coordinate_transformation_mode": "asymmetric", "mode": "linear"}
    return _weighted(importer, inputs[0], sizes, scales, how)


def resize(importer: Importer, inputs: list[Any], attrs: dict[str, Any]) -> Any:
    """`Resize` of [n, c, ...]; empty `scales` and `sizes` mean absent."""
    kept = [None if part is None or _is_empty(part) else part for part in inputs]
    kept += [None] * (4 - len(kept))
    if attrs.get("antialias"):
        raise ValueError("antialias; export without it")
    if (
        attrs.get("axes") is not None
        or _text(attrs, "keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        raise ValueError("axes or keep_aspect_ratio_policy; export with fixed sizes of all axes")
    extents = [extent or 1 for extent in ops.static_shape(inputs[0])]
    if None in ops.static_shape(inputs[0])[2:]:
        raise ValueError("the spatial size is dynamic; give the input a fixed size")
    given, wanted = (None if part is None else constant(part) for part in (kept[2], kept[3]))
    if given is not None:
        scales = [float(scale) for scale in given]
        sizes = [int(np.floor(s * e)) for s, e in zip(scales, extents, strict=True)]
    elif wanted is not None:
        sizes = [int(size) for size in wanted]
        scales = [size / extent for size, extent in zip(sizes, extents, strict=True)]
    else:
        raise ValueError("neither scales nor sizes are constant; export with a fixed size")
    mode = _text(attrs, "coordinate_transformation_mode", "half_pixel")
    kind = _text(attrs, "mode", "nearest")
    pairs = list(zip(sizes, extents, scales, strict=True))[2:]
    whole = all(size % extent == 0 and size == scale * extent for size, extent, scale in pairs)
    if kind == "nearest" and not (whole and mode in ("half_pixel", "asymmetric")):
        return _nearest(importer, inputs[0], sizes, scales, attrs)
    fractional = any(size != scale * extent for size, extent, scale in pairs)
    corners = mode == "align_corners" and (kind == "cubic" or any(p[0] == 1 for p in pairs))
    if kind in ("linear", "cubic") and (fractional or corners):
        return _weighted(importer, inputs[0], sizes, scales, attrs)
    kept = [kept[0], kept[1], None, relax.const(np.array(sizes, np.int64))]
    return importer.fallback("Resize", kept, attrs)
