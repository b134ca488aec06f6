"""A convolution by looking every product up in the table."""

from __future__ import annotations

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.geometry import Geometry
from alwann_c.codegen.cpu.operands import Operands
from alwann_c.codegen.cpu.padding import emit_padded
from alwann_c.codegen.cpu.strategy import Gather


def emit_gather(operands: Operands, geometry: Geometry, strategy: Gather) -> None:
    """Emit the body of the PrimFunc: a thread per output row, vectors over output channels."""
    del strategy
    spec = geometry.spec
    codes = emit_padded(operands.x, operands.batch, geometry)
    kh, kw = spec.kernel
    n, width = spec.out_channels, spec.out_width
    with emit.parallel(operands.batch * emit.i64(spec.out_height)) as line:
        image = emit.opaque(line // emit.i64(spec.out_height) * emit.i64(geometry.image))
        row = emit.opaque(line % emit.i64(spec.out_height) * emit.i64(spec.strides[0]))
        top = emit.opaque(image + row * emit.i64(geometry.padded_width * spec.in_channels))
        accumulators = emit.scratch(n, "int32")
        with emit.serial(width) as x:
            corner = emit.opaque(top + emit.i64(x) * emit.i64(spec.strides[1] * spec.in_channels))
            with emit.serial(n) as j:
                emit.store(accumulators, j, operands.offset[j])
            with emit.serial(kh * kw) as position:
                offset = position // kw * geometry.row_step + position % kw * geometry.column_step
                with emit.serial(geometry.group_in) as c:
                    at = emit.opaque(corner + emit.i64(offset + c))
                    with emit.serial(n) as j:
                        channel = j // geometry.group_out * geometry.group_in
                        code = emit.let(emit.i32(codes[at + emit.i64(channel)]))
                        weight = operands.weight[(position * geometry.group_in + c) * n + j]
                        product = operands.table[code * 256 + emit.i32(weight)]
                        shift = operands.weight_zero_point[j] * emit.code_value(code, spec.signed)
                        emit.store(accumulators, j, accumulators[j] + product - shift)
            start = emit.opaque((line * emit.i64(width) + emit.i64(x)) * emit.i64(n))
            with emit.serial(n) as j:
                operands.emit_output(accumulators[j], operands.scale[j], start + emit.i64(j))
