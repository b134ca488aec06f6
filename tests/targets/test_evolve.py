"""Evolution: the compiled kernel against numpy, bounds kept, seeds and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="needs the package numba (extra `evolve`)")

from alwann_c.errors import InputError
from alwann_c.targets import exact_products
from alwann_c.targets.arrays import exact_array, truncated_arrays, without_partial_products
from alwann_c.targets.evolve.campaign import STATE_FILE, Operands, Task, run_campaign
from alwann_c.targets.evolve.genome import genes_of, netlist_of
from alwann_c.targets.evolve.problem import problem
from alwann_c.targets.evolve.search import Options, evolve_circuit
from alwann_c.targets.gate_model import switched_cells
from alwann_c.targets.netlist import Netlist, product_table

CUT = (1, 0, 4)
NARROW = exact_array(4, signed=False)


def errors(netlist: Netlist, bits: int, *, signed: bool) -> np.ndarray:
    side = 1 << bits
    table = product_table(netlist, signed=signed) - exact_products(signed, bits)
    return table[:side, :side].astype(np.float64)


AS_IT_IS = Options(evaluations=0)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 5, 8])
@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_error_and_power_of_a_circuit(
    bits: int, signed: bool, metric: Literal["mae", "mse"]
) -> None:
    cut = (1, 0, 2) if bits > 2 else (0, 0, 1)
    netlist = without_partial_products(exact_array(bits, signed=signed), cut)
    error = errors(netlist, bits, signed=signed)
    expected = np.abs(error).mean() if metric == "mae" else (error**2).mean()
    outcome = evolve_circuit(
        netlist, problem(bits, signed=signed), metric=metric, bound=1e12, options=AS_IT_IS
    )
    assert expected > 0
    assert outcome.error == expected
    assert outcome.cost == pytest.approx(switched_cells(netlist), rel=1e-12)


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_error_under_a_distribution(metric: Literal["mae", "mse"]) -> None:
    generator = np.random.default_rng(1)
    activations, weights = generator.random(256) ** 4, np.rint(generator.random(256) * 63)
    weights[7] = 63
    activations[3:90] = 0
    netlist = without_partial_products(exact_array(8, signed=True), CUT)
    error = np.abs(errors(netlist, 8, signed=True)) ** (1 if metric == "mae" else 2)
    expected = activations @ error @ weights / activations.sum() / weights.sum()
    for every_pair in (True, False):
        outcome = evolve_circuit(
            netlist,
            problem(
                8, signed=True, activations=activations, weights=weights, every_pair=every_pair
            ),
            metric=metric,
            bound=1e12,
            options=AS_IT_IS,
        )
        assert outcome.error == pytest.approx(expected, rel=1e-12)
        assert outcome.cost == pytest.approx(switched_cells(netlist, activations, weights))


@pytest.mark.parametrize("signed", [False, True])
def test_what_is_found_keeps_to_the_bound_and_costs_less(signed: bool) -> None:
    start = without_partial_products(exact_array(8, signed=signed), CUT)
    bound = float(np.abs(errors(start, 8, signed=signed)).mean()) * 1.5
    outcome = evolve_circuit(
        start, problem(8, signed=signed), bound=bound, options=Options(evaluations=20_000), seed=3
    )
    assert np.abs(errors(outcome.netlist, 8, signed=signed)).mean() == outcome.error <= bound
    assert outcome.cost < 0.99 * switched_cells(start)
    assert switched_cells(outcome.netlist) <= outcome.cost * (1 + 1e-12)


def test_worst_case_error_is_bounded() -> None:
    limit = 9
    outcome = evolve_circuit(
        NARROW,
        problem(4, signed=False),
        bound=1e9,
        limit=limit,
        options=Options(evaluations=20_000),
    )
    worst = np.abs(errors(outcome.netlist, 4, signed=False)).max()
    assert limit / 2 < worst <= limit
    assert outcome.cost < switched_cells(NARROW) * 0.9


def test_a_start_beyond_the_bound_is_refused() -> None:
    start = without_partial_products(NARROW, (0, 0, 3))
    with pytest.raises(ValueError, match="more error than the bound"):
        evolve_circuit(start, problem(4, signed=False), bound=0.1, options=Options(1000))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(0, 40), st.booleans())
def test_genes_hold_the_circuit(seed: int, spare: int, signed: bool) -> None:
    netlist = exact_array(4, signed=signed)
    genes, outputs = genes_of(netlist, spare, seed)
    assert len(genes) == len(netlist.gates) + spare
    back = netlist_of(genes, outputs, 8)
    table = product_table(back, signed=signed)
    assert np.array_equal(table, product_table(netlist, signed=signed))
    assert switched_cells(back) == pytest.approx(switched_cells(netlist))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(2, 9))
def test_arrays_are_exact(bits: int, signed: bool) -> None:
    table = product_table(exact_array(bits, signed=signed), signed=signed)
    assert np.array_equal(table, exact_products(signed, bits))


def test_truncated_arrays_leave_out_the_low_bits() -> None:
    codes = np.arange(256) & 15
    tables = {cut: product_table(n, signed=False) for cut, n in truncated_arrays(4, signed=False)}
    assert np.array_equal(tables[1, 2, 3], np.multiply.outer(codes & ~1, codes & ~3))
    assert len(tables) > 20


TASKS = [Task(Operands(4), "mae", bound) for bound in (0.0, 1.0, 4.0)]


def campaign(folder: Path, rounds: int, workers: int = 1) -> list[tuple[float, float]]:
    folder.mkdir(exist_ok=True)
    options = Options(evaluations=3000, spare=10)
    found = run_campaign(TASKS, folder, rounds=rounds, options=options, workers=workers)
    return [(entry.error, entry.cost) for entry in found]


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = campaign(tmp_path / "whole", 2)
    first = campaign(tmp_path / "parts", 1)
    assert first == whole[: len(TASKS)]
    state = (tmp_path / "parts" / STATE_FILE).read_text(encoding="utf-8")
    assert campaign(tmp_path / "parts", 2) == whole
    assert state != (tmp_path / "parts" / STATE_FILE).read_text(encoding="utf-8")
    for (error, cost), (_, again), task in zip(whole[:3], whole[3:], TASKS, strict=True):
        assert error <= task.bound
        assert again <= cost


def left_by_compensation(metric: str, table: np.ndarray, shares: tuple[np.ndarray, ...]) -> float:
    """RMS error once means, and for `tuned` the codes too, are chosen weight by weight."""
    values, activations, weights = shares
    total = 0.0
    for u, value in enumerate(values):
        codes = range(len(values)) if metric == "tuned" else [u]
        errors = [table[:, code] - value * values for code in codes]
        variances = [activations @ (e - activations @ e) ** 2 for e in errors]
        total += weights[u] * min(variances)
    return float(np.sqrt(total))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("metric", ["spread", "tuned"])
def test_what_compensation_leaves_is_bounded(
    metric: Literal["spread", "tuned"], signed: bool, tmp_path: Path
) -> None:
    generator = np.random.default_rng(5)
    activations, weights = generator.random(16) ** 3, generator.random(16)
    operands = Operands(4, signed, tuple(activations), tuple(weights))
    task = Task(operands, metric, 3.0)
    found = run_campaign([task], tmp_path, rounds=4, options=Options(evaluations=8000))
    values = np.arange(16.0) - (np.arange(16) // 8 * 16 if signed else 0)
    levels = np.rint(weights / weights.max() * 63)
    shares = values, activations / activations.sum(), levels / levels.sum()
    for entry in found:
        table = product_table(entry.netlist, signed=signed)[:16, :16].astype(np.float64)
        assert entry.error == pytest.approx(left_by_compensation(metric, table, shares))
        assert entry.error <= task.bound * (1 + 1e-9)
        assert entry.cost == switched_cells(entry.netlist, activations, weights)
    costs = [entry.cost for entry in found]
    assert costs[-1] <= costs[0] * (1 + 1e-9)
    assert costs[-1] < 0.7 * switched_cells(exact_array(4, signed=signed), activations, weights)
    error = table - np.outer(values, values)
    whole = np.sqrt(shares[1] @ error**2 @ shares[2])
    assert whole > 1.1 * task.bound  # which a bound on the mean square would not allow


def test_products_to_give_may_be_others() -> None:
    """A circuit that is off by what is wanted of it has no error."""
    start = without_partial_products(NARROW, (1, 0, 3))
    wanted = product_table(start, signed=False)[:16, :16].astype(np.int64)
    pairs = problem(4, signed=False, products=wanted)
    outcome = evolve_circuit(start, pairs, bound=0.0, options=Options(evaluations=3000))
    assert np.array_equal(product_table(outcome.netlist, signed=False)[:16, :16], wanted)


def test_workers_find_the_same(tmp_path: Path) -> None:
    assert campaign(tmp_path / "two", 1, workers=2) == campaign(tmp_path / "one", 1)


def test_another_campaigns_state_is_refused(tmp_path: Path) -> None:
    campaign(tmp_path, 1)
    with pytest.raises(InputError, match="of another campaign"):
        run_campaign(TASKS[:1], tmp_path, rounds=1, options=Options(evaluations=3000, spare=10))
    (tmp_path / STATE_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="not JSON"):
        campaign(tmp_path, 1)
