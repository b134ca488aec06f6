"""Races: clear losers stop early, decisions depend on nothing but the divergences."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from searching import LIBRARY, Counting, InMemory, Names
from tiny import Case, make_target

from alwann_c.accelerator import Accelerator, place
from alwann_c.compensation import Compensator
from alwann_c.dataset import load_dataset
from alwann_c.evaluation import Outcome
from alwann_c.search import Evaluator, LocalPool, racing

Float32 = npt.NDArray[np.float32]
IMAGES = 1000


def drawn(mean: float, seed: int, images: int = IMAGES) -> Float32:
    """Heavy-tailed divergences, as networks have them."""
    random = np.random.default_rng(seed)
    values = random.lognormal(0, 1.5, images)
    return (mean * values / np.exp(1.5**2 / 2)).astype(np.float32)


def test_clear_losers_are_beaten_and_equals_are_not() -> None:
    rival = drawn(0.01, 0)
    assert racing.beaten(3 * rival[:125], rival)
    assert not racing.beaten(rival[:125], rival)
    assert not racing.beaten(rival[:125] * np.float32(1 + racing.MARGIN / 2), rival)
    assert not racing.beaten(drawn(0.005, 1)[:500], rival)
    assert not racing.beaten(3 * rival[:1], rival)


def test_who_is_within_the_margin_is_seldom_stopped() -> None:
    """The worst case, candidates exactly at the margin: far below one in twenty over all looks."""
    stopped = 0
    for seed in range(400):
        shared, own = drawn(1, 2 * seed), drawn(1, 2 * seed + 1)
        rival = 0.01 * shared
        candidate = (0.01 * (1 + racing.MARGIN) * (0.5 * shared + 0.5 * own)).astype(np.float32)
        needed = racing.images_needed(candidate, rival.astype(np.float32))
        stopped += needed != IMAGES
    assert stopped <= 8


def test_images_needed_is_the_first_decision() -> None:
    rival = drawn(0.01, 0)
    loser = (rival * 1.05 + drawn(0.01, 5)).astype(np.float32)
    needed = racing.images_needed(loser, rival)
    assert needed is not None
    assert needed % racing.STEP == 0
    assert needed < IMAGES
    for seen in range(racing.STEP, needed, racing.STEP):
        assert not racing.beaten(loser[:seen], rival)
        assert racing.images_needed(loser[:seen], rival) is None
    assert racing.images_needed(loser[:needed], rival) == needed
    assert racing.images_needed(loser[: needed + 40], rival) == needed
    assert racing.images_needed(rival, rival) == IMAGES


def test_an_estimate_is_dominated_by_the_rival() -> None:
    rival = drawn(0.01, 0)
    loser = (rival + drawn(0.01, 5)).astype(np.float32)
    estimates = [racing.estimate(loser[:seen], rival) for seen in (125, 500, IMAGES)]
    assert min(estimates) > rival.mean()
    assert estimates[-1] == pytest.approx(loser.mean(), rel=1e-5)


def test_rivals_are_the_best_that_cost_no_more() -> None:
    made = [racing.Finisher((e,), drawn(d, 0), d) for e, d in [(0.9, 0.01), (0.5, 0.2), (0.7, 0.3)]]
    front = racing.front(made)
    assert [one.costs[0] for one in front] == [0.5, 0.9]
    assert racing.rival(front, (0.4,)) is None
    assert racing.rival(front, (0.89,)) is front[0]
    assert racing.rival(front, (0.9,)) is front[1]


@pytest.fixture(scope="module")
def accelerator(small: Case) -> Accelerator:
    """The small network on two units."""
    return place(small.quantized, make_target(), LIBRARY)


@pytest.fixture
def pool(small: Case, accelerator: Accelerator) -> Counting:
    """Evaluates on the search data, in this process."""
    compensator = Compensator(small.quantized)
    return Counting(accelerator, compensator, load_dataset(small.search.path), "full")


class Drawn:
    """A pool whose divergences are drawn; the mean is that of a candidate's multipliers."""

    means: dict[str, float] = {"exact": 0.0, "cut6": 0.01, "cut9": 0.2, "cut12": 0.9}  # noqa: RUF012

    def __init__(self, order: int = 1) -> None:
        self.seen: dict[Names, int] = {}
        self.order = order

    def judge(
        self, candidates: Sequence[Names], rivals: Sequence[Float32 | None]
    ) -> Iterator[tuple[int, Outcome]]:
        for i in list(range(len(candidates)))[:: self.order]:
            whole = drawn(1, 3) * np.float32(sum(self.means[name] for name in candidates[i]))
            rival = rivals[i]
            images = IMAGES if rival is None else racing.images_needed(whole, rival)
            self.seen[candidates[i]] = images or IMAGES
            yield i, Outcome(np.arange(IMAGES) % 7 > 0, whole).first(images or IMAGES)


FIRST = [("cut6", "cut6"), ("exact", "exact")]
SECOND = [("cut12", "cut9"), ("cut9", "exact"), ("exact", "cut6"), ("cut6", "cut12")]


def raced(accelerator: Accelerator, pool: Any, memory: Any = None, race: bool = True) -> Any:
    """Two generations."""
    evaluator = Evaluator(accelerator, pool, IMAGES, memory, race=race)
    return evaluator.evaluate(FIRST) + evaluator.evaluate(SECOND)


def test_the_first_generation_is_judged_on_all_images(accelerator: Accelerator) -> None:
    pool = Drawn()
    found = raced(accelerator, pool)
    assert [pool.seen[names] for names in FIRST] == [IMAGES] * 2
    assert not any(e.stopped for e in found[:2])
    # cut9, exact costs more than cut6, cut6 and diverges ten times as much
    assert pool.seen["cut9", "exact"] < IMAGES
    assert [e.stopped for e in found[2:]] == [pool.seen[n] < IMAGES for n in SECOND]
    assert pool.seen["exact", "cut6"] == IMAGES  # cheaper than exact, better than cut6, cut6
    assert pool.seen["cut12", "cut9"] == IMAGES  # nothing is cheaper


def test_the_order_and_what_finishes_first_change_nothing(accelerator: Accelerator) -> None:
    assert raced(accelerator, Drawn()) == raced(accelerator, Drawn(order=-1))


def test_without_a_race_everything_is_judged_on_all_images(accelerator: Accelerator) -> None:
    pool = Drawn()
    found = raced(accelerator, pool, race=False)
    assert set(pool.seen.values()) == {IMAGES}
    assert not any(e.stopped for e in found)


def test_what_is_remembered_gives_the_same_races(accelerator: Accelerator) -> None:
    memory = InMemory()
    found = raced(accelerator, Drawn(), memory)
    again = Drawn()
    assert raced(accelerator, again, memory) == found
    assert not again.seen
    # a memory that went further is cut, one that did not is continued
    complete = InMemory()
    raced(accelerator, Drawn(), complete, race=False)
    assert raced(accelerator, again, complete) == found
    assert not again.seen
    evaluator = Evaluator(accelerator, again, IMAGES, memory)  # type: ignore[arg-type]
    assert not evaluator.evaluate([("cut9", "exact")])[0].stopped
    assert set(again.seen) == {("cut9", "exact")}


def test_a_real_network_stops_where_the_rule_says(
    pool: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "STEP", 8)
    monkeypatch.setattr(sys.modules[LocalPool.__module__], "STEP", 8)
    names = [("cut6", "cut6"), ("cut12", "cut12"), ("cut12", "exact")]
    whole = dict(pool.judge(names, [None] * 3))
    assert all(len(outcome.correct) == 64 for outcome in whole.values())
    rival = whole[0].divergences
    part = dict(pool.judge(names, [None, rival, rival]))
    np.testing.assert_array_equal(part[0].divergences, rival)
    for i in (1, 2):
        needed = racing.images_needed(whole[i].divergences, rival)
        assert needed is not None
        np.testing.assert_array_equal(part[i].divergences, whole[i].divergences[:needed])
        np.testing.assert_array_equal(part[i].correct, whole[i].correct[:needed])
    assert len(part[1].correct) < 64
