"""A layer on a table of few terms as a product of byte matrices: its constants, made when lowering.

With left factors u_r(a), their shifts l_r and right factors g_r(w) of a table's terms r (`low_rank`),

    sum_k (M(a_k, w_k) - z_w * a_k) = sum_r sum_k u_r(a_k) * v_r(w_k) + sum_r l_r sum_k v_r(w_k)

where v_r = g_r, but v_0 = g_0 - z_w for the linear term. The last sum is a constant of the output
channel and goes into its offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alwann_c.codegen.gpu.units import COLUMNS
from alwann_c.codegen.low_rank import MAX_TERMS, Terms, factorise
from alwann_c.ir.spec import ConvSpec

CODES = 256
CHUNK = 8
"""Words of four taps that a block of threads works on at once, for every term."""
MAX_COLUMNS = 64
MAX_EXTENT = 1 << 14
"""Rows and columns of an image; positions are kept in 16 bits."""

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MatrixForm:
    """What the kernel is specialised for, apart from the convolution.

    Attributes:
        terms: terms of the table.
        flip: for a single term, whose left factors are the codes themselves: what a code is
            exclusive-or'ed with (signed codes become unsigned with 128); None where left factors are
            looked up.
    """

    terms: int
    flip: int | None

    @property
    def parts(self) -> int:
        """Words of a code's left factors, four terms each."""
        return -(-self.terms // 4)

    @property
    def words(self) -> int:
        """Words of a chunk of one pixel or channel."""
        return self.terms * CHUNK


def chunks_of(spec: ConvSpec) -> int:
    """Chunks of a filter's taps, the last one filled up."""
    return -(-spec.taps // (4 * CHUNK))


def columns_of(spec: ConvSpec) -> int:
    """Output channels of a block of threads."""
    return min(-(-spec.out_channels // COLUMNS) * COLUMNS, MAX_COLUMNS)


def packed_shape(spec: ConvSpec, form: MatrixForm) -> tuple[int, int, int, int]:
    """[block of channels][chunk][channel][term, word of four taps]: int32."""
    columns = columns_of(spec)
    return -(-spec.out_channels // columns), chunks_of(spec), columns, form.words


@dataclass(frozen=True, eq=False)
class MatrixOperands:
    """Constants of a layer.

    Attributes:
        form: what its kernel is specialised for.
        packed: int32 `packed_shape`, right factors, four a word, lowest tap in the lowest byte.
        lefts: int32 [parts, 256], left factors of a code, four terms a word.
        offset: int32 [n], the layer's offset and the terms' constants.
    """

    form: MatrixForm
    packed: Int32
    lefts: Int32
    offset: Int32


def _factors(terms: Terms, weight: Int64, zero: Int64) -> tuple[Int64, Int64] | None:
    """Right factors [term, tap, n] within int8, and which term of `terms` each belongs to."""
    if not terms.linear and zero.any():
        return None
    factors = terms.right[:, weight]
    source = np.arange(len(factors))
    if terms.linear:
        factors[0] -= zero
        first = factors[0].clip(-128, 127)
        rest = factors[0] - first
        if rest.any():  # the linear term twice
            factors = np.concatenate([first[None], rest[None], factors[1:]])
            source = np.concatenate([source[:1], source])
    used = [r for r, term in enumerate(factors) if term.any()] or [0]
    factors, source = factors[used], source[used]
    fits = len(factors) <= MAX_TERMS and factors.min() >= -128 and factors.max() <= 127
    return (factors, source) if fits else None


def _packed(spec: ConvSpec, form: MatrixForm, factors: Int64) -> Int32:
    blocks, chunks, columns, _ = packed_shape(spec, form)
    taps, channels = chunks * CHUNK * 4, blocks * columns
    full = np.zeros((form.terms, taps, channels), np.int8)
    full[:, : spec.taps, : spec.out_channels] = factors
    split = full.reshape(form.terms, chunks, CHUNK, 4, blocks, columns)
    ordered = np.ascontiguousarray(split.transpose(4, 1, 5, 0, 2, 3))
    return ordered.view("<i4").astype(np.int32).reshape(packed_shape(spec, form))


def matrix_operands(
    spec: ConvSpec,
    weight: npt.NDArray[np.uint8],
    table: Int32,
    weight_zero_point: Int32,
    offset: Int32,
) -> MatrixOperands | None:
    """Constants of a layer, given those of `alwann.conv2d`; None where its table is no sum of few
    terms, or the layer has groups."""
    if spec.groups > 1 or max(spec.height, spec.width) > MAX_EXTENT:
        return None
    terms = factorise(table, spec.signed)
    if terms is None:
        return None
    codes = weight.reshape(-1, spec.out_channels).astype(np.int64)
    found = _factors(terms, codes, weight_zero_point.astype(np.int64))
    if found is None:
        return None
    factors, source = found
    single = terms.linear and source.tolist() == [0]
    form = MatrixForm(len(source), (128 if spec.signed else 0) if single else None)
    lefts = np.zeros((4 * form.parts, CODES), np.uint8)
    lefts[: form.terms] = terms.left[source]
    words = np.ascontiguousarray(lefts.reshape(form.parts, 4, CODES).transpose(0, 2, 1))
    constants = (terms.low[source, None] * factors.sum(axis=1)).sum(axis=0)
    return MatrixOperands(
        form,
        _packed(spec, form, factors),
        words.view("<i4").astype(np.int32).reshape(form.parts, CODES),
        (offset.astype(np.int64) + constants).astype(np.int32),  # modulo 2^32, like the sums
    )
