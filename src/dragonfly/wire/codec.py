"""Control messages as MessagePack, one per WebSocket message.

Version 1 of the vocabulary in `core.messages`. Unknown fields are skipped, an unknown
message type or a malformed one is a `ProtocolError`: the session ends, not the process.
"""

from __future__ import annotations

import msgspec

from dragonfly.core.messages import FromDaemon, FromSupernode
from dragonfly.errors import PeerError

__all__ = ["MAX_MESSAGE", "PROTOCOL", "ProtocolError", "encode", "from_daemon", "from_supernode"]

PROTOCOL = "dragonfly.v1"

#: Bytes. The largest is a TaskInfo: 32 bytes a piece, 25,000 pieces for 100 GB.
MAX_MESSAGE = 16 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()
_daemon: msgspec.msgpack.Decoder[FromDaemon] = msgspec.msgpack.Decoder(FromDaemon)
_supernode: msgspec.msgpack.Decoder[FromSupernode] = msgspec.msgpack.Decoder(FromSupernode)


class ProtocolError(PeerError):
    """The other side sent what the protocol does not know."""


def encode(message: FromDaemon | FromSupernode) -> bytes:
    return _encoder.encode(message)


def from_daemon(data: bytes) -> FromDaemon:
    """Decode what a daemon (or seed) said; ProtocolError where it makes no sense."""
    try:
        return _daemon.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError("a message that cannot be read", subject=str(error)) from None


def from_supernode(data: bytes) -> FromSupernode:
    """Decode what a supernode said; ProtocolError where it makes no sense."""
    try:
        return _supernode.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError("a message that cannot be read", subject=str(error)) from None
