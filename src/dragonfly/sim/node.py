"""A virtual host: the shell around one Download and one Uploads, as `peer` is on a real one.

It keeps the shell's habits that matter for speed: one run at a time leaves, children take
turns, announcements go out in batches, a queue is short enough for cancels to work. A
corrupt host sends wrong bytes; a dead one says nothing.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

from dragonfly.core import bitmap
from dragonfly.core.messages import TroubleKind
from dragonfly.core.zones import is_far
from dragonfly.sim.giving import Giving
from dragonfly.sim.gossip import Gossip
from dragonfly.sim.links import Link
from dragonfly.sim.news import News
from dragonfly.sim.source import Source
from dragonfly.sim.world import Transfer, World
from dragonfly.swarm import commands as cmd
from dragonfly.swarm import events as ev
from dragonfly.swarm.download import Download, State
from dragonfly.swarm.introductions import Introductions
from dragonfly.swarm.uploads import Uploads

__all__ = ["Directory", "Node"]


class Directory(Protocol):
    """The supernode as a host sees it."""

    def join(self, node: Node) -> None: ...

    def more(self, node: Node, have: tuple[str, ...]) -> None:
        """`node` has too few neighbours: only those in `have`."""
        ...

    def trouble(self, node: Node, peer: str, kind: TroubleKind) -> None: ...

    def digests(self, node: Node, pieces: int) -> None:
        """A seed knows the digests of `pieces` (a bitmap)."""
        ...

    def want_digests(self, node: Node, first: int, count: int) -> None:
        """No neighbour of `node` brings the digests of this run."""
        ...

    def finished(self, node: Node) -> None: ...


class Wire:
    """One host's side of a session with another."""

    __slots__ = ("arrived", "to", "told", "under_way")

    def __init__(self, to: Node) -> None:
        self.to = to
        self.told = 0
        self.under_way = 0
        """Bytes on their way to the other side."""
        self.arrived = 0
        """Bytes that came from it."""


class Node:
    """`up` and `down` are the rates of its link in bytes a second. It does nothing before `start`."""

    def __init__(
        self,
        world: World,
        directory: Directory,
        id: str,
        *,
        up: float,
        down: float,
        source: Source | None = None,
        seed: bool = False,
        corrupt: bool = False,
        zone: str = "",
        upload_limit: float = 0,
    ) -> None:
        self.world = world
        self.directory = directory
        self.id = id
        self.zone = zone
        self.wire = Link(up)
        """What it sends. Pieces may be limited to less (`up`)."""
        self.up = Link(upload_limit) if 0 < upload_limit < up else self.wire
        self.down = Link(down)
        self.seed = seed
        self.corrupt = corrupt
        self.alive = False
        self.started_at = 0.0
        self.finished_at: float | None = None
        self.from_seed = self.from_peers = self.from_source = 0
        """Bytes of right pieces, by where they came from."""
        self.download: Download
        self.uploads: Uploads
        self.wires: dict[str, Wire] = {}
        self._source = source
        self._source_open = False
        self._dialling: set[str] = set()
        self._introductions: Introductions[Node]
        self.giving = Giving(self)
        self.gossip: Gossip
        self.news: News
        self._reader_at = 0
        self._held: dict[int, Node] = {}
        """Pieces that are here but can't be checked yet, and who sent them."""

    def __repr__(self) -> str:
        state = "dead" if not self.alive else "done" if self.finished_at is not None else "running"
        return f"<Node {self.id}{' seed' if self.seed else ''} {state} {len(self.wires)} neighbours>"

    # ---------------------------------------------------------------- life

    def start(self) -> None:
        """Ask for the task; a seed opens the source too."""
        world = self.world
        layout = world.layout
        self.alive = True
        self.started_at = world.now
        rng = Random(world.rng.random())
        self.download = Download(layout, world.settings.swarm, rng, now=world.now)
        self.gossip = Gossip(self)
        self.news = News(self)
        self._introductions = Introductions(world.now)
        self.uploads = Uploads(layout.count)
        if world.settings.streaming and not self.seed:
            self._happened(ev.ReaderAt(0, 0))
        self.directory.join(self)
        if self.seed:
            self._source_open = True
            self._happened(ev.SourceOpened())
        self._tick()

    def stop(self, *, silent: bool = False) -> None:
        """End at once. `silent`: the others are not told, as when a host loses its power."""
        self.alive = False
        if not silent:
            for wire in self.wires.values():
                self.world.after(self.world.settings.latency_s, wire.to.lost, self.id)
        self.wires.clear()

    # ---------------------------------------------------------------- sessions

    def connect(self, other: Node) -> None:
        """Dial, at once or with the first piece: after a round trip both sides have a session and know what
        the other has."""
        if other is not self and self.alive:
            self._introductions.named(other, seed=other.seed)
            self._dial_due()

    def _dial_due(self) -> None:
        links = len(self.wires) + len(self._dialling)
        for other in self._introductions.due(links, self.download.pieces.have, self.world.now):
            if other.id not in self.wires:
                self._dialling.add(other.id)
                self.world.after(2 * self.world.settings.latency_s, self._connected, other)

    def _connected(self, other: Node) -> None:
        wanted = other.id in self._dialling
        self._dialling.discard(other.id)
        if wanted and self.alive and other.alive and other.id not in self.wires:
            self._open(other)
            other._open(self)
            self.news.tell(self.wires[other.id])
            other.news.tell(other.wires[self.id])

    def _open(self, other: Node) -> None:
        self.wires[other.id] = Wire(other)
        far = is_far(self.zone, other.zone)
        if is_far(other.zone, self.zone):
            self.uploads.child_in(other.id, other.zone, other.id)
        self._happened(ev.NeighbourUp(other.id, other.seed, far))
        self.gossip.met(self.wires[other.id])

    def take_away(self, other: Node) -> None:
        """The supernode wants us to leave it."""
        self._introductions.discard(other)
        self.uploads.distrust(other.id)
        self.disconnect(other.id)

    def disconnect(self, peer: str) -> None:
        """Leave a neighbour; it hears of it."""
        self._dialling.discard(peer)
        wire = self.wires.pop(peer, None)
        if wire is not None:
            self._drop(peer)
            if wire.to.alive:
                self.world.after(self.world.settings.latency_s, wire.to.lost, self.id)

    def lost(self, peer: str) -> None:
        """A neighbour has closed the session."""
        if self.alive and self.wires.pop(peer, None) is not None:
            self._drop(peer)

    def _drop(self, peer: str) -> None:
        self.uploads.gone(peer)
        self._happened(ev.NeighbourDown(peer))
        self.gossip.gone(peer)

    # ---------------------------------------------------------------- the mind

    def _happened(self, event: ev.Event) -> None:
        for command in self.download.handle(event, self.world.now):
            self._do(command)

    def _do(self, command: cmd.Command) -> None:
        match command:
            case cmd.Announce():
                self.uploads.have |= 1 << command.first
                self._dial_due()
                self.news.piece(command.first)
                for peer in self.uploads.take_turned_away():
                    if (wire := self.wires.get(peer)) is not None:
                        self.news.tell(wire)
            case cmd.Fetch():
                self.frame(command.peer, "asked", command.first, command.count)
            case cmd.FetchAny():
                self.frame(command.peer, "asked_any", command.count, command.hint, command.busy)
            case cmd.Cancel():
                self.frame(command.peer, "cancelled", command.first, command.count)
            case cmd.AskSource():
                if self._source is not None:
                    self._source.read(self, command.first, command.count)
            case cmd.LeavePeer():
                self.directory.trouble(self, command.peer, command.kind)
                self.disconnect(command.peer)
            case cmd.AskNeighbours():
                self.directory.more(self, (*self.wires, *self._dialling))
            case cmd.Finish():
                self.finished_at = self.world.now
                self.directory.finished(self)

    def frame(self, peer: str, method: str, *args: int) -> None:
        """Send a control frame, heard there as `_on_` and `method`."""
        wire = self.wires.get(peer)
        if wire is not None:
            self.world.frames += 1
            self.world.after(self.world.settings.latency_s, wire.to.heard, method, self.id, *args)

    def heard(self, method: str, peer: str, *args: int) -> None:
        """A control frame from `peer`."""
        if self.alive and peer in self.wires:
            getattr(self, f"_on_{method}")(peer, *args)

    def _tick(self) -> None:
        if not self.alive:
            return
        now = self.world.now
        self._dial_due()
        self.gossip.ask()
        if self._may_read_source() and self.download.source.stalled_for(now) >= self.download.source.patience():
            self._source_open = True
            self._happened(ev.SourceOpened(sparing=True))
        self._happened(ev.Tick(unmet=len(self._introductions) + len(self._dialling)))
        deadline = self.download.next_deadline()
        if deadline is not None:
            self.world.at(max(deadline, now + 0.01), self._tick)

    def _may_read_source(self) -> bool:
        return (
            self._source is not None
            and not self.seed
            and self.world.settings.back_to_source
            and not self._source_open
            and self.download.state is State.RUNNING
        )

    # ---------------------------------------------------------------- what others tell

    def _on_has(self, peer: str, pieces: int) -> None:
        self.giving.fed(peer)
        self.uploads.child_has(peer, pieces)
        self._happened(ev.PeerHas(peer, pieces))
        self.gossip.ask()

    def _on_knows(self, peer: str, first: int, count: int) -> None:
        self.gossip.heard_knows(peer, first, count)

    def _on_wants(self, peer: str, first: int, count: int) -> None:
        self.gossip.heard_wants(peer, first, count)

    def _on_list(self, peer: str, first: int, count: int) -> None:
        self.gossip.heard_list(peer, first, count)

    def learn(self, pieces: int) -> None:
        """The digests of these pieces are known here."""
        if not self.alive:
            return
        self._happened(ev.DigestsKnown(pieces))
        for index in [index for index in self._held if pieces >> index & 1]:
            self._checked(self._held.pop(index), index, self.world.now)

    # ---------------------------------------------------------------- giving

    def _on_asked(self, peer: str, first: int, count: int) -> None:
        self.uploads.asked(peer, first, count)
        self.giving.want(peer)

    def _on_asked_any(self, peer: str, count: int, hint: int, busy: int) -> None:
        self.uploads.asked_any(peer, count, hint, busy)
        self.giving.want(peer)

    def _on_cancelled(self, peer: str, first: int, count: int) -> None:
        self.uploads.cancelled(peer, first, count)

    # ---------------------------------------------------------------- taking

    def _on_offered(self, peer: str, first: int, count: int) -> None:
        self.learn(bitmap.run(first, count))  # a seed tells the digests of what it chooses
        self._happened(ev.Offered(peer, first, count))

    def _on_refused(self, peer: str, first: int, count: int) -> None:
        self._happened(ev.Refused(peer, first, count))

    def received(self, giver: Node, index: int, size: int, began: float) -> None:
        """The last byte of a piece is here."""
        giver.giving.through(self.id, size)
        wire = self.wires.get(giver.id)
        if not self.alive or wire is None:
            return
        wire.arrived += size
        self._happened(ev.BytesArrived(giver.id, wire.arrived))
        if self.download.pieces.known >> index & 1:
            self._checked(giver, index, began)
        else:
            self._held[index] = giver

    def _checked(self, giver: Node, index: int, began: float) -> None:
        """The piece is compared with its digest."""
        if giver.corrupt:
            self._happened(ev.PieceBad(index, giver.id))
            return
        if self.download.pieces.missing >> index & 1:
            size = self.world.layout.size(index)
            if giver.seed:
                self.from_seed += size
            else:
                self.from_peers += size
            if self.world.transfers is not None:
                self.world.transfers.append(Transfer(began, self.world.now, giver.id, self.id, index))
        self._happened(ev.PieceVerified(index, giver.id))
        self._read_on()

    def _read_on(self) -> None:
        """The local reader takes what is there in order."""
        if self.world.settings.streaming and not self.seed:
            run = bitmap.run_from(self.download.pieces.have, self._reader_at)
            if run:
                self._reader_at += run
                self._happened(ev.ReaderAt(0, self._reader_at))

    def source_sends(self, index: int, began: float, left: float) -> float:
        size = self.world.layout.size(index)
        if (narrow := self.world.narrow.get(("", self.zone))) is not None:
            left = narrow.take(size, began, left)
        here = self.down.take(size, began, left)
        self.world.at(here, self._from_source, index, size, began)
        return here

    def _from_source(self, index: int, size: int, began: float) -> None:
        if self.alive:
            self.from_source += size
            if self.world.transfers is not None:
                self.world.transfers.append(Transfer(began, self.world.now, "", self.id, index))
            self._happened(ev.PieceVerified(index))
            self._read_on()

    def source_ended(self, first: int, count: int) -> None:
        if self.alive:
            self._happened(ev.SourceReadEnded(first, count))
