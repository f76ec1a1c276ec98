"""The supernode's mind: who pulls what, who gets whom as neighbours, when the seed is needed.

Sans-IO: `handle(event, now)` returns decisions, `next_deadline()` says when a Tick is wanted.
The source is read once per task: the first join starts the seed, the others wait for what
it says. After that the supernode speaks per peer and second, never per piece.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable
from random import Random

import msgspec

from dragonfly.core import messages as msg
from dragonfly.core.health import Health
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.decisions import Decision, Forgotten, Isolated, Send, StartSeed
from dragonfly.scheduler.neighbours import choose, cut_off, links_seed, part, unlink
from dragonfly.scheduler.policies import NearRandom, NeighbourPolicy
from dragonfly.scheduler.roster import Host, Member, Roster, Task
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
        self._rng = rng
        self._secret = secret
        self._policy = policy or NearRandom()
        self._seed_members: dict[TaskKey, Member] = {}
        self._out: list[Decision] = []
        self._next_tick = math.inf

    def ticket(self, key: TaskKey) -> str:
        """What a peer shows its neighbours: only who was let into the task can know it."""
        return hmac.new(self._secret, key.encode(), hashlib.sha256).hexdigest()[:32]

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
            case msg.Trouble():
                self._trouble(host, message, now)
            case msg.Leave():
                self._leave(host, message.key, now)
            case msg.Holding():
                self._holding(host, message, now)
            case msg.TaskInfo():
                self._described(host, message, now)
            case msg.Digests():
                self._digests(host, message, now)
            case msg.TaskFailed():
                self._failed(host, message, now)
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
        if not task.members:
            task.idle_since = now
        for member in losers:
            if not member.complete and not member.waiting and len(member.links) < self._settings.least:
                self._give(task, member, self._settings.degree // 2, now)

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
        member.waiting = True
        task.waiting[host.info.id] = None
        if task.info is not None and not self._outdated(task, now):
            self._answer_waiting(task, now)
            self._go_on(task, (join.spec,), now)
            return
        if (known := self._known_failure(task, join.spec, now)) is not None:
            del task.waiting[host.info.id]
            self._send([host.info.id], known)
            return
        if not task.seeding:
            self._start_seed(task, join.spec, "first to ask" if task.info is None else "to see whether it changed")

    def _outdated(self, task: Task, now: float) -> bool:
        """Whether the source must be asked again before this is given to a newcomer."""
        if not task.key.startswith("url-") or task.seeding or task.info is None:
            return False
        versioned = self._settings.revalidate_after_s
        return now - task.described_at > (versioned if task.info.version else self._settings.reread_after_s)

    def _go_on(self, task: Task, specs: Iterable[TaskSpec], now: float) -> bool:
        """A seed that gave up in the middle goes on by the first of these that was not refused just now."""
        if task.seeding or task.info is None or task.info.sealed:
            return False
        for spec in specs:
            if self._known_failure(task, spec, now) is None:
                self._start_seed(task, spec, "to go on where it ended")
                return True
        return False

    def _start_seed(self, task: Task, spec: TaskSpec, reason: str) -> None:
        task.seeding = True
        task.spec = spec
        self._out.append(StartSeed(spec, reason))

    def _answer_waiting(self, task: Task, now: float) -> None:
        """Tell all who wait what the task is, and give them neighbours."""
        assert task.info is not None
        waiting, task.waiting = task.waiting, {}
        count = -(-task.info.length // task.info.piece_size)
        digests = bytes(task.digests) if any(task.digests) else b""
        ids = tuple(host for host in waiting if host in task.members)
        if not ids:
            return
        others = len(task.members) - len(ids)
        info = msgspec.structs.replace(
            task.info, digests=digests, ticket=self.ticket(task.key), peers=others or len(ids) - 1
        )
        self._out.append(Send(ids, info))
        for host_id in ids:
            member = task.members[host_id]
            member.waiting = False
            member.complete = member.pieces >= count
        for host_id in ids:
            member = task.members[host_id]
            if not member.complete:
                self._give(task, member, self._settings.degree // 2, now, seed_too=True)
                task.newcomers.append(host_id)
        if task.newcomers and task.balance_at == math.inf:
            task.balance_at = now + self._settings.balance_after_s
            self._next_tick = min(self._next_tick, task.balance_at)

    def _balance(self, task: Task, now: float) -> None:
        """Bring those who came last up to their degree: nobody after them has dialled them."""
        task.balance_at = math.inf
        newcomers, task.newcomers = task.newcomers, []
        for host_id in newcomers:
            member = task.members.get(host_id)
            if member is None or member.complete or member.waiting:
                continue
            if (want := min(self._settings.degree, len(task.members) - 1) - len(member.links)) > 0:
                self._give(task, member, want, now)

    def _give(self, task: Task, member: Member, want: int, now: float, *, seed_too: bool = False) -> None:
        """Give `member` up to `want` more neighbours, and the seed where it should have it."""
        want = min(want, self._settings.most - len(member.links))
        hosts = choose(task, member, want, settings=self._settings, policy=self._policy, rng=self._rng, now=now)
        add = [host.address for host in hosts]
        seed = self.roster.seed
        me = member.host.info.id
        if seed is not None and task.info is not None and me not in task.seed_children:
            alone = not member.links
            if alone or (seed_too and links_seed(task, member, seed, self._settings)):
                task.seed_children.add(me)
                add.append(seed.address)
        elif seed is not None and me in task.seed_children and (seed_too or not add):
            add.append(seed.address)
        if add:
            self._send([me], msg.Neighbours(key=task.key, add=tuple(add)))

    def _more(self, host: Host, message: msg.MoreNeighbours, now: float) -> None:
        member = self.roster.member(message.key, host.info.id)
        task = self.roster.tasks.get(message.key)
        if member is None or task is None or task.info is None or member.waiting:
            return
        if now - member.given_at < 1.0:
            return
        member.given_at = now
        # It tells the truth about its links; ours may hold some that never came to be.
        for stale in member.links - set(message.have):
            part(task, member, stale)
        self._give(task, member, self._settings.degree - len(member.links), now, seed_too=True)

    def _holding(self, host: Host, message: msg.Holding, now: float) -> None:
        if host.seed:
            return
        for key in message.keys:
            if not key.startswith("sha"):
                continue  # a URL's content may have changed
            task = self.roster.task(key, now)
            if host.info.id in task.members:
                continue
            member = Member(host, None, now)
            member.complete, member.waiting = True, False
            task.add(member)
            host.tasks.add(key)

    # ---------------------------------------------------------------- the seed's words

    def _described(self, host: Host, info: msg.TaskInfo, now: float) -> None:
        if not host.seed:
            return
        task = self.roster.task(info.key, now)
        if task.info is not None and (task.info.version, task.info.length) != (info.version, info.length):
            self._new_version(task)
        count = -(-info.length // info.piece_size)
        if len(task.digests) != 32 * count:
            task.digests = bytearray(32 * count)
        if info.digests:
            task.digests[: len(info.digests)] = info.digests
        task.info = msgspec.structs.replace(info, digests=b"")
        task.described_at = now
        task.failures.clear()
        task.fallbacks = 0
        if info.sealed:
            task.seeding = False
        self._answer_waiting(task, now)

    def _new_version(self, task: Task) -> None:
        """The URL has other content by now: who has the old one is no neighbour for newcomers."""
        task.digests = bytearray()
        task.fresh.clear()
        for host_id in [host for host in task.members if host not in task.waiting]:
            unlink(task, host_id)
            member = task.members[host_id]
            task.remove(member)
            member.host.tasks.discard(task.key)

    def _digests(self, host: Host, message: msg.Digests, now: float) -> None:
        task = self.roster.tasks.get(message.key)
        if not host.seed or task is None or task.info is None:
            return
        at = 32 * message.first
        if at + len(message.digests) > len(task.digests):
            return
        if message.digests:
            task.digests[at : at + len(message.digests)] = message.digests
            task.fresh.append((message.first, len(message.digests) // 32))
        if message.sealed:
            task.info = msgspec.structs.replace(task.info, sealed=True)
            task.seeding = False
            task.described_at = now
            self._publish(task, sealed=True)
        elif task.fresh and task.publish_at == math.inf:
            wait = len(task.members) / self._settings.digest_peers_per_s
            task.publish_at = now + max(self._settings.digest_every_s, min(5.0, wait))
            self._next_tick = min(self._next_tick, task.publish_at)

    def _publish(self, task: Task, *, sealed: bool = False) -> None:
        """Tell the members that still pull the digests that came since the last time."""
        task.publish_at = math.inf
        runs, task.fresh = _merge(task.fresh), []
        hosts = tuple(host for host, member in task.members.items() if not member.complete and not member.waiting)
        if not hosts:
            return
        for number, (first, count) in enumerate(runs):
            digests = bytes(task.digests[32 * first : 32 * (first + count)])
            last = number == len(runs) - 1
            self._out.append(
                Send(hosts, msg.Digests(key=task.key, first=first, digests=digests, sealed=sealed and last))
            )
        if sealed and not runs:
            self._out.append(Send(hosts, msg.Digests(key=task.key, first=0, digests=b"", sealed=True)))

    def _failed(self, host: Host, failure: msg.TaskFailed, now: float) -> None:
        task = self.roster.tasks.get(failure.key)
        if not host.seed or task is None:
            return
        task.seeding = False
        asked = _credentials(task.spec)
        if failure.final:
            task.failures[asked] = (now + self._settings.failed_for_s, failure)
        waiting, task.waiting = task.waiting, {}
        retry: TaskSpec | None = None
        for host_id in waiting:
            member = task.members.get(host_id)
            if member is None:
                continue
            if failure.final and _credentials(member.spec) != asked:
                # Another's rights may be better: let the seed try with them.
                task.waiting[host_id] = None
                retry = member.spec
                continue
            self._send([host_id], failure if failure.final else self._own_way(task, failure))
        if retry is not None:
            self._start_seed(task, retry, "with other credentials")
            return
        pulling = [member.spec for member in task.members.values() if not member.complete and member.spec is not None]
        if not (failure.final and self._go_on(task, pulling, now)):
            # Who pulls already must not wait for pieces that the seed will not bring.
            for host_id, member in task.members.items():
                if not member.complete and not member.waiting:
                    self._send([host_id], self._own_way(task, failure))

    def _own_way(self, task: Task, failure: msg.TaskFailed) -> msg.TaskFailed:
        """The same words with a start of one's own, so that the source isn't stampeded."""
        step = self._settings.fallback_step_s
        wait = min(self._settings.fallback_most_s, task.fallbacks * step) * (0.75 + 0.5 * self._rng.random())
        task.fallbacks += 1
        return msgspec.structs.replace(failure, retry_after=wait)

    def _known_failure(self, task: Task, spec: TaskSpec, now: float) -> msg.TaskFailed | None:
        until, failure = task.failures.get(_credentials(spec), (0.0, None))
        return failure if now < until and isinstance(failure, msg.TaskFailed) else None

    # ---------------------------------------------------------------- progress and trouble

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
        member.uploaded = message.uploaded
        self._received(member, message.key, message.received)
        member.seconds, member.bound, member.efficiency = message.seconds, message.bound, message.efficiency
        member.fallback, member.error = message.fallback, message.error
        if host.seed:
            task.seeding = False
        if not message.error:
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

    def _trouble(self, reporter: Host, message: msg.Trouble, now: float) -> None:
        host = self.roster.hosts.get(message.peer)
        member = self.roster.member(message.key, reporter.info.id)
        task = self.roster.tasks.get(message.key)
        if host is None or member is None or task is None:
            return
        part(task, member, message.peer)
        if host.seed:
            return  # there is no other; its children go on with the mesh and the source
        weights = {
            msg.TroubleKind.CORRUPT: self._settings.corrupt_weight,
            msg.TroubleKind.REFUSED: self._settings.refused_weight,
        }
        was_isolated = host.health.isolated(now)
        host.health.report(reporter.info.id, weights.get(message.kind, self._settings.silent_weight), now)
        if host.health.isolated(now) and not was_isolated:
            self._isolate(host, message.kind, now)
        elif not member.complete and not member.waiting:
            self._give(task, member, 1, now)

    def _isolate(self, host: Host, kind: msg.TroubleKind, now: float) -> None:
        """Take `host` away from everybody who has it."""
        self._out.append(Isolated(host.info.id, f"several nodes found it {kind}"))
        for key in sorted(host.tasks):
            task = self.roster.tasks[key]
            for member in unlink(task, host.info.id):
                self._send([member.host.info.id], msg.Neighbours(key=key, drop=(host.info.id,)))
                if not member.complete and not member.waiting and len(member.links) < self._settings.least:
                    self._give(task, member, self._settings.degree // 2, now)

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
            if task.publish_at <= now:
                self._publish(task)
            if task.balance_at <= now:
                self._balance(task, now)
            self._next_tick = min(self._next_tick, task.publish_at, task.balance_at)
            if task.thinned and now - task.looked_at >= len(task.members) / _LOOKS_PER_S:
                self._mend(task, now)
            if not task.members and not task.seeding and now - task.idle_since > self._settings.task_idle_s:
                del self.roster.tasks[key]
                self._seed_members.pop(key, None)
                self._out.append(Forgotten(key))

    def _mend(self, task: Task, now: float) -> None:
        """Give the seed to one of each group that has no way to it any more; it passes the pieces on."""
        task.thinned = False
        task.looked_at = now
        if self.roster.seed is None or task.info is None:
            return
        for member in cut_off(task):
            task.seed_children.add(member.host.info.id)
            self._give(task, member, self._settings.degree - len(member.links), now, seed_too=True)

    # ---------------------------------------------------------------- what others see

    def snapshot(self) -> dict[str, object]:
        """Plain data for API, console and tests."""
        return {
            "hosts": len(self.roster.hosts),
            "tasks": {
                key: {
                    "members": len(task.members),
                    "complete": sum(member.complete for member in task.members.values()),
                    "waiting": len(task.waiting),
                    "seeding": task.seeding,
                }
                for key, task in self.roster.tasks.items()
            },
        }

    def seed_member(self, key: TaskKey) -> Member | None:
        """The seed's own part in a task."""
        return self._seed_members.get(key)

    def _send(self, hosts: list[str], message: msg.FromSupernode) -> None:
        self._out.append(Send(tuple(hosts), message))


def _credentials(spec: TaskSpec | None) -> str:
    """What tells askers apart at a source, without keeping their secrets."""
    if spec is None:
        return ""
    secret = "\n".join(f"{name.lower()}:{value}" for name, value in sorted(spec.headers.items()))
    return hashlib.sha256(secret.encode()).hexdigest()


def _merge(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring runs joined, in order."""
    merged: list[tuple[int, int]] = []
    for first, count in sorted(runs):
        if merged and first <= merged[-1][0] + merged[-1][1]:
            begin, length = merged[-1]
            merged[-1] = (begin, max(length, first + count - begin))
        else:
            merged.append((first, count))
    return merged
