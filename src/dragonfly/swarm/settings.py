"""Numbers of the exchange between neighbours, and why they are so."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dragonfly.core.units import Duration, Size

__all__ = ["SwarmSettings"]


class SwarmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults come from the swarm study and the rig; docs/performance.md has the figures."""

    depth: Annotated[int, Meta(description="requests outstanding per neighbour: fewer idle, more only wait", ge=1)] = 2
    seedless_depth: Annotated[
        int, Meta(description="… in a zone without a seed, where no neighbour may idle", ge=1)
    ] = 3
    line: Annotated[
        int,
        Meta(description="requests outstanding at all neighbours of all pulls, which are enough: more only wait", ge=1),
    ] = 32
    seed_depth: Annotated[
        int,
        Meta(
            description="… at a seed that is one of many neighbours: its queue is long, its choice should be fresh",
            ge=1,
        ),
    ] = 1
    seed_patience_s: Annotated[
        Duration, Meta(description="how long a request may queue at a busy seed before the seed counts as silent")
    ] = 30.0
    request_span_s: Annotated[
        Duration, Meta(description="a request asks for at most this much of the neighbour's measured time")
    ] = 0.06
    request_limit: Annotated[Size, Meta(description="most bytes in one request")] = 4 * 1024 * 1024
    window_pieces: Annotated[
        int, Meta(description="rarest first is kept to this many pieces ahead of the reader", ge=1)
    ] = 256
    samples: Annotated[int, Meta(description="random candidates among which the rarest is taken", ge=1)] = 16
    stall_after_s: Annotated[
        Duration, Meta(description="a neighbour that owes pieces and sends no byte so long is left alone")
    ] = 2.0
    leave_after_s: Annotated[Duration, Meta(description="… and after so long it is dropped and reported")] = 5.0
    endgame_s: Annotated[
        Duration,
        Meta(description="in the endgame, what is nearer than this is left to come; what is later is asked twice"),
    ] = 0.15
    head_patience_s: Annotated[
        Duration, Meta(description="a reader blocked so long gets its piece from the seed by name")
    ] = 1.0
    far_patience_s: Annotated[
        Duration,
        Meta(
            description="after so long without a byte of a seed, or a piece of anybody, other zones are asked by name"
        ),
    ] = 1.0
    source_after_s: Annotated[
        Duration, Meta(description="with no new piece for so long the source is read directly")
    ] = 2.0
    source_unit: Annotated[Size, Meta(description="most bytes of one range read of the source")] = 16 * 1024 * 1024
    source_least: Annotated[
        Size, Meta(description="… and least, towards the end: a read is a share of what is still to be read")
    ] = 512 * 1024
    source_streams: Annotated[int, Meta(description="range reads of the source at once", ge=1)] = 4
    image_streams: Annotated[
        int,
        Meta(description="… and for layers of one image at most, where the lowest is many units long", ge=1),
    ] = 9
    digest_late_s: Annotated[
        Duration, Meta(description="a neighbour asked for digests that tells none for so long is left for another")
    ] = 1.0
    digest_patience_s: Annotated[
        Duration,
        Meta(description="from so long on, to twice as long, the supernode is asked for digests no neighbour has"),
    ] = 3.0
    min_neighbours: Annotated[int, Meta(description="below this many, more are asked for", ge=0)] = 3
    announce_s: Annotated[Duration, Meta(description="new pieces are told to neighbours at most this often")] = 0.05
    announce_most_s: Annotated[
        Duration,
        Meta(description="… and no later than this, in batches; both up to four times where pieces take seconds"),
    ] = 0.5
    tick_s: Annotated[
        Duration,
        Meta(description="how often late neighbours are looked for; up to four times this where pieces take seconds"),
    ] = 0.25
