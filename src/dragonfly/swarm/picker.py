"""Which piece to ask a neighbour for: the reader's next one, else the rarest of a sample.

Rarest first keeps every piece in many hands (Legout, Urvoy-Keller and Michiardi, "Rarest
First and Choke Algorithms Are Enough", IMC 2006). Scanning all candidates for the rarest
costs O(pieces) per request; the rarest of a few random ones is as good in a mesh, and its
randomness keeps neighbours from all choosing the same piece.
"""

from __future__ import annotations

from array import array
from random import Random

from dragonfly.core import bitmap

__all__ = ["extend", "pick", "sample", "stretch"]


def sample(pool: int, want: int, rng: Random) -> list[int]:
    """About `want` random pieces of a bitmap that is not empty (all, when it has few)."""
    if pool.bit_count() <= want:
        return list(bitmap.indexes(pool))
    base = bitmap.lowest(pool)
    pool >>= base
    span = pool.bit_length()
    chosen = []
    random = rng.random
    for _ in range(want):
        skip = int(random() * span)
        rest = pool >> skip
        chosen.append(base + skip + (rest & -rest).bit_length() - 1)
    return chosen


def pick(pool: int, head: int, window: int, copies: array[int], samples: int, rng: Random) -> int:
    """The piece to ask for, out of the bitmap `pool` (not empty) of one neighbour's useful pieces.

    `head` is the piece that the local reader waits for; pieces within `window` of it go first.
    """
    near = (pool >> head) & ((1 << window) - 1)
    if near & 1:
        return head
    if near:
        pool = near << head
    return min(sample(pool, samples, rng), key=copies.__getitem__)


def extend(pool: int, index: int, want: int) -> int:
    """How many pieces the run from `index` on may have, at most `want`, all in `pool`."""
    if want <= 1:
        return 1
    return max(1, min(want, bitmap.run_from(pool >> index, 0)))


def stretch(pool: int, index: int, span: int) -> tuple[int, int]:
    """The run to ask for with piece `index`: what is in `pool` around it, within its block of `span` pieces.

    Blocks begin at multiples of `span`. Were runs to begin anywhere, they would leave gaps too short for the next.
    """
    start = index - index % span
    block = pool >> start & bitmap.full(span)
    first = (~block & bitmap.full(index - start)).bit_length()
    return start + first, bitmap.run_from(block, first)
