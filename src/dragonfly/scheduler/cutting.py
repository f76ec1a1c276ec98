"""How tasks are cut into pieces: larger ones where nodes receive fast (`core.pieces`).

A task that is described anew is cut as those have it who have pieces of it already: a node
with other pieces can neither be given any nor give some. So nodes tell with what they have
how it is cut.
"""

from __future__ import annotations

import statistics
from collections import deque

from dragonfly.core import messages as msg
from dragonfly.core.pieces import piece_size_for
from dragonfly.scheduler.roster import Task

__all__ = ["Cutting"]

_REMEMBERED = 64
_TELLING = 8 * 1024 * 1024
"""Bytes: a shorter pull says how long beginnings take, not how fast bytes come."""


class Cutting:
    """What finished pulls say of the rate at which nodes receive, and what follows for the next tasks."""

    def __init__(self, node_rate: int) -> None:
        self._given = node_rate
        self._seen: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def rate(self) -> float:
        """Bytes/s at which a node receives: as the operator says, else the median of the last pulls; 0: not known."""
        if self._given or not self._seen:
            return float(self._given)
        return statistics.median(self._seen)

    def finished(self, message: msg.Finished) -> None:
        """A node's word on its pull."""
        if message.node_rate > 0 and message.received.total - message.received.cache >= _TELLING:
            self._seen.append(message.node_rate)

    def piece_size(self, task: Task | None, length: int) -> int:
        """Of a task of `length` bytes that the seed begins to read: as somebody has it already, if that is no
        smaller than its length wants (a word of one node would make millions of pieces)."""
        if task is not None and task.piece_size >= piece_size_for(length):
            return task.piece_size
        return piece_size_for(length, self.rate)
