"""Which neighbours a peer gets: few, near, balanced, and always with a way to the seed.

The mesh of a task is grown as a nearly regular random graph: a newcomer dials about half
its degree among the members with the fewest links, random among equals; those who come
later dial it. Random regular graphs of small degree are expanders (Friedman 2008), so
pieces spread in a logarithmic number of hops whatever the order of arrivals.

With zones, links stay inside. Some members of each zone are linked to the seed, which
sends each piece into it once (`swarm.uploads`); a few, the entries, to other zones, so that
none can starve where the seed is slow or gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from random import Random

from dragonfly.core.messages import HostInfo
from dragonfly.core.zones import is_far
from dragonfly.scheduler.policies import NeighbourPolicy
from dragonfly.scheduler.roster import Host, Member, Task
from dragonfly.scheduler.settings import SchedulerSettings

__all__ = ["choose", "cut_off", "links_seed", "meet", "part", "unlink"]

_DRAWS = 4


def choose(
    task: Task,
    member: Member,
    want: int,
    *,
    seed: Host | None,
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
    me, mine, links, most = member.host.info, member.host.health, member.links, settings.most
    draws = want * _DRAWS + len(links) + 2

    def fits(other: Member) -> bool:
        host = other.host
        return not (
            other is member
            or host.info.id in links
            or other.waiting
            or other.error
            or host.seed
            or len(other.links) >= most
            or host.health.isolated(now)
            or host.health.accused_by(me.id, now)  # they have parted in anger, or could not meet
            or mine.accused_by(host.info.id, now)
        )

    near = [other for other in task.zones[me.zone].draw(draws, rng) if fits(other)]
    far: list[Member] = []
    if len(task.zones) > 1 and (not me.zone or (_from_elsewhere(me, seed) and _is_entry(task, member, settings))):
        drawn = task.everyone.draw(draws, rng)
        far = [other for other in drawn if other.host.info.zone != me.zone and fits(other)]
    far_wanted = min(want, len(far), settings.far_links)
    chosen = policy.choose(member, near, want - far_wanted, rng) + policy.choose(member, far, far_wanted, rng)
    for other in chosen:
        member.links.add(other.host.info.id)
        other.links.add(me.id)
    return [other.host for other in chosen]


def _from_elsewhere(me: HostInfo, seed: Host | None) -> bool:
    """Whether everything that `me`'s zone is to have must cross into it."""
    return seed is None or is_far(me.zone, seed.info.zone)


def links_seed(task: Task, member: Member, seed: Host, settings: SchedulerSettings) -> bool:
    """Whether `member` should have a link to the seed."""
    if len(task.seed_children) >= settings.seed_children:
        return False
    zone = member.host.info.zone
    if not is_far(zone, seed.info.zone):
        return True
    there = task.zones[zone].members
    return sum(host_id in there for host_id in task.seed_children) < settings.zone_children


def _is_entry(task: Task, member: Member, settings: SchedulerSettings) -> bool:
    """The first members of a zone that are there are its entries."""
    zone = task.zones[member.host.info.zone].members.values()
    sound = (other for other in zone if not other.error or other is member)
    return any(other is member for other in islice(sound, settings.zone_entries))


def meet(task: Task, member: Member, ids: Iterable[str], *, seed: Host | None, most: int) -> None:
    """`member` has these neighbours: their sessions outlived its own with the supernode, or the supernode's memory."""
    me = member.host.info.id
    for host_id in ids:
        if seed is not None and host_id == seed.info.id:
            task.seed_children.add(me)
        elif (other := task.members.get(host_id)) is not None and other is not member and len(other.links) < most:
            member.links.add(host_id)
            other.links.add(me)


def part(task: Task, member: Member, host_id: str) -> None:
    """The two are no neighbours any more."""
    if host_id in member.links:
        task.thinned = True
        member.links.discard(host_id)
    if (other := task.members.get(host_id)) is not None:
        other.links.discard(member.host.info.id)


def cut_off(task: Task) -> list[Member]:
    """The earliest of each group of pulling members that has no way to the seed, nor to one who has it all.

    O(members and links): looked for once in a while, where links were lost.
    """
    reached = set(task.seed_children)
    reached.update(host_id for host_id, member in task.members.items() if member.complete and not member.error)
    _spread(task, reached)
    earliest = []
    for host_id, member in task.members.items():
        if host_id not in reached and not (member.complete or member.waiting or member.error):
            earliest.append(member)
            reached.add(host_id)
            _spread(task, reached, [host_id])
    return earliest


def _spread(task: Task, reached: set[str], fresh: Iterable[str] | None = None) -> None:
    """Add everybody whom links lead to."""
    frontier = list(reached if fresh is None else fresh)
    while frontier:
        member = task.members.get(frontier.pop())
        if member is None or member.error:
            continue  # it passes nothing on
        frontier += (new := member.links - reached)
        reached |= new


def unlink(task: Task, host_id: str) -> list[Member]:
    """Forget `host_id` as a neighbour; returns the members that lost it."""
    gone = task.members.get(host_id)
    task.thinned = True
    task.seed_children.discard(host_id)
    losers = []
    for other_id in sorted(gone.links) if gone is not None else ():  # a set's own order is another in each process
        other = task.members.get(other_id)
        if other is not None:
            other.links.discard(host_id)
            losers.append(other)
    if gone is not None:
        gone.links.clear()
    return losers
