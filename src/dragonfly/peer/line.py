"""Layers of images that this node reads from their source: the lowest first, the others get what it leaves."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Line"]


class Standing(Protocol):
    """A pull of a layer."""

    @property
    def layer(self) -> int:
        """Its place in its image."""
        ...

    @property
    def claim(self) -> int:
        """Streams that are not for the layers above: all, or those on which its last bytes are under way."""
        ...

    def look(self, claimed: int) -> None:
        """Lower layers claim so many streams by now."""
        ...


class Line:
    """One line for each image. Whoever is in none (`""`) is left alone."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Standing]] = {}

    def enter(self, line: str, who: Standing) -> None:
        """Stand in line; nothing changes for one who does already."""
        standing = self._lines.setdefault(line, [])
        if line and who not in standing:
            standing.append(who)
            standing.sort(key=lambda one: one.layer)

    def leave(self, line: str, who: Standing) -> None:
        """Nothing happens where it does not stand there."""
        standing = self._lines.get(line, [])
        if who in standing:
            standing.remove(who)
            self.changed(line)
        if not standing:
            self._lines.pop(line, None)

    def changed(self, line: str) -> None:
        """Somebody's claim has changed, or may have: all look."""
        claimed = 0
        for who in list(self._lines.get(line, ())):
            who.look(claimed)
            claimed += who.claim
