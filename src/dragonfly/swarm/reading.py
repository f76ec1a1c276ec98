"""Where the local readers are: the piece that is wanted next, and how far ahead of it others go first."""

from __future__ import annotations

from dragonfly.core import bitmap

__all__ = ["Reading"]

_LEAST_WINDOW = 32
"""Pieces among which there is something to choose."""


class Reading:
    """Readers of one task, by number; true while there are any."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._readers: dict[int, int] = {}
        self._turn = 0

    def __bool__(self) -> bool:
        return bool(self._readers)

    def at(self, reader: int, index: int) -> None:
        """The reader wants this piece next."""
        self._readers[reader] = index

    def left(self, reader: int) -> None:
        self._readers.pop(reader, None)

    def head(self, missing: int) -> int:
        """The next of the pieces `missing` (a bitmap, not empty) that a reader wants, each reader's in its turn;
        the first one without readers.

        In turn, and not the lowest: else one that reads the end waits for one that reads the whole.
        """
        heads = {at + bitmap.lowest(ahead) for at in self._readers.values() if (ahead := missing >> at)}
        if not heads:
            return bitmap.lowest(missing)
        self._turn += 1
        return sorted(heads)[self._turn % len(heads)]

    def window(self, missing: int) -> int:
        """How many pieces ahead of the head go before all others: as many as are missing, in bounds.

        At the end none of these is rare any more, and a reader that had to wait for the last of many
        would have all that lies behind it to read at once.
        """
        return min(self._window, max(_LEAST_WINDOW, missing.bit_count()))
