"""Product tables as sums of few outer products: exact, in bytes, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import TABLES, exact_table

from alwann_c.codegen.low_rank import MAX_TERMS, Terms, factorise
from alwann_c.ir.reference import code_values

CODES = np.arange(256, dtype=np.uint8)


def rebuilt(terms: Terms) -> np.ndarray:
    """The table the terms make up."""
    left = terms.left.astype(np.int64) + terms.low[:, None]
    return left.T @ terms.right


@pytest.mark.parametrize("signed", [False, True])
def test_exact_table_is_one_term(signed: bool) -> None:
    terms = factorise(exact_table(signed), signed)
    assert terms is not None
    assert len(terms.low) == 1
    assert terms.linear
    np.testing.assert_array_equal(rebuilt(terms), exact_table(signed))


@settings(max_examples=40, deadline=None)
@given(signed=st.booleans(), masks=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_dropped_partial_products(signed: bool, masks: list[tuple[int, int]]) -> None:
    """Whatever is found is the table; right factors are bytes except for the linear one."""
    table = exact_table(signed).astype(np.int64)
    for a, w in masks:
        table -= np.outer(CODES.astype(np.int64) & a, CODES.astype(np.int64) & w)
    table = table.astype(np.int32)
    terms = factorise(table, signed)
    if terms is None:
        assert np.linalg.matrix_rank(table.astype(float)) > 2
        return
    assert len(terms.low) <= MAX_TERMS
    np.testing.assert_array_equal(rebuilt(terms), table)
    bytes_only = terms.right[1:] if terms.linear else terms.right
    assert np.abs(bytes_only + 0.5).max(initial=0) < 128
    if terms.linear:
        values = terms.left[0].astype(np.int64) + terms.low[0]
        np.testing.assert_array_equal(values, code_values(CODES, signed))


@pytest.mark.parametrize("signed", [False, True])
def test_high_rank_is_refused(signed: bool) -> None:
    table = TABLES["noisy"](np.random.default_rng(0), signed)
    assert factorise(table, signed) is None
