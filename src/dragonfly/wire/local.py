"""What programs of a node (dfget, `dragonfly top`) and its daemon say over the daemon's unix socket.

HTTP/1.1 with JSON bodies; host names mean nothing there. Both sides import these structs, so
neither copies a field. Sizes in bytes, rates in bytes/s, times in seconds.

    GET    /v1/status                     → Status
    GET    /v1/tasks                      → TaskLine[]: what is pulled or served now, then what has ended
    DELETE /v1/tasks/{key}                → 204, 404
    GET    /v1/trace/{key}                → Event[] of the task, oldest first (telemetry.trace.Event as JSON)
    POST   /v1/downloads   DownloadRequest → one JSON object a line, each a `Told`: first `Opened`, then
                                            `Moved` some times a second, then `Ended` or `Failed`, always
    GET    /v1/downloads/{id}/content     → the bytes, also while the download goes on (Range as in HTTP)
    DELETE /v1/downloads/{id}             → the caller is done: the daemon lets go of the content

A download belongs to the connection of its POST until it has ended: a caller that goes away
before `Ended` gives it up. After `Ended` its content stays readable for `KEEP_S`.
Errors outside the stream are a `Failed` with HTTP status 4xx or 5xx.
"""

from __future__ import annotations

import msgspec

from dragonfly.core.messages import BytesBy
from dragonfly.core.task import TaskSpec

__all__ = [
    "KEEP_S",
    "SOCKET_NAME",
    "DownloadRequest",
    "Ended",
    "Failed",
    "FailureKind",
    "Moved",
    "Opened",
    "Status",
    "TaskLine",
    "Told",
    "decode_told",
    "encode_line",
]

#: In the daemon's data directory.
SOCKET_NAME = "dfdaemon.sock"

#: Seconds that an ended download stays readable by its id.
KEEP_S = 60.0

#: Which family of `errors` a failure is; `Failed.kind`.
FailureKind = str


class DownloadRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of POST /v1/downloads."""

    spec: TaskSpec
    start: int = 0
    """First byte that is wanted."""
    end: int | None = None
    """Behind the last one; None: to the end. Only these bytes need be had for `Ended`."""
    pattern: str = "p2p"
    """A `peer.settings.Pattern`."""
    back_to_source: bool = True
    """False: fail rather than read the source from this node (`--no-back-to-source`)."""
    rate: int = 0
    """Bytes/s of this task at most; 0: no limit. The first that asks for a task decides."""


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The pull stands; its length and headers are known."""

    id: str
    key: str
    length: int
    """Of the whole content."""
    source: str = ""
    """Where it would first come from: p2p, seed, origin or cache."""
    headers: dict[str, str] = {}


class Moved(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Progress: totals since `Opened`."""

    done: int
    """Bytes of what was asked for that are had and verified."""
    total: int
    received: BytesBy = BytesBy()
    rate: float = 0.0
    """Over the last second or so."""
    peers: int = 0


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """All that was asked for is had and verified."""

    path: str = ""
    """The store's data file, for a caller that may open it; it starts at byte 0 of the content."""
    result: msgspec.Raw = msgspec.Raw(b"null")
    """A `peer.report.Result` as JSON."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """An error as in `dragonfly.errors`, in parts."""

    kind: FailureKind
    """Name of the error's class."""
    what: str
    subject: str = ""
    advice: str = ""
    status: int | None = None
    """The source's HTTP status, where it gave one."""
    challenge: str = ""


Told = Opened | Moved | Ended | Failed


class TaskLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task on this node."""

    key: str
    url: str
    state: str
    """`running`, `serving` (all had, and given to others), `failed`, or `ended`."""
    length: int = 0
    done: int = 0
    received: BytesBy = BytesBy()
    uploaded: int = 0
    peers: int = 0
    seconds: float = 0.0
    fallback: str = ""
    bound: str = ""
    error: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The daemon in one object."""

    version: str
    pid: int
    uptime_s: float
    listen: str
    peer_port: int = 0
    host: str = ""
    supernode: str = ""
    """`connected`, `lost` or `none`."""
    ca: str = ""
    """Path of the CA certificate that clients trust."""
    tasks: int = 0
    pulls: int = 0
    """Running now."""
    resident_bytes: int = 0
    maps: dict[str, str] = {}
    """P2P domain → URL of the registry behind it."""
    registry: str = ""
    """URL of the registry that is meant when a request names none."""
    supernodes: tuple[str, ...] = ()
    """URLs of all that are configured."""


_decoder: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Told)
_encoder = msgspec.json.Encoder()


def decode_told(line: bytes) -> Told:
    """One line of a download's stream; msgspec.DecodeError where it is something else."""
    return _decoder.decode(line)


def encode_line(told: Told) -> bytes:
    """One object and its newline."""
    return _encoder.encode(told) + b"\n"
