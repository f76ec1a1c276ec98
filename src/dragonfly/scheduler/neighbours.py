"""Which neighbours a peer gets: few, near, balanced, and always with a way to the seed.

The mesh of a task is grown as a nearly regular random graph: a newcomer dials about half
its degree among the members with the fewest links, random among equals; those who come
later dial it. Random regular graphs of small degree are expanders (Friedman 2008), so
pieces spread in a logarithmic number of hops whatever the order of arrivals.

With zones, most links stay inside; a few members of each zone, the entries, have links to
the seed and to other zones, so each byte crosses between zones about once or twice, and
no zone can starve.
"""

from __future__ import annotations

from random import Random

from dragonfly.scheduler.policies import NeighbourPolicy
from dragonfly.scheduler.roster import Host, Member, Task
from dragonfly.scheduler.settings import SchedulerSettings

__all__ = ["choose", "links_seed", "unlink"]

_DRAWS = 4


def choose(
    task: Task,
    member: Member,
    want: int,
    *,
    settings: SchedulerSettings,
    policy: NeighbourPolicy,
    rng: Random,
    now: float,
) -> list[Host]:
    """Up to `want` hosts that `member` should dial; both sides' links are noted.

    Looks at a bounded number of random members, not at all of them: O(want), whatever the size.
    """
    if want <= 0 or len(task.members) < 2:
        return []
    ids = _sample(task, want * _DRAWS + len(member.links) + 8, rng)
    me = member.host.info
    near: list[Member] = []
    far: list[Member] = []
    for host_id in ids:
        other = task.members.get(host_id)
        if (
            other is None
            or host_id == me.id
            or host_id in member.links
            or other.waiting
            or other.error
            or other.host.seed
            or len(other.links) >= settings.most
            or other.host.health.isolated(now)
        ):
            continue
        (near if other.host.info.zone == me.zone else far).append(other)
    if me.zone and not _is_entry(task, member, settings):
        far = []
    far_wanted = min(len(far), settings.far_links if near else want)
    chosen = policy.choose(member, near, want - far_wanted, rng) + policy.choose(member, far, far_wanted, rng)
    for other in chosen:
        member.links.add(other.host.info.id)
        other.links.add(me.id)
    return [other.host for other in chosen]


def links_seed(task: Task, member: Member, seed: Host, settings: SchedulerSettings) -> bool:
    """Whether `member` should have a link to the seed."""
    if len(task.seed_children) >= settings.seed_children:
        return False
    zone = member.host.info.zone
    return not zone or zone == seed.info.zone or _is_entry(task, member, settings)


def _is_entry(task: Task, member: Member, settings: SchedulerSettings) -> bool:
    """The first members of a zone that are there are its entries."""
    zone = member.host.info.zone
    entries = 0
    for other in task.members.values():
        if other is member:
            return entries < settings.zone_entries
        if other.host.info.zone == zone and not other.error:
            entries += 1
            if entries >= settings.zone_entries:
                return False
    return True


def _sample(task: Task, count: int, rng: Random) -> list[str]:
    ids = task.order
    if len(ids) <= count:
        return list(ids)
    return [ids[rng.randrange(len(ids))] for _ in range(count)]


def unlink(task: Task, host_id: str) -> list[Member]:
    """Forget `host_id` as a neighbour; returns the members that lost it."""
    gone = task.members.get(host_id)
    task.seed_children.discard(host_id)
    losers = []
    for other_id in gone.links if gone is not None else ():
        other = task.members.get(other_id)
        if other is not None:
            other.links.discard(host_id)
            losers.append(other)
    if gone is not None:
        gone.links.clear()
    return losers
