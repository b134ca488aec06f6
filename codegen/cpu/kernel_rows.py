"""Convolutions of few channels a group (depthwise ones): the products of a kernel row in one vector.

For an output channel n, kernel row ky and input channel c, a code a has a *row* of products

    R[ky, c][a][kx] = M(a, w[ky, kx, c, n]) - z_w[n] * a,  kx = 0..kw-1,

so that one load serves kw taps. Adding the rows that column x of the image meets under an output line,

    C[x][kx] = sum over ky, c of R[ky, c][code at (ky, x, c)][kx],

an output is the sum of a diagonal: sum over kx of C[x + kx][kx]. All sums are int32.
"""

from __future__ import annotations

from dataclasses import dataclass

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr, T
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.padding import emit_padded
from alwann_c.codegen.cpu.table import CODES, PreparedTable
from alwann_c.ir.spec import ConvSpec

CHANNELS = 8
"""Output channels of a task."""

STRIP = 2048
"""Output pixels whose sums are kept at once, of every channel of a task."""

MOST_ROWS, MOST_COLUMNS = 16, 8
"""Rows (kernel rows times input channels of a group) and columns that are worth it."""


def fits_kernel_rows(spec: ConvSpec) -> bool:
    """Whether this kernel can compute a convolution."""
    rows = spec.kernel[0] * (spec.in_channels // spec.groups)
    return rows <= MOST_ROWS and 1 < spec.kernel[1] <= MOST_COLUMNS


def emit_kernel_rows(operands: Operands, geometry: Geometry, table: PreparedTable) -> None:
    """Emit the convolution; needs `table.fits`."""
    spec, batch = geometry.spec, operands.batch
    codes = emit_padded(operands.x, batch, geometry)
    channels = min(CHANNELS, spec.out_channels)
    blocks, threads = emit.i64(-(-spec.out_channels // channels)), emit.thread_count()
    parts = emit.opaque(T.Select(blocks % threads == 0, emit.i64(1), threads))
    with emit.parallel(blocks * parts) as task:
        # The last block may overlap the one before; both store the same.
        start = T.min(task // parts * emit.i64(channels), emit.i64(spec.out_channels - channels))
        kernel = _Kernel.allocate(operands, geometry, table, codes, emit.i32(start), channels)
        kernel.emit_products()
        first = emit.opaque(batch * (task % parts) // parts)
        last = emit.opaque(batch * (task % parts + emit.i64(1)) // parts)
        with emit.serial(last - first) as index:
            image = emit.opaque(first + index)
            with emit.serial(-(-spec.out_height // kernel.height)) as strip:
                top = T.min(strip * kernel.height, spec.out_height - kernel.height)
                kernel.emit_strip(image, emit.opaque(top))


@dataclass(frozen=True)
class _Kernel:
    """A task's block of output channels.

    Attributes:
        codes: flat padded image codes.
        first: int32 first output channel.
        channels: number of output channels.
        products: int32 [channel][row][code][lane].
        planes: uint8 [channel][input channel of the group][line][column] of the padded image under a
            strip.
        columns: int32 [column][lane], the sums C.
        sums: int32 [pixel of the strip][channel].
    """

    operands: Operands
    geometry: Geometry
    table: PreparedTable
    codes: Buffer
    first: Expr
    channels: int
    products: Buffer
    planes: Buffer
    columns: Buffer
    sums: Buffer

    @staticmethod
    def allocate(
        operands: Operands,
        geometry: Geometry,
        table: PreparedTable,
        codes: Buffer,
        first: Expr,
        channels: int,
    ) -> _Kernel:
        """With workspace for one task."""
        spec = geometry.spec
        height, lanes = _strip_height(spec), _lanes(spec)
        rows = spec.kernel[0] * geometry.group_in
        return _Kernel(
            operands,
            geometry,
            table,
            codes,
            emit.opaque(first),
            channels,
            emit.scratch(channels * rows * CODES * lanes, "int32"),
            emit.scratch(channels * geometry.group_in * _plane(geometry, height), "uint8"),
            emit.scratch(geometry.padded_width * lanes, "int32"),
            emit.scratch(height * spec.out_width * channels, "int32"),
        )

    @property
    def height(self) -> int:
        """Output lines of a strip."""
        return _strip_height(self.geometry.spec)

    def emit_products(self) -> None:
        """Fill `products`."""
        spec, geometry, table = self.geometry.spec, self.geometry, self.table
        lanes, (kh, kw), n = _lanes(spec), spec.kernel, spec.out_channels
        rows = kh * geometry.group_in
        with emit.serial(self.channels) as j, emit.serial(rows) as row, emit.serial(kw) as kx:
            tap = (row // geometry.group_in * kw + kx) * geometry.group_in + row % geometry.group_in
            weight = self.operands.weight[tap * n + self.first + j]
            column = emit.opaque(emit.i32(weight) * CODES)
            zero = emit.opaque(self.operands.weight_zero_point[self.first + j])
            to = emit.opaque((j * rows + row) * CODES * lanes + kx)
            with emit.serial(CODES) as code:
                word = T.cast(emit.i32(table.columns[column + code]) - table.base, "uint16")
                product = emit.i32(word) + table.base
                shift = zero * emit.code_value(code, spec.signed)
                emit.store(self.products, to + code * lanes, product - shift)

    def emit_strip(self, image: Expr, top: Expr) -> None:
        """Output lines top..top+height-1 (int32) of an image (int64)."""
        spec = self.geometry.spec
        self._emit_planes(image, top)
        with emit.serial(self.channels) as j, emit.serial(self.height) as line:
            self._emit_line(line, j)
        pixels = self.height * spec.out_width
        start = (image * emit.i64(spec.out_height) + emit.i64(top)) * emit.i64(spec.out_width)
        start = emit.opaque(start * emit.i64(spec.out_channels) + emit.i64(self.first))
        with emit.serial(pixels) as pixel:
            to = emit.let(start + emit.i64(pixel) * emit.i64(spec.out_channels))
            for lane, width in emit.pieces(self.channels, CHANNELS):
                total = emit.load(self.sums, pixel * self.channels + lane, width)
                scale = emit.load(self.operands.scale, self.first + lane, width)
                self.operands.emit_output(total, scale, to + emit.i64(lane))

    def _emit_planes(self, image: Expr, top: Expr) -> None:
        """Copy what the strip reads."""
        geometry, spec = self.geometry, self.geometry.spec
        line = emit.i64(top * spec.strides[0] * geometry.padded_width)
        start = image * emit.i64(geometry.image) + line * emit.i64(spec.in_channels)
        start, plane = emit.opaque(start), _plane(geometry, self.height)
        with emit.serial(plane) as i:
            pixel = emit.opaque(start + emit.i64(i) * emit.i64(spec.in_channels))
            for j in range(self.channels):
                group = (self.first + j) // geometry.group_out * geometry.group_in
                with emit.serial(geometry.group_in) as c:
                    code = self.codes[pixel + emit.i64(group + c)]
                    emit.store(self.planes, (j * geometry.group_in + c) * plane + i, code)

    def _emit_line(self, line: Expr, j: Expr) -> None:
        """A line of sums of one output channel."""
        geometry, spec = self.geometry, self.geometry.spec
        lanes, (kh, kw), ins = _lanes(spec), spec.kernel, geometry.group_in
        width, plane = geometry.padded_width, _plane(geometry, self.height)
        begin = emit.opaque(j * (ins * plane) + line * (spec.strides[0] * width))
        panel = emit.opaque(j * (kh * ins * CODES * lanes))
        with emit.serial(width) as x:
            total = None
            for row in range(kh * ins):
                ky, c = row // ins, row % ins
                at = begin + (c * plane + ky * spec.dilation[0] * width) + x
                code = emit.i32(self.planes[at])
                products = emit.load(self.products, panel + (row * CODES + code) * lanes, lanes)
                total = products if total is None else total + products
            emit.store(self.columns, x * lanes, total)
        offset = emit.let(self.operands.offset[self.first + j])
        to = emit.opaque(line * (spec.out_width * self.channels) + j)
        with emit.serial(spec.out_width) as x:
            total = offset
            for kx in range(kw):
                at = (x * spec.strides[1] + kx * spec.dilation[1]) * lanes + kx
                total = total + self.columns[at]
            emit.store(self.sums, to + x * self.channels, total)


def _lanes(spec: ConvSpec) -> int:
    return 4 if spec.kernel[1] <= 4 else MOST_COLUMNS


def _strip_height(spec: ConvSpec) -> int:
    return min(spec.out_height, max(STRIP // spec.out_width, 1))


def _plane(geometry: Geometry, height: int) -> int:
    """Pixels of the padded image under a strip of `height` output lines."""
    spec = geometry.spec
    lines = (height - 1) * spec.strides[0] + spec.dilation[0] * (spec.kernel[0] - 1) + 1
    return lines * geometry.padded_width
