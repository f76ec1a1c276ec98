"""The scheduler's numbers, and why they are so."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dragonfly.core.units import Duration, Rate

__all__ = ["SchedulerSettings"]


class SchedulerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Degree 8 with 6 as good and 16 worse: swarm study."""

    degree: Annotated[int, Meta(description="neighbours that a peer of a task should have", ge=2)] = 8
    most: Annotated[int, Meta(description="neighbours that a peer is given at most", ge=2)] = 14
    least: Annotated[int, Meta(description="with fewer than this, replacements are given at once", ge=1)] = 3
    links_at_once: Annotated[
        int, Meta(description="neighbours that a newcomer gets at once; more would all have come right before it", ge=1)
    ] = 2
    balance_after_s: Annotated[
        Duration, Meta(description="it gets the others, from who came meanwhile, when nobody has come for so long")
    ] = 0.25
    balance_most_s: Annotated[Duration, Meta(description="… and no later than this")] = 4.0
    seed_children: Annotated[
        int, Meta(description="peers of a task that are linked to its seed; more would only queue there", ge=1)
    ] = 256
    far_links: Annotated[int, Meta(description="of a peer's links, how many go to other zones", ge=0)] = 1
    zone_entries: Annotated[int, Meta(description="peers of a zone that are linked to other zones", ge=1)] = 2
    zone_children: Annotated[
        int,
        Meta(description="peers of another zone than the seed's that are linked to it; it sends each piece once", ge=1),
    ] = 64
    digest_every_s: Annotated[Duration, Meta(description="shortest time between two digest messages")] = 0.02
    digest_peers_per_s: Annotated[
        int, Meta(description="digest messages sent in a second, but for the first ones of a task", ge=1)
    ] = 2000
    digest_lists: Annotated[
        int,
        Meta(
            description="with more members than this only so many are told all digests, the others what they come to",
            ge=1,
        ),
    ] = 256
    node_rate: Annotated[
        Rate,
        Meta(description="at which nodes receive: pieces are larger where it is high; 0: as finished pulls say", ge=0),
    ] = 0
    report_least_s: Annotated[Duration, Meta(description="shortest reporting period of a daemon")] = 2.0
    reports_per_s: Annotated[int, Meta(description="reports of all daemons together in a second", ge=1)] = 1000
    revalidate_after_s: Annotated[
        Duration, Meta(description="a URL that was last checked longer ago is checked at its source for a new pull")
    ] = 0.1
    reread_after_s: Annotated[
        Duration, Meta(description="… and read again, where the source gives nothing to tell versions by")
    ] = 10.0
    failed_for_s: Annotated[
        Duration, Meta(description="how long a source's final answer is given to the same asker")
    ] = 3.0
    fallback_step_s: Annotated[
        Duration, Meta(description="nodes that must read the source themselves start this far apart")
    ] = 0.2
    fallback_most_s: Annotated[Duration, Meta(description="… but wait no longer than this")] = 5.0
    task_idle_s: Annotated[Duration, Meta(description="a task without members is forgotten after this")] = 600.0
    corrupt_weight: Annotated[float, Meta(description="weight of a report of wrong bytes; 1 isolates")] = 0.6
    silent_weight: Annotated[float, Meta(description="weight of a report of silence")] = 0.25
    refused_weight: Annotated[float, Meta(description="weight of a report of a refusal")] = 0.1
    forgive_half_life_s: Annotated[Duration, Meta(description="half of a bad score is forgotten after this")] = 30.0
