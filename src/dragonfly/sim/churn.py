"""Who comes when, who is slow, who dies, who lies: a crowd for a virtual world."""

from __future__ import annotations

import msgspec

from dragonfly.core.pieces import PieceLayout
from dragonfly.scheduler.settings import SchedulerSettings
from dragonfly.sim.directory import Supernode
from dragonfly.sim.links import Link
from dragonfly.sim.node import Directory, Node
from dragonfly.sim.report import Outcome, lower_bound, outcome
from dragonfly.sim.source import Source
from dragonfly.sim.world import Transfer, World, WorldSettings

__all__ = ["Crowd", "rehearse"]


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """One seed and many peers. Rates in bytes a second, sizes in bytes, times in seconds."""

    peers: int = 100
    size: int = 20_000_000
    piece_size: int = 0
    """0: as the product would choose."""
    peer_rate: float = 1.25e6
    """Up and down, each."""
    seed_rate: float = 12.5e6
    source_rate: float = 12.5e6
    seed_copies: float = 0
    """The seed may send so many times the file in T*; 0: as fast as its link is."""
    arrive_over: float = 0
    """Peers come evenly over this many times T*."""
    slow_share: float = 0
    """So many have a tenth of the rate; they don't count."""
    killed_share: float = 0
    """So many vanish without a word between a fifth and three fifths of T*; they don't count."""
    corrupt_share: float = 0
    """So many serve wrong bytes; they don't count."""
    narrow_copies: float = 0
    """Half of the peers are in another zone, joined by a link that carries so many files in T*; 0: one zone."""
    degree: int = 8
    digest_lists: int = SchedulerSettings().digest_lists
    """With more peers only so many are told all digests."""

    @property
    def bound(self) -> float:
        """T* of the counted peers if all came at once."""
        rates = [self.peer_rate] * self.peers
        return lower_bound(self.size, self.seed_rate, rates, rates)

    @property
    def layout(self) -> PieceLayout:
        return PieceLayout(self.size, self.piece_size) if self.piece_size else PieceLayout.for_length(self.size)


def rehearse(
    crowd: Crowd,
    settings: WorldSettings | None = None,
    *,
    seed: int = 1,
    limit: float = 20,
    transfers: list[Transfer] | None = None,
) -> Outcome:
    """Let the crowd pull once. Gives up after `limit` times T*. Writes to `transfers` if given."""
    world = World(crowd.layout, settings, seed=seed)
    world.transfers = transfers
    directory: Directory = Supernode(world, SchedulerSettings(degree=crowd.degree, digest_lists=crowd.digest_lists))
    source = Source(world, crowd.source_rate)
    bound = crowd.bound
    zones = ("here", "there") if crowd.narrow_copies else ("", "")
    if crowd.narrow_copies:
        way = Link(crowd.narrow_copies * crowd.size / bound)
        world.narrow = {("here", "there"): way, ("", "there"): way, ("there", "here"): Link(way.rate)}
    first = Node(
        world, directory, "seed", up=crowd.seed_rate, down=crowd.source_rate, source=source, seed=True,
        zone=zones[0], upload_limit=crowd.seed_copies * crowd.size / bound,
    )  # fmt: skip
    world.at(0.0, first.start)
    chosen = world.rng.sample(range(crowd.peers), crowd.peers)

    def take(share: float) -> set[int]:
        count = max(1, round(share * crowd.peers)) if share else 0
        taken = set(chosen[:count])
        del chosen[:count]
        return taken

    slow, killed, corrupt = take(crowd.slow_share), take(crowd.killed_share), take(crowd.corrupt_share)
    counted: list[Node] = []
    others: list[Node] = []
    for i in range(crowd.peers):
        rate = crowd.peer_rate / 10 if i in slow else crowd.peer_rate
        zone = zones[2 * i >= crowd.peers]
        node = Node(world, directory, f"p{i}", up=rate, down=rate, source=source, corrupt=i in corrupt, zone=zone)
        arrival = crowd.arrive_over * bound * i / crowd.peers
        world.at(arrival, node.start)
        if i in killed:
            world.at(arrival + bound * (0.2 + 0.4 * world.rng.random()), _kill, node)
        (others if i in slow | killed | corrupt else counted).append(node)
    missing = _Countdown(counted)
    world.run(missing.over, limit * bound + crowd.arrive_over * bound)
    return outcome(world, [first], counted, others)


def _kill(node: Node) -> None:
    node.stop(silent=True)


class _Countdown:
    """Whether all have finished, asked after every event, so found by looking at one only."""

    def __init__(self, nodes: list[Node]) -> None:
        self._waiting = list(nodes)

    def over(self) -> bool:
        while self._waiting and self._waiting[-1].finished_at is not None:
            self._waiting.pop()
        return not self._waiting
