"""Who is linked to whom, and who is left by all: one chapter of the scheduler.

`neighbours` chooses; here it is decided when somebody gets more of them. A newcomer gets few
at once, and the rest when the rush with which it came is over: were it to get all of them at
once, they would be those who came right before it, who have the fewest, and the mesh a band
along the order of arrival, through which pieces pass slowly. (200 members: a spectral gap of
0.09 with half of 8 at once, 0.36 with two; 0.34 is that of random regular graphs.) And as
long as the rush lasts nobody needs links beyond its degree. Who is left by a neighbour
gets another, and so does the one that was accused, unless so many accuse it that it is
isolated: taken away from everybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from dragonfly.core import messages as msg
from dragonfly.core.zones import is_far
from dragonfly.scheduler.decisions import Decision, Isolated, Send
from dragonfly.scheduler.neighbours import choose, cut_off, links_seed, part, unlink
from dragonfly.scheduler.policies import NeighbourPolicy
from dragonfly.scheduler.roster import Host, Member, Roster, Task
from dragonfly.scheduler.settings import SchedulerSettings

__all__ = ["AT_ONCE", "Linking"]

AT_ONCE = 30
"""Members that are given neighbours before others are heard: some 3 ms with what it takes to tell them."""


class Linking:
    """`say` takes what is decided."""

    def __init__(
        self,
        roster: Roster,
        settings: SchedulerSettings,
        policy: NeighbourPolicy,
        rng: Random,
        say: Callable[[Decision], None],
    ) -> None:
        self._roster = roster
        self._settings = settings
        self._policy = policy
        self._rng = rng
        self._say = say

    # ---------------------------------------------------------------- giving

    def give(self, task: Task, member: Member, want: int, now: float, *, seed_too: bool = False) -> None:
        """Give `member` up to `want` more neighbours, and the seed where it should have it."""
        want = min(want, self._settings.most - len(member.links))
        seed = self._roster.seed
        hosts = choose(
            task, member, want, seed=seed, settings=self._settings, policy=self._policy, rng=self._rng, now=now
        )
        add = [host.address for host in hosts]
        me = member.host.info.id
        if seed is not None and task.info is not None and me not in task.seed_children:
            alone = not member.links
            if alone or (seed_too and links_seed(task, member, seed, self._settings)):
                task.seed_children.add(me)
                add.append(seed.address)
        elif seed is not None and me in task.seed_children and (seed_too or not add):
            add.append(seed.address)
        if add:
            self._send(me, msg.Neighbours(key=task.key, add=tuple(add)))

    def welcome(self, task: Task, member: Member, now: float) -> None:
        """Give a newcomer its first neighbours; the others when the rush is over."""
        settings = self._settings
        self.give(task, member, min(settings.links_at_once, settings.degree - len(member.links)), now, seed_too=True)
        if not task.newcomers:
            task.rush_at = now
        task.newcomers.append(member.host.info.id)
        task.balance_at = min(now + settings.balance_after_s, task.rush_at + settings.balance_most_s)

    def more(self, task: Task, member: Member, have: tuple[str, ...], now: float) -> None:
        """`member` has too few neighbours: only those in `have`."""
        if now - member.given_at < 1.0:
            return
        member.given_at = now
        # It tells the truth about its links; ours may hold some that never came to be.
        for stale in member.links - set(have):
            part(task, member, stale)
        self.give(task, member, self._settings.degree - len(member.links), now, seed_too=True)

    def balance(self, task: Task, now: float) -> None:
        """Bring newcomers up to their degree, with each other as far as may be."""
        newcomers, task.newcomers = task.newcomers[:AT_ONCE], task.newcomers[AT_ONCE:]
        task.balance_at = now if task.newcomers else math.inf
        for host_id in newcomers:
            member = task.members.get(host_id)
            if member is None or member.complete or member.waiting:
                continue
            if (want := min(self._settings.degree, len(task.members) - 1) - len(member.links)) > 0:
                self.give(task, member, want, now)

    def mend(self, task: Task, now: float) -> None:
        """Give the seed to one of each group that has no way to it any more; it passes the pieces on."""
        if self._roster.seed is None or task.info is None:
            return  # there is nothing to be cut off from: it is looked at when there is
        task.thinned = False
        task.looked_at = now
        for member in cut_off(task):
            task.seed_children.add(member.host.info.id)
            self.give(task, member, self._settings.degree - len(member.links), now, seed_too=True)

    # ---------------------------------------------------------------- trouble

    def trouble(self, reporter: Host, message: msg.Trouble, now: float) -> None:
        """`reporter` has left a neighbour, and says why."""
        host = self._roster.hosts.get(message.peer)
        member = self._roster.member(message.key, reporter.info.id)
        task = self._roster.tasks.get(message.key)
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
            return
        if not member.complete and not member.waiting:
            self.give(task, member, 1, now)
        accused = task.members.get(host.info.id)
        if accused is None or accused.complete or accused.waiting or host.health.isolated(now):
            return
        if len(accused.links) < self._settings.degree:
            # Else one that is blamed for a moment's silence would pull with fewer and fewer neighbours, to its end.
            self.give(task, accused, 1, now)

    def _isolate(self, host: Host, kind: msg.TroubleKind, now: float) -> None:
        """Take `host` away from everybody who has it."""
        self._say(Isolated(host.info.id, f"several nodes found it {kind}"))
        for key in sorted(host.tasks):
            task = self._roster.tasks[key]
            seed, zone = self._roster.seed, host.info.zone
            if seed is not None and host.info.id in task.seed_children and is_far(zone, seed.info.zone):
                # What it was sent its zone will not have of it: the seed is to send that to another.
                self._send(seed.info.id, msg.Neighbours(key=key, drop=(host.info.id,)))
            for member in unlink(task, host.info.id):
                self._send(member.host.info.id, msg.Neighbours(key=key, drop=(host.info.id,)))
                if not member.complete and not member.waiting and len(member.links) < self._settings.least:
                    self.give(task, member, self._settings.degree // 2, now)

    def _send(self, host: str, message: msg.FromSupernode) -> None:
        self._say(Send((host,), message))
