"""Multipliers and error statistics."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alwann_c.errors import InputError
from alwann_c.targets import Multiplier, error_statistics, exact_products, operand_values


@given(st.integers(0, 255), st.integers(0, 255), st.booleans(), st.integers(2, 8))
def test_exact_products_by_hand(activation: int, weight: int, signed: bool, bits: int) -> None:
    def value(code: int) -> int:
        low = code % (1 << bits)
        return low - (1 << bits) if signed and low >= 1 << (bits - 1) else low

    expected = value(activation) * value(weight)
    assert exact_products(signed, bits)[activation, weight] == expected
    assert operand_values(signed=signed, bits=bits)[weight] == value(weight)


def test_statistics_of_a_table_with_known_errors() -> None:
    table = exact_products(False).copy()
    table[3, 5] += 4
    table[255, 255] -= 100
    table[0, 7] += 2
    statistics = error_statistics(table, signed=False)
    pairs = 65536
    assert statistics.mae == pytest.approx(106 / pairs)
    assert statistics.wce == 100
    assert statistics.ep == pytest.approx(3 / pairs)
    assert statistics.mre == pytest.approx((4 / 15 + 100 / 65025 + 2 / 1) / pairs)
    assert statistics.mse == pytest.approx((16 + 10000 + 4) / pairs)
    assert statistics.bias == pytest.approx((4 - 100 + 2) / pairs)


def test_multiplier_is_read_only_and_stays_so() -> None:
    source = exact_products(False).copy()
    multiplier = Multiplier("m", source)
    source[0, 0] = 1
    assert multiplier.is_exact
    assert (multiplier.mae, multiplier.wce) == (0.0, 0)
    copy = pickle.loads(pickle.dumps(multiplier))
    assert copy == multiplier
    for table in (multiplier.table, copy.table):
        with pytest.raises(ValueError, match="read-only"):
            table[0, 0] = 1


def test_identity_is_name_and_content() -> None:
    exact, other = exact_products(False), exact_products(False) & ~1
    assert Multiplier("m", exact, power_mw=1.0) == Multiplier("m", exact, power_mw=2.0)
    assert Multiplier("m", exact) != Multiplier("n", exact)
    assert Multiplier("m", exact) != Multiplier("m", other)
    assert len({Multiplier("m", exact), Multiplier("m", exact.astype(np.int64))}) == 1
    assert len(Multiplier("m", exact).content_hash) == 64


def test_row_is_the_activation() -> None:
    table = np.repeat(np.arange(256, dtype=np.int32)[:, None], 256, axis=1)
    assert Multiplier("m", table).table[17, 3] == 17


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"table": np.zeros((16, 16), np.int32)}, "shape"),
        ({"table": np.zeros((256, 256))}, "integers"),
        ({"table": np.full((256, 256), -1)}, "unsigned products are from 0 to 65535"),
        ({"table": np.full((256, 256), 40000), "signed": True}, "to 32767"),
        ({"bits": 9}, "give 2 to 8"),
        ({"power_mw": float("nan")}, "power_mw"),
        ({"area_um2": -1.0, "delay_ns": float("inf")}, "area_um2.*delay_ns"),
    ],
)
def test_bad_multipliers_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Multiplier(**{"name": "m", "table": exact_products(False), **fields})  # type: ignore[arg-type]


def test_bad_operand_width() -> None:
    with pytest.raises(InputError, match="2 to 8"):
        operand_values(signed=False, bits=1)
