"""Activation codes channel by channel, so that neighbouring output pixels are neighbouring bytes.

The padded input of a convolution with strides (s_y, s_x) is split into copies. In the copy for row
phase p and column shift e, element (r, x) is the padded input at row `r * s_y + p`, column
`x * s_x + e`. For every tap (i, j) the codes of all output pixels are then one contiguous run: row
phase `i * d_y % s_y`, starting `i * d_y // s_y` rows further down. There are two choices of columns:

* compact: a copy for each kernel column, as wide as the output; no lane is wasted;
* shared: a copy for each column phase, wider than the output, which taps enter at an offset.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.transpose import transpose

LANES = 64
"""Pixels of a vector."""

BLOCK = 16
"""Channels and pixels of a block that is transposed in registers."""


@dataclass(frozen=True)
class PlaneLayout:
    """Layout [channel][row phase][column copy][image][row][column], one byte each."""

    geometry: Geometry
    compact: bool

    @property
    def row_phases(self) -> int:
        """Copies by row phase."""
        spec = self.geometry.spec
        return min(spec.strides[0], (spec.kernel[0] - 1) * spec.dilation[0] + 1)

    @property
    def column_copies(self) -> int:
        """Copies by column."""
        spec = self.geometry.spec
        if self.compact:
            return spec.kernel[1]
        return min(spec.strides[1], (spec.kernel[1] - 1) * spec.dilation[1] + 1)

    @property
    def rows(self) -> int:
        """Rows of a copy of one image."""
        spec = self.geometry.spec
        return spec.out_height + (spec.kernel[0] - 1) * spec.dilation[0] // spec.strides[0]

    @property
    def columns(self) -> int:
        """Columns of a copy."""
        spec = self.geometry.spec
        if self.compact:
            return spec.out_width
        return spec.out_width + (spec.kernel[1] - 1) * spec.dilation[1] // spec.strides[1]

    @property
    def image(self) -> int:
        """Bytes of one image in a copy."""
        return self.rows * self.columns

    @property
    def pixels(self) -> int:
        """Positions from the first to the last output pixel of one image."""
        spec = self.geometry.spec
        return (spec.out_height - 1) * self.columns + spec.out_width

    def channel(self, images: Expr) -> Expr:
        """Bytes of a channel of `images` images."""
        return images * (self.row_phases * self.column_copies * self.image)

    def tap(self, i: Expr, j: Expr, images: Expr) -> Expr:
        """Where the run of tap (i, j) starts in a channel."""
        spec = self.geometry.spec
        down, across = i * spec.dilation[0], j * spec.dilation[1]
        copy, shift = (
            (j, emit.i32(0))
            if self.compact
            else (
                across % spec.strides[1],
                across // spec.strides[1],
            )
        )
        phase = down % spec.strides[0] * self.column_copies + copy
        return phase * (images * self.image) + down // spec.strides[0] * self.columns + shift


@dataclass(frozen=True)
class Planes:
    """Codes of `images` images (int32 expression).

    Attributes:
        codes: uint8, see `PlaneLayout`, with at least `LANES` bytes of slack at the end.
        highest: int32 [channel] greatest bit pattern.
    """

    layout: PlaneLayout
    images: Expr
    codes: Buffer
    highest: Buffer


def emit_fill(
    planes: Planes, x: Buffer, image: Expr, first: Expr, count: Expr, place: Expr
) -> None:
    """Fill in `count` (at most `BLOCK`) channels from input channel `first`, stored from `place`.

    Args:
        x: flat [batch, height, width, c] codes.
        image: int64 first image.
    """
    geometry = planes.layout.geometry
    spec, size = geometry.spec, geometry.spec.height * geometry.spec.width
    flat = emit.scratch(BLOCK * size, "uint8")
    with emit.serial(count) as c:
        start = spec.zero_point & 255 if geometry.padded else 0
        emit.store(planes.highest, place + c, emit.i32(start))
    with emit.serial(planes.images) as index:
        source = emit.opaque((image + emit.i64(index)) * emit.i64(size * spec.in_channels))
        _emit_transposed(flat, x, source + emit.i64(first), spec.in_channels, size, count)
        with emit.serial(count) as c:
            most = emit.variable(0)
            with emit.serial(size) as i:
                emit.store(most, emit.i32(0), T.max(most[0], emit.i32(flat[c * size + i])))
            known = planes.highest[place + c]
            emit.store(planes.highest, place + c, T.max(known, most[0]))
            _emit_copies(planes, flat, c * size, place + c, index)


def _emit_transposed(
    flat: Buffer, x: Buffer, source: Expr, channels: int, size: int, count: Expr
) -> None:
    """flat[c][i] = x[source + i * channels + c] for c < count (at most `BLOCK`), i < size."""

    def slowly(begin: int) -> None:
        with emit.serial(count) as c, emit.serial(size, begin) as i:
            code = x[source + emit.i64(i * channels + c)]
            emit.store(flat, c * size + i, code)

    def quickly() -> None:
        with emit.serial(size // BLOCK) as part:
            begin = emit.let(source + emit.i64(part * (BLOCK * channels)))
            rows = [
                emit.let(emit.load(x, begin + emit.i64(i * channels), BLOCK)) for i in range(BLOCK)
            ]
            for c, codes in enumerate(transpose(rows)):
                emit.store(flat, part * BLOCK + c * size, codes)
        if size % BLOCK:
            slowly(size // BLOCK * BLOCK)

    if channels < BLOCK or size < BLOCK:
        slowly(0)
    elif channels % BLOCK:
        emit.branch(count == BLOCK, quickly, lambda: slowly(0))
    else:
        quickly()


def _emit_copies(planes: Planes, flat: Buffer, source: Expr, channel: Expr, index: Expr) -> None:
    """Copy one channel of image `index` (flat[source...]) into all its copies, with padding."""
    layout = planes.layout
    geometry = layout.geometry
    spec = geometry.spec
    (top, left, _, _), (down, across) = spec.padding, spec.strides
    pad = T.uint8(spec.zero_point & 255)
    start = emit.opaque(channel * layout.channel(planes.images) + index * layout.image)
    with emit.serial(layout.row_phases * layout.column_copies) as copy:
        phase = emit.let(copy // layout.column_copies)
        column = emit.let(copy % layout.column_copies)
        shift = column * spec.dilation[1] if layout.compact else column
        # Elements begin .. end - 1 lie inside the image.
        begin = emit.opaque(
            T.min(T.max((left - shift + across - 1) // across, emit.i32(0)), layout.columns)
        )
        end = (spec.width + left - shift + across - 1) // across
        end = emit.opaque(T.max(T.min(end, layout.columns), begin))
        with emit.serial(layout.rows) as r:
            to = emit.opaque(start + copy * (planes.images * layout.image) + r * layout.columns)
            y = emit.opaque(r * down + phase - top)
            inside = T.And(y >= 0, y < spec.height)

            def row(to: Expr = to, y: Expr = y) -> None:
                line = emit.opaque(source + y * spec.width + shift - left)
                with emit.serial(begin) as i:
                    emit.store(planes.codes, to + i, pad)
                with emit.serial(end - begin) as i:
                    code = flat[line + (begin + i) * across]
                    emit.store(planes.codes, to + begin + i, code)
                with emit.serial(layout.columns - end) as i:
                    emit.store(planes.codes, to + end + i, pad)

            def blank(to: Expr = to) -> None:
                with emit.serial(layout.columns) as i:
                    emit.store(planes.codes, to + i, pad)

            emit.branch(inside, row, blank)
