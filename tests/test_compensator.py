"""Compensation of whole networks, layers in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tiny import Case, truncated

from alwann_c.compensation import Compensator, bound
from alwann_c.dataset import load_dataset
from alwann_c.passes.compensate import Method
from alwann_c.quantized import quantize
from alwann_c.targets import Multiplier

Array = npt.NDArray[Any]
ROUGH = truncated(10, power_mw=0.4)


@pytest.fixture(scope="module")
def compensator(small: Case) -> Compensator:
    """Of the whole small network."""
    return Compensator(small.quantized)


def test_network_compensation_recovers_outputs(small: Case, compensator: Compensator) -> None:
    quantized = small.quantized

    def error(method: Method) -> float:
        chosen = compensator.network(dict.fromkeys(small.convolutions, ROUGH), method)
        assert list(chosen) == small.convolutions
        operands = {n: bound(a) for n, a in chosen.items()}
        images = small.search.images
        gap = quantized.network.run(images, operands) - quantized.network.run(images)
        return float(np.mean(gap**2))

    assert error("full") < 0.5 * error("alwann") < 0.6 * error("none")


def test_deterministic(small: Case, compensator: Compensator) -> None:
    again = Compensator(small.quantized)
    wanted = dict.fromkeys(small.convolutions, ROUGH)
    first, second = compensator.network(wanted, "full"), again.network(wanted, "full")
    for name in small.convolutions:
        np.testing.assert_array_equal(first[name].weight, second[name].weight)
        np.testing.assert_array_equal(first[name].offset, second[name].offset)


def test_later_layers_see_what_earlier_ones_produce(compensator: Compensator) -> None:
    """In order, the second layer's correction differs from that after an exact first layer."""
    both = compensator.network({"c1": ROUGH, "c2": ROUGH}, "full")
    alone = compensator.network({"c2": ROUGH}, "full")
    assert (both["c2"].offset != alone["c2"].offset).any()


def test_errors_order_multipliers(compensator: Compensator) -> None:
    cuts = [truncated(bits, power_mw=1) for bits in (6, 9, 12)]
    errors = [compensator.cached("c2", cut, "full").error for cut in cuts]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_equal_tables_of_two_names_keep_their_names(compensator: Compensator) -> None:
    """A plan names the circuit; another one with the same table has another energy."""
    twins = [Multiplier(name, ROUGH.table, power_mw=p) for name, p in (("p", 1.0), ("q", 2.0))]
    made = [compensator.cached("c1", twin, "alwann").approximation for twin in twins]
    assert [a.multiplier.name for a in made] == ["p", "q"]
    np.testing.assert_array_equal(made[0].weight, made[1].weight)


def test_one_calibration_image_is_enough(small: Case) -> None:
    one = quantize(small.model, load_dataset(small.calibration.path).limited(1))
    compensator = Compensator(one)
    chosen = compensator.network({"c2": ROUGH}, "full")
    assert chosen["c2"].weight.shape == one.layers["c2"].weight.shape
    assert np.isfinite(compensator.cached("c2", ROUGH, "full").error)


def test_twins_are_told_apart_in_a_whole_network(compensator: Compensator) -> None:
    for name in ("p", "q"):
        twin = Multiplier(name, ROUGH.table)
        chosen = compensator.network({"c1": twin, "c2": twin}, "full")
        assert [a.multiplier.name for a in chosen.values()] == [name, name]


def test_a_layer_is_fitted_once_for_each_table(
    small: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    fit = Compensator._fit

    def counted(self: Compensator, *arguments: Any) -> Any:
        asked.append(arguments)
        return fit(self, *arguments)

    monkeypatch.setattr(Compensator, "_fit", counted)
    fresh, (first, second) = Compensator(small.quantized), small.convolutions
    other = Multiplier(ROUGH.name, truncated(9, power_mw=0.4).table)
    made = [fresh.cached(name, ROUGH, "full") for name in (first, second, first, second)]
    assert len(asked) == 2
    assert made[0] is made[2]
    again = fresh.cached(first, other, "full")  # of the same name
    assert len(asked) == 3
    assert not np.array_equal(again.approximation.weight, made[0].approximation.weight)
    assert fresh.cached(first, ROUGH, "bias") is not made[0]
    assert len(asked) == 4
