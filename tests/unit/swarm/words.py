"""A mind to talk with."""

from __future__ import annotations

from random import Random

from dragonfly.core import bitmap
from dragonfly.core.pieces import PieceLayout
from dragonfly.swarm.download import Download
from dragonfly.swarm.settings import SwarmSettings
from dragonfly.testing.script import Script

SIZE = 1000


def script(pieces: int, *, have: int = 0, known: int | None = None, depth: int = 2, **settings: float) -> Script:
    """With `depth` requests at each neighbour, whether there is a seed or not, unless `settings` say otherwise."""
    layout = PieceLayout(pieces * SIZE, SIZE)
    known = bitmap.full(pieces) if known is None else known
    numbers = SwarmSettings(depth=depth, **({"seedless_depth": depth, "seed_depth": 2, "min_neighbours": 1} | settings))  # type: ignore[arg-type]
    return Script(Download(layout, numbers, Random(1), have=have, known=known))
