"""Who of the candidates is taken: the part of the choice of neighbours that can be replaced.

A policy of a stranger's package registers under the entry point group
`dragonfly.neighbour_policy.v1` and passes `dragonfly.testing.policy_conformance`.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

from dragonfly.scheduler.roster import Member

__all__ = ["GROUP", "NearRandom", "NeighbourPolicy", "PlainRandom"]

GROUP = "dragonfly.neighbour_policy.v1"


class NeighbourPolicy(Protocol):
    """Pure: the same candidates and the same `rng` give the same choice."""

    def choose(self, member: Member, candidates: list[Member], want: int, rng: Random) -> list[Member]:
        """At most `want` different ones of `candidates`, best first. All may be taken; none must be."""
        ...


class NearRandom:
    """Fewest links first, then the same rack, then by chance."""

    def choose(self, member: Member, candidates: list[Member], want: int, rng: Random) -> list[Member]:
        rack = member.host.info.rack
        unique = {other.host.info.id: other for other in candidates}
        ranked = sorted(
            unique.values(),
            key=lambda other: (len(other.links), bool(rack) and other.host.info.rack != rack, rng.random()),
        )
        return ranked[:want]


class PlainRandom:
    """By chance alone."""

    def choose(self, member: Member, candidates: list[Member], want: int, rng: Random) -> list[Member]:
        unique = list({other.host.info.id: other for other in candidates}.values())
        return rng.sample(unique, min(want, len(unique)))
