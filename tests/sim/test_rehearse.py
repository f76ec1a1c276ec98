"""The minds in a virtual world: every peer ends, near the bound, whatever happens to some."""

from __future__ import annotations

import msgspec
import pytest

from dragonfly.sim.churn import Crowd, rehearse
from dragonfly.sim.world import Transfer, WorldSettings
from dragonfly.swarm.settings import SwarmSettings

CROWD = Crowd(peers=50, size=10_000_000)


def test_fifty_peers_end_near_the_bound() -> None:
    outcome = rehearse(CROWD)
    assert outcome.finished == 50
    assert outcome.efficiency > 0.9
    assert outcome.p99_s / outcome.p50_s < 1.05


def test_the_time_does_not_grow_with_the_number_of_peers() -> None:
    few, many = rehearse(Crowd(peers=10, size=10_000_000)), rehearse(Crowd(peers=200, size=10_000_000))
    assert many.last_s < 1.3 * few.last_s


def test_those_who_join_last_are_served_as_well_as_those_who_join_first() -> None:
    outcome = rehearse(Crowd(peers=200, size=10_000_000))
    assert outcome.p99_s / outcome.p50_s < 1.05


def test_who_has_nothing_is_served_first_so_all_have_a_piece_to_give_soon() -> None:
    crowd = Crowd(peers=100, size=2_000_000, piece_size=32 * 1024)
    transfers: list[Transfer] = []
    rehearse(crowd, transfers=transfers)
    first: dict[str, float] = {}
    for transfer in transfers:
        first.setdefault(transfer.taker, transfer.ended)
    assert len(first) == crowd.peers + 1, "all, and the seed"
    a_piece = crowd.piece_size / crowd.peer_rate
    assert max(first.values()) < 8 * a_piece, "in turn alone it takes nine to eleven"


def test_a_lone_peer_hears_of_the_next_piece_when_its_seed_had_none() -> None:
    """The source is no faster than the peer, so the seed is emptied again and again."""
    assert rehearse(Crowd(peers=1, size=2_000_000, source_rate=1.25e6)).efficiency > 0.945


def test_digests_that_neighbours_tell_each_other_are_as_good_as_the_supernodes() -> None:
    """Four of forty are told them, and some of the others lie or vanish."""
    crowd = Crowd(peers=40, size=5_000_000, killed_share=0.1, corrupt_share=0.03)
    few = rehearse(msgspec.structs.replace(crowd, digest_lists=4))
    assert few.source_copies == 1.0
    assert few.last_s < 1.1 * rehearse(crowd).last_s


def test_the_source_is_read_once() -> None:
    assert rehearse(CROWD).source_copies == 1.0


def test_little_is_sent_in_vain() -> None:
    assert rehearse(CROWD).wasted_copies < 0.02


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    crowd = Crowd(peers=20, size=3_000_000)
    runs = []
    for seed in (7, 7, 8):
        transfers: list[Transfer] = []
        rehearse(crowd, seed=seed, transfers=transfers)
        runs.append(transfers)
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    ("crowd", "least"),
    [
        (Crowd(peers=50, size=10_000_000, seed_copies=2), 0.88),
        (Crowd(peers=50, size=10_000_000, arrive_over=1), 0.85),
        (Crowd(peers=50, size=10_000_000, slow_share=0.1), 0.8),
        (Crowd(peers=50, size=10_000_000, killed_share=0.1), 0.75),
        (Crowd(peers=50, size=10_000_000, corrupt_share=0.02), 0.85),
    ],
    ids=["seed-2F", "staggered", "slow", "killed", "corrupt"],
)
def test_the_others_end_near_the_bound_when(crowd: Crowd, least: float) -> None:
    outcome = rehearse(crowd)
    assert outcome.finished == crowd.peers - round(
        crowd.peers * (crowd.slow_share + crowd.killed_share + crowd.corrupt_share)
    )
    assert outcome.efficiency > least


def test_a_narrow_link_between_zones_carries_each_piece_about_once() -> None:
    outcome = rehearse(Crowd(peers=50, size=10_000_000, narrow_copies=2))
    assert outcome.finished == 50
    assert outcome.efficiency > 0.9
    assert 1.0 <= outcome.narrow_copies < 1.1


@pytest.mark.parametrize("crowd", [{"corrupt_share": 0.04}, {"killed_share": 0.1}], ids=["corrupt", "killed"])
def test_what_one_of_a_zone_took_with_it_comes_to_the_others(crowd: dict[str, float]) -> None:
    outcome = rehearse(Crowd(peers=50, size=10_000_000, narrow_copies=2, **crowd))
    assert outcome.finished == 50 - round(50 * sum(crowd.values()))
    assert outcome.efficiency > 0.75
    assert outcome.source_copies < 1.1
    assert outcome.narrow_copies < 2.2, "a liar takes a copy of its own"


def test_zones_help_each_other_where_the_seed_is_slow() -> None:
    """Its link carries the file into both zones in twice T*; peers of one zone get it there from the other."""
    outcome = rehearse(Crowd(peers=50, size=10_000_000, narrow_copies=2, seed_copies=1))
    assert outcome.finished == 50
    assert outcome.source_copies < 1.1
    assert outcome.narrow_copies < 1.5


def test_peers_read_the_source_when_the_seed_is_too_slow() -> None:
    crowd = Crowd(peers=3, size=2_000_000, seed_rate=20_000)
    outcome = rehearse(crowd, WorldSettings(swarm=SwarmSettings(source_after_s=1.0)))
    assert outcome.finished == 3
    assert outcome.source_copies > 1
