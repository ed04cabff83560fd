"""Random times at which a command is killed, until enough kills met it at work."""

from __future__ import annotations

import random
from collections.abc import Iterator


class RandomKills:
    """Iterate over times in seconds; `count` whether the kill at this time came before the end of the work.

    A time that was too late is the longest from then on, so that a machine which works faster by and by is met too.
    """

    def __init__(self, wanted: int, seconds: float) -> None:
        self._open = wanted
        self._longest = seconds
        self._now = 0.0

    def __iter__(self) -> Iterator[float]:
        while self._open > 0:
            self._now = random.uniform(0.1, 0.9) * self._longest
            yield self._now

    def count(self, killed: bool) -> None:
        if killed:
            self._open -= 1
        else:
            self._longest = self._now
