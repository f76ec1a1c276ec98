"""What a download wants done. Imperative; the shell performs them, in order, without asking back."""

from __future__ import annotations

import msgspec

from dragonfly.core.messages import TroubleKind

__all__ = ["Announce", "AskNeighbours", "AskSource", "Cancel", "Command", "Fetch", "FetchAny", "Finish", "LeavePeer"]


class _Command(msgspec.Struct, frozen=True, gc=False):
    pass


class Fetch(_Command, frozen=True):
    """Ask `peer` for `count` pieces from `first` on."""

    peer: str
    first: int
    count: int


class FetchAny(_Command, frozen=True):
    """Ask the seed `peer` for `count` pieces of its own choice: those it has sent least, near
    `hint` where that is equal, and none of `busy` (a bitmap: had, or under way from others)."""

    peer: str
    count: int
    hint: int
    busy: int


class Cancel(_Command, frozen=True):
    """`peer` need not send this run any more, unless it has begun."""

    peer: str
    first: int
    count: int


class AskSource(_Command, frozen=True):
    """Read this run from the source."""

    first: int
    count: int


class Announce(_Command, frozen=True):
    """Tell the neighbours that these pieces are here."""

    first: int
    count: int = 1


class LeavePeer(_Command, frozen=True):
    """End the session with `peer` and report why."""

    peer: str
    kind: TroubleKind


class AskNeighbours(_Command, frozen=True):
    """There are too few neighbours to live on."""


class Finish(_Command, frozen=True):
    """Every piece is here."""


Command = Fetch | FetchAny | Cancel | AskSource | Announce | LeavePeer | AskNeighbours | Finish
