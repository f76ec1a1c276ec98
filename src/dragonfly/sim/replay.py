"""A recorded pull, played again: would another policy have done better under the same conditions?

A recording is one JSON object per line, as `dragonfly trace TASK` writes them: a head, then
what each node received, in any order:

    {"task": "sha256-…", "length": 20000000, "piece_size": 32768}
    {"node": "a1…", "giver": "b2…", "piece": 17, "began": 1.25, "ended": 1.28}

`giver` is empty where the bytes came from the source; times are in seconds on any common
scale. From it are taken: who was there and since when, how fast each link was seen to be at
its best, and who read the source. Then the same crowd pulls again, by today's minds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from dragonfly.core.pieces import PieceLayout
from dragonfly.errors import UsageError
from dragonfly.sim.directory import Supernode
from dragonfly.sim.node import Directory, Node
from dragonfly.sim.report import Outcome, outcome
from dragonfly.sim.source import Source
from dragonfly.sim.world import Transfer, World, WorldSettings

__all__ = ["Recording", "read", "replay", "write"]

_LEAST_RATE = 1000.0


class _Head(msgspec.Struct, frozen=True):
    task: str
    length: int
    piece_size: int


class _Line(msgspec.Struct, frozen=True):
    node: str
    giver: str
    piece: int
    began: float
    ended: float


class Recording(msgspec.Struct, frozen=True):
    """One task's transfers, oldest first; times from the first one's beginning."""

    task: str
    layout: PieceLayout
    transfers: tuple[Transfer, ...]

    def seeds(self) -> set[str]:
        """Nodes that read the source and gave to others before they took from any."""
        takers = {t.taker for t in self.transfers if t.giver}
        return {t.taker for t in self.transfers if not t.giver} - takers

    def arrivals(self) -> dict[str, float]:
        """When each node's first piece began to come."""
        found: dict[str, float] = {}
        for t in self.transfers:
            found[t.taker] = min(t.began, found.get(t.taker, t.began))
        return found

    def ends(self) -> dict[str, float]:
        """When each node that got every piece had the last one."""
        pieces: dict[str, set[int]] = {}
        last: dict[str, float] = {}
        for t in self.transfers:
            pieces.setdefault(t.taker, set()).add(t.piece)
            last[t.taker] = max(t.ended, last.get(t.taker, 0.0))
        return {node: last[node] for node, had in pieces.items() if len(had) == self.layout.count}

    def rates(self) -> tuple[dict[str, float], dict[str, float]]:
        """Best (upload, download) seen of each node over a second, in bytes a second; "" is the source."""
        up: dict[str, dict[int, int]] = {}
        down: dict[str, dict[int, int]] = {}
        for t in self.transfers:
            size, second = self.layout.size(t.piece), int(t.ended)
            for table, node in ((up, t.giver), (down, t.taker)):
                spans = table.setdefault(node, {})
                spans[second] = spans.get(second, 0) + size
        best = [{node: float(max(spans.values())) for node, spans in table.items()} for table in (up, down)]
        return best[0], best[1]


def read(lines: Iterable[str]) -> Recording:
    """Parse a recording; UsageError names the line that makes no sense."""
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    try:
        n, text = next(numbered)
    except StopIteration:
        raise UsageError("an empty recording") from None
    found = []
    try:
        head = msgspec.json.decode(text, type=_Head)
        layout = PieceLayout(head.length, head.piece_size)
        for n, text in numbered:  # noqa: B007 - named in the error
            line = msgspec.json.decode(text, type=_Line)
            found.append(Transfer(line.began, line.ended, line.giver, line.node, layout.index(line.piece)))
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError("a line of the recording that cannot be read", subject=f"line {n}: {error}") from None
    if not found:
        raise UsageError("a recording without transfers", subject=head.task)
    zero = min(t.began for t in found)
    moved = sorted(t._replace(began=t.began - zero, ended=t.ended - zero) for t in found)
    return Recording(head.task, layout, tuple(moved))


def write(task: str, layout: PieceLayout, transfers: Iterable[Transfer]) -> Iterator[str]:
    """The lines of a recording, for `read`."""
    yield msgspec.json.encode(_Head(task, layout.length, layout.piece_size)).decode()
    for t in transfers:
        yield msgspec.json.encode(_Line(t.taker, t.giver, t.piece, t.began, t.ended)).decode()


def replay(recording: Recording, settings: WorldSettings | None = None, *, seed: int = 1, limit: float = 10) -> Outcome:
    """Play it again; gives up after `limit` times the recorded duration."""
    up, down = recording.rates()
    seeds, ends = recording.seeds(), recording.ends()
    world = World(recording.layout, settings, seed=seed)
    directory: Directory = Supernode(world)
    source = Source(world, max(up.get("", 0.0), _LEAST_RATE))
    fastest = max([*up.values(), *down.values()])
    nodes: dict[str, Node] = {}
    for name, arrival in recording.arrivals().items():
        node = nodes[name] = Node(
            world,
            directory,
            name,
            # Who gave nothing may have had nobody to give to: take it for as fast as it took.
            up=max(up.get(name, down.get(name, fastest)), _LEAST_RATE),
            down=max(down.get(name, fastest), _LEAST_RATE),
            source=source,
            seed=name in seeds,
        )
        world.at(0.0 if node.seed else arrival, node.start)
    waiting = [node for name, node in nodes.items() if name in ends and not node.seed]
    duration = max(t.ended for t in recording.transfers)
    world.run(lambda: all(node.finished_at is not None for node in waiting), limit * duration)
    rest = [node for node in nodes.values() if node not in waiting and not node.seed]
    return outcome(world, [node for node in nodes.values() if node.seed], waiting, rest)
