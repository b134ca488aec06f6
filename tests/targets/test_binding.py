"""Targets bound to libraries: units, candidates, reference, energy of one multiplication."""

from __future__ import annotations

from typing import Any

import pytest

from alwann_c.errors import InputError
from alwann_c.targets import Library, Multiplier, bind, exact_products, merge_libraries


def test_groups_are_spelled_out(library: Library, make_target: Any) -> None:
    units = [{"name": "a", "count": 2}, {"name": "b", "multiplier": "half"}]
    binding = bind(make_target(unit=units), library)
    assert [unit.name for unit in binding.units] == ["a0", "a1", "b"]
    assert [unit.group for unit in binding.units] == [0, 0, 1]
    assert binding.candidates == (("exact", "half", "tenth"),) * 2 + (("half",),)


def test_patterns_choose_candidates(library: Library, make_target: Any) -> None:
    binding = bind(make_target(unit=[{"name": "u", "multipliers": ["t*", "exact"]}]), library)
    assert binding.candidates == (("exact", "tenth"),)


def test_energy_from_power_and_clock(library: Library, make_target: Any) -> None:
    binding = bind(make_target(clock_mhz=500.0), library)
    assert binding.multiplication_pj["exact"] == pytest.approx(1.0 * 2.0)
    assert binding.multiplication_pj["tenth"] == pytest.approx(0.1 * 2.0)
    assert binding.relative_cost("half") == 0.5


def test_energy_from_the_reference(library: Library, make_target: Any) -> None:
    binding = bind(make_target(energy={"reference_pj": 0.2}), library)
    assert binding.multiplication_pj["exact"] == pytest.approx(0.2)
    assert binding.multiplication_pj["half"] == pytest.approx(0.1)
    assert binding.relative_cost("half") == 0.5


def test_energy_from_a_table_limits_the_candidates(library: Library, make_target: Any) -> None:
    energy = {"from": "table", "multiplication_pj": {"exact": 4.0, "tenth": 1.0}}
    binding = bind(make_target(energy=energy), library)
    assert binding.candidates[0] == ("exact", "tenth")
    assert binding.multiplication_pj == {"exact": 4.0, "tenth": 1.0}
    assert binding.relative_cost("tenth") == 0.25


def test_signed_operands(library: Library, make_target: Any) -> None:
    binding = bind(make_target(operands={"signed": True}), library)
    assert binding.candidates[0] == ("sexact",)
    assert binding.reference.name == "sexact"


def test_circuits_without_power_are_no_candidates(library: Library, make_target: Any) -> None:
    dark = Multiplier("dark", exact_products(False) & ~1)
    more = merge_libraries([library, Library("more", "MIT", None, {"dark": dark})])
    assert "dark" not in bind(make_target(), more).candidates[0]
    with pytest.raises(InputError, match="'dark' has no energy figure: add power_mw"):
        bind(make_target(unit=[{"name": "u", "multiplier": "dark"}]), more)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"energy": {"reference": "half"}}, "energy.reference: 'half' is not exact"),
        ({"energy": {"reference": "exat"}}, "did you mean 'exact'"),
        ({"energy": {"reference": "sexact"}}, "'sexact' is signed with 8 bits"),
        ({"unit": [{"name": "u", "multiplier": "hal"}]}, r"unit\[0\]\.multiplier: .*'half'"),
        ({"unit": [{"name": "u", "multipliers": ["x*"]}]}, r"unit\[0\]\.multipliers: .*none"),
        (
            {"energy": {"from": "table", "multiplication_pj": {"exact": 1.0, "haf": 1.0}}},
            r"energy\.multiplication_pj: no multiplier 'haf': did you mean 'half'",
        ),
        (
            {"energy": {"from": "table", "multiplication_pj": {"half": 1.0}}},
            "'exact' has no energy above 0 to compare with: add it to energy.multiplication_pj",
        ),
    ],
)
def test_unfit_libraries_are_refused(
    library: Library, make_target: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        bind(make_target(**fields), library)
    assert str(caught.value).startswith("target 'test': ")
