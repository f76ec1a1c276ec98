"""What the seed says and when it is needed, as dialogues with the scheduler it is a chapter of."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from dragonfly.core import messages as msg
from dragonfly.scheduler import decisions as do
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.decisions import Send, StartSeed
from dragonfly.scheduler.settings import SchedulerSettings
from unit.scheduler.words import BLOB, DIGESTS, PAGE, PIECES, Talk, a_scheduler, described, sent

KEY = BLOB.key


@pytest.fixture
def talk() -> Talk:
    return Talk()


# ---------------------------------------------------------------- digests


@pytest.mark.parametrize(
    ("members", "age", "wait"),
    [(2, 8.0, 0.02), (200, 0.1, 0.05), (200, 0.4, 0.1), (200, 2.0, 0.5), (200, 40.0, 0.8), (2000, 0.0, 0.1)],
)
def test_digests_go_out_less_often_once_peers_have_others_to_go_on_with(members: int, age: float, wait: float) -> None:
    """At first at once; later what a quarter of the time has brought, but not too late for few members."""
    talk = Talk()
    talk.members(members)
    talk.says("seed", described(sealed=False)).rest()
    talk.after(age).says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS[:32]))
    assert talk.mind.roster.tasks[KEY].publish_at == pytest.approx(talk.now + wait)


def test_digests_go_out_in_batches_to_those_who_pull(talk: Talk) -> None:
    talk.hello("a", "b").pulls("a").pulls("b")
    talk.says("seed", described(sealed=False))
    talk.done("b").rest()
    for index in (0, 1, 3):
        talk.says("seed", msg.Digests(key=KEY, first=index, digests=DIGESTS[:32]))
    talk.quiet()
    assert talk.mind.next_deadline() == pytest.approx(0.02)
    talk.after(0.05)
    talk >> ev.Tick() << Send(("a",), msg.Digests(key=KEY, first=0, digests=DIGESTS[:32] * 2))
    talk << Send(("a",), msg.Digests(key=KEY, first=3, digests=DIGESTS[:32]))
    talk.quiet()
    assert talk.after(0.05) >> ev.Tick()
    talk.quiet()


def test_sealed_goes_out_at_once_with_what_is_left(talk: Talk) -> None:
    talk.hello("a").pulls("a")
    talk.says("seed", described(sealed=False))
    talk.rest()
    talk.says("seed", msg.Digests(key=KEY, first=2, digests=DIGESTS[:64])).quiet()
    talk.says("seed", msg.Digests(key=KEY, first=0, digests=b"", sealed=True))
    talk << Send(("a",), msg.Digests(key=KEY, first=2, digests=DIGESTS[:64], sealed=True))
    talk.says("seed", msg.Digests(key=KEY, first=0, digests=b"", sealed=True))
    talk << Send(("a",), msg.Digests(key=KEY, first=0, digests=b"", sealed=True))
    talk.quiet()


def test_digests_behind_the_end_are_not_taken(talk: Talk) -> None:
    talk.hello("a").pulls("a")
    talk.says("seed", described(sealed=False))
    talk.rest()
    talk.says("seed", msg.Digests(key=KEY, first=PIECES - 1, digests=DIGESTS[:64])).quiet()
    talk.after(1.0)
    (talk >> ev.Tick()).quiet()
    assert bytes(talk.mind.roster.tasks[KEY].digests) == bytes(32 * PIECES)


# ---------------------------------------------------------------- digests in a task of many


LISTS = 10
SUM = hashlib.sha256(DIGESTS).digest()


@pytest.fixture
def crowd() -> Talk:
    """Many more members than are told lists of digests; none has a list yet."""
    talk = Talk(a_scheduler(SchedulerSettings(digest_lists=LISTS)))
    talk.members(100)
    talk.says("seed", described(sealed=False)).later(0.1).rest()
    return talk


def hearers(decisions: list[do.Decision], message: msg.FromSupernode) -> list[str]:
    return [host for one in decisions if isinstance(one, Send) and one.message == message for host in one.hosts]


def test_of_many_some_are_told_digests_and_all_others_what_these_come_to(crowd: Talk) -> None:
    crowd.says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS)).later(1.0)
    said = crowd.rest()
    lists = hearers(said, msg.Digests(key=KEY, first=0, digests=DIGESTS, pass_on=True))
    sums = hearers(said, msg.Fingerprint(key=KEY, first=0, count=PIECES, sum=SUM))
    assert 0 < len(lists) <= 2 * LISTS
    assert sorted(lists + sums) == sorted(crowd.mind.roster.tasks[KEY].members)


def test_who_was_told_digests_among_few_hears_when_it_should_pass_them_on() -> None:
    talk = Talk(a_scheduler(SchedulerSettings(digest_lists=3)))
    talk.seed_knows().members(3)
    talk.hello("new").pulls("new").later(1.0)
    pass_on = msg.Digests(key=KEY, first=0, digests=b"", pass_on=True)
    assert hearers(talk.rest(), pass_on) == ["p0", "p1", "p2"]
    talk.hello("newer").pulls("newer").later(1.0)
    assert hearers(talk.rest(), pass_on) == []


def test_all_of_many_hear_that_it_is_sealed(crowd: Talk) -> None:
    crowd.says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS))
    crowd.says("seed", msg.Digests(key=KEY, first=0, digests=b"", sealed=True))
    said = [one for one in crowd.rest() if isinstance(one, Send) and getattr(one.message, "sealed", False)]
    assert sorted(host for one in said for host in one.hosts) == sorted(crowd.mind.roster.tasks[KEY].members)


def test_most_newcomers_to_many_are_told_what_the_digests_come_to(crowd: Talk) -> None:
    crowd.says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS, sealed=True)).rest()
    names = [f"new{number}" for number in range(50)]
    crowd.hello(*names)
    for name in names:
        crowd.pulls(name)
    said = crowd.rest()
    assert not [one for one in said if isinstance(one.message, msg.TaskInfo) and one.message.digests]
    sums = hearers(said, msg.Fingerprint(key=KEY, first=0, count=PIECES, sum=SUM))
    lists = hearers(said, msg.Digests(key=KEY, first=0, digests=DIGESTS, pass_on=True))
    assert len(lists) < 25 < len(sums)
    assert len(lists) + len(sums) == 50


def test_who_finds_no_list_is_told_what_is_known_of_it(crowd: Talk) -> None:
    crowd.says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS[:64])).later(1.0).rest()
    crowd.says("p7", msg.WantDigests(key=KEY, first=1, count=PIECES - 1))
    crowd << Send(("p7",), msg.Digests(key=KEY, first=1, digests=DIGESTS[32:64], pass_on=True))
    crowd.quiet()


@pytest.mark.parametrize(("name", "first", "count"), [("p7", 0, PIECES + 1), ("p7", PIECES, 1), ("stranger", 0, 1)])
def test_digests_of_no_piece_or_for_no_member_are_not_told(crowd: Talk, name: str, first: int, count: int) -> None:
    crowd.says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS)).later(1.0)
    crowd.hello("stranger").rest()
    crowd.says(name, msg.WantDigests(key=KEY, first=first, count=count)).quiet()


# ---------------------------------------------------------------- refusals of the source


REFUSED = msg.TaskFailed(key=KEY, reason="the source refused", status=404, final=True)


def test_a_final_answer_reaches_all_who_wait_and_those_who_ask_soon_after(talk: Talk) -> None:
    talk.hello("a", "b", "c").pulls("a").pulls("b")
    talk.rest()
    talk.says("seed", REFUSED) << Send(("a",), REFUSED) << Send(("b",), REFUSED)
    talk.after(2.9).pulls("c") << Send(("c",), REFUSED)
    talk.quiet()
    talk.after(0.2).pulls("c") << StartSeed(BLOB, "first to ask")


def test_another_with_other_credentials_is_not_refused_unasked(talk: Talk) -> None:
    keyed = msgspec.structs.replace(BLOB, headers={"Authorization": "Bearer good"})
    talk.hello("a", "b").pulls("a") << StartSeed(BLOB, "first to ask")
    talk.pulls("b", keyed).quiet()
    talk.says("seed", msgspec.structs.replace(REFUSED, status=401))
    talk << Send(("a",), msgspec.structs.replace(REFUSED, status=401)) << StartSeed(keyed, "with other credentials")
    talk.quiet()
    talk.says("seed", described())
    assert sent(rest := talk.rest(), "b", msg.TaskInfo)
    assert not sent(rest, "a", msg.TaskInfo)


def test_where_the_seed_only_failed_the_nodes_read_the_source_one_after_the_other(talk: Talk) -> None:
    names = [f"p{number}" for number in range(40)]
    talk.hello(*names)
    for name in names:
        talk.pulls(name)
    talk.rest()
    talk.says("seed", msg.TaskFailed(key=KEY, reason="timed out"))
    waits = [one.message.retry_after for one in talk.rest()]
    assert len(waits) == 40
    assert waits[0] < 0.3
    assert max(waits) <= 5.0 * 1.25
    assert len({round(wait, 3) for wait in waits}) > 30, "they do not start together"


def test_who_pulls_already_hears_too_that_the_seed_brings_no_more(talk: Talk) -> None:
    talk.hello("a", "b").pulls("a").pulls("b")
    talk.says("seed", described(sealed=False))
    talk.done("b").rest()
    talk.says("seed", msg.TaskFailed(key=KEY, reason="cut off"))
    told = talk.rest()
    assert [one.hosts for one in told] == [("a",)]
    assert not told[0].message.final


# ---------------------------------------------------------------- URLs, which may change


def test_a_url_is_looked_at_again_after_a_while_and_a_blob_never(talk: Talk) -> None:
    talk.seed_knows(PAGE).seed_knows(BLOB).hello("a", "b")
    talk.after(9.0).pulls("a", PAGE)
    assert not [one for one in talk.rest() if isinstance(one, StartSeed)]
    talk.after(2.0).pulls("b", PAGE) << StartSeed(PAGE, "to see whether it changed")
    talk.quiet()
    talk.after(1000.0).pulls("b", BLOB)
    assert not [one for one in talk.rest() if isinstance(one, StartSeed)]


def test_holders_of_an_old_version_are_no_neighbours_of_newcomers(talk: Talk) -> None:
    talk.says("seed", described(PAGE, digests=DIGESTS, version="1"))
    talk.hello("old", "new").pulls("old", PAGE)
    talk.done("old", PAGE).rest()
    talk.after(60.0).pulls("new", PAGE)
    talk.says("seed", described(PAGE, digests=DIGESTS[::-1], version="2"))
    assert talk.given("new") == {"seed"}
    task = talk.mind.roster.tasks[PAGE.key]
    assert list(task.members) == ["new"]
    assert bytes(task.digests) == DIGESTS[::-1]


def test_the_same_version_keeps_its_members(talk: Talk) -> None:
    talk.says("seed", described(PAGE, digests=DIGESTS, version="1"))
    talk.hello("old", "new").pulls("old", PAGE)
    talk.done("old", PAGE).rest()
    talk.after(60.0).pulls("new", PAGE)
    talk.says("seed", described(PAGE, digests=DIGESTS, version="1"))
    assert talk.given("new") == {"old", "seed"}


def test_who_waits_for_a_check_is_answered_when_the_read_before_it_ends(talk: Talk) -> None:
    """That the source was read to its end just now says as much as the check would."""
    talk.says("seed", described(PAGE, sealed=False)).hello("a")
    talk.after(60.0).pulls("a", PAGE) << StartSeed(PAGE, "to see whether it changed")
    talk.quiet()
    talk.says("seed", msg.Digests(key=PAGE.key, first=0, digests=DIGESTS, sealed=True))
    told = sent(talk.rest(), "a", msg.TaskInfo)
    assert [(info.sealed, info.digests) for info in told] == [(True, DIGESTS)]
    assert not talk.mind.roster.tasks[PAGE.key].waiting
