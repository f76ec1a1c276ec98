"""The mesh that comes of many joins: few links each, near ones, and always a way to the seed."""

from __future__ import annotations

import subprocess
import sys
from random import Random
from statistics import mean

import pytest

from dragonfly.core import messages as msg
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.neighbours import cut_off
from dragonfly.scheduler.policies import PlainRandom
from dragonfly.scheduler.roster import Task
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.scheduler.settings import SchedulerSettings
from unit.scheduler.words import BLOB, Talk, a_scheduler

KEY = BLOB.key


def grown(settings: SchedulerSettings | None = None, seed_zone: str = "") -> Talk:
    talk = Talk(a_scheduler(settings, seed_zone))
    return talk.seed_knows()


def task_of(talk: Talk) -> Task:
    return talk.mind.roster.tasks[KEY]


def far_links(talk: Talk) -> int:
    """Links between zones."""
    members = task_of(talk).members
    zone = {name: member.host.info.zone for name, member in members.items()}
    return sum(zone[name] != zone[other] for name, member in members.items() for other in member.links) // 2


def test_degrees_are_balanced_and_bounded() -> None:
    talk = grown()
    talk.members(500)
    degrees = [len(member.links) for member in task_of(talk).members.values()]
    assert max(degrees) <= 10
    assert min(degrees) >= 8
    assert 8 <= mean(degrees) <= 8.5


def test_a_rush_makes_no_band_along_the_order_of_arrival() -> None:
    talk = grown()
    for number in range(100):
        talk.hello(f"p{number}").pulls(f"p{number}").later(0.02)
    assert sum(len(member.links) for member in task_of(talk).members.values()) <= 2 * 2 * 100, "the rush goes on"
    talk.after(0.3) >> ev.Tick()
    links = [(int(name[1:]), int(other[1:])) for name, one in task_of(talk).members.items() for other in one.links]
    assert len(links) / 100 <= 8.5, "who came early has no more than who came late"
    across = sum((one < 50) != (other < 50) for one, other in links)
    assert across / len(links) > 0.3, "half, were it by chance alone"


def test_no_rush_keeps_a_newcomer_waiting_for_long() -> None:
    talk = grown()
    for number in range(250):
        talk.hello(f"p{number}").pulls(f"p{number}").later(0.02)
    assert min(len(talk.links(f"p{number}")) for number in range(150)) >= 8


def test_the_seed_has_no_more_children_than_it_is_good_for() -> None:
    talk = grown(SchedulerSettings(seed_children=20))
    talk.members(200)
    assert len(task_of(talk).seed_children) == 20
    assert cut_off(task_of(talk)) == []


CHILDREN = SchedulerSettings(zone_children=2)


def test_with_zones_most_links_stay_inside_and_few_lead_to_the_seed() -> None:
    talk = grown(CHILDREN)
    for zone in "abcdefghij":
        talk.members(20, zone)
    task = task_of(talk)
    assert len(task.seed_children) == 2 * 10
    assert far_links(talk) <= 2 * 10 * CHILDREN.far_links * 2, "twice: when it comes, and when links are balanced"
    assert cut_off(task) == []
    inside = [len(member.links) for member in task.members.values()]
    assert mean(inside) >= 6, "many zones must not keep near ones from finding each other"


def test_zones_that_fill_up_by_turns_are_linked_as_well() -> None:
    talk = grown(CHILDREN)
    for number in range(20):
        for zone in "abcdefghij":
            talk.members(1, zone, first=number)
    task = task_of(talk)
    assert len(task.seed_children) == 2 * 10
    assert mean(len(member.links) for member in task.members.values()) >= 6
    assert cut_off(task) == []


def test_all_of_the_seeds_own_zone_may_be_its_children() -> None:
    talk = grown(seed_zone="a")
    talk.members(10, "a")
    assert len(task_of(talk).seed_children) == 10
    talk.members(10, "b")
    assert far_links(talk) <= 2 * 2 * CHILDREN.far_links, "nobody where the seed is looks for others elsewhere"


def test_zones_share_the_seed() -> None:
    talk = grown(SchedulerSettings(zone_children=5, seed_children=12), seed_zone="a")
    for zone in "bcd":
        talk.members(10, zone)
    assert [len({f"{zone}{n}" for n in range(10)} & task_of(talk).seed_children) for zone in "bcd"] == [5, 5, 2]


def test_those_who_remain_find_each_other_after_most_have_left() -> None:
    talk = grown()
    names = talk.members(1000)
    for name in names[20:]:
        talk >> ev.Lost(name)
    talk.rest()
    talk.hello("late").pulls("late")
    assert len(talk.given("late") - {"seed"}) == 2


def test_a_zone_whose_entries_have_left_gets_a_new_way_to_the_seed() -> None:
    talk = grown(CHILDREN, seed_zone="far")
    talk.members(12, "near")
    entries = sorted(task_of(talk).seed_children)
    assert len(entries) == 2
    for name in entries:
        talk >> ev.Lost(name)
    talk.rest()
    talk.after(1.0) >> ev.Tick()
    children = task_of(talk).seed_children
    assert children
    assert [peer.seed for told in talk.rest() for peer in told.message.add].count(True) == len(children)
    assert cut_off(task_of(talk)) == []


def one_has_it_all() -> tuple[Talk, str]:
    """All entries of a zone have left; of those that remain this one is done."""
    talk = grown(CHILDREN, seed_zone="far")
    talk.members(6, "near")
    done = next(iter(set(task_of(talk).members) - task_of(talk).seed_children))
    for name in list(task_of(talk).seed_children):
        talk >> ev.Lost(name)
    talk.done(done).rest()
    return talk, done


def test_one_entry_that_has_it_all_is_as_good_as_the_seed() -> None:
    talk, _ = one_has_it_all()
    talk.after(1.0) >> ev.Tick()
    talk.quiet()


def test_an_entry_that_has_it_all_no_more_is_no_way_to_it() -> None:
    talk, done = one_has_it_all()
    talk.later(1.0).rest()
    talk.says(done, msg.Finished(key=BLOB.key, seconds=1.0, error="disk full")).later(1.0).rest()
    assert cut_off(task_of(talk)) == []
    assert task_of(talk).seed_children


def test_a_huge_task_is_looked_at_less_often() -> None:
    talk = grown(SchedulerSettings(seed_children=1))
    talk.members(3000)
    talk >> ev.Lost("p0")
    talk.after(1.0) >> ev.Tick()
    talk.rest()
    looked = task_of(talk).looked_at
    talk >> ev.Lost("p1")
    talk.after(1.0) >> ev.Tick()
    assert task_of(talk).looked_at == looked
    talk.after(1.0) >> ev.Tick()
    assert task_of(talk).looked_at == talk.now


@pytest.mark.parametrize("far_links", [0, 1, 3, 20])
def test_any_number_of_far_links_can_be_set(far_links: int) -> None:
    settings = SchedulerSettings(far_links=far_links, zone_entries=100)
    scheduler = Scheduler(settings, Random(1), b"secret", PlainRandom())
    scheduler.seed_is(msg.HostInfo(id="seed", address="10.0.0.1", peer_port=8001), 0.0)
    talk = Talk(scheduler).seed_knows()
    talk.members(10, "a")
    talk.members(10, "b")
    for name in ("a0", "b5"):
        talk.says(name, msg.Trouble(key=KEY, peer=min(talk.links(name)), kind=msg.TroubleKind.SILENT))
    assert all(len(member.links) <= settings.most for member in task_of(talk).members.values())


DIALOGUE = """
import sys
sys.path[:0] = {path!r}
from unit.scheduler.words import Talk, a_scheduler
from dragonfly.scheduler import events as ev
talk = Talk(a_scheduler()).seed_knows()
said = []
names = talk.members(60) + talk.members(20, "z")
for name in names[::2]:
    talk >> ev.Lost(name)
said += talk.rest()
talk.after(2.0) >> ev.Tick()
print(repr(said + talk.rest()))
"""


def test_the_same_chance_and_events_give_the_same_decisions_in_every_process() -> None:
    code = DIALOGUE.format(path=sys.path)
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert "Neighbours" in said.pop()


def test_who_comes_back_keeps_its_neighbours_and_gets_no_second_set() -> None:
    """Its session with the supernode broke; those with its neighbours did not."""
    talk = grown()
    talk.members(40)
    before = set(talk.links("p7"))
    talk.hello("p7").says("p7", msg.Join(spec=BLOB, pieces=2, have=(*sorted(before), "seed", "gone", "p7")))
    given = talk.given("p7") - {"seed"}
    assert talk.links("p7") >= before
    assert len(talk.links("p7")) == max(8, len(before))
    assert given == talk.links("p7") - before
    assert all("p7" in talk.links(other) for other in before)
    assert "p7" in task_of(talk).seed_children


def test_a_new_supernode_learns_the_mesh_from_who_is_in_it() -> None:
    old = grown()
    names = old.members(40)
    new = grown()
    for name in names:
        new.hello(name).says(name, msg.Join(spec=BLOB, pieces=2, have=tuple(sorted(old.links(name)))))
        new.rest()
    assert sum(len(new.links(name) & old.links(name)) for name in names) > 0.9 * sum(
        len(old.links(name)) for name in names
    )
    assert all(len(new.links(name)) <= 14 for name in names)
