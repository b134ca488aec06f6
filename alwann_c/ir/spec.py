"""What an integer operator computes: plain data shared by operators, reference and kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_TAPS = 33_000
"""Largest number of taps K of one filter; beyond it an int32 accumulator could overflow."""

Activation = Literal["none", "relu", "clip"]
ResidualKind = Literal["none", "float", "codes"]


@dataclass(frozen=True)
class Quantization:
    """Affine 8-bit code of a tensor: `code = clamp(round_half_even(x / scale) + zero_point)`.

    Codes lie in 0..255, or in -128..127 when `signed`; they are stored as uint8 bit patterns.
    """

    scale: float
    zero_point: int
    signed: bool = False

    @property
    def low(self) -> int:
        """Smallest code."""
        return -128 if self.signed else 0

    @property
    def high(self) -> int:
        """Largest code."""
        return 127 if self.signed else 255


@dataclass(frozen=True)
class Epilogue:
    """What follows the accumulator: `y = scale[n] * acc`, then in this order

    1. `y + residual` (float32 tensor, or dequantized codes),
    2. activation: `max(y, 0)` or `min(max(y, clip_min), clip_max)`,
    3. quantization of the output to codes with `output`; float32 output when it is None.

    Every operation is a single IEEE float32 operation rounded to nearest even; nothing is
    contracted into fused multiply-adds.
    """

    activation: Activation = "none"
    clip_min: float = 0.0
    clip_max: float = 0.0
    residual: ResidualKind = "none"
    residual_code: Quantization | None = None
    output: Quantization | None = None


@dataclass(frozen=True)
class ConvSpec:
    """A 2-D convolution on 8-bit codes: NHWC activations, HWIO weights [kh, kw, c_in/groups, n].

    A dense layer is the case width = kernel = 1, its height the rows (tokens) of one image. Taps are
    ordered (kh, kw, c). Padded taps carry the input's zero point.

    A product of two activations is the same with a run-time weight: `matrices` of them for one
    image, each for `height / matrices` rows.
    """

    height: int
    width: int
    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    zero_point: int = 0  # of the input
    signed: bool = False  # codes are int8 bit patterns
    epilogue: Epilogue = Epilogue()
    matrices: int = 1

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        span = self.dilation[0] * (self.kernel[0] - 1) + 1
        return (self.height + self.padding[0] + self.padding[2] - span) // self.strides[0] + 1

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        span = self.dilation[1] * (self.kernel[1] - 1) + 1
        return (self.width + self.padding[1] + self.padding[3] - span) // self.strides[1] + 1

    @property
    def taps(self) -> int:
        """K = kh * kw * c_in / groups."""
        return self.kernel[0] * self.kernel[1] * (self.in_channels // self.groups)

    @property
    def macs(self) -> int:
        """Multiplications for one image, padding included, as the array issues them."""
        return self.out_height * self.out_width * self.out_channels * self.taps
