"""What nodes and supernode say to each other: the one vocabulary of the control plane.

Each message is a frozen struct, used by the minds as it is and encoded as it is
(`wire.codec`), so no field is ever copied from layer to layer. The seed of a supernode
speaks the same words in process. Unknown fields are ignored by older readers; a field
that is added has a default.

    daemon ──▶ supernode   Hello Join Progress Trouble MoreNeighbours WantDigests Finished Leave Holding PullDone
    seed   ──▶ supernode   the same, and TaskInfo Digests TaskFailed: it is who describes a task
    supernode ──▶ daemon   Welcome TaskInfo Digests Fingerprint Neighbours TaskFailed Forget Pull
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from dragonfly.core.task import TaskKey, TaskSpec

__all__ = [
    "BytesBy",
    "Digests",
    "Fingerprint",
    "Finished",
    "Forget",
    "FromDaemon",
    "FromSupernode",
    "Hello",
    "Holding",
    "HostInfo",
    "Join",
    "Leave",
    "MoreNeighbours",
    "Neighbours",
    "PeerAddress",
    "Progress",
    "Pull",
    "PullDone",
    "TaskFailed",
    "TaskInfo",
    "TaskProgress",
    "Trouble",
    "TroubleKind",
    "WantDigests",
    "Welcome",
]


class _Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Base of what crosses the control session; the tag is the class's name."""


#: What a daemon says is checked when it is decoded: counts that fall below zero, ports that are none and
#: names that can't stand in a request head end its session, not the work of others.
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_HostId = Annotated[str, msgspec.Meta(pattern=r'^[!-"$-~]{1,128}\Z')]
_Name = Annotated[str, msgspec.Meta(max_length=255)]


class HostInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node. `id` survives restarts (it is kept in the data directory)."""

    id: _HostId
    address: _Name
    """The IP that other nodes dial (`--advertise`)."""
    peer_port: _Port
    hostname: _Name = ""
    zone: _Name = ""
    rack: _Name = ""
    version: _Name = ""


class PeerAddress(msgspec.Struct, frozen=True):
    """Where to dial a neighbour."""

    id: str
    address: str
    port: _Port
    seed: bool = False
    zone: _Name = ""


class BytesBy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bytes of one task by where they came from."""

    source: _Count = 0
    seed: _Count = 0
    peers: _Count = 0
    cache: _Count = 0

    @property
    def total(self) -> int:
        return self.source + self.seed + self.peers + self.cache

    def plus(self, other: BytesBy) -> BytesBy:
        return BytesBy(
            source=self.source + other.source,
            seed=self.seed + other.seed,
            peers=self.peers + other.peers,
            cache=self.cache + other.cache,
        )

    def since(self, before: BytesBy) -> BytesBy:
        """What came after `before` was told; all of it, where these are totals that began anew."""
        if (
            self.source < before.source
            or self.seed < before.seed
            or self.peers < before.peers
            or self.cache < before.cache
        ):
            return self
        return BytesBy(
            source=self.source - before.source,
            seed=self.seed - before.seed,
            peers=self.peers - before.peers,
            cache=self.cache - before.cache,
        )


# ------------------------------------------------------------------ daemon → supernode


class Hello(_Message, frozen=True, kw_only=True, tag=True):
    """First message of a session. `token` admits the node where the supernode asks for one."""

    host: HostInfo
    token: str = ""


class Join(_Message, frozen=True, kw_only=True, tag=True):
    """I want this task (again, after a reconnect), and have `pieces` of it, of `piece_size` bytes, and the
    neighbours `have` already."""

    spec: TaskSpec
    pieces: _Count = 0
    piece_size: _Count = 0
    """0 where nothing of it is here."""
    have: tuple[str, ...] = ()


class TaskProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Summary of one task on one node; totals since the pull began."""

    key: TaskKey
    pieces: _Count
    received: BytesBy = BytesBy()
    uploaded: _Count = 0


class Progress(_Message, frozen=True, kw_only=True, tag=True):
    """All of a node's running tasks in one message per reporting period."""

    tasks: tuple[TaskProgress, ...]


class TroubleKind(enum.StrEnum):
    SILENT = "silent"
    CORRUPT = "corrupt"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class Trouble(_Message, frozen=True, kw_only=True, tag=True):
    """A neighbour that I left, and why."""

    key: TaskKey
    peer: str
    kind: TroubleKind


class MoreNeighbours(_Message, frozen=True, kw_only=True, tag=True):
    """I have fewer neighbours than I should; `have` are those I am connected to, or am dialling."""

    key: TaskKey
    have: tuple[str, ...] = ()


class WantDigests(_Message, frozen=True, kw_only=True, tag=True):
    """No neighbour brings the digests of these pieces, of which I know a Fingerprint."""

    key: TaskKey
    first: _Count
    count: _Count


class Finished(_Message, frozen=True, kw_only=True, tag=True):
    """The pull ended well (`error` empty: I have it all and serve it) or not."""

    key: TaskKey
    seconds: float
    received: BytesBy = BytesBy()
    uploaded: _Count = 0
    error: str = ""
    fallback: str = ""
    """Why the source was read by this node itself, where it was."""
    bound: str = ""
    """What limited the pull: source, link, swarm, disk or cpu."""
    efficiency: float = 0.0
    """Least possible time over real time, 0 … 1; 0 where it is not known."""
    node_rate: float = 0.0
    """Bytes/s that the node received meanwhile, of all its pulls."""


class Leave(_Message, frozen=True, kw_only=True, tag=True):
    """I neither want nor serve this task any more."""

    key: TaskKey


class Holding(_Message, frozen=True, kw_only=True, tag=True):
    """Complete tasks in pieces of `piece_size` bytes that this node can serve, told after Hello."""

    keys: tuple[TaskKey, ...]
    piece_size: _Count = 0
    """0 from nodes of earlier versions: nobody can be sent to them."""


class PullDone(_Message, frozen=True, kw_only=True, tag=True):
    """Answer to a Pull."""

    job: str
    key: TaskKey
    error: str = ""


# ------------------------------------------------------------------ seed → supernode → daemon


class TaskInfo(_Message, frozen=True, kw_only=True, tag=True):
    """What the task is. `digests` are those of the pieces 0 … n-1 known so far, 32 bytes each,
    zeros where unknown; a supernode tells all of them here, or none and `Digests` after it.
    `sealed`: the seed has checked the whole against its digest."""

    key: TaskKey
    length: int
    piece_size: int
    digests: bytes = b""
    sealed: bool = False
    ticket: str = ""
    """Shown by a peer to its neighbours: proof that the supernode let it in."""
    headers: dict[str, str] = {}
    """Answer headers of the source that a client should see (content type, etag, …)."""
    version: str = ""
    """Of a URL's content: another version has other bytes under the same key, so peers of
    different versions do not talk. Empty for blobs named by digest."""
    peers: int = 0
    """How many nodes pull or hold it now: what a pull can expect of the swarm."""


class Digests(_Message, frozen=True, kw_only=True, tag=True):
    """Digests of the pieces from `first` on, 32 bytes each; `sealed` as in TaskInfo.
    `pass_on`: others are only told Fingerprints, and ask their neighbours; say to yours what you know, all of it."""

    key: TaskKey
    first: int
    digests: bytes
    sealed: bool = False
    pass_on: bool = False


class TaskFailed(_Message, frozen=True, kw_only=True, tag=True):
    """The seed cannot bring this task. `final`: neither can you (the source said 404, …);
    otherwise read the source yourself after `retry_after` seconds."""

    key: TaskKey
    reason: str
    status: int | None = None
    challenge: str = ""
    final: bool = False
    retry_after: float = 0.0


# ------------------------------------------------------------------ supernode → daemon


class Welcome(_Message, frozen=True, kw_only=True, tag=True):
    """The session stands. Report every `report_every_s` seconds, no more often."""

    report_every_s: float
    supernodes: tuple[str, ...] = ()
    address: str = ""
    """The address from which the supernode sees this node."""


class Neighbours(_Message, frozen=True, kw_only=True, tag=True):
    """Dial `add` (they are told to expect you only by your ticket); leave `drop` (ids)."""

    key: TaskKey
    add: tuple[PeerAddress, ...] = ()
    drop: tuple[str, ...] = ()


class Fingerprint(_Message, frozen=True, kw_only=True, tag=True):
    """What the digests of `count` pieces from `first` on come to: `sum` is the SHA-256 of all of them in a row.
    The digests themselves are to be had from neighbours. `sealed` as in TaskInfo."""

    key: TaskKey
    first: int
    count: int
    sum: bytes
    sealed: bool = False


class Forget(_Message, frozen=True, kw_only=True, tag=True):
    """Delete this task: stop it, stop serving it, free its disk."""

    key: TaskKey


class Pull(_Message, frozen=True, kw_only=True, tag=True):
    """Fetch this task now (preheat) and answer PullDone."""

    job: str
    spec: TaskSpec


FromDaemon = (
    Hello
    | Join
    | Progress
    | Trouble
    | MoreNeighbours
    | WantDigests
    | Finished
    | Leave
    | Holding
    | PullDone
    | TaskInfo
    | Digests
    | TaskFailed
)
FromSupernode = Welcome | TaskInfo | Digests | Fingerprint | Neighbours | TaskFailed | Forget | Pull
