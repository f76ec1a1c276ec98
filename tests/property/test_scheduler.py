"""The scheduler under any order of comings, goings and complaints."""

from __future__ import annotations

import hashlib
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dragonfly.core import bitmap
from dragonfly.core import messages as msg
from dragonfly.core.digest import known_digests
from dragonfly.core.pieces import MIN_PIECE
from dragonfly.core.task import TaskSpec
from dragonfly.scheduler import decisions as do
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.neighbours import cut_off
from dragonfly.scheduler.scheduler import Scheduler
from dragonfly.scheduler.settings import SchedulerSettings

#: Small numbers, so that every limit is met within a few steps.
SETTINGS = SchedulerSettings(
    degree=4, most=5, least=2, seed_children=3, zone_entries=1, task_idle_s=5.0, digest_lists=5
)
ZONES = ("a", "a", "a", "b")
HOSTS = [msg.HostInfo(id=f"h{n}", address="10.0.0.2", peer_port=1, zone=ZONES[n % 4]) for n in range(12)]
SEED = msg.HostInfo(id="seed", address="10.0.0.1", peer_port=2, zone="seed")
SPECS = [
    TaskSpec(url="http://r/1", digest="sha256:" + "1" * 64),
    TaskSpec(url="http://o/page"),
]
PIECES = 3

hosts = st.sampled_from([host.id for host in HOSTS])
specs = st.sampled_from(SPECS)
sizes = st.sampled_from([MIN_PIECE, MIN_PIECE, 2 * MIN_PIECE, 0, 10])


class SwarmMachine(RuleBasedStateMachine):
    """Two schedulers with the same chance hear the same; `self.here` is who should have a session."""

    def __init__(self) -> None:
        super().__init__()
        self.twins = [Scheduler(SETTINGS, Random(5), b"s") for _ in range(2)]
        for twin in self.twins:
            twin.seed_is(SEED, 0.0)
        self.scheduler = self.twins[0]
        self.now = 0.0
        self.here: set[str] = set()
        self.asked: list[TaskSpec] = []
        """What the seed was started for and has not answered."""
        self.dialled: dict[tuple[str, str], set[str]] = {}
        self.verifiable: dict[tuple[str, str], int] = {}
        """Pieces of whose digests a host was told since it joined, or what they come to."""
        self.version = 1
        self.settled = True

    def tell(self, event: ev.Event) -> None:
        said, again = (twin.handle(event, self.now) for twin in self.twins)
        assert repr(said) == repr(again), "the same chance and the same events give the same decisions"
        self.settled = isinstance(event, ev.Tick)
        for decision in said:
            match decision:
                case do.StartSeed(spec, reason):
                    assert reason
                    self.asked.append(spec)
                case do.Send(to, message):
                    assert set(to) <= self.here, "nobody is told who is not there"
                    if isinstance(message, msg.Neighbours):
                        self.given(to[0], message)
                    for host in to:
                        self.taught(host, message)
                case _:
                    pass

    def given(self, to: str, message: msg.Neighbours) -> None:
        ids = [peer.id for peer in message.add]
        assert to not in ids, "nobody is its own neighbour"
        assert len(set(ids)) == len(ids)
        for peer in message.add:
            assert peer.seed == (peer.id == "seed")
            if not peer.seed:
                host = self.scheduler.roster.hosts[peer.id]
                assert not host.health.isolated(self.now), "nobody is given an isolated host"
                assert not host.health.accused_by(to, self.now), "nor one that it has just left"

    def taught(self, host: str, message: msg.FromSupernode) -> None:
        match message:
            case msg.TaskInfo():
                self.verifiable[host, message.key] = known_digests(message.digests)
            case msg.Digests():
                self.verifiable[host, message.key] |= known_digests(message.digests, message.first)
            case msg.Fingerprint():
                first, count = message.first, message.count
                digests = self.scheduler.roster.tasks[message.key].digests[32 * first : 32 * (first + count)]
                assert message.sum == hashlib.sha256(digests).digest()
                self.verifiable[host, message.key] |= bitmap.run(first, count)
            case _:
                pass

    # ---------------------------------------------------------------- what happens

    @initialize(count=st.integers(0, len(HOSTS)))
    def begin(self, count: int) -> None:
        """So many pull the blob already, from a seed that knows it."""
        for host in HOSTS[:count]:
            self.hello(host)
            self.join(host.id, SPECS[0], 0)
        self.described(SPECS[0], True)

    @rule(host=st.sampled_from(HOSTS))
    def hello(self, host: msg.HostInfo) -> None:
        self.here.add(host.id)
        self.tell(ev.Heard(host.id, msg.Hello(host=host)))

    @rule(host=hosts)
    def lost(self, host: str) -> None:
        self.here.discard(host)
        self.tell(ev.Lost(host))

    @rule(host=hosts, spec=specs, pieces=st.integers(0, PIECES), piece_size=sizes)
    def join(self, host: str, spec: TaskSpec, pieces: int, piece_size: int = 0) -> None:
        self.tell(ev.Heard(host, msg.Join(spec=spec, pieces=pieces, piece_size=piece_size)))

    @rule(host=hosts, spec=specs)
    def leave(self, host: str, spec: TaskSpec) -> None:
        self.tell(ev.Heard(host, msg.Leave(key=spec.key)))

    @rule(host=hosts, spec=specs)
    def more(self, host: str, spec: TaskSpec) -> None:
        self.tell(ev.Heard(host, msg.MoreNeighbours(key=spec.key, have=("h0", "h1", "h2", "seed"))))

    @rule(host=hosts, peer=hosts | st.just("seed"), spec=specs, kind=st.sampled_from(list(msg.TroubleKind)))
    def trouble(self, host: str, peer: str, spec: TaskSpec, kind: msg.TroubleKind) -> None:
        self.tell(ev.Heard(host, msg.Trouble(key=spec.key, peer=peer, kind=kind)))

    @rule(host=hosts, spec=specs, error=st.sampled_from(["", "disk full"]), count=st.integers(0, 50))
    def finished(self, host: str, spec: TaskSpec, error: str, count: int) -> None:
        received = msg.BytesBy(peers=count)
        self.tell(ev.Heard(host, msg.Finished(key=spec.key, seconds=1.0, error=error, received=received)))

    @rule(host=hosts, piece_size=sizes)
    def holding(self, host: str, piece_size: int) -> None:
        self.tell(ev.Heard(host, msg.Holding(keys=tuple(spec.key for spec in SPECS), piece_size=piece_size)))

    @rule(spec=specs, digests=st.booleans())
    def described(self, spec: TaskSpec, digests: bool) -> None:
        version = "" if spec.digest else str(self.version)
        info = msg.TaskInfo(
            key=spec.key, length=MIN_PIECE * PIECES, piece_size=MIN_PIECE, sealed=digests, version=version,
            digests=b"d" * 32 * PIECES if digests else b"",
        )  # fmt: skip
        self.asked = [one for one in self.asked if one.key != spec.key]
        self.tell(ev.Heard("seed", info))

    @rule()
    def page_changes(self) -> None:
        self.version += 1

    @rule(spec=specs, first=st.integers(0, PIECES), sealed=st.booleans())
    def digests(self, spec: TaskSpec, first: int, sealed: bool) -> None:
        self.tell(ev.Heard("seed", msg.Digests(key=spec.key, first=first, digests=b"e" * 32, sealed=sealed)))

    @precondition(lambda self: self.asked)
    @rule(final=st.booleans())
    def failed(self, final: bool) -> None:
        spec = self.asked.pop(0)
        self.tell(ev.Heard("seed", msg.TaskFailed(key=spec.key, reason="no", final=final)))

    @rule(spec=specs)
    def deleted(self, spec: TaskSpec) -> None:
        self.asked = [one for one in self.asked if one.key != spec.key]
        self.tell(ev.Deleted(spec.key))

    @rule(spec=specs)
    def evicted(self, spec: TaskSpec) -> None:
        self.tell(ev.Evicted(spec.key))

    @rule(seconds=st.floats(0.01, 20.0))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.tell(ev.Tick())

    # ---------------------------------------------------------------- what holds

    @invariant()
    def the_roster_is_who_is_here(self) -> None:
        roster = self.scheduler.roster
        assert set(roster.hosts) == self.here | {"seed"}
        for key, task in roster.tasks.items():
            assert set(task.members) <= self.here
            assert set(task.waiting) <= set(task.members)
            assert task.seed_children <= set(task.members)
            by_zone = {host_id for pool in task.zones.values() for host_id in pool.members}
            assert by_zone == set(task.members)
            for host_id, host in roster.hosts.items():
                assert (key in host.tasks) == (host_id in task.members)

    @invariant()
    def links_are_mutual_and_few(self) -> None:
        for task in self.scheduler.roster.tasks.values():
            for host_id, member in task.members.items():
                assert host_id not in member.links
                assert len(member.links) <= SETTINGS.most
                for other in member.links:
                    assert host_id in task.members[other].links

    @invariant()
    def who_waits_is_waited_for(self) -> None:
        for task in self.scheduler.roster.tasks.values():
            if task.waiting:
                assert task.seeding, "the seed has been asked, or nobody would ever answer"

    @invariant()
    def after_a_look_all_who_pull_have_a_way_to_the_seed(self) -> None:
        for task in self.scheduler.roster.tasks.values():
            if task.info is not None and self.settled and not task.thinned:
                assert cut_off(task) == []

    @invariant()
    def after_a_look_all_who_pull_can_come_to_know_all_digests(self) -> None:
        for key, task in self.scheduler.roster.tasks.items():
            if self.settled and task.info is not None and not task.fresh:
                for host_id, member in task.members.items():
                    if not member.complete and not member.waiting:
                        assert not task.known & ~self.verifiable[host_id, key]

    @invariant()
    def time_goes_on(self) -> None:
        assert self.scheduler.next_deadline() <= self.now + 1.0 or self.now == 0.0

    def teardown(self) -> None:
        """When everybody has left, nothing stays but what the seed is still busy with."""
        for host in sorted(self.here):
            self.here.discard(host)
            self.tell(ev.Lost(host))
        for spec in SPECS:
            self.tell(ev.Heard("seed", msg.TaskFailed(key=spec.key, reason="no")))
        for _ in range(2):
            self.now += SETTINGS.task_idle_s + 1.0
            self.tell(ev.Tick())
        assert self.scheduler.roster.tasks == {}
        assert set(self.scheduler.roster.hosts) == {"seed"}
        assert self.scheduler._seed_members == {}


TestSwarm = SwarmMachine.TestCase
TestSwarm.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
