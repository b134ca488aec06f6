"""Progress: messages that may know how far a counted step has come, and time spent by stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
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


class Remaining:
    """Estimates what is left of a counted step from the pace so far."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._step: str | None = None
        self._last = self._since = clock()
        self._first = 0

    def after(self, text: str) -> str:
        """` (about 3 min left)` behind a `Progress`, nothing behind other text or a finished step."""
        before, self._last = self._last, self._clock()
        if not isinstance(text, Progress):
            self._step = None
            return ""
        if text.step != self._step:
            self._step, self._since, self._first = text.step, before, text.done - 1
        counted = text.done - self._first
        left = (self._last - self._since) / max(counted, 1) * (text.of - text.done)
        return "" if text.done >= text.of else f" (about {duration(left)} left)"


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
