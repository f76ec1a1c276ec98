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
