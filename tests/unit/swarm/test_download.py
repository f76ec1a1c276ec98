"""Dialogues with the mind of one pull."""

from __future__ import annotations

import pytest

from dragonfly.core import bitmap
from dragonfly.core.messages import TroubleKind
from dragonfly.swarm.commands import (
    Announce,
    AskNeighbours,
    AskSource,
    Cancel,
    Fetch,
    FetchAny,
    Finish,
    LeavePeer,
)
from dragonfly.swarm.download import Download, State
from dragonfly.swarm.events import (
    BytesArrived,
    DigestsKnown,
    NeighbourDown,
    NeighbourUp,
    Offered,
    PeerHas,
    PieceBad,
    PieceVerified,
    ReaderAt,
    Refused,
    SourceLine,
    SourceOpened,
    SourceReadEnded,
    Tick,
)
from dragonfly.testing.script import Script
from unit.swarm.words import SIZE, script


def test_a_neighbour_is_kept_at_its_depth_of_requests() -> None:
    talk = script(5)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b11111)
    asked = talk.rest()
    assert [type(command) for command in asked] == [Fetch, Fetch]
    talk >> PieceVerified(asked[0].first, "a")
    assert [type(command) for command in talk.rest()] == [Fetch, Announce]


def asked_of(talk: Script, peers: str) -> list[int]:
    """How many requests each of `peers` is owed, when all of them have everything."""
    for peer in peers:
        talk >> NeighbourUp(peer) >> PeerHas(peer, bitmap.full(100))
    owners = [command.peer for command in talk.rest() if isinstance(command, Fetch)]
    return [owners.count(peer) for peer in peers]


def test_with_many_neighbours_fewer_requests_wait_at_each() -> None:
    assert asked_of(script(100, depth=3, line=8), "abcd") == [3, 3, 3, 2]


def test_in_a_zone_without_a_seed_more_requests_wait() -> None:
    seeded, seedless = script(100, depth=2, seedless_depth=3), script(100, depth=2, seedless_depth=3)
    seeded >> NeighbourUp("s", seed=True)
    seedless >> NeighbourUp("s", seed=True, far=True)
    assert asked_of(seeded, "ab") == [2, 2]
    assert asked_of(seedless, "ab") == [3, 3]
    seeded >> NeighbourDown("s")
    assert asked_of(seeded, "cd") == [3, 3]


def test_pulls_of_one_node_share_the_line_of_requests() -> None:
    alone, beside = script(100, depth=3, line=8), script(100, depth=3, line=8)
    beside >> Tick(others=20)
    assert asked_of(alone, "ab") == [3, 3]
    assert asked_of(beside, "ab") == [1, 1]


def test_the_readers_next_piece_goes_first() -> None:
    talk = script(8, depth=1)
    talk >> ReaderAt(1, 5) >> NeighbourUp("a") >> PeerHas("a", 0xFF) << Fetch("a", 5, 1)


def test_the_rarest_piece_goes_before_common_ones() -> None:
    talk = script(6, depth=1, window_pieces=100)
    talk >> ReaderAt(1, 0)
    for peer in "bcd":
        talk >> NeighbourUp(peer) >> PeerHas(peer, 0b011111)
    talk.rest()
    talk >> NeighbourUp("a") >> PeerHas("a", 0b111111) << Fetch("a", 5, 1)


def test_pieces_of_unknown_digest_are_not_asked_of_neighbours() -> None:
    talk = script(4, known=0b0001)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b1111) << Fetch("a", 0, 1)
    talk.quiet()
    talk >> DigestsKnown(0b0100) << Fetch("a", 2, 1)


def test_a_seed_chooses_what_it_sends() -> None:
    talk = script(4, have=0b1000)
    talk >> NeighbourUp("s", seed=True) >> PeerHas("s", 0b1111)
    talk << FetchAny("s", 1, 0, 0b1000) << FetchAny("s", 1, 0, 0b1000)
    talk >> Offered("s", 0, 1) >> PieceVerified(0, "s") << FetchAny("s", 1, 1, 0b1001) << Announce(0)


def test_a_seed_with_nothing_to_choose_is_asked_again_when_it_has_news() -> None:
    talk = script(4)
    talk >> NeighbourUp("s", seed=True) >> PeerHas("s", 0b0001)
    talk.rest()
    talk >> Offered("s", 0, 1) >> Refused("s", 0, 0)
    talk.quiet()
    talk >> PeerHas("s", 0b0010) << FetchAny("s", 1, 0, 0b0001)


def test_what_a_neighbour_has_is_not_left_to_the_choice_of_a_seed() -> None:
    """It would choose what is just being asked of the neighbour."""
    talk = script(4, depth=1, seed_depth=1)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b0011)
    talk.rest()
    talk >> NeighbourUp("s", seed=True) >> PeerHas("s", 0b1111) << FetchAny("s", 1, 0, 0b0011)


def test_a_seed_is_asked_by_name_for_what_neighbours_have_too_when_nothing_else_is_left() -> None:
    talk = script(2, depth=1, seed_depth=1)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b11)
    (asked,) = talk.rest()
    talk >> NeighbourUp("s", seed=True) >> PeerHas("s", 0b11) << Fetch("s", 1 - asked.first, 1)


def test_a_silent_parent_loses_its_pieces_after_two_seconds_and_is_left_after_five() -> None:
    talk = script(4, depth=2)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b0011)
    first, second = (command.first for command in talk.rest())
    talk >> NeighbourUp("b") >> PeerHas("b", 0b1111)
    talk.rest()
    talk.after(1.0) >> BytesArrived("b", 10)
    talk.after(1.1) >> BytesArrived("b", 20) >> Tick()
    assert {Cancel("a", first, 1), Cancel("a", second, 1)} <= set(talk.rest())
    talk.after(3.0) >> BytesArrived("b", 30) >> Tick()
    assert LeavePeer("a", TroubleKind.SILENT) in talk.rest()


def test_a_parent_that_announces_lives_though_it_serves_others_first() -> None:
    talk = script(10, depth=2)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b0011)
    asked = talk.rest()
    talk.after(1.5) >> PeerHas("a", 0b0100)
    talk.after(1.0) >> Tick()
    assert talk.rest() == [], "it told something a second ago"
    talk.after(8.0) >> PeerHas("a", 0b1000)
    talk.after(0.1) >> Tick()
    assert {Cancel("a", command.first, 1) for command in asked} <= set(talk.rest()), "but not for ever"


def test_where_pieces_take_long_a_parent_may_be_silent_longer() -> None:
    talk = script(100)
    talk >> NeighbourUp("a") >> PeerHas("a", bitmap.full(100))
    for _ in range(40):
        first = next(command.first for command in talk.rest() if isinstance(command, Fetch))
        talk.after(2.0) >> BytesArrived("a", int(talk.now) * 10) >> PieceVerified(first, "a")
    talk.rest()
    talk.after(3.0) >> Tick()
    assert not [command for command in talk.rest() if isinstance(command, Cancel)]
    talk.after(6.0) >> Tick()
    assert [command for command in talk.rest() if isinstance(command, Cancel)]


def test_a_parent_that_speaks_again_is_trusted_again() -> None:
    talk = script(2, depth=1)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b11)
    talk.rest()
    talk.after(2.1) >> Tick()
    assert any(isinstance(command, Cancel) for command in talk.rest())
    talk >> BytesArrived("a", 1)
    assert any(isinstance(command, Fetch) for command in talk.rest())


def test_a_wrong_piece_ends_the_session_and_is_fetched_elsewhere() -> None:
    talk = script(1, depth=1)
    talk >> NeighbourUp("bad") >> PeerHas("bad", 1) << Fetch("bad", 0, 1)
    talk >> NeighbourUp("good") >> PeerHas("good", 1)
    talk.quiet()
    talk >> PieceBad(0, "bad") << LeavePeer("bad", TroubleKind.CORRUPT) << Fetch("good", 0, 1)


def test_in_the_endgame_a_late_piece_is_asked_twice_and_the_loser_cancelled() -> None:
    talk = script(1, depth=1)
    talk >> NeighbourUp("slow") >> PeerHas("slow", 1) << Fetch("slow", 0, 1)
    talk.after(0.5) >> NeighbourUp("fast") >> PeerHas("fast", 1) << Fetch("fast", 0, 1)
    talk >> PieceVerified(0, "fast") << Cancel("slow", 0, 1) << Announce(0) << Finish()
    assert talk.mind.state is State.DONE  # type: ignore[attr-defined]


def measured(talk: Script, peer: str, rate: float) -> None:
    """Let `peer` be known for so many bytes/s."""
    for _ in range(30):
        talk.after(0.5)
        talk >> BytesArrived(peer, total := int(talk.now * rate))
        assert total
        talk.rest()


def test_in_the_endgame_an_idle_neighbour_takes_over_from_the_queue_of_a_slow_one() -> None:
    talk = script(3)
    talk >> NeighbourUp("slow") >> NeighbourUp("fast")
    measured(talk, "slow", SIZE / 10)
    measured(talk, "fast", SIZE * 10)
    talk >> PeerHas("slow", 0b111)
    owed = [command.first for command in talk.rest()]
    free = ({0, 1, 2} - set(owed)).pop()
    last = owed[-1]
    talk >> PeerHas("fast", 0b111) << Fetch("fast", free, 1) << Cancel("slow", last, 1) << Fetch("fast", last, 1)
    talk >> PieceVerified(free, "fast")
    assert not [command for command in talk.rest() if isinstance(command, Fetch)], "the other has begun to leave"


def test_a_piece_that_a_seed_chose_is_not_brought_by_another_as_well() -> None:
    talk = script(2)
    talk >> NeighbourUp("s", True) >> PeerHas("s", 0b11) << FetchAny("s", 1, 0, 0) << FetchAny("s", 1, 0, 0)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b01) << Fetch("a", 0, 1)
    talk >> Offered("s", 0, 1) << Cancel("a", 0, 1)


def test_much_slower_neighbours_have_no_queue() -> None:
    talk = script(1000)
    talk >> NeighbourUp("slow") >> NeighbourUp("fast")
    measured(talk, "slow", SIZE / 2)
    measured(talk, "fast", SIZE * 5)
    talk >> Tick() >> PeerHas("fast", bitmap.full(500)) >> PeerHas("slow", bitmap.full(500))
    asked = [command.peer for command in talk.rest()]
    assert asked.count("slow") == 1
    assert asked.count("fast") == 2


def test_a_piece_that_comes_slowly_is_no_stall_but_one_that_never_comes_is() -> None:
    talk = script(1)
    talk >> NeighbourUp("a") >> PeerHas("a", 1)
    for step in range(1, 21):
        talk.after(0.5) >> BytesArrived("a", 10 * step)
        assert talk.mind.source.stalled_for(talk.now) <= 2.0
    talk.after(2.0)
    assert talk.mind.source.stalled_for(talk.now) >= 2.0


def test_what_a_lost_neighbour_owed_is_asked_of_others() -> None:
    talk = script(2, depth=2)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b11)
    talk.rest()
    talk >> NeighbourUp("b") >> PeerHas("b", 0b11)
    talk.quiet()
    talk >> NeighbourDown("a")
    assert {command.first for command in talk.rest() if isinstance(command, Fetch)} == {0, 1}


def test_a_refused_piece_is_not_asked_there_again() -> None:
    talk = script(1, depth=1)
    talk >> NeighbourUp("a") >> PeerHas("a", 1) << Fetch("a", 0, 1)
    talk >> Refused("a", 0, 1)
    talk.quiet()


def test_the_source_is_read_in_units_from_the_readers_place() -> None:
    talk = script(10, known=0, source_unit=4 * SIZE, source_streams=2)
    talk >> ReaderAt(1, 5) >> SourceOpened() << AskSource(5, 4) << AskSource(9, 1)
    for index in (5, 6, 7, 8):
        talk >> PieceVerified(index) << Announce(index)
    talk >> SourceReadEnded(5, 4) << AskSource(0, 4)


def _reads(talk: Script) -> list[AskSource]:
    return [command for command in talk.rest() if isinstance(command, AskSource)]


def test_reads_are_shares_of_what_is_left_so_that_streams_end_together() -> None:
    size = 600
    talk = script(size, known=0, source_unit=200 * SIZE, source_least=4 * SIZE, source_streams=2)
    talk >> SourceOpened(begun=200)
    under_way = _reads(talk)
    assert len(under_way) == 2
    counts = [read.count for read in under_way]
    while under_way:
        read = under_way.pop(0)
        talk >> PieceVerified(read.first, count=read.count) >> SourceReadEnded(read.first, read.count)
        fresh = _reads(talk)
        under_way += fresh
        counts += [read.count for read in fresh]
    assert sum(counts) == size
    assert counts[1] == 100, "large ones at first"
    assert counts[1:-1] == sorted(counts[1:-1], reverse=True)
    assert max(counts[-2:]) <= 4


def test_a_layer_leaves_the_streams_to_those_below_but_for_a_sign_of_life() -> None:
    talk = script(400, known=0, source_unit=8 * SIZE, source_after_s=2.0, source_streams=4, image_streams=4)
    talk >> SourceLine(4) >> SourceOpened(begun=8) << AskSource(0, 8)
    talk >> PieceVerified(0, count=8)
    talk.rest()
    talk.after(0.5) >> SourceReadEnded(0, 8) >> Tick()
    talk.quiet()
    talk.after(0.5) >> Tick()
    assert _reads(talk) == [AskSource(8, 1)]
    talk >> SourceLine(1)
    assert len(_reads(talk)) == 2, "three streams are left"
    talk >> SourceLine(0)
    assert len(_reads(talk)) == 1


def test_the_lowest_layer_claims_all_streams_until_it_has_asked_for_its_last_bytes() -> None:
    talk = script(40, known=0, source_unit=2 * SIZE, source_after_s=2.0, source_streams=4, image_streams=9)
    source = talk.mind.source
    talk >> SourceLine(0)
    assert source.claim(talk.now) == 0, "not before it may read"
    talk >> SourceOpened()
    under_way = _reads(talk)
    assert (len(under_way), source.claim(talk.now)) == (9, 9)
    assert source.claim(talk.now + 2.0) == 0, "nor while nothing comes"
    streams, claims = [], []
    while under_way:
        read = under_way.pop(0)
        talk >> PieceVerified(read.first, count=read.count) >> SourceReadEnded(read.first, read.count)
        under_way += _reads(talk)
        streams.append(len(under_way))
        claims.append(source.claim(talk.now))
    assert sorted(streams, reverse=True) == streams, "fewer when what is left is short"
    wanting = claims.count(9)
    assert claims == [9] * wanting + streams[wanting:]


def test_beside_a_swarm_that_brings_nothing_the_source_is_read_by_growing_bits() -> None:
    talk = script(40, known=0, source_unit=8 * SIZE, source_streams=3)
    talk >> NeighbourUp("a") >> SourceOpened(sparing=True) << AskSource(0, 1)
    at = 0
    for count in (1, 2, 4, 8, 8):
        for index in range(at, at + count):
            talk >> PieceVerified(index, "")
        talk.rest()
        talk >> SourceReadEnded(at, count)
        (asked,) = _reads(talk)
        at += count
        assert asked.first == at
        assert asked.count <= 2 * count


def test_the_source_is_left_in_peace_while_the_swarm_brings_pieces() -> None:
    talk = script(10, source_after_s=2.0)
    talk >> NeighbourUp("a") >> PeerHas("a", 0b11111)
    first = next(command.first for command in talk.rest() if isinstance(command, Fetch))
    talk >> PieceVerified(first, "a")
    talk.rest()
    talk >> SourceOpened(sparing=True)
    talk.quiet()
    talk.after(2.1) >> Tick()
    assert AskSource in [type(command) for command in talk.rest()]


def test_before_the_first_piece_one_of_many_neighbours_has_more_patience() -> None:
    alone, crowd = script(10, min_neighbours=3), script(10, min_neighbours=3)
    for peer in "abcdefghi":
        crowd >> NeighbourUp(peer)
    assert alone.mind.source.patience() == 2.0
    assert 2.0 < crowd.mind.source.patience() <= 8.0
    alone >> NeighbourUp("a") >> NeighbourUp("b") >> Tick(unmet=7)
    assert alone.mind.source.patience() == crowd.mind.source.patience(), "those to be met with the first piece count"
    crowd >> PeerHas("a", 0b1)
    crowd.rest()
    crowd >> PieceVerified(0, "a")
    assert crowd.mind.source.patience() == 2.0


def test_before_the_first_piece_what_its_seed_gives_to_others_is_a_sign_of_life() -> None:
    crowd = script(10, known=0, min_neighbours=3, source_after_s=2.0)
    for peer in "abcdefghi":
        crowd >> NeighbourUp(peer)
    crowd.after(5.0) >> DigestsKnown(0b1)
    assert crowd.mind.source.stalled_for(crowd.now) == 5.0, "no seed serves this one"
    crowd >> NeighbourUp("seed", seed=True)
    crowd >> DigestsKnown(0b10)
    assert crowd.mind.source.stalled_for(crowd.now) == 1.0
    crowd.rest()
    crowd.after(45.0) >> DigestsKnown(0b100)
    assert crowd.mind.source.stalled_for(crowd.now) == 10.0, "not for ever"


def test_beside_other_pulls_that_bring_something_each_has_more_patience() -> None:
    talk = script(10, min_neighbours=3, source_after_s=2.0)
    talk >> NeighbourUp("a") >> NeighbourUp("b") >> Tick(others=2)
    assert talk.mind.source.patience() == 4.0
    talk >> Tick(others=1000)
    assert talk.mind.source.patience() == 10.0, "not for ever"
    talk >> Tick()
    assert talk.mind.source.patience() == 2.0


def test_the_source_is_left_in_peace_while_neighbours_begin_to_have_pieces() -> None:
    """Many wait for their first piece, and have each their turn at those who have some."""
    talk = script(10, min_neighbours=3, source_after_s=2.0)
    for peer in "abcdefghi":
        talk >> NeighbourUp(peer)
    talk.after(5.0) >> PeerHas("a", 0b1)
    assert talk.mind.source.stalled_for(talk.now) < 2.0
    talk.rest()
    talk.after(1.9) >> SourceOpened(sparing=True)
    talk.quiet()
    talk.after(0.2) >> Tick()
    assert AskSource in [type(command) for command in talk.rest()]


def test_what_a_broken_source_read_did_not_bring_is_read_again() -> None:
    talk = script(2, known=0, source_unit=10 * SIZE, source_streams=1)
    talk >> SourceOpened() << AskSource(0, 2)
    talk >> PieceVerified(0) << Announce(0)
    talk >> SourceReadEnded(0, 2) << AskSource(1, 1)


def test_more_neighbours_are_wanted_when_there_are_too_few() -> None:
    talk = script(4, min_neighbours=2)
    talk.after(1.5) >> NeighbourUp("a") >> NeighbourDown("a")
    assert AskNeighbours() in talk.rest()


def test_no_more_neighbours_are_wanted_while_enough_are_to_be_met() -> None:
    talk = script(4, min_neighbours=3)
    talk.after(1.5) >> NeighbourUp("a") >> Tick(unmet=2)
    assert AskNeighbours() not in talk.rest()
    talk >> Tick(unmet=1)
    assert AskNeighbours() in talk.rest()


def test_fast_neighbours_get_longer_requests() -> None:
    talk = script(1000, depth=2, request_span_s=0.1)
    talk >> NeighbourUp("a") >> PeerHas("a", bitmap.full(1000))
    talk.rest()
    for step in range(1, 40):
        talk.after(0.1) >> BytesArrived("a", step * 5000)
    for index in range(20):
        talk >> PieceVerified(index, "a")
    assert max(command.count for command in talk.rest() if isinstance(command, Fetch)) > 1


def test_everything_there_already_is_done_at_once() -> None:
    download = script(3, have=0b111).mind
    assert isinstance(download, Download)
    assert download.state is State.DONE
    assert download.next_deadline() is None


@pytest.mark.parametrize("event", [NeighbourDown("x"), PieceBad(0, "x"), PeerHas("x", 1), Refused("x", 0, 1)])
def test_unknown_peers_are_ignored(event: object) -> None:
    (script(1) >> event).quiet()


def test_a_seed_may_choose_pieces_whose_digest_is_not_known_yet() -> None:
    """It tells the digest with the piece; waiting for the supernode's word would leave its link idle."""
    talk = script(4, known=0, depth=1)
    talk >> NeighbourUp("s", seed=True) >> PeerHas("s", 0b1111) << FetchAny("s", 1, 0, 0)


def test_a_seed_that_refuses_to_choose_is_asked_by_name() -> None:
    """It believes that we have what it sent; we may have lost it."""
    talk = script(2, depth=1)
    talk >> NeighbourUp("s", seed=True) >> PeerHas("s", 0b11)
    assert [type(command) for command in talk.rest()] == [FetchAny]
    talk >> Refused("s", 0, 0)
    assert [type(command) for command in talk.rest()] == [Fetch]
