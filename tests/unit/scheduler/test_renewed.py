"""A token ends in the middle of a pull: the seed goes on with the rights of whoever has better ones."""

from __future__ import annotations

from random import Random

from dragonfly.core import messages as msg
from dragonfly.core.task import TaskSpec
from dragonfly.scheduler import decisions as do
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.scheduler.settings import SchedulerSettings


def spec(token: str) -> TaskSpec:
    return TaskSpec(
        url="http://registry/v2/a/blobs/x", digest="sha256:" + "1" * 64, headers={"Authorization": f"Bearer {token}"}
    )


KEY = spec("").key
REFUSED = msg.TaskFailed(key=KEY, reason="the source answered 401", status=401, final=True)
BROKEN = msg.TaskFailed(key=KEY, reason="the source can't be reached")


class Talk:
    """A scheduler with a seed, and what it does when somebody says something."""

    def __init__(self) -> None:
        self._scheduler = Scheduler(SchedulerSettings(), Random(1), b"secret")
        self._scheduler.seed_is(msg.HostInfo(id="seed", address="10.0.0.1", peer_port=8001), 0.0)

    def says(self, name: str, message: msg.FromDaemon, now: float = 1.0) -> list[do.Decision]:
        return self._scheduler.handle(ev.Heard(name, message), now)

    def pulls(self, name: str, token: str, now: float = 1.0) -> list[do.Decision]:
        self.says(name, msg.Hello(host=msg.HostInfo(id=name, address="10.1.1.1", peer_port=65002)), now)
        return self.says(name, msg.Join(spec=spec(token)), now)

    def half_way(self, **tokens: str) -> Talk:
        """These pull with these tokens, the first one's is the seed's, and the seed has told what it is."""
        for name, token in tokens.items():
            self.pulls(name, token)
        self.says("seed", msg.TaskInfo(key=KEY, length=100, piece_size=10))
        return self


def seeded_by(decisions: list[do.Decision]) -> list[str]:
    return [one.spec.headers["Authorization"] for one in decisions if isinstance(one, do.StartSeed)]


def sent_away(decisions: list[do.Decision]) -> list[str]:
    told = [one for one in decisions if isinstance(one, do.Send) and isinstance(one.message, msg.TaskFailed)]
    return [host for one in told for host in one.hosts]


def test_who_pulls_as_well_lends_the_seed_his_token() -> None:
    talk = Talk().half_way(ann="old", bob="new")
    decisions = talk.says("seed", REFUSED)
    assert seeded_by(decisions) == ["Bearer new"]
    assert sent_away(decisions) == []


def test_nobody_waits_for_a_seed_that_has_no_token_left() -> None:
    talk = Talk().half_way(ann="old", bob="older")
    assert seeded_by(talk.says("seed", REFUSED)) == ["Bearer older"]
    decisions = talk.says("seed", REFUSED)
    assert seeded_by(decisions) == []
    assert sorted(sent_away(decisions)) == ["ann", "bob"]


def test_who_comes_with_a_new_token_sets_the_seed_to_work_again() -> None:
    talk = Talk().half_way(ann="old")
    talk.says("seed", REFUSED)
    assert seeded_by(talk.pulls("ann", "old")) == []
    assert seeded_by(talk.pulls("ann", "new")) == ["Bearer new"]
    assert seeded_by(talk.pulls("bob", "newer")) == [], "it is at work"


def test_a_source_that_was_away_is_tried_for_who_comes_later() -> None:
    talk = Talk().half_way(ann="good")
    assert seeded_by(talk.says("seed", BROKEN)) == []
    assert seeded_by(talk.pulls("ann", "good")) == ["Bearer good"]


def test_a_seed_that_has_all_is_left_alone() -> None:
    talk = Talk().half_way(ann="old")
    talk.says("seed", msg.Digests(key=KEY, first=0, digests=bytes(320), sealed=True))
    assert seeded_by(talk.pulls("bob", "new")) == []
