"""Pieces: how a blob is cut, and all arithmetic between piece numbers and byte ranges.

A piece is the unit of verification and of bookkeeping. A *request* may cover a run of
neighbouring pieces, so that fast links are not paid for in messages; see `swarm.picker`.
An index that went through `PieceLayout` is a `PieceIndex`, not any integer.
"""

from __future__ import annotations

from typing import NewType

import msgspec

__all__ = ["MAX_PIECE", "MIN_PIECE", "PieceIndex", "PieceLayout", "piece_size_for", "possible_piece_size"]

PieceIndex = NewType("PieceIndex", int)

MIN_PIECE = 32 * 1024
MAX_PIECE = 4 * 1024 * 1024
_TARGET_PIECES = 2048
_LEAST_PIECES = 256
_PIECE_S = 0.002
"""How long a piece should take a node at least. In and out again it costs 0.44 ms of Python (docs/performance.md)."""


def piece_size_for(length: int, rate: float = 0.0) -> int:
    """Size of the pieces of a blob of `length` bytes: a power of two, 32 KiB … 4 MiB.

    One to two thousand pieces each: for M pieces and N peers a store-and-forward broadcast
    loses log2(N)/M of its time to filling (Mundinger, Weber and Weiss 2008), so 1024
    pieces cost 1 % at 1000 peers, and 32 bytes of digest each stay small beside the blob.

    Where nodes receive at `rate` bytes/s (0: not known) and a piece would pass in less than two
    milliseconds, what it costs in Python is more than that filling: larger ones then, 256 or more.
    """
    size = MIN_PIECE
    while size < MAX_PIECE and length > size * _TARGET_PIECES:
        size *= 2
    while size < MAX_PIECE and size < rate * _PIECE_S and length >= 2 * size * _LEAST_PIECES:
        size *= 2
    return size


def possible_piece_size(size: int) -> bool:
    """Whether blobs are ever cut so."""
    return MIN_PIECE <= size <= MAX_PIECE and size & (size - 1) == 0


class PieceLayout(msgspec.Struct, frozen=True):
    """A blob of `length` bytes in pieces of `piece_size` bytes, the last one shorter."""

    length: int
    piece_size: int

    @classmethod
    def for_length(cls, length: int) -> PieceLayout:
        return cls(length, piece_size_for(length))

    def __post_init__(self) -> None:
        if self.length < 0 or self.piece_size <= 0:
            raise ValueError(f"impossible layout: {self.length} bytes in pieces of {self.piece_size}")

    @property
    def count(self) -> int:
        """How many pieces; an empty blob has none."""
        return -(-self.length // self.piece_size)

    def index(self, number: int) -> PieceIndex:
        """The number as a checked index; ValueError outside 0 … count-1."""
        if not 0 <= number < self.count:
            raise ValueError(f"piece {number} of {self.count}")
        return PieceIndex(number)

    def at(self, offset: int) -> PieceIndex:
        """The piece that holds byte `offset`."""
        if not 0 <= offset < self.length:
            raise ValueError(f"byte {offset} of {self.length}")
        return PieceIndex(offset // self.piece_size)

    def start(self, index: int) -> int:
        return index * self.piece_size

    def size(self, index: int) -> int:
        """Bytes in piece `index`."""
        return min(self.piece_size, self.length - index * self.piece_size)

    def span(self, first: int, count: int = 1) -> tuple[int, int]:
        """Byte range `[start, end)` of `count` pieces from `first` on."""
        return first * self.piece_size, min(self.length, (first + count) * self.piece_size)

    def bytes(self, first: int, count: int) -> int:
        """Bytes in `count` pieces from `first` on."""
        start, end = self.span(first, count)
        return end - start
