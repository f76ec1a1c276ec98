"""What every NeighbourPolicy must do, as tests: subclass it in a test file of your plug-in's own.

    class TestMine(PolicyConformance):
        def make(self) -> NeighbourPolicy:
            return Mine()

A policy only ranks: that nobody gets itself, the seed, or an isolated host is the caller's
care. Ours pass it too (tests/unit/scheduler/test_policies.py).
"""

from __future__ import annotations

from random import Random

from dragonfly.core.health import Health
from dragonfly.core.messages import HostInfo
from dragonfly.scheduler.policies import NeighbourPolicy
from dragonfly.scheduler.roster import Host, Member

__all__ = ["PolicyConformance", "a_member"]


def a_member(name: str, *, rack: str = "", links: int = 0) -> Member:
    """A host's part in some task, with so many neighbours."""
    info = HostInfo(id=name, address="10.0.0.1", peer_port=65002, rack=rack)
    member = Member(Host(info, False, Health(), 0.0), None, 0.0)
    member.links.update(f"{name}-{number}" for number in range(links))
    return member


def _ids(members: list[Member]) -> list[str]:
    return [member.host.info.id for member in members]


class PolicyConformance:
    """Give `make`."""

    def make(self) -> NeighbourPolicy:
        raise NotImplementedError

    def _candidates(self, count: int = 30) -> list[Member]:
        return [a_member(f"c{number}", rack=f"r{number % 3}", links=number % 7) for number in range(count)]

    def _me(self) -> Member:
        return a_member("me", rack="r1", links=2)

    def test_it_chooses_as_many_as_are_wanted_at_most(self) -> None:
        policy, candidates = self.make(), self._candidates()
        for want in range(31):
            chosen = policy.choose(self._me(), candidates, want, Random(want))
            assert len(chosen) <= want
            assert want == 0 or chosen, "one who wants neighbours and could have some gets at least one"

    def test_it_is_content_with_fewer_candidates_than_wanted(self) -> None:
        policy = self.make()
        assert policy.choose(self._me(), [], 8, Random(1)) == []
        two = self._candidates(2)
        assert set(_ids(policy.choose(self._me(), two, 8, Random(1)))) <= set(_ids(two))

    def test_it_chooses_candidates_only_and_each_once(self) -> None:
        policy, candidates = self.make(), self._candidates()
        for chance in range(20):
            chosen = policy.choose(self._me(), candidates, 8, Random(chance))
            assert all(any(one is other for other in candidates) for one in chosen)
            assert len(set(_ids(chosen))) == len(chosen)

    def test_a_candidate_named_twice_is_chosen_once(self) -> None:
        policy, candidates = self.make(), self._candidates(5)
        chosen = _ids(policy.choose(self._me(), candidates * 3, 15, Random(1)))
        assert len(set(chosen)) == len(chosen)

    def test_the_same_chance_gives_the_same_choice(self) -> None:
        for chance in range(20):
            first = self.make().choose(self._me(), self._candidates(), 8, Random(chance))
            again = self.make().choose(self._me(), self._candidates(), 8, Random(chance))
            assert _ids(first) == _ids(again)

    def test_it_has_no_memory(self) -> None:
        used, fresh = self.make(), self.make()
        for chance in range(10):
            used.choose(self._me(), self._candidates(), 5, Random(chance))
        candidates = self._candidates()
        chosen = used.choose(self._me(), candidates, 5, Random(99))
        assert _ids(chosen) == _ids(fresh.choose(self._me(), candidates, 5, Random(99)))

    def test_nothing_is_changed(self) -> None:
        me, candidates = self._me(), self._candidates()
        before = list(candidates), [one.links.copy() for one in candidates], me.links.copy()
        self.make().choose(me, candidates, 8, Random(1))
        assert (candidates, [one.links for one in candidates], me.links) == before

    def test_over_many_choices_everybody_has_a_chance_who_is_like_the_others(self) -> None:
        policy = self.make()
        alike = [a_member(f"c{number}", rack="r1", links=3) for number in range(20)]
        seen = {one for chance in range(300) for one in _ids(policy.choose(self._me(), alike, 4, Random(chance)))}
        assert len(seen) == 20, "a mesh in which all choose the same few is slow"
