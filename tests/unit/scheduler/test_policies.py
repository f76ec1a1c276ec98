"""Our own policies keep to the contract that a stranger's must keep to, and do what they say."""

from __future__ import annotations

from importlib.metadata import entry_points
from random import Random

from dragonfly.scheduler.policies import GROUP, NearRandom, NeighbourPolicy, PlainRandom
from dragonfly.testing.policy_conformance import PolicyConformance, a_member


class TestNearRandom(PolicyConformance):
    def make(self) -> NeighbourPolicy:
        return NearRandom()


class TestPlainRandom(PolicyConformance):
    def make(self) -> NeighbourPolicy:
        return PlainRandom()


def test_near_random_takes_the_least_linked_then_the_same_rack() -> None:
    candidates = [
        a_member("busy", rack="r1", links=5),
        a_member("far", rack="r2", links=1),
        a_member("near", rack="r1", links=1),
        a_member("idle", rack="r2", links=0),
    ]
    chosen = NearRandom().choose(a_member("me", rack="r1"), candidates, 3, Random(1))
    assert [one.host.info.id for one in chosen] == ["idle", "near", "far"]


def test_without_racks_none_is_nearer() -> None:
    candidates = [a_member("a", rack="r2"), a_member("b")]
    first = {NearRandom().choose(a_member("me"), candidates, 1, Random(n))[0].host.info.id for n in range(50)}
    assert first == {"a", "b"}


def test_ours_are_registered_as_a_strangers_would_be() -> None:
    found = {point.name: point.load() for point in entry_points(group=GROUP)}
    assert found["near-random"] is NearRandom
    assert found["random"] is PlainRandom
