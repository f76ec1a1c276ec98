"""What can happen to a download, as its mind hears it. Past tense; counts and indexes, never bytes."""

from __future__ import annotations

import msgspec

__all__ = [
    "BytesArrived",
    "DigestsKnown",
    "Event",
    "NeighbourDown",
    "NeighbourUp",
    "Offered",
    "PeerHas",
    "PieceBad",
    "PieceVerified",
    "ReaderAt",
    "ReaderGone",
    "Refused",
    "SourceOpened",
    "SourceReadEnded",
    "Tick",
]


class _Event(msgspec.Struct, frozen=True, gc=False):
    pass


class NeighbourUp(_Event, frozen=True):
    """A session with `peer` stands. It has nothing yet as far as we know. `far`: it is in another zone."""

    peer: str
    seed: bool = False
    far: bool = False


class NeighbourDown(_Event, frozen=True):
    peer: str


class PeerHas(_Event, frozen=True):
    """`peer` announced these pieces (a bitmap), besides those it announced before."""

    peer: str
    pieces: int


class Offered(_Event, frozen=True):
    """The seed begins to send a run of its own choice, in answer to FetchAny."""

    peer: str
    first: int
    count: int


class Refused(_Event, frozen=True):
    """`peer` will not send this run; `count` 0: it has nothing to choose for FetchAny now."""

    peer: str
    first: int
    count: int


class BytesArrived(_Event, frozen=True):
    """`peer` has sent `total` bytes in all by now, whole pieces or not: a sign of life."""

    peer: str
    total: int


class PieceVerified(_Event, frozen=True):
    """A piece, or a run of `count`, is on disk and right. `peer` is empty where the source brought it."""

    index: int
    peer: str = ""
    count: int = 1


class PieceBad(_Event, frozen=True):
    """What `peer` sent is not what the seed's digest promises."""

    index: int
    peer: str


class DigestsKnown(_Event, frozen=True):
    """These pieces (a bitmap) can be checked from now on."""

    pieces: int


class ReaderAt(_Event, frozen=True):
    """Local reader number `reader` needs piece `index` next."""

    reader: int
    index: int


class ReaderGone(_Event, frozen=True):
    reader: int


class SourceOpened(_Event, frozen=True):
    """The source may be read by this node. `sparing`: only for what the swarm does not bring.
    `begun`: the answer that described the task goes on with so many pieces, from the first on."""

    sparing: bool = False
    begun: int = 0


class SourceLine(_Event, frozen=True):
    """This is a layer of an image: of the streams for that, so many are claimed by the layers below."""

    claimed: int


class SourceReadEnded(_Event, frozen=True):
    """A range read is over; what it brought was told piece by piece."""

    first: int
    count: int


class Tick(_Event, frozen=True):
    """A deadline has come. `others`: neighbours of this node's other pulls that bring something over its link.
    `unmet`: those that were named for this one and are dialled, or will be."""

    others: int = 0
    unmet: int = 0


Event = (
    NeighbourUp
    | NeighbourDown
    | PeerHas
    | Offered
    | Refused
    | BytesArrived
    | PieceVerified
    | PieceBad
    | DigestsKnown
    | ReaderAt
    | ReaderGone
    | SourceOpened
    | SourceLine
    | SourceReadEnded
    | Tick
)
