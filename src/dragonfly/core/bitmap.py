"""A set of pieces in one arbitrary-precision integer: bit i is piece i.

Python's big integers do union, difference and popcount in C over whole words, so a
set of 25,000 pieces (100 GB) costs 3 KB and a microsecond. Values are immutable `int`s;
these functions give them their meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = [
    "from_bytes",
    "from_indexes",
    "full",
    "indexes",
    "leading_run",
    "lowest",
    "run",
    "run_from",
    "runs",
    "to_bytes",
]


def full(count: int) -> int:
    """All of `count` pieces."""
    return (1 << count) - 1


def run(first: int, count: int) -> int:
    """The `count` pieces from `first` on."""
    return ((1 << count) - 1) << first


def from_indexes(indexes: Iterable[int]) -> int:
    bits = 0
    for index in indexes:
        bits |= 1 << index
    return bits


def indexes(bits: int) -> Iterator[int]:
    """The pieces of the set, lowest first."""
    if not bits:
        return
    # Cut into bytes first: peeling single bits off a large integer is quadratic.
    skip = lowest(bits) // 8
    bits >>= 8 * skip
    for at, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), skip):
        while byte:
            low = byte & -byte
            yield at * 8 + low.bit_length() - 1
            byte ^= low


def lowest(bits: int) -> int:
    """The lowest piece of a set that is not empty."""
    return (bits & -bits).bit_length() - 1


def run_from(bits: int, start: int) -> int:
    """How many consecutive pieces the set has from `start` on."""
    shifted = bits >> start
    return ((~shifted) & (shifted + 1)).bit_length() - 1 if shifted & 1 else 0


def leading_run(bits: int) -> int:
    """How many pieces from the first on the set has without a gap."""
    return run_from(bits, 0)


def runs(bits: int) -> Iterator[tuple[int, int]]:
    """The set as `(first, count)` runs, lowest first."""
    at = 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        at += skip
        count = run_from(bits, 0)
        yield at, count
        bits >>= count
        at += count


def to_bytes(bits: int) -> bytes:
    """Little-endian, as short as possible: what goes over the wire."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def from_bytes(data: bytes, count: int) -> int:
    """Read what `to_bytes` wrote; ValueError where a bit beyond `count` pieces is set."""
    bits = int.from_bytes(data, "little")
    if bits.bit_length() > count:
        raise ValueError(f"piece {bits.bit_length() - 1} of {count}")
    return bits
