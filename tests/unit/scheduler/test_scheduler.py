"""The supernode's mind, as dialogues: what is said to it, and what it has done."""

from __future__ import annotations

import pytest

from dragonfly.core import messages as msg
from dragonfly.core.messages import BytesBy
from dragonfly.core.pieces import MIN_PIECE
from dragonfly.core.task import TaskSpec
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.decisions import Forgotten, Isolated, Send, StartSeed
from dragonfly.scheduler.linking import AT_ONCE
from dragonfly.scheduler.settings import SchedulerSettings
from unit.scheduler.words import BLOB, DIGESTS, PAGE, PIECES, SEED, Talk, a_scheduler, address, described, host, sent

KEY = BLOB.key


@pytest.fixture
def talk() -> Talk:
    return Talk()


# ---------------------------------------------------------------- the first, and those who come later


def test_the_source_is_read_once_however_many_ask(talk: Talk) -> None:
    talk.hello("a", "b", "c")
    talk.pulls("a") << StartSeed(BLOB, "first to ask")
    talk.pulls("b").quiet()
    talk.pulls("c").quiet()
    talk.says("seed", described(sealed=False))
    told = talk.rest()
    assert told[0].hosts == ("a", "b", "c")
    assert talk.pulls("a").rest()[0].hosts == ("a",), "who asks again is told again"


def test_all_who_waited_are_told_at_once_and_get_the_seed_and_each_other(talk: Talk) -> None:
    talk.hello("a", "b")
    (talk.pulls("a") << StartSeed(BLOB, "first to ask")) >> ev.Heard("b", msg.Join(spec=BLOB))
    talk.says("seed", described())
    info = described(ticket=talk.mind.ticket(KEY), peers=1)
    talk << Send(("a", "b"), info)
    talk << Send(("a",), msg.Neighbours(key=KEY, add=(address("b"), SEED)))
    talk << Send(("b",), msg.Neighbours(key=KEY, add=(SEED,)))
    talk.quiet()
    assert talk.links("a") == {"b"}
    assert talk.links("b") == {"a"}


def many_wait(talk: Talk, count: int = 5 * AT_ONCE // 2) -> list[str]:
    """So many ask before the seed has said what it is."""
    names = [f"p{number:03}" for number in range(count)]
    talk.hello(*names)
    for name in names:
        talk.pulls(name)
    talk.rest()
    return names


def answered(talk: Talk) -> list[str]:
    return [host for one in talk.rest() if isinstance(one.message, msg.TaskInfo) for host in one.hosts]


def test_many_who_waited_are_answered_some_at_a_time_and_others_are_heard_between(talk: Talk) -> None:
    names = many_wait(talk)
    talk.hello("late", "other")
    talk.says("seed", described(sealed=False))
    assert answered(talk) == names[:AT_ONCE]
    assert talk.mind.next_deadline() == talk.now
    assert talk.mind.snapshot()["tasks"][KEY]["waiting"] == 3 * AT_ONCE // 2
    talk.pulls("other", PAGE) << StartSeed(PAGE, "first to ask")
    assert answered(talk.pulls("late")) == [], "it is the last of them"
    talk.says(names[AT_ONCE + 20], msg.Leave(key=KEY)).says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS))
    talk >> ev.Tick()
    told = sent(talk.rest(), names[AT_ONCE], msg.TaskInfo)
    assert [info.digests for info in told] == [DIGESTS], "what the seed has said meanwhile is no news to who comes then"
    talk >> ev.Tick()
    assert answered(talk) == [*names[2 * AT_ONCE + 1 :], "late"]
    assert talk.mind.next_deadline() > talk.now
    assert all(len(talk.links(name)) >= 2 for name in names if name != names[AT_ONCE + 20])


def test_the_rest_of_their_neighbours_is_given_some_at_a_time_too(talk: Talk) -> None:
    names = many_wait(talk)
    talk.says("seed", described())
    for _ in range(2):
        talk >> ev.Tick()
    talk.after(0.25).rest()
    looks = 0
    while talk.mind.next_deadline() <= talk.now:
        talk >> ev.Tick()
        looks += 1
    assert looks == 3
    assert min(len(talk.links(name)) for name in names) >= 7


@pytest.mark.parametrize(
    "then", [ev.Heard("seed", msg.TaskFailed(key=KEY, reason="cut off")), ev.Evicted(KEY)], ids=["failed", "evicted"]
)
def test_before_that_answer_is_out_of_date_all_have_it(talk: Talk, then: ev.Event) -> None:
    names = many_wait(talk)
    talk.says("seed", described(sealed=False))
    assert answered(talk) == names[:AT_ONCE]
    assert answered(talk >> then) == names[AT_ONCE:]


def test_a_new_version_is_told_to_those_who_had_not_heard_of_the_old(talk: Talk) -> None:
    names = many_wait(talk)
    talk.says("seed", described(sealed=False)).rest()
    talk.says("seed", described(sealed=False, version="2"))
    told = [one for one in talk.rest() if isinstance(one.message, msg.TaskInfo)]
    assert [(one.hosts, one.message.version) for one in told] == [(tuple(names[AT_ONCE : 2 * AT_ONCE]), "2")]
    assert set(talk.mind.roster.tasks[KEY].members) == set(names[AT_ONCE:])


def test_a_latecomer_is_told_the_digests_known_so_far_and_no_others(talk: Talk) -> None:
    talk.hello("a", "b", "c").pulls("a")
    talk.says("seed", described(sealed=False))
    talk.says("seed", msg.Digests(key=KEY, first=1, digests=DIGESTS[:32]))
    talk.says("seed", msg.Digests(key=KEY, first=3, digests=DIGESTS[32:64]))
    talk.rest()
    talk.pulls("b")
    rest = talk.rest()
    assert [info.digests for info in sent(rest, "b", msg.TaskInfo)] == [b""], "zeros would be half of it"
    told = sent(rest, "b", msg.Digests)
    assert [(one.first, one.digests) for one in told] == [(1, DIGESTS[:32]), (3, DIGESTS[32:64])]
    talk.says("seed", msg.Digests(key=KEY, first=0, digests=DIGESTS))
    talk.rest()
    talk.pulls("c")
    rest = talk.rest()
    assert [info.digests for info in sent(rest, "c", msg.TaskInfo)] == [DIGESTS], "all of them: in one message"
    assert not sent(rest, "c", msg.Digests)


def test_who_has_all_of_it_already_is_given_no_neighbours(talk: Talk) -> None:
    talk.seed_knows().hello("a", "b")
    talk.says("a", msg.Join(spec=BLOB, pieces=PIECES))
    assert sent(rest := talk.rest(), "a", msg.TaskInfo)
    assert not sent(rest, "a", msg.Neighbours)
    talk.pulls("b")
    assert "a" in talk.given("b")


def test_an_empty_content_is_complete_for_everybody(talk: Talk) -> None:
    talk.hello("a").pulls("a")
    talk.rest()
    talk.says("seed", described(length=0))
    assert not sent(talk.rest(), "a", msg.Neighbours)
    assert talk.mind.roster.tasks[KEY].members["a"].complete


def test_the_ticket_is_the_same_after_a_restart_and_another_for_each_task() -> None:
    before, after = a_scheduler(chance=1), a_scheduler(chance=2)
    assert before.ticket(KEY) == after.ticket(KEY)
    assert before.ticket(KEY) != before.ticket(PAGE.key)


def test_strangers_and_unknown_tasks_are_ignored(talk: Talk) -> None:
    talk.pulls("nobody").quiet()
    talk.hello("a")
    for message in (
        msg.MoreNeighbours(key=KEY),
        msg.Trouble(key=KEY, peer="nobody", kind=msg.TroubleKind.SILENT),
        msg.Progress(tasks=(msg.TaskProgress(key=KEY, pieces=1),)),
        msg.Leave(key=KEY),
        msg.Finished(key=KEY, seconds=1.0),
        msg.PullDone(job="x", key=KEY),
    ):
        talk.says("a", message).quiet()
    assert talk.mind.roster.tasks == {}
    (talk >> ev.Lost("nobody") >> ev.Evicted(KEY)).quiet()


def test_only_the_seed_says_what_a_task_is(talk: Talk) -> None:
    talk.hello("liar", "a").pulls("a")
    talk.rest()
    talk.says("liar", described()).quiet()
    talk.says("liar", msg.Digests(key=KEY, first=0, digests=DIGESTS)).quiet()
    talk.says("liar", msg.TaskFailed(key=KEY, reason="no", final=True)).quiet()
    talk.says("seed", described())
    assert sent(talk.rest(), "a", msg.TaskInfo)[0].digests == b""


# ---------------------------------------------------------------- comings and goings


def test_what_a_node_holds_is_offered_to_others(talk: Talk) -> None:
    talk.seed_knows().hello("holder", "a")
    talk.says("holder", msg.Holding(keys=(KEY,), piece_size=MIN_PIECE)).quiet()
    talk.pulls("a")
    assert talk.given("a") == {"holder", "seed"}


def test_a_held_url_is_not_believed_and_leaves_no_trace(talk: Talk) -> None:
    talk.hello("holder")
    talk.says("holder", msg.Holding(keys=(PAGE.key,), piece_size=MIN_PIECE)).quiet()
    assert PAGE.key not in talk.mind.roster.tasks


def test_whose_neighbours_have_left_gets_others_at_once(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(20)
    name = "p10"
    for gone in sorted(talk.links(name)):
        if len(talk.links(name)) <= 3:
            break
        talk >> ev.Lost(gone)
    talk.rest()
    talk >> ev.Lost(min(talk.links(name)))
    assert talk.given(name)
    assert len(talk.links(name)) >= 3


def test_who_says_hello_again_is_a_new_session_of_the_same_host(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(3)
    talk.says("p0", msg.Hello(host=host("p0", zone="z")))
    assert Send(("p0",), msg.Welcome(report_every_s=2.0)) in talk.rest()
    assert "p0" not in talk.mind.roster.tasks[KEY].members
    assert talk.mind.roster.hosts["p0"].info.zone == "z"
    talk.pulls("p0")
    assert "seed" in talk.given("p0")


def test_reports_come_the_more_seldom_the_more_nodes_there_are() -> None:
    talk = Talk(a_scheduler(SchedulerSettings(reports_per_s=2, report_least_s=1.0)))
    talk.hello(*(f"p{number}" for number in range(9)))
    talk.says("x", msg.Hello(host=host("x"))) << Send(("x",), msg.Welcome(report_every_s=11 / 2))


def test_a_deleted_task_is_forgotten_by_everybody(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(2)
    talk.hello("bystander")
    talk >> ev.Deleted(KEY) << Send(("p0", "p1", "bystander"), msg.Forget(key=KEY)) << Forgotten(KEY)
    talk.quiet()
    assert talk.mind.roster.hosts["p0"].tasks == set()
    talk.pulls("p0") << StartSeed(BLOB, "first to ask")


def test_what_the_seed_had_to_delete_is_fetched_for_the_next(talk: Talk) -> None:
    talk.seed_knows()
    (talk >> ev.Evicted(KEY)).quiet()
    talk.hello("a").pulls("a") << StartSeed(BLOB, "first to ask")


def test_a_task_without_members_is_forgotten_after_a_while(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(1)
    talk >> ev.Lost("p0")
    talk.after(599.0)
    (talk >> ev.Tick()).quiet()
    talk.after(2.0) >> ev.Tick() << Forgotten(KEY)
    assert talk.mind.snapshot() == {"hosts": 1, "tasks": {}}


def test_a_task_that_is_being_fetched_is_not_forgotten(talk: Talk) -> None:
    talk.hello("a").pulls("a")
    talk >> ev.Lost("a")
    talk.rest()
    talk.after(10_000.0)
    (talk >> ev.Tick()).quiet()
    assert KEY in talk.mind.roster.tasks


def test_the_snapshot_counts(talk: Talk) -> None:
    talk.hello("a", "b", "c").pulls("a")
    assert talk.mind.snapshot()["tasks"] == {KEY: {"members": 1, "complete": 0, "waiting": 1, "seeding": True}}
    talk.says("seed", described())
    talk.done("a").pulls("b")
    assert talk.mind.snapshot()["tasks"] == {KEY: {"members": 2, "complete": 1, "waiting": 0, "seeding": False}}


# ---------------------------------------------------------------- trouble


def trouble(peer: str, kind: msg.TroubleKind = msg.TroubleKind.CORRUPT) -> msg.Trouble:
    return msg.Trouble(key=KEY, peer=peer, kind=kind)


def test_one_accuser_isolates_nobody_two_do(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(8)
    for _ in range(20):
        talk.says("p1", trouble("p0"))
    assert not [one for one in talk.rest() if isinstance(one, Isolated)]
    talk.says("p2", trouble("p0"))
    rest = talk.rest()
    assert Isolated("p0", "several nodes found it corrupt") in rest
    drops = {one.hosts[0] for one in rest if isinstance(one, Send) and one.message.drop == ("p0",)}
    assert drops
    assert talk.links("p0") == set()
    assert all("p0" not in talk.links(f"p{number}") for number in range(1, 8))


@pytest.mark.parametrize(("zone", "told"), [("far", True), ("", False)])
def test_the_seed_leaves_an_isolated_host_of_another_zone(zone: str, told: bool) -> None:
    """What only that host got its zone would never have; at home the seed gives to each anyway."""
    talk = Talk(a_scheduler(seed_zone="here")).seed_knows()
    first, second, third, *_ = talk.members(8, zone)
    talk.says(second, trouble(first)).says(third, trouble(first))
    drops = [one.message.drop for one in talk.rest() if isinstance(one, Send) and "seed" in one.hosts]
    assert drops == ([(first,)] if told else [])


def test_an_isolated_host_is_given_to_nobody_until_it_is_forgiven(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(3)
    talk.says("p1", trouble("p0")).says("p2", trouble("p0"))
    talk.rest()
    talk.hello("late").pulls("late")
    assert "p0" not in talk.given("late")
    talk.after(60.0).hello("later").pulls("later")
    assert "p0" in talk.given("later")


@pytest.mark.parametrize("kind", [msg.TroubleKind.CORRUPT, msg.TroubleKind.SILENT, msg.TroubleKind.UNREACHABLE])
def test_a_replacement_is_never_the_one_that_was_left(talk: Talk, kind: msg.TroubleKind) -> None:
    talk.seed_knows()
    talk.members(3)
    for seconds in (0.0, 2.0, 2.0):
        talk.after(seconds).says("p1", trouble("p0", kind))
        assert "p0" not in talk.given("p1")
        talk.says("p1", msg.MoreNeighbours(key=KEY, have=("p2",)))
        assert "p0" not in talk.given("p1")
        talk.says("p0", msg.MoreNeighbours(key=KEY, have=("p2",)))
        assert "p1" not in talk.given("p0"), "nor does it come back by the other way"
    talk.after(60.0).says("p1", msg.MoreNeighbours(key=KEY, have=("p2",)))
    assert "p0" in talk.given("p1"), "after a while it is given another chance"


def test_who_is_left_gets_another_neighbour_too_unless_it_is_isolated(talk: Talk) -> None:
    talk.seed_knows()
    names = talk.members(30)
    talk.rest()
    accused = next(name for name in names if len(talk.links(name)) == SchedulerSettings().degree)
    accuser, other = sorted(talk.links(accused))[:2]
    talk.says(accuser, trouble(accused, msg.TroubleKind.SILENT))
    given = talk.given(accused)
    assert len(given) == 1
    assert accuser not in given
    assert len(talk.links(accused)) == SchedulerSettings().degree, "it pulls with as many as before"
    talk.says(accuser, trouble(accused)).says(other, trouble(accused))
    assert talk.links(accused) == set()


def test_the_seed_is_never_isolated(talk: Talk) -> None:
    talk.seed_knows()
    names = talk.members(4)
    for name in names * 5:
        talk.says(name, trouble("seed"))
    assert not [one for one in talk.rest() if isinstance(one, Isolated)]
    talk.after(2.0).says("p0", msg.MoreNeighbours(key=KEY))
    assert "seed" in talk.given("p0")


def test_more_neighbours_are_given_at_most_once_a_second(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(10)
    talk.after(1.0).says("p0", msg.MoreNeighbours(key=KEY))
    assert talk.given("p0")
    talk.after(0.5).says("p0", msg.MoreNeighbours(key=KEY)).quiet()
    talk.after(0.5).says("p0", msg.MoreNeighbours(key=KEY))
    assert talk.given("p0")


def test_links_that_never_came_to_be_are_forgotten(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(5)
    real = min(talk.links("p0"))
    before = talk.links("p0").copy()
    talk.after(1.0).says("p0", msg.MoreNeighbours(key=KEY, have=(real, "seed", "a-stranger")))
    assert real in talk.links("p0")
    assert talk.given("p0") >= before - {real}
    for name in before:
        assert "p0" in talk.links(name)


# ---------------------------------------------------------------- totals


def moved(talk: Talk) -> tuple[int, int]:
    return talk.mind.roster.moved.peers, talk.mind.roster.moved.source


def progress(peers: int, source: int = 0) -> msg.Progress:
    return msg.Progress(tasks=(msg.TaskProgress(key=KEY, pieces=1, received=BytesBy(peers=peers, source=source)),))


def test_totals_outlive_members_and_tasks(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(2)
    talk.says("p0", progress(10)).says("p0", progress(30, 5)).says("p1", progress(7))
    talk.says("p0", msg.Finished(key=KEY, seconds=1.0, received=BytesBy(peers=40, source=5)))
    assert moved(talk) == (47, 5)
    talk.says("p0", msg.Leave(key=KEY)) >> ev.Lost("p1")
    assert moved(talk) == (47, 5)
    assert talk.mind.roster.tasks[KEY].moved == BytesBy(peers=47, source=5)
    talk >> ev.Deleted(KEY)
    assert moved(talk) == (47, 5)


def test_a_node_that_comes_back_in_the_middle_is_not_counted_twice(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(1)
    talk.says("p0", progress(30)) >> ev.Lost("p0")
    talk.hello("p0").pulls("p0").says("p0", progress(35))
    assert moved(talk) == (35, 0)


def test_a_second_pull_counts_anew(talk: Talk) -> None:
    talk.seed_knows()
    talk.members(1)
    talk.says("p0", progress(30)).says("p0", msg.Leave(key=KEY)).pulls("p0").says("p0", progress(40))
    assert moved(talk) == (70, 0)
    talk >> ev.Lost("p0")  # restarted: its totals begin at nothing without a Leave
    talk.hello("p0").pulls("p0").says("p0", progress(5))
    assert moved(talk) == (75, 0)


def test_what_the_seed_reads_is_its_own_part(talk: Talk) -> None:
    talk.hello("a").pulls("a")
    talk.says("seed", described())
    talk.says("seed", progress(0, 37))
    assert moved(talk) == (0, 0)
    seed = talk.mind.seed_member(KEY)
    assert seed is not None
    assert seed.received.source == 37


def test_who_is_cut_off_while_the_task_is_unknown_gets_the_seed_once_it_is_known() -> None:
    talk = Talk(a_scheduler(SchedulerSettings(seed_children=1, least=0)))
    talk.seed_knows().hello("a", "b").pulls("a").pulls("b")
    assert talk.mind.roster.tasks[KEY].seed_children == {"a"}
    talk >> ev.Evicted(KEY) >> ev.Lost("a")
    talk.after(2.0) >> ev.Tick()
    talk.says("seed", described())
    talk.rest()
    talk.after(2.0) >> ev.Tick()
    assert talk.given("b") == {"seed"}


def test_a_failed_pull_says_why_and_gives_nothing(talk: Talk) -> None:
    talk.seed_knows().hello("bad", "a")
    talk.pulls("bad").says("bad", msg.Finished(key=KEY, seconds=1.0, error="disk full", fallback="x", bound="disk"))
    member = talk.mind.roster.tasks[KEY].members["bad"]
    assert (member.error, member.fallback, member.bound, member.complete) == ("disk full", "x", "disk", False)
    talk.rest()
    talk.pulls("a")
    assert talk.given("a") == {"seed"}


def test_specs_never_show_their_credentials(talk: Talk) -> None:
    talk.hello("a").pulls("a", TaskSpec(url="http://u:pw@h/x?sig=secret", headers={"Authorization": "secret"}))
    assert "secret" not in repr(talk.rest())
