"""What survives a crash: an append-only log beside each blob's data.

    record:  length u32 | crc32 u32 | kind u8 | payload

    BEGIN  layout, meta and boot id (MessagePack)     always first
    MARK   index u32, digest 32 bytes                 the piece is verified and written
    LEARN  first u32, digests 32 bytes each           digests known before their pieces
    META   meta (MessagePack)
    SEALED boot id                                    the whole was checked and is on the disk

A record is one `write`, so a killed process loses nothing that was marked; a torn last
record (power loss) fails its checksum and is cut off with all that follows.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator

__all__ = ["Kind", "mark_record", "record", "records"]

_head = struct.Struct("!IIB")
_mark = struct.Struct("!I32s")
_LONGEST = 64 * 1024 * 1024


class Kind(enum.IntEnum):
    BEGIN = 1
    MARK = 2
    LEARN = 3
    META = 4
    SEALED = 5


def record(kind: Kind, payload: bytes) -> bytes:
    """One record as bytes."""
    return _head.pack(len(payload), zlib.crc32(payload, kind), kind) + payload


def mark_record(index: int, digest: bytes) -> bytes:
    return record(Kind.MARK, _mark.pack(index, digest))


def parse_mark(payload: bytes) -> tuple[int, bytes]:
    """(index, digest) of a MARK; struct.error where it has another length."""
    index, digest = _mark.unpack(payload)
    return index, digest


def records(data: bytes) -> Iterator[tuple[Kind, bytes, int]]:
    """The sound records from the start on, each with the offset behind it; stops at the first that is not."""
    at = 0
    while at + _head.size <= len(data):
        length, crc, kind = _head.unpack_from(data, at)
        start, end = at + _head.size, at + _head.size + length
        if length > _LONGEST or end > len(data) or kind not in Kind.__members__.values():
            return
        payload = data[start:end]
        if zlib.crc32(payload, kind) != crc:
            return
        yield Kind(kind), payload, end
        at = end
