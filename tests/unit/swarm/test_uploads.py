from __future__ import annotations

from dragonfly.swarm.uploads import Nothing, Run, Uploads


def test_a_seed_sends_each_piece_once_before_any_twice() -> None:
    uploads = Uploads(6, have=0b111111)
    sent = []
    for peer in "abcdef":
        uploads.asked_any(peer, 1, hint=0, busy=0)
        run = uploads.next(peer)
        assert isinstance(run, Run)
        sent.append(run.first)
    assert sorted(sent) == [0, 1, 2, 3, 4, 5]


def test_the_choice_begins_at_the_askers_hint_and_spares_what_it_has() -> None:
    uploads = Uploads(8, have=0xFF)
    uploads.child_has("a", 0b00010000)
    uploads.asked_any("a", 1, hint=4, busy=0b00100000)
    assert uploads.next("a") == Run(6, 1, by_choice=True)


def test_a_long_choice_is_a_run() -> None:
    uploads = Uploads(8, have=0xFF)
    uploads.asked_any("a", 3, hint=2, busy=0)
    assert uploads.next("a") == Run(2, 3, by_choice=True)


def test_nothing_to_choose_is_said() -> None:
    uploads = Uploads(4, have=0b0011)
    uploads.asked_any("a", 1, hint=0, busy=0b0011)
    assert uploads.next("a") == Nothing(0, 0)
    assert uploads.next("a") is None


def test_into_another_zone_each_piece_is_sent_once() -> None:
    uploads = Uploads(4, have=0b1111)
    for peer, zone in (("a", "east"), ("b", "east"), ("c", "west")):
        uploads.child_in(peer, zone, peer)
    uploads.child_has("b", 0b0001)
    sent = []
    for peer in ("a", "b", "a", "b"):
        uploads.asked_any(peer, 1, hint=0, busy=0)
        sent.append(uploads.next(peer))
    assert sent == [Run(1, 1, True), Run(2, 1, True), Run(3, 1, True), Nothing(0, 0)]
    uploads.asked_any("c", 4, hint=0, busy=0)
    assert uploads.next("c") == Run(0, 1, True), "another zone has none of it; the least sent goes first"
    uploads.asked("b", 1, 1)
    assert uploads.next("b") == Run(1, 1), "asked by name it is sent again"


def test_what_only_one_who_is_gone_had_is_sent_into_its_zone_again() -> None:
    uploads = Uploads(1, have=1)
    for peer in "ab":
        uploads.child_in(peer, "east", peer)
        uploads.asked_any(peer, 1, hint=0, busy=0)
    assert uploads.next("a") == Run(0, 1, True)
    uploads.gone("a")
    assert uploads.next("b") == Run(0, 1, True)


def test_what_is_not_here_is_refused_and_the_rest_sent() -> None:
    uploads = Uploads(4, have=0b0001)
    uploads.asked("a", 0, 2)
    assert uploads.next("a") == Run(0, 1)
    assert uploads.next("a") == Nothing(1, 1)


def test_a_cancel_takes_out_just_its_pieces() -> None:
    uploads = Uploads(8, have=0xFF)
    uploads.asked("a", 0, 5)
    uploads.cancelled("a", 2, 1)
    assert [uploads.next("a"), uploads.next("a"), uploads.next("a")] == [Run(0, 2), Run(3, 2), None]


def test_who_is_gone_waits_for_nothing() -> None:
    uploads = Uploads(1, have=1)
    uploads.asked("a", 0, 1)
    uploads.gone("a")
    assert not uploads.pending("a")
    assert uploads.next("a") is None


def test_what_a_distrusted_host_gets_is_not_had_by_its_zone() -> None:
    uploads = Uploads(1, have=1)
    uploads.distrust("liar")
    for peer, host in (("liar#1", "liar"), ("b", "b")):
        uploads.child_in(peer, "east", host)
        uploads.asked_any(peer, 1, hint=0, busy=0)
    assert uploads.next("liar#1") == Run(0, 1, True)
    assert uploads.next("b") == Run(0, 1, True)


def test_a_child_is_empty_handed_until_it_has_a_piece_or_is_sent_one() -> None:
    uploads = Uploads(4, have=0b1111)
    assert uploads.empty_handed("a"), "nothing is known of it"
    uploads.child_has("a", 0)
    assert uploads.empty_handed("a"), "it said that it has nothing"
    uploads.child_has("a", 0b1000)
    assert not uploads.empty_handed("a")
    uploads.asked("b", 0, 2)
    uploads.asked_any("c", 1, hint=0, busy=0)
    assert uploads.empty_handed("b")
    assert uploads.empty_handed("c")
    uploads.next("b")
    uploads.next("c")
    assert not uploads.empty_handed("b"), "its second piece waits for others' first"
    assert not uploads.empty_handed("c")
    uploads.asked("d", 0, 1)
    uploads.have = 0
    assert uploads.next("d") == Nothing(0, 1)
    assert uploads.empty_handed("d"), "a refusal is no piece"


def test_who_was_refused_is_told_of_the_next_piece_and_only_once() -> None:
    uploads = Uploads(4)
    for name in ("a", "b", "c", "d", "e"):
        uploads.asked_any(name, 1, 0, 0)
        assert uploads.next(name) == Nothing(0, 0)
    uploads.gone("b")
    assert uploads.take_turned_away() == ["a", "c", "d", "e"]
    assert uploads.take_turned_away() == []


def test_few_are_told_of_one_piece() -> None:
    uploads = Uploads(4)
    for number in range(6):
        uploads.asked_any(f"p{number}", 1, 0, 0)
        uploads.next(f"p{number}")
    assert uploads.take_turned_away() == ["p0", "p1", "p2", "p3"]
    assert uploads.take_turned_away() == ["p4", "p5"]
