"""Numbers of the engine, and why they are so."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from dragonfly.core.units import Duration, Rate, Size
from dragonfly.swarm.settings import SwarmSettings

__all__ = ["EngineSettings", "Pattern", "SourcePolicy"]


class SourcePolicy(enum.StrEnum):
    """When the source is read by this node itself."""

    FIRST = "first"
    """At once: a seed, or a node that has no supernode."""
    FALLBACK = "fallback"
    """When the swarm does not bring the bytes."""
    NEVER = "never"
    """Not at all (`--no-back-to-source`)."""


class Pattern(enum.StrEnum):
    """How one pull gets its bytes (v1's `--pattern`)."""

    P2P = "p2p"
    CDN = "cdn"
    """From the seed only."""
    SOURCE = "source"
    """From the source only."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One node's engine."""

    source_policy: SourcePolicy = SourcePolicy.FALLBACK
    swarm: Annotated[SwarmSettings, Meta(description="how one pull asks its neighbours")] = SwarmSettings()
    join_patience_s: Annotated[
        Duration,
        Meta(description="how long a supernode may take to describe a task before the source is read"),
    ] = 10.0
    dial_timeout_s: Annotated[Duration, Meta(description="deadline of connect and handshake with a neighbour")] = 3.0
    upload_slots: Annotated[
        int,
        Meta(description="pieces that leave at once; few, so that each is soon whole somewhere else", ge=1),
    ] = 4
    first_slots: Annotated[
        int,
        Meta(description="… of these to peers that have nothing: alone on the link, it can be passed on soonest", ge=1),
    ] = 1
    upload_limit: Annotated[Rate, Meta(description="bytes/s to other nodes in all; 0: no limit")] = 0
    download_limit: Annotated[Rate, Meta(description="bytes/s of all pulls together; 0: no limit")] = 0
    origin_limit: Annotated[Rate, Meta(description="bytes/s from sources in all; 0: no limit")] = 0
    bulk_from: Annotated[Size, Meta(description="runs of at least this many bytes are received by a thread")] = (
        256 * 1024
    )
    bulk_threads: Annotated[
        int, Meta(description="threads that receive long runs; 0: one for each core and one more, 8 at most", ge=0)
    ] = 0
    lanes: Annotated[
        int, Meta(description="connections to one fast neighbour, at most; pulls that go on at once share them", ge=1)
    ] = 4
    lane_rate: Annotated[Rate, Meta(description="a neighbour this fast gets further lanes")] = 40_000_000
    source_threads: Annotated[int, Meta(description="range reads of all sources at once", ge=1)] = 16
    source_timeout_s: Annotated[Duration, Meta(description="longest silence of a source that is borne")] = 30.0
    source_attempts: Annotated[int, Meta(description="tries of one range read before the pull fails", ge=1)] = 5
    max_neighbours: Annotated[int, Meta(description="sessions per task that are accepted", ge=1)] = 512
    linger_s: Annotated[
        Duration, Meta(description="an unfinished pull that nobody reads any more goes on this long")
    ] = 2.0
    idle_s: Annotated[
        Duration, Meta(description="a finished task without readers or sessions is closed after this")
    ] = 120.0
    serve_stale: Annotated[
        bool,
        Meta(description="give a cached copy of a URL while its source can't be asked whether it changed"),
    ] = False
