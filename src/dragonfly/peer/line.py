"""Layers of images that this node reads from their source: the lowest first, each gets the streams it is left."""

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

    def look(self) -> None:
        """What lower layers claim has changed."""
        ...


class Line:
    """One line for each image. Whoever is in none (image `""`) is left alone."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Standing]] = {}

    def enter(self, image: str, who: Standing) -> None:
        """Stand in line; nothing changes for one who does already."""
        line = self._lines.setdefault(image, [])
        if image and who not in line:
            line.append(who)
            line.sort(key=lambda one: one.layer)

    def leave(self, image: str, who: Standing) -> None:
        """Nothing happens where it does not stand there."""
        line = self._lines.get(image, [])
        if who in line:
            line.remove(who)
            self.changed(image)
        if not line:
            self._lines.pop(image, None)

    def claimed(self, image: str, who: Standing) -> int:
        """Streams that layers below `who` claim."""
        line = self._lines.get(image, [])
        return sum(one.claim for one in line[: line.index(who)]) if who in line else 0

    def changed(self, image: str) -> None:
        """Somebody's claim has changed."""
        for who in list(self._lines.get(image, ())):
            who.look()
