"""Progress: messages that may know how far a counted step has come and what comes after it, and time
spent by stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

_LOG = logging.getLogger(__name__)

Say = Callable[[str], None]
"""Takes progress messages."""


class Progress(str):
    """A message `STEP DONE/OF…`; callers that only want text use it as the `str` it is."""

    step: str
    done: int
    of: int

    def __new__(cls, step: str, done: int, of: int, rest: str = "") -> Self:
        """`step` names what is counted, `rest` follows the count."""
        self = super().__new__(cls, f"{step} {done}/{of}{rest}")
        self.step, self.done, self.of = step, done, of
        return self


@dataclass(frozen=True)
class Ahead:
    """A counted step that a job will take: how often, and what one of them costs, where one of the
    job's first step costs 1."""

    step: str
    count: int
    cost: float = 1.0


class Agenda(str):
    """A message with which a job says what counted steps it will take, in order."""

    ahead: tuple[Ahead, ...]

    def __new__(cls, text: str, ahead: Sequence[Ahead]) -> Self:
        """`text` is what the message reads as."""
        self = super().__new__(cls, text)
        self.ahead = tuple(ahead)
        return self


def followed_by(say: Say, more: Ahead) -> Say:
    """`say`, with a further step at the end of each agenda that it is given."""

    def extended(text: str) -> None:
        say(Agenda(text, [*text.ahead, more]) if isinstance(text, Agenda) else text)

    return extended


class Remaining:
    """Estimates what is left of a job.

    Without an agenda that is the rest of the current step, at its own pace so far. With one, the
    steps after it are added: their costs times the pace of the agenda's first step. What a step does
    first takes longer, kernels are compiled then: it counts only while there is nothing else, and the
    agenda's first step says nothing before its second count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._step: str | None = None
        self._last = self._since = clock()
        self._first = 0
        self._ahead: tuple[Ahead, ...] = ()
        self._unit = 0.0

    def after(self, text: str) -> str:
        """` (about 3 min left)` behind a `Progress`, nothing behind other text or the last step."""
        before, self._last = self._last, self._clock()
        if not isinstance(text, Progress):
            if isinstance(text, Agenda):
                self._ahead = text.ahead
            self._step = None
            return ""
        if text.step != self._step:
            self._step, self._since, self._first = text.step, self._last, text.done
            pace = self._last - before
            if text.done < text.of and self._ahead and self._ahead[0].step == text.step:
                return ""
        else:
            pace = (self._last - self._since) / max(text.done - self._first, 1)
        left, more = pace * (text.of - text.done), self._later(text.step, pace)
        if text.done >= text.of and not more:
            return ""
        return f" (about {duration(left + more)} left)"

    def _later(self, step: str, pace: float) -> float:
        """Seconds of the steps after this one; 0 where none are known."""
        names = [entry.step for entry in self._ahead]
        if step not in names:
            return 0.0
        at = names.index(step)
        if at == 0:
            self._unit = pace
        return self._unit * sum(entry.count * entry.cost for entry in self._ahead[at + 1 :])


@dataclass
class Clock:
    """Seconds spent in each stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the block's duration to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + took
            _LOG.debug("%s took %.3f s", name, took)

    def total(self) -> dict[str, float]:
        """All stages and `total`, rounded to milliseconds."""
        stages = {**self.seconds, "total": time.perf_counter() - self.began}
        return {name: round(value, 3) for name, value in stages.items()}


def duration(seconds: float) -> str:
    """A rough duration: 8 s, 3 min, 2 h 10 min."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
