"""Frames of a peer session: what two nodes say to each other about one task.

A session begins as HTTP/1.1 (`GET /v1/tasks/KEY/session` with `Upgrade: dragonfly-swarm/1`,
see docs/protocol.md); after the 101 both sides send frames, in both directions at once:

    kind u8 | flags u8 | 0 u16 | first u32 | count u32 | length u32 | payload: `length` bytes

    HAS      payload: bitmap of all that I have               (once, at the start)
    HAVE     payload: runs (first u32, count u32) that I have now too
    REQUEST  pieces first … first+count-1
    ANY      `count` pieces of your choice, `first` is the reader's next; payload: bitmap of those not wanted
    CANCEL   what is still queued of this run
    DATA     payload: the bytes of the run; flag CHOSEN: it answers ANY
    REFUSE   this run is not to be had here; count 0: nothing to choose for ANY now
    DIGESTS  payload: SHA-256 of pieces first … first+count-1; a seed tells them before a run of its choice,
             which may be younger than what the supernode has told; others answer WANT with them. Heeded from
             a seed that was dialled, and where they come to what the supernode has said.
    KNOW     I know the digests of pieces first … first+count-1
    WANT     tell me these digests

A HTTP upgrade, and not a request per piece, because a request by name, a cancel and an
announcement are then 16 bytes each and one send, and both sides use one connection.
"""

from __future__ import annotations

import enum
import functools
import struct
from typing import NamedTuple

from dragonfly.core import bitmap
from dragonfly.wire.codec import ProtocolError

__all__ = [
    "CHOSEN",
    "HEADER",
    "MAX_CONTROL",
    "MAX_DATA",
    "UPGRADE",
    "Frame",
    "Kind",
    "any_frame",
    "data_header",
    "digests_frame",
    "has_frame",
    "have_frame",
    "parse_header",
    "parse_runs",
    "plain_frame",
]

UPGRADE = "dragonfly-swarm/1"

_header = struct.Struct("!BBHIII")
_run = struct.Struct("!II")
HEADER = _header.size
CHOSEN = 1

#: Bytes of payload. Bitmaps and have runs of the largest blobs; runs of DATA.
MAX_CONTROL = 4 * 1024 * 1024
MAX_DATA = 64 * 1024 * 1024


class Kind(enum.IntEnum):
    HAS = 1
    HAVE = 2
    REQUEST = 3
    ANY = 4
    CANCEL = 5
    DATA = 6
    REFUSE = 7
    DIGESTS = 8
    KNOW = 9
    WANT = 10


_KINDS = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    """A header; the payload follows on the wire."""

    kind: Kind
    flags: int
    first: int
    run: int
    """How many pieces (the `count` of the wire)."""
    length: int


def parse_header(data: bytes | bytearray | memoryview, at: int = 0) -> Frame:
    """Read a header of HEADER bytes; ProtocolError for unknown kinds and lengths beyond the limits."""
    kind, flags, _, first, count, length = _header.unpack_from(data, at)
    known = _KINDS.get(kind)
    if known is None:
        raise ProtocolError("an unknown kind of frame", subject=str(kind))
    if length > (MAX_DATA if known is Kind.DATA else MAX_CONTROL):
        raise ProtocolError("a frame that is too long", subject=f"{known.name} of {length} bytes")
    return Frame(known, flags, first, count, length)


def plain_frame(kind: Kind, first: int, count: int) -> bytes:
    """REQUEST, CANCEL, REFUSE, KNOW or WANT."""
    return _header.pack(kind, 0, 0, first, count, 0)


def data_header(first: int, count: int, length: int, *, chosen: bool) -> bytes:
    return _header.pack(Kind.DATA, CHOSEN if chosen else 0, 0, first, count, length)


def has_frame(pieces: int) -> bytes:
    payload = bitmap.to_bytes(pieces)
    return _header.pack(Kind.HAS, 0, 0, 0, 0, len(payload)) + payload


@functools.lru_cache(maxsize=4)
def have_frame(pieces: int) -> bytes:
    """Announce a bitmap of new pieces, as runs. All neighbours are told the same: it is remembered."""
    payload = b"".join(_run.pack(first, count) for first, count in bitmap.runs(pieces))
    return _header.pack(Kind.HAVE, 0, 0, 0, 0, len(payload)) + payload


def digests_frame(first: int, digests: bytes) -> bytes:
    """Announce what the pieces from `first` on must be, 32 bytes each."""
    return _header.pack(Kind.DIGESTS, 0, 0, first, len(digests) // 32, len(digests)) + digests


def any_frame(count: int, hint: int, busy: int) -> bytes:
    payload = bitmap.to_bytes(busy)
    return _header.pack(Kind.ANY, 0, 0, hint, count, len(payload)) + payload


def parse_runs(payload: bytes | bytearray | memoryview, limit: int) -> int:
    """The bitmap of a HAVE payload; ProtocolError where a run leaves the `limit` pieces."""
    if len(payload) % _run.size:
        raise ProtocolError("a HAVE frame of odd length", subject=f"{len(payload)} bytes")
    pieces = 0
    for first, count in _run.iter_unpack(payload):
        if first + count > limit:
            raise ProtocolError("a piece that does not exist", subject=f"{first}+{count} of {limit}")
        pieces |= bitmap.run(first, count)
    return pieces
