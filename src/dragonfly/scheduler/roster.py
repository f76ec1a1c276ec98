"""Who is there: hosts, tasks, and which host pulls or holds which task."""

from __future__ import annotations

import math
from random import Random

from dragonfly.core import bitmap
from dragonfly.core.digest import PIECE_DIGEST_BYTES, known_digests
from dragonfly.core.health import Health
from dragonfly.core.messages import BytesBy, HostInfo, PeerAddress, TaskInfo
from dragonfly.core.task import TaskKey, TaskSpec

__all__ = ["Host", "Member", "Pool", "Roster", "Task"]


class Host:
    """One node with a session."""

    __slots__ = ("health", "info", "joined_at", "seed", "tasks")

    def __init__(self, info: HostInfo, seed: bool, health: Health, now: float) -> None:
        self.info = info
        self.seed = seed
        self.health = health
        self.joined_at = now
        self.tasks: set[TaskKey] = set()

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.info.id, self.info.address, self.info.peer_port, self.seed, self.info.zone)


class Member:
    """A host's part in one task. `links` are the neighbours it was given, both ways."""

    __slots__ = (
        "bound", "complete", "efficiency", "error", "fallback", "given_at", "host", "joined_at", "links", "pieces",
        "received", "seconds", "spec", "uploaded", "waiting",
    )  # fmt: skip

    def __init__(self, host: Host, spec: TaskSpec | None, now: float) -> None:
        self.host = host
        self.spec = spec
        self.joined_at = now
        self.given_at = -math.inf
        self.links: set[str] = set()
        self.pieces = 0
        self.complete = False
        self.waiting = True
        self.received = BytesBy()
        self.uploaded = 0
        self.seconds = 0.0
        self.bound = ""
        self.efficiency = 0.0
        self.fallback = ""
        self.error = ""


class Pool:
    """Members in the order of their arrival, to draw from by chance. Each call but `draw` is O(1) on average."""

    __slots__ = ("_hat", "members")

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self._hat: list[str] = []
        """Ids to draw; at most about half of them have left."""

    def add(self, member: Member) -> None:
        self.members[member.host.info.id] = member
        self._hat.append(member.host.info.id)

    def remove(self, host_id: str) -> None:
        self.members.pop(host_id, None)
        if len(self._hat) > 2 * len(self.members) + 16:
            self._hat = list(self.members)

    def draw(self, count: int, rng: Random) -> list[Member]:
        """About `count` by chance, each once; all where there are no more."""
        if len(self.members) <= count:
            return list(self.members.values())
        members = self.members
        return [members[host_id] for host_id in dict.fromkeys(rng.choices(self._hat, k=count)) if host_id in members]


class Task:
    """One task. `info` is None until the seed has described it."""

    __slots__ = (
        "answering", "balance_at", "crowded", "described_at", "digests", "everyone", "failures", "fallbacks", "fresh",
        "idle_since", "info", "key", "known", "looked_at", "moved", "newcomers", "piece_size", "publish_at", "rush_at",
        "seed_children", "seeding", "spec", "thinned", "told", "waiting", "zones",
    )  # fmt: skip

    def __init__(self, key: TaskKey, now: float) -> None:
        self.key = key
        self.spec: TaskSpec | None = None
        self.info: TaskInfo | None = None
        self.piece_size = 0
        """Of the pieces that members have, also while it is not described; 0: nobody has any."""
        self.described_at = -math.inf
        self.digests = bytearray()
        self.known = 0
        """The pieces (a bitmap) whose digests are there: each who joins is told them."""
        self.fresh: list[tuple[int, int]] = []
        """Runs of digests that members have not been told yet."""
        self.crowded = False
        """Most members are told only what digests come to, and the others that they should pass on what they know."""
        self.publish_at = math.inf
        self.newcomers: list[str] = []
        """Hosts that have had their first neighbours only, so that those who come with them can be the rest."""
        self.rush_at = 0.0
        """When the first of them came."""
        self.balance_at = math.inf
        self.seeding = False
        self.everyone = Pool()
        self.zones: dict[str, Pool] = {}
        self.seed_children: set[str] = set()
        self.waiting: dict[str, None] = {}
        """Hosts that wait to hear what the task is, in their order."""
        self.answering: dict[str, None] = {}
        """Those of them whose turn to hear it has come; a host is in one of the two at most."""
        self.failures: dict[str, tuple[float, object]] = {}
        self.fallbacks = 0
        self.idle_since = now
        self.thinned = False
        """Links were lost since `looked_at`, when all who pull had a way to the seed."""
        self.looked_at = -math.inf
        self.moved = BytesBy()
        """Of all nodes, those too that have left."""
        self.told: dict[str, BytesBy] = {}
        """What each node has told of its pull so far; kept while it is away, as it goes on from there."""

    @property
    def members(self) -> dict[str, Member]:
        return self.everyone.members

    def expect(self, pieces: int) -> None:
        """It has so many pieces, of none of which the digest is known."""
        self.digests, self.known = bytearray(pieces * PIECE_DIGEST_BYTES), 0

    def settle(self, piece_size: int) -> bool:
        """Somebody has it in such pieces. The first who says so decides; whether these are of use to others."""
        self.piece_size = self.piece_size or piece_size
        return self.piece_size == piece_size

    def learn(self, first: int, digests: bytes) -> None:
        """Take in the digests from that of piece `first` on."""
        size = PIECE_DIGEST_BYTES
        self.digests[first * size : first * size + len(digests)] = digests
        told = bitmap.run(first, len(digests) // size)
        self.known = self.known & ~told | known_digests(digests, first)

    def add(self, member: Member) -> None:
        self.everyone.add(member)
        self.zones.setdefault(member.host.info.zone, Pool()).add(member)

    def remove(self, member: Member) -> None:
        host = member.host.info
        self.everyone.remove(host.id)
        zone = self.zones[host.zone]
        zone.remove(host.id)
        if not zone.members:
            del self.zones[host.zone]


class Roster:
    """All hosts and tasks of one supernode."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.tasks: dict[TaskKey, Task] = {}
        self.seed: Host | None = None
        self.moved = BytesBy()
        """By nodes, since the start, of all tasks that there were."""

    def task(self, key: TaskKey, now: float) -> Task:
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = Task(key, now)
        return task

    def member(self, key: TaskKey, host: str) -> Member | None:
        task = self.tasks.get(key)
        return task.members.get(host) if task is not None else None

    def count(self, task: Task, host: str, received: BytesBy) -> None:
        """Take in what a node tells, again and again, of all that it received for a task."""
        more = received.since(task.told.get(host, BytesBy()))
        task.told[host] = received
        task.moved = task.moved.plus(more)
        self.moved = self.moved.plus(more)
