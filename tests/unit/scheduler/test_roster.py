"""Who is there: pools to draw from, and the totals of nodes that come and go."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core.digest import NO_DIGEST, known_digests, piece_digest
from dragonfly.core.health import Health
from dragonfly.core.messages import BytesBy
from dragonfly.core.task import TaskKey
from dragonfly.scheduler.roster import Host, Member, Pool, Roster
from unit.scheduler.words import host


def member(name: str, zone: str = "") -> Member:
    return Member(Host(host(name, zone), False, Health(), 0.0), None, 0.0)


def test_a_draw_gives_each_once_and_nobody_who_left() -> None:
    pool = Pool()
    for number in range(100):
        pool.add(member(f"p{number}"))
    for number in range(90):
        pool.remove(f"p{number}")
    for seed in range(20):
        drawn = [one.host.info.id for one in pool.draw(9, Random(seed))]
        assert len(set(drawn)) == len(drawn) >= 1
        assert set(drawn) <= set(pool.members)


def test_a_small_pool_is_drawn_whole() -> None:
    pool = Pool()
    for name in "abc":
        pool.add(member(name))
    assert [one.host.info.id for one in pool.draw(3, Random(1))] == ["a", "b", "c"]


def test_everybody_is_drawn_about_equally_often() -> None:
    pool = Pool()
    for number in range(50):
        pool.add(member(f"p{number}"))
    rng, seen = Random(3), dict.fromkeys(pool.members, 0)
    for _ in range(1000):
        for one in pool.draw(10, rng):
            seen[one.host.info.id] += 1
    assert min(seen.values()) > 100
    assert max(seen.values()) < 300


def test_leaving_and_coming_back_keeps_the_pool_small() -> None:
    pool, one = Pool(), member("a")
    for _ in range(1000):
        pool.add(one)
        pool.remove("a")
    assert len(pool._hat) <= 17
    assert pool.draw(1, Random(1)) == []


def test_zones_are_forgotten_with_their_last_member() -> None:
    task = Roster().task(TaskKey("sha256-1"), 0.0)
    one, other = member("a", "x"), member("b", "x")
    task.add(one)
    task.add(other)
    task.remove(one)
    assert list(task.zones) == ["x"]
    task.remove(other)
    assert task.zones == {}
    assert task.members == {}


_DIGEST = st.one_of(st.just(NO_DIGEST), st.binary(max_size=4).map(piece_digest))


@given(said=st.lists(st.tuples(st.integers(0, 12), st.lists(_DIGEST, max_size=8)), max_size=8))
def test_a_task_knows_which_digests_it_has(said: list[tuple[int, list[bytes]]]) -> None:
    """Whatever the runs in which they come, one over another too."""
    task = Roster().task(TaskKey("sha256-1"), 0.0)
    task.expect(20)
    for first, digests in said:
        task.learn(first, b"".join(digests))
        assert task.known == known_digests(task.digests)


def test_totals_that_are_told_again_are_counted_once() -> None:
    roster = Roster()
    task = roster.task(TaskKey("sha256-1"), 0.0)
    for received in (BytesBy(peers=5), BytesBy(peers=5), BytesBy(peers=9, seed=1)):
        roster.count(task, "a", received)
    assert roster.moved == task.moved == BytesBy(peers=9, seed=1)
    roster.count(task, "a", BytesBy(peers=2, seed=1))  # they began at nothing
    assert roster.moved == BytesBy(peers=11, seed=2)
