"""What the seed says and when it is needed: one chapter of the scheduler.

A task is read at its source once: whoever asks first starts the seed, with its own
credentials. The seed says what the task is, then the digests of its pieces, and at last
that it is sealed or has failed. Members are told digests in batches, most of many only what
these come to (`swarm.hearsay`), and failures in such a way that they don't all go to the
source at the same moment.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from random import Random

import msgspec

from dragonfly.core import bitmap
from dragonfly.core import messages as msg
from dragonfly.core.task import TaskSpec
from dragonfly.scheduler.decisions import Decision, Send, StartSeed
from dragonfly.scheduler.neighbours import unlink
from dragonfly.scheduler.roster import Task
from dragonfly.scheduler.settings import SchedulerSettings

__all__ = ["Seeding"]

_LONGEST_S = 5.0


class Seeding:
    """Knows tasks only as they are given to it; `say` takes what is decided."""

    def __init__(self, settings: SchedulerSettings, rng: Random, say: Callable[[Decision], None]) -> None:
        self._settings = settings
        self._rng = rng
        self._say = say

    # ---------------------------------------------------------------- when it is needed

    def start(self, task: Task, spec: TaskSpec, reason: str) -> None:
        task.seeding = True
        task.spec = spec
        self._say(StartSeed(spec, reason))

    def outdated(self, task: Task, now: float) -> bool:
        """Whether the source must be asked again before this is given to a newcomer."""
        if not task.key.startswith("url-") or task.seeding or task.info is None:
            return False
        versioned = self._settings.revalidate_after_s
        return now - task.described_at > (versioned if task.info.version else self._settings.reread_after_s)

    def go_on(self, task: Task, specs: Iterable[TaskSpec], now: float) -> bool:
        """A seed that gave up in the middle goes on by the first of these that was not refused just now."""
        if task.seeding or task.info is None or task.info.sealed:
            return False
        for spec in specs:
            if self.known_failure(task, spec, now) is None:
                self.start(task, spec, "to go on where it ended")
                return True
        return False

    def known_failure(self, task: Task, spec: TaskSpec, now: float) -> msg.TaskFailed | None:
        until, failure = task.failures.get(_credentials(spec), (0.0, None))
        return failure if now < until and isinstance(failure, msg.TaskFailed) else None

    # ---------------------------------------------------------------- what it says

    def described(self, task: Task, info: msg.TaskInfo, now: float) -> None:
        """What the task is; who waits for it is the caller's to tell."""
        before = task.info
        if task.piece_size not in (0, info.piece_size) or (
            before is not None and (before.version, before.length) != (info.version, info.length)
        ):
            self._new_version(task)
        count = -(-info.length // info.piece_size)
        if len(task.digests) != 32 * count:
            task.expect(count)
        task.learn(0, info.digests)
        task.info = msgspec.structs.replace(info, digests=b"")
        task.piece_size = info.piece_size
        task.described_at = now
        task.failures.clear()
        task.fallbacks = 0
        if info.sealed:
            task.seeding = False

    def _new_version(self, task: Task) -> None:
        """It has other content by now, or other pieces: who has the old ones is no neighbour for newcomers."""
        task.expect(0)
        task.fresh.clear()
        for host_id in [host for host in task.members if host not in task.waiting]:
            unlink(task, host_id)
            member = task.members[host_id]
            task.remove(member)
            member.host.tasks.discard(task.key)

    def digests(self, task: Task, message: msg.Digests, now: float) -> None:
        """Take them in; `task.publish_at` says when the members should be told."""
        if task.info is None:
            return
        at = 32 * message.first
        if at + len(message.digests) > len(task.digests):
            return
        if message.digests:
            task.learn(message.first, message.digests)
            task.fresh.append((message.first, len(message.digests) // 32))
        if message.sealed:
            task.info = msgspec.structs.replace(task.info, sealed=True)
            task.seeding = False
            task.described_at = now
            self.publish(task, sealed=True)
        elif task.fresh and task.publish_at == math.inf:
            task.publish_at = now + self._patience(len(task.members), now - task.described_at)

    def _patience(self, members: int, age: float) -> float:
        """For how long digests are gathered, `age` seconds after the first.

        At first each is told soon: nobody can pass on what nobody can check. The longer it
        goes on, the more have peers to go on with meanwhile.
        """
        usual = members / self._settings.digest_peers_per_s
        grown = max(usual / 10, min(usual, age / 2), min(8 * usual, age / 4))
        return max(self._settings.digest_every_s, min(_LONGEST_S, grown))

    def publish(self, task: Task, *, sealed: bool = False) -> None:
        """Tell the members that still pull the digests that came since the last time."""
        task.publish_at = math.inf
        runs, task.fresh = _merge(task.fresh), []
        hosts = _pulling(task)
        if not hosts:
            return
        for number, (first, count) in enumerate(runs):
            last = number == len(runs) - 1
            self._tell(task, hosts, first, count, sealed=sealed and last)
        if sealed and not runs:
            self._say(Send(hosts, _told(task, 0, 0, sealed=True)))

    def catch_up(self, task: Task, hosts: tuple[str, ...]) -> None:
        """Tell newcomers the digests that are known, and no zeros for the others: hundreds may come at once."""
        for first, count in bitmap.runs(task.known):
            self._tell(task, hosts, first, count)

    def lists_for_all(self, task: Task) -> bool:
        """Whether each member is told all digests: they are few enough."""
        return len(task.members) <= self._settings.digest_lists

    def _tell(self, task: Task, hosts: tuple[str, ...], first: int, count: int, *, sealed: bool = False) -> None:
        """A run of digests, to all; of many only to some, by chance, and to the others what it comes to."""
        told = _told(task, first, count, sealed=sealed)
        crowded, task.crowded = task.crowded, not self.lists_for_all(task)
        if not task.crowded:
            self._say(Send(hosts, told))
            return
        if not crowded and (before := _pulling(task)):
            self._say(Send(before, msg.Digests(key=task.key, first=0, digests=b"", pass_on=True)))
        share = self._settings.digest_lists / len(task.members)
        lists = int(share * len(hosts) + self._rng.random())  # one newcomer gets one as often as one of many
        some = dict.fromkeys(self._rng.sample(hosts, lists))
        rest = tuple(host for host in hosts if host not in some)
        self._say(Send(tuple(some), msgspec.structs.replace(told, pass_on=True)))
        total = hashlib.sha256(told.digests).digest()
        self._say(Send(rest, msg.Fingerprint(key=task.key, first=first, count=count, sum=total, sealed=sealed)))

    def wanted(self, task: Task, host: str, first: int, count: int) -> None:
        """A member in whose neighbourhood nobody has these digests."""
        for run in bitmap.runs(task.known & bitmap.run(first, count)):
            self._say(Send((host,), msgspec.structs.replace(_told(task, *run), pass_on=True)))

    def failed(self, task: Task, failure: msg.TaskFailed, now: float) -> None:
        """Tell those who wait and those who pull, unless somebody's credentials may do better."""
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
            self._say(Send((host_id,), failure if failure.final else self._own_way(task, failure)))
        if retry is not None:
            self.start(task, retry, "with other credentials")
            return
        pulling = [member.spec for member in task.members.values() if not member.complete and member.spec is not None]
        if not (failure.final and self.go_on(task, pulling, now)):
            # Who pulls already must not wait for pieces that the seed will not bring.
            for host_id, member in task.members.items():
                if not member.complete and not member.waiting:
                    self._say(Send((host_id,), self._own_way(task, failure)))

    def _own_way(self, task: Task, failure: msg.TaskFailed) -> msg.TaskFailed:
        """The same words with a start of one's own, so that the source isn't stampeded."""
        step = self._settings.fallback_step_s
        wait = min(self._settings.fallback_most_s, task.fallbacks * step) * (0.75 + 0.5 * self._rng.random())
        task.fallbacks += 1
        return msgspec.structs.replace(failure, retry_after=wait)


def _pulling(task: Task) -> tuple[str, ...]:
    """The members to whom digests are of use, and that know what the task is."""
    return tuple(host for host, member in task.members.items() if not member.complete and not member.waiting)


def _told(task: Task, first: int, count: int, *, sealed: bool = False) -> msg.Digests:
    """The digests of a run of pieces, as members are told them."""
    digests = bytes(task.digests[32 * first : 32 * (first + count)])
    return msg.Digests(key=task.key, first=first, digests=digests, sealed=sealed)


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
