"""What a product table is turned into before layers look products up: by weight code, in small types.

Everything is kept in one int32 tensor, the *prepared table*, made once for a table (`prepare_table`)
and shared by all layers and calls that use it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alwann_c.codegen.cpu import emit
from alwann_c.codegen.cpu.emit import Buffer, Expr
from alwann_c.codegen.low_rank import MAX_TERMS, factorise
from alwann_c.targets.multiplier import exact_products

CODES = 256
_COLUMNS = CODES * CODES
_PLANES = _COLUMNS + CODES * CODES // 2
_ERRORS = _PLANES + CODES * CODES // 2
_LEFT = _ERRORS + 2 * CODES
_RIGHT = _LEFT + MAX_TERMS * CODES // 4
_LOW = _RIGHT + MAX_TERMS * CODES // 2
_BASE = _LOW + MAX_TERMS
PREPARED_SHAPE = (_BASE // CODES + 1, CODES)
"""Shape of a prepared table, int32."""


@dataclass(frozen=True)
class PreparedTable:
    """Views of a prepared table.

    Attributes:
        table: int32 [a][w], the products.
        columns: int16 [w][a], the products modulo 2**16.
        planes: uint8 [w][low or high byte][a] of `M(a, w) - base`.
        low, high: int32 [w], least and greatest error `M(a, w) - a * w` over a.
        left, right, shift: the table as a sum of terms (see `low_rank.Terms`): uint8 [r][a],
            int16 [r][w], int32 [r].
        base: int32, 0 or -32768.
        fits: whether every product minus the base is within 16 bits.
        terms: int32 number of terms; 0 if the table is no sum of few terms.
        linear: whether the first term is linear in the activation.
    """

    table: Buffer
    columns: Buffer
    planes: Buffer
    low: Buffer
    high: Buffer
    left: Buffer
    right: Buffer
    shift: Buffer
    base: Expr
    fits: Expr
    terms: Expr
    linear: Expr


def prepared_views(blob: Buffer) -> PreparedTable:
    """Views of the flat int32 tensor of a prepared table."""

    def view(start: int, size: int, kind: str) -> Buffer:
        return emit.view(blob, emit.i32(start), size, kind)

    return PreparedTable(
        table=blob,
        columns=view(_COLUMNS, CODES * CODES, "int16"),
        planes=view(_PLANES, 2 * CODES * CODES, "uint8"),
        low=view(_ERRORS, CODES, "int32"),
        high=view(_ERRORS + CODES, CODES, "int32"),
        left=view(_LEFT, MAX_TERMS * CODES, "uint8"),
        right=view(_RIGHT, MAX_TERMS * CODES, "int16"),
        shift=view(_LOW, MAX_TERMS, "int32"),
        base=emit.let(blob[_BASE]),
        fits=blob[_BASE + 1] != 0,
        terms=emit.let(blob[_BASE + 2]),
        linear=blob[_BASE + 3] != 0,
    )


def prepare_table(table: npt.NDArray[np.int32], signed: bool) -> npt.NDArray[np.int32]:
    """Prepared form, int32 `PREPARED_SHAPE`, of a table [256, 256] of int16 or uint16 products."""
    prepared = np.zeros(PREPARED_SHAPE[0] * PREPARED_SHAPE[1], np.int32)
    prepared[:_COLUMNS] = table.reshape(-1)
    columns = np.ascontiguousarray(table.T)
    prepared[_COLUMNS:_PLANES].view(np.int16)[:] = columns.astype(np.int16).reshape(-1)
    base = -32768 if table.min() < 0 else 0
    words = (columns - base).astype(np.uint16)
    planes = np.stack([words & 255, words >> 8], axis=1).astype(np.uint8)
    prepared[_PLANES:_ERRORS].view(np.uint8)[:] = planes.reshape(-1)
    errors = columns - exact_products(signed)  # symmetric
    prepared[_ERRORS : _ERRORS + CODES] = errors.min(axis=1)
    prepared[_ERRORS + CODES : _LEFT] = errors.max(axis=1)
    fits = int(table.min()) >= base and int(table.max()) - base <= 65535
    scalars = [base, int(fits), 0, 0]
    terms = factorise(table, signed)
    if terms is not None:
        count = len(terms.low)
        prepared[_LEFT:_RIGHT].view(np.uint8)[: count * CODES] = terms.left.reshape(-1)
        prepared[_RIGHT:_LOW].view(np.int16)[: count * CODES] = terms.right.reshape(-1)
        prepared[_LOW : _LOW + count] = terms.low
        scalars[2:] = [count, int(terms.linear)]
    prepared[_BASE : _BASE + 4] = scalars
    return prepared.reshape(PREPARED_SHAPE)
