"""Who is there: hosts, tasks, and which host pulls or holds which task."""

from __future__ import annotations

import math

from dragonfly.core.health import Health
from dragonfly.core.messages import BytesBy, HostInfo, PeerAddress, TaskInfo
from dragonfly.core.task import TaskKey, TaskSpec

__all__ = ["Host", "Member", "Roster", "Task"]


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
        return PeerAddress(self.info.id, self.info.address, self.info.peer_port, self.seed)


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


class Task:
    """One task. `info` is None until the seed has described it."""

    __slots__ = (
        "balance_at", "described_at", "digests", "failures", "fallbacks", "fresh", "idle_since", "info", "key",
        "members", "newcomers", "order", "publish_at", "seed_children", "seeding", "spec", "waiting",
    )  # fmt: skip

    def __init__(self, key: TaskKey, now: float) -> None:
        self.key = key
        self.spec: TaskSpec | None = None
        self.info: TaskInfo | None = None
        self.described_at = -math.inf
        self.digests = bytearray()
        self.fresh: list[tuple[int, int]] = []
        """Runs of digests that members have not been told yet."""
        self.publish_at = math.inf
        self.newcomers: list[str] = []
        """Hosts that have had half of their neighbours only, so that those who come with them can be the rest."""
        self.balance_at = math.inf
        self.seeding = False
        self.members: dict[str, Member] = {}
        self.order: list[str] = []
        """Members to draw from by chance; some may have left (see `add`)."""
        self.seed_children: set[str] = set()
        self.waiting: list[str] = []
        """Hosts that wait to hear what the task is."""
        self.failures: dict[str, tuple[float, object]] = {}
        self.fallbacks = 0
        self.idle_since = now

    def add(self, member: Member) -> None:
        self.members[member.host.info.id] = member
        self.order.append(member.host.info.id)
        if len(self.order) > 2 * len(self.members) + 16:
            self.order = list(self.members)


class Roster:
    """All hosts and tasks of one supernode."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.tasks: dict[TaskKey, Task] = {}
        self.seed: Host | None = None

    def task(self, key: TaskKey, now: float) -> Task:
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = Task(key, now)
        return task

    def member(self, key: TaskKey, host: str) -> Member | None:
        task = self.tasks.get(key)
        return task.members.get(host) if task is not None else None
