"""What hosts say in these tests, and a scheduler to say it to."""

from __future__ import annotations

from random import Random

import msgspec

from dragonfly.core import messages as msg
from dragonfly.core.pieces import MIN_PIECE
from dragonfly.core.task import TaskSpec
from dragonfly.scheduler import decisions as do
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.scheduler.settings import SchedulerSettings
from dragonfly.testing.script import Script

BLOB = TaskSpec(url="http://registry/v2/a/blobs/x", digest="sha256:" + "1" * 64)
PAGE = TaskSpec(url="http://origin/page")
PIECES = 4
DIGESTS = bytes(range(32)) * PIECES
SEED = msg.PeerAddress("seed", "10.0.0.1", 8001, seed=True)


def host(name: str, zone: str = "", rack: str = "") -> msg.HostInfo:
    return msg.HostInfo(id=name, address="10.1.1.1", peer_port=65002, zone=zone, rack=rack)


def address(name: str) -> msg.PeerAddress:
    return msg.PeerAddress(name, "10.1.1.1", 65002)


def described(spec: TaskSpec = BLOB, **fields: object) -> msg.TaskInfo:
    info = msg.TaskInfo(key=spec.key, length=PIECES * MIN_PIECE - 3, piece_size=MIN_PIECE, sealed=True)
    return msgspec.structs.replace(info, **fields)


def a_scheduler(settings: SchedulerSettings | None = None, seed_zone: str = "", chance: int = 1) -> Scheduler:
    made = Scheduler(settings or SchedulerSettings(), Random(chance), b"secret")
    made.seed_is(msg.HostInfo(id="seed", address="10.0.0.1", peer_port=8001, zone=seed_zone), 0.0)
    return made


class Talk(Script):
    """A dialogue with words shorter than events."""

    mind: Scheduler

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        super().__init__(scheduler or a_scheduler())

    def says(self, name: str, message: msg.FromDaemon) -> Talk:
        return self >> ev.Heard(name, message)

    def hello(self, *names: str, zone: str = "", rack: str = "") -> Talk:
        """They are there; what they are answered is not of interest."""
        for name in names:
            self.says(name, msg.Hello(host=host(name, zone, rack)))
            self.rest()
        return self

    def pulls(self, name: str, spec: TaskSpec = BLOB) -> Talk:
        return self.says(name, msg.Join(spec=spec))

    def seed_knows(self, spec: TaskSpec = BLOB) -> Talk:
        """The seed has the whole of it, at no host's request."""
        self.says("seed", described(spec, digests=DIGESTS))
        self.rest()
        return self

    def members(self, count: int, zone: str = "", first: int = 0) -> list[str]:
        """So many hosts that pull the blob, each told what it is and given neighbours, with which the rush is over."""
        names = [f"{zone or 'p'}{number}" for number in range(first, first + count)]
        for name in names:
            self.hello(name, zone=zone).pulls(name)
        self.later(SchedulerSettings().balance_after_s).rest()
        return names

    def later(self, seconds: float) -> Talk:
        """Time passes, and what is due then is done."""
        self.after(seconds)
        while self.mind.next_deadline() <= self.now:
            self >> ev.Tick()
        return self

    def done(self, name: str, spec: TaskSpec = BLOB) -> Talk:
        return self.says(name, msg.Finished(key=spec.key, seconds=1.0))

    def links(self, name: str, spec: TaskSpec = BLOB) -> set[str]:
        return self.mind.roster.tasks[spec.key].members[name].links

    def given(self, name: str) -> set[str]:
        """Whom `name` was told to dial, in what was said since the last look."""
        return {peer.id for told in sent(self.rest(), name, msg.Neighbours) for peer in told.add}


def sent(decisions: list[do.Decision], name: str, kind: type) -> list:  # type: ignore[type-arg]
    """The messages of `kind` to `name` among what was decided."""
    return [
        one.message
        for one in decisions
        if isinstance(one, do.Send) and name in one.hosts and isinstance(one.message, kind)
    ]
