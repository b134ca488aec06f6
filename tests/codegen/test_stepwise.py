"""Networks run layer by layer: the same bits as run as a whole, whatever candidates share."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny import Case, random_table

from alwann_c.codegen.network import CompiledNetwork, Operands, prepared
from alwann_c.codegen.stepwise import State, StepwiseNetwork, Walk

TABLES = {name: prepared(random_table(seed), False) for seed, name in enumerate("pqr")}


def choices(network: StepwiseNetwork) -> dict[str, dict[str, Operands]]:
    """Operands of every layer on each table, the default ones under "-"."""
    return {
        layer: {
            "-": given,
            **{name: replace(given, table=table) for name, table in TABLES.items()},
        }
        for layer, given in network.defaults.items()
    }


def candidates(network: StepwiseNetwork, words: list[str]) -> list[list[Operands]]:
    """Operands by words of one letter for each layer."""
    known = choices(network)
    pairs = [zip(network.layer_names, word, strict=True) for word in words]
    return [[known[layer][letter] for layer, letter in pair] for pair in pairs]


@pytest.fixture(scope="module")
def whole(residual: Case) -> CompiledNetwork:
    """The residual network in one function."""
    return CompiledNetwork(residual.quantized.module)


def test_equals_the_whole_network(residual: Case, whole: CompiledNetwork) -> None:
    network, images = residual.quantized.network, residual.search.images
    assert network.layer_names == whole.layer_names
    np.testing.assert_array_equal(network.run(images), whole.run(images))
    (word,) = candidates(network, ["pqrpq-"])
    bindings = dict(zip(network.layer_names, word, strict=True))
    found = network.run(images, bindings)
    np.testing.assert_array_equal(found, whole.run(images, bindings))
    assert not np.array_equal(found, network.run(images))


class _Counting:
    """Counts the layers that a network computes."""

    def __init__(self, network: StepwiseNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layers: Counter[int] = Counter()
        advance = StepwiseNetwork.advance

        def counted(own: StepwiseNetwork, state: State, operands: Any = None) -> State:
            self.layers[state.layer] += 1
            return advance(own, state, operands)

        monkeypatch.setattr(StepwiseNetwork, "advance", counted)


WORDS = ["pqrpq-", "pqrpr-", "pqppq-", "qqrpq-", "pqrpq-", "------", "p-----", "pqrpqp"]


def test_shared_prefixes_change_nothing(
    residual: Case, whole: CompiledNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = residual.quantized.network, residual.search.images
    given = candidates(network, WORDS)
    wanted = [whole.run(images, dict(zip(network.layer_names, c, strict=True))) for c in given]
    count = _Counting(network, monkeypatch)
    for found, expected in zip(network.run_many(images, given), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)
    for depth in range(6):  # every distinct prefix is computed once
        assert count.layers[depth] == len({word[: depth + 1] for word in WORDS})


@pytest.mark.parametrize("most", [1, 2])
def test_bounded_memory_changes_nothing(
    residual: Case, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """With few activations kept, some prefixes are computed again."""
    network, images = residual.quantized.network, residual.search.images[:7]
    words = ["".join(word) + "-" for word in itertools.product("pq", repeat=5)]
    given = candidates(network, words)
    free = network.run_many(images, given)
    bound = most * len(images) * max(network._cut.live_bytes)
    monkeypatch.setattr("alwann_c.codegen.stepwise.PREFIX_BYTES", bound)
    count = _Counting(network, monkeypatch)
    for found, expected in zip(network.run_many(images, given), free, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sum(count.layers.values()) > sum(2**depth for depth in range(1, 6)) + 32


def test_batches_change_nothing(residual: Case) -> None:
    network, images = residual.quantized.network, residual.search.images
    small = StepwiseNetwork(residual.quantized.module, batch=5)
    given = candidates(network, WORDS[:3])
    for few, many in zip(
        small.run_many(images, given), network.run_many(images, given), strict=True
    ):
        np.testing.assert_array_equal(few, many)


@pytest.mark.parametrize("bound", [1 << 30, 0])
def test_walk_reads_what_layers_read(
    residual: Case, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    network, images = residual.quantized.network, residual.search.images
    monkeypatch.setattr("alwann_c.codegen.stepwise.PREFIX_BYTES", bound)
    (word,) = candidates(network, ["pqrpq-"])
    run = network.run_probed(images, dict(zip(network.layer_names, word, strict=True)))
    assert set(run.residuals) == set(network.residual_codes) != set()
    walk = Walk(network, images)
    for i, (name, chosen) in enumerate(zip(network.layer_names, word, strict=True)):
        if i % 3 != 1:
            read = walk.read()
            assert list(read.codes) == [name]
            np.testing.assert_array_equal(read.codes[name], run.codes[name])
            assert set(read.residuals) == {name} & set(run.residuals)
            for found in read.residuals.values():
                np.testing.assert_array_equal(found, run.residuals[name])
        walk.advance(None if word[i] is network.defaults[name] else chosen)


def test_unknown_layers_are_refused(residual: Case) -> None:
    network = residual.quantized.network
    with pytest.raises(KeyError, match="no such layer: nowhere"):
        network.run(residual.search.images[:1], {"nowhere": next(iter(network.defaults.values()))})
