"""The supernode's mind: who pulls what, who gets whom as neighbours, when the seed is needed.

Sans-IO: `handle(event, now)` returns decisions, `next_deadline()` says when a Tick is wanted.
The source is read once per task: the first join starts the seed, the others wait for what
it says. After that the supernode speaks per peer and second, never per piece.
"""

from __future__ import annotations

import hmac
import math
from itertools import islice
from random import Random

import msgspec

from dragonfly.core import bitmap
from dragonfly.core import messages as msg
from dragonfly.core.health import Health
from dragonfly.core.pieces import possible_piece_size
from dragonfly.core.task import TaskKey
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.cutting import Cutting
from dragonfly.scheduler.decisions import Decision, Forgotten, Send
from dragonfly.scheduler.linking import AT_ONCE, Linking
from dragonfly.scheduler.neighbours import meet, unlink
from dragonfly.scheduler.policies import NearRandom, NeighbourPolicy
from dragonfly.scheduler.roster import Host, Member, Roster, Task
from dragonfly.scheduler.seeding import Seeding
from dragonfly.scheduler.settings import SchedulerSettings

__all__ = ["Scheduler"]

_TICK_S = 1.0
_LOOKS_PER_S = 2000
"""Members that are looked at in a second, in search of such as lost their way to the seed."""


class Scheduler:
    """`secret` makes the tickets; the same secret after a restart keeps old tickets good."""

    def __init__(
        self, settings: SchedulerSettings, rng: Random, secret: bytes, policy: NeighbourPolicy | None = None
    ) -> None:
        self.roster = Roster()
        self._settings = settings
        self._secret = secret
        self._seed_members: dict[TaskKey, Member] = {}
        self._out: list[Decision] = []
        self._next_tick = math.inf
        self._seeding = Seeding(settings, rng, self._say)
        self._cutting = Cutting(settings.node_rate)
        self._links = Linking(self.roster, settings, policy or NearRandom(), rng, self._say)

    def ticket(self, key: TaskKey) -> str:
        """What a peer shows its neighbours: only who was let into the task can know it."""
        return hmac.digest(self._secret, key.encode(), "sha256").hex()[:32]

    def piece_size(self, key: TaskKey, length: int) -> int:
        """Of a task of `length` bytes, for the seed that describes it."""
        return self._cutting.piece_size(self.roster.tasks.get(key), length)

    # ---------------------------------------------------------------- the one door

    def handle(self, event: ev.Event, now: float) -> list[Decision]:
        """Take in what happened; return what to do. Unknown hosts and tasks are ignored."""
        self._out = []
        if self._next_tick == math.inf:
            self._next_tick = now + _TICK_S
        match event:
            case ev.Heard():
                self._heard(event.host, event.message, now)
            case ev.Connected():
                pass  # the Hello that follows says who it is
            case ev.Lost():
                self._lost(event.host, now)
            case ev.Deleted():
                self._deleted(event.key)
            case ev.Evicted():
                if (task := self.roster.tasks.get(event.key)) is not None:
                    self._answer_all(task, now)
                    task.info = None  # the next to join has the seed fetch it again
            case ev.Tick():
                self._tick(now)
        return self._out

    def next_deadline(self) -> float:
        """When a Tick is wanted."""
        return self._next_tick

    def report_every_s(self) -> float:
        """How often each daemon should report, at the present number of them."""
        return max(self._settings.report_least_s, len(self.roster.hosts) / self._settings.reports_per_s)

    def _heard(self, host_id: str, message: msg.FromDaemon, now: float) -> None:
        if isinstance(message, msg.Hello):
            self._hello(message, now)
            return
        host = self.roster.hosts.get(host_id)
        if host is None:
            return
        match message:
            case msg.Join():
                self._join(host, message, now)
            case msg.Progress():
                for item in message.tasks:
                    self._progress(host, item)
            case msg.Finished():
                self._finished(host, message)
            case msg.MoreNeighbours():
                self._more(host, message, now)
            case msg.WantDigests():
                self._want_digests(host, message)
            case msg.Trouble():
                self._links.trouble(host, message, now)
            case msg.Leave():
                self._leave(host, message.key, now)
            case msg.Holding():
                self._holding(host, message, now)
            case msg.TaskInfo() | msg.Digests() | msg.TaskFailed() if host.seed:
                self._seed_says(message, now)
            case _:
                pass

    # ---------------------------------------------------------------- hosts

    def _hello(self, hello: msg.Hello, now: float) -> None:
        known = self.roster.hosts.get(hello.host.id)
        health = known.health if known is not None else Health(half_life_s=self._settings.forgive_half_life_s)
        if known is not None:
            self._lost(hello.host.id, now)
        host = Host(hello.host, False, health, now)
        self.roster.hosts[hello.host.id] = host
        self._send([hello.host.id], msg.Welcome(report_every_s=self.report_every_s()))

    def seed_is(self, info: msg.HostInfo, now: float) -> None:
        """The seed of this supernode; it needs no Hello."""
        self.roster.seed = Host(info, True, Health(), now)
        self.roster.hosts[info.id] = self.roster.seed

    def _lost(self, host_id: str, now: float) -> None:
        host = self.roster.hosts.pop(host_id, None)
        if host is None:
            return
        for key in sorted(host.tasks):
            task = self.roster.tasks.get(key)
            if task is not None:
                self._remove_member(task, host_id, now)

    def _remove_member(self, task: Task, host_id: str, now: float) -> None:
        losers = unlink(task, host_id)
        if (gone := task.members.get(host_id)) is not None:
            task.remove(gone)
        task.waiting.pop(host_id, None)
        task.answering.pop(host_id, None)
        if not task.members:
            task.idle_since = now
        for member in losers:
            if not member.complete and not member.waiting and len(member.links) < self._settings.least:
                self._links.give(task, member, self._settings.degree // 2, now)

    def _leave(self, host: Host, key: TaskKey, now: float) -> None:
        task = self.roster.tasks.get(key)
        if task is not None and not host.seed:
            host.tasks.discard(key)
            self._remove_member(task, host.info.id, now)
            task.told.pop(host.info.id, None)  # its next pull counts from nothing

    # ---------------------------------------------------------------- joining

    def _join(self, host: Host, join: msg.Join, now: float) -> None:
        key = join.spec.key
        task = self.roster.task(key, now)
        member = task.members.get(host.info.id)
        if member is None:
            member = Member(host, join.spec, now)
            task.add(member)
            host.tasks.add(key)
        member.spec, member.pieces, member.error = join.spec, join.pieces, ""
        if possible_piece_size(join.piece_size):
            task.settle(join.piece_size)
        member.waiting = True
        meet(task, member, join.have, seed=self.roster.seed, most=self._settings.most)
        task.answering.pop(host.info.id, None)
        task.waiting[host.info.id] = None
        if task.info is not None and not self._seeding.outdated(task, now):
            self._answer_waiting(task, now)
            self._seeding.go_on(task, (join.spec,), now)
            return
        if (known := self._seeding.known_failure(task, join.spec, now)) is not None:
            del task.waiting[host.info.id]
            self._send([host.info.id], known)
            return
        if not task.seeding:
            reason = "first to ask" if task.info is None else "to see whether it changed"
            self._seeding.start(task, join.spec, reason)

    def _seed_says(self, message: msg.TaskInfo | msg.Digests | msg.TaskFailed, now: float) -> None:
        if isinstance(message, msg.TaskInfo):
            task = self.roster.task(message.key, now)
            task.waiting = task.answering | task.waiting
            task.answering = {}
            self._seeding.described(task, msgspec.structs.replace(message, ticket=self.ticket(message.key)), now)
            self._answer_waiting(task, now)
        elif (known := self.roster.tasks.get(message.key)) is not None:
            if isinstance(message, msg.Digests):
                self._seeding.digests(known, message, now)
                self._next_tick = min(self._next_tick, known.publish_at)
                if message.sealed and known.info is not None:
                    self._answer_waiting(known, now)  # it was read just now: nobody need wait for a check of it
            else:
                self._answer_all(known, now)
                self._seeding.failed(known, message, now)

    def _answer_waiting(self, task: Task, now: float) -> None:
        """Tell all who wait what the task is, and give them neighbours: some now, the rest in the ticks that follow."""
        under_way = bool(task.answering)
        task.answering |= task.waiting
        task.waiting = {}
        if not under_way:
            self._answer(task, now)

    def _answer_all(self, task: Task, now: float) -> None:
        """Before something happens that would make the answer another."""
        while task.answering:
            self._answer(task, now)

    def _answer(self, task: Task, now: float) -> None:
        """The next of those who are to be answered."""
        assert task.info is not None
        ids = tuple(islice(task.answering, AT_ONCE))
        for host_id in ids:
            del task.answering[host_id]
        if task.answering:
            self._next_tick = now
        if not ids:
            return
        count = -(-task.info.length // task.info.piece_size)
        at_once = task.known == bitmap.full(count) and self._seeding.lists_for_all(task)
        digests = bytes(task.digests) if at_once else b""
        others = len(task.members) - len(ids)
        info = msgspec.structs.replace(task.info, digests=digests, peers=others or len(ids) - 1)
        self._out.append(Send(ids, info))
        if not digests:
            self._seeding.catch_up(task, ids)
        for host_id in ids:
            member = task.members[host_id]
            member.waiting = False
            member.complete = member.pieces >= count
        for host_id in ids:
            member = task.members[host_id]
            if not member.complete:
                self._links.welcome(task, member, now)
        self._next_tick = min(self._next_tick, task.balance_at)

    def _more(self, host: Host, message: msg.MoreNeighbours, now: float) -> None:
        member = self.roster.member(message.key, host.info.id)
        task = self.roster.tasks.get(message.key)
        if member is not None and task is not None and task.info is not None and not member.waiting:
            self._links.more(task, member, message.have, now)

    def _want_digests(self, host: Host, message: msg.WantDigests) -> None:
        task = self.roster.tasks.get(message.key)
        pieces = 0 if task is None else len(task.digests) // 32
        if task is not None and host.info.id in task.members and message.first + message.count <= pieces:
            self._seeding.wanted(task, host.info.id, message.first, message.count)

    def _holding(self, host: Host, message: msg.Holding, now: float) -> None:
        if host.seed or not possible_piece_size(message.piece_size):
            return
        for key in message.keys:
            if not key.startswith("sha"):
                continue  # a URL's content may have changed
            task = self.roster.task(key, now)
            if host.info.id in task.members or not task.settle(message.piece_size):
                continue
            member = Member(host, None, now)
            member.complete, member.waiting = True, False
            task.add(member)
            host.tasks.add(key)

    # ---------------------------------------------------------------- progress

    def _progress(self, host: Host, item: msg.TaskProgress) -> None:
        member = self._member_or_seed(host, item.key)
        if member is not None:
            member.pieces, member.uploaded = item.pieces, item.uploaded
            self._received(member, item.key, item.received)

    def _received(self, member: Member, key: TaskKey, received: msg.BytesBy) -> None:
        member.received = received
        if not member.host.seed:
            self.roster.count(self.roster.tasks[key], member.host.info.id, received)

    def _finished(self, host: Host, message: msg.Finished) -> None:
        task = self.roster.tasks.get(message.key)
        member = self._member_or_seed(host, message.key)
        if task is None or member is None:
            return
        if not host.seed:
            self._cutting.finished(message)
        member.uploaded = message.uploaded
        self._received(member, message.key, message.received)
        member.seconds, member.bound, member.efficiency = message.seconds, message.bound, message.efficiency
        member.fallback, member.error = message.fallback, message.error
        if host.seed:
            task.seeding = False
        if message.error:
            task.thinned = True  # it gives nothing from now on: to some it may have been the way to every piece
        else:
            member.complete = True
            if task.info is not None:
                member.pieces = -(-task.info.length // task.info.piece_size)

    def _member_or_seed(self, host: Host, key: TaskKey) -> Member | None:
        task = self.roster.tasks.get(key)
        if task is None:
            return None
        if host.seed:
            return self._seed_members.setdefault(key, Member(host, None, 0.0))
        return task.members.get(host.info.id)

    def _deleted(self, key: TaskKey) -> None:
        task = self.roster.tasks.pop(key, None)
        self._seed_members.pop(key, None)
        everyone = tuple(host.info.id for host in self.roster.hosts.values() if not host.seed)
        if everyone:
            self._out.append(Send(everyone, msg.Forget(key=key)))
        if task is not None:
            for member in task.members.values():
                member.host.tasks.discard(key)
            self._out.append(Forgotten(key))

    # ---------------------------------------------------------------- time

    def _tick(self, now: float) -> None:
        self._next_tick = now + _TICK_S
        for key, task in list(self.roster.tasks.items()):
            if task.answering:
                self._answer(task, now)
            if task.publish_at <= now:
                self._seeding.publish(task)
            if task.balance_at <= now:
                self._links.balance(task, now)
            self._next_tick = min(self._next_tick, task.publish_at, task.balance_at)
            if task.thinned and now - task.looked_at >= len(task.members) / _LOOKS_PER_S:
                self._links.mend(task, now)
            if not task.members and not task.seeding and now - task.idle_since > self._settings.task_idle_s:
                del self.roster.tasks[key]
                self._seed_members.pop(key, None)
                self._out.append(Forgotten(key))

    # ---------------------------------------------------------------- what others see

    def snapshot(self) -> dict[str, object]:
        """Plain data for API, console and tests."""
        return {
            "hosts": len(self.roster.hosts),
            "tasks": {
                key: {
                    "members": len(task.members),
                    "complete": sum(member.complete for member in task.members.values()),
                    "waiting": len(task.waiting) + len(task.answering),
                    "seeding": task.seeding,
                }
                for key, task in self.roster.tasks.items()
            },
        }

    def seed_member(self, key: TaskKey) -> Member | None:
        """The seed's own part in a task."""
        return self._seed_members.get(key)

    def _say(self, decision: Decision) -> None:
        self._out.append(decision)

    def _send(self, hosts: list[str], message: msg.FromSupernode) -> None:
        self._out.append(Send(tuple(hosts), message))
