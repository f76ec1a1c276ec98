"""A task among its neighbours: who is dialled and let in, what is asked of them and sent to them.

Holds the sessions of one task and turns their frames into events for the mind, and the
mind's commands into frames. Everything runs in the event loop.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable, Coroutine

from dragonfly.core import bitmap
from dragonfly.core.messages import MoreNeighbours, Neighbours, PeerAddress, TaskInfo, TroubleKind
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.zones import is_far
from dragonfly.errors import CapacityError, PeerError
from dragonfly.peer.gossip import Gossip
from dragonfly.peer.handshake import dial
from dragonfly.peer.links import Links
from dragonfly.peer.node import Node
from dragonfly.peer.report import Meter
from dragonfly.peer.serve import Admission
from dragonfly.peer.session import PeerSession
from dragonfly.store.blob import Blob
from dragonfly.swarm import commands as cmd
from dragonfly.swarm import events as ev
from dragonfly.swarm.announcing import Announcing
from dragonfly.swarm.download import Download, State
from dragonfly.swarm.introductions import Introductions
from dragonfly.swarm.uploads import Run, Uploads
from dragonfly.wire import piece as wire
from dragonfly.wire.piece import Frame, Kind

__all__ = ["Meeting"]


async def _raised(error: Exception) -> None:
    raise error


class Meeting:
    """`feed` takes events for the task's mind; `spawn` runs a coroutine in the task's care;
    `trouble` reports a neighbour that could not be reached; `given` hears of each run that begins to leave."""

    def __init__(
        self,
        node: Node,
        info: TaskInfo,
        blob: Blob,
        download: Download,
        meter: Meter,
        *,
        feed: Callable[[ev.Event], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
        trouble: Callable[[str, TroubleKind], None],
        given: Callable[[int, int], None] | None = None,
    ) -> None:
        self.info = info
        self.layout: PieceLayout = blob.layout
        self.uploads = Uploads(blob.layout.count, blob.have)
        swarm = node.settings.swarm
        self.links = Links(
            Announcing(swarm.announce_s, swarm.announce_most_s, download.pace),
            lambda: download.pieces.have,
            bitmap.full(blob.layout.count),
        )
        self._introductions: Introductions[str] = Introductions(node.now())
        self._node = node
        self._blob = blob
        self._download = download
        self._meter = meter
        self._feed = feed
        self._spawn = spawn
        self._trouble = trouble
        self._full = bitmap.full(blob.layout.count)
        self.gossip = Gossip(node, blob, download, self.links, lambda pieces: feed(ev.DigestsKnown(pieces)))
        self._given = given
        self._tells_digests = not blob.complete
        """To whom it gives a piece of its choice: the supernode has not told all of them when the pull begins."""

    # ---------------------------------------------------------------- who

    def neighbours(self, message: Neighbours) -> None:
        """Dial whom the supernode names, leave whom it drops."""
        for peer in message.drop:
            self.links.known.pop(peer, None)
            self._introductions.discard(peer)
            self.uploads.distrust(peer)
            for session in self.links.lanes(peer):
                session.close(PeerError("the supernode took this neighbour away", subject=peer))
        for address in message.add:
            if address.id == self._node.host.id:
                continue
            self.links.known[address.id] = address
            self._introductions.named(address.id, seed=address.seed)
        self._dial_due()

    @property
    def unmet(self) -> int:
        """Neighbours that were named and are dialled, or will be."""
        return len(self._introductions) + len(self.links.dialling)

    def _dial_due(self) -> None:
        links = len(self.links.sessions) + len(self.links.dialling)
        for peer in self._introductions.due(links, self._download.pieces.have, self._node.now()):
            if not self.links.lanes(peer) and peer not in self.links.dialling:
                self._begin_dial(self.links.known[peer], 0)

    def _begin_dial(self, address: PeerAddress, lane: int) -> None:
        self.links.dialling.add(address.id)
        self._spawn(self._dial(address, lane))

    async def _dial(self, address: PeerAddress, lane: int) -> None:
        try:
            sock = await dial(
                address.address,
                address.port,
                f"/v1/tasks/{self.info.key}/session?version={self.info.version}&piece_size={self.info.piece_size}",
                peer=self._node.host.id,
                zone=self._node.host.zone,
                ticket=self.info.ticket,
                lane=lane,
                timeout=self._node.settings.dial_timeout_s,
            )
        except PeerError as error:
            if not lane and error.subject != "409":
                self._node.tracer.emit("peer.unreachable", task=self.info.key, peer=address.id, reason=str(error))
                refused = error.subject.isdigit()
                self._trouble(address.id, TroubleKind.REFUSED if refused else TroubleKind.UNREACHABLE)
            return
        finally:
            self.links.dialling.discard(address.id)
        if lane == 0 and address.id in self.links.sessions:
            sock.close()
            return
        self._meet(sock, address.id, address.zone, lane=lane, seed=address.seed, dialled=True)

    def admit(self, caller: Admission) -> tuple[int, str]:
        """Whether a caller may have a session: HTTP status and reason."""
        peer, lane = caller.peer, caller.lane
        if not self.info.ticket or not hmac.compare_digest(caller.ticket.encode(), self.info.ticket.encode()):
            return 403, "Forbidden"
        if caller.version != self.info.version:
            return 410, "Another Version"
        if caller.piece_size not in (0, self.info.piece_size):
            return 410, "Other Pieces"
        if len(self.links.sessions) >= self._node.settings.max_neighbours:
            return 503, "Too Many Neighbours"
        if lane == 0:
            mine_first = peer in self.links.dialling and self._node.host.id > peer
            if peer in self.links.sessions or mine_first or peer == self._node.host.id:
                return 409, "Already Connected"
        elif f"{peer}#{lane}" in self.links.sessions:
            return 409, "Already Connected"
        return 101, "Switching Protocols"

    def accept(self, sock: socket.socket, peer: str, lane: int, zone: str) -> None:
        """A caller that was let in; its answer has been sent. Who it is, it says itself: no seed is believed."""
        self._meet(sock, peer, zone, lane=lane, seed=False, dialled=False)

    def _meet(self, sock: socket.socket, peer: str, zone: str, *, lane: int, seed: bool, dialled: bool) -> None:
        settings, here = self._node.settings, self._node.host.zone
        session = PeerSession(
            self,
            sock,
            peer,
            seed=seed,
            dialled=dialled,
            lane=lane,
            layout=self.layout,
            blob=self._blob,
            bulk=self._node.bulk,
            bulk_from=settings.bulk_from,
        )
        self.links.add(session)
        if is_far(zone, here):
            self.uploads.child_in(session.name, zone, peer)
        if lane and not dialled:
            return  # a lane that the other side opened only takes pieces from us
        self._feed(ev.NeighbourUp(session.name, seed, is_far(here, zone)))
        if lane == 0:
            self.links.tell(session)
            self.gossip.met(session)
        elif (main := self.links.get(peer)) is not None:
            session.has = main.has
            self._feed(ev.PeerHas(session.name, main.has))

    # ---------------------------------------------------------------- what the mind wants

    def perform(self, command: cmd.Command) -> None:
        """Fetch, FetchAny, Cancel, LeavePeer, Announce, AskNeighbours."""
        match command:
            case cmd.Announce():
                self._dial_due()
                self.links.news()
                for name in self.uploads.take_turned_away():
                    if (session := self.links.get(name)) is not None:
                        self.links.tell(session)
            case cmd.Fetch(peer, first, count):
                if (session := self.links.get(peer)) is not None:
                    session.out.send(wire.plain_frame(Kind.REQUEST, first, count))
            case cmd.FetchAny(peer, count, hint, busy):
                if (session := self.links.get(peer)) is not None:
                    if session.lane == 0:
                        self.links.tell(session)
                    session.out.send(wire.any_frame(count, hint, busy))
            case cmd.Cancel(peer, first, count):
                if (session := self.links.get(peer)) is not None:
                    session.out.send(wire.plain_frame(Kind.CANCEL, first, count))
            case cmd.AskNeighbours():
                have = (*self.links.peers(), *self.links.dialling)
                self._node.tracker.send(MoreNeighbours(key=self.info.key, have=have))
            case cmd.LeavePeer(peer, kind):
                if (session := self.links.get(peer)) is not None:
                    self._trouble(session.peer, kind)
                    for lane in self.links.lanes(session.peer):
                        lane.close(PeerError(f"the neighbour is {kind}", subject=session.peer))

    def sample(self) -> None:
        """Tell the mind how many bytes each neighbour has brought, open lanes to fast ones, meet who still waits."""
        now = self._node.now()
        self._dial_due()
        self.gossip.ask()
        for session in list(self.links.sessions.values()):
            parent = self._download.parents.get(session.name)
            if parent is None:
                continue  # a lane that the other side opened brings nothing
            if (arrived := session.arrived()) != parent.total:
                self._feed(ev.BytesArrived(session.name, arrived))
            if session.lane == 0 and session.dialled:
                self._consider_lane(session, parent.speed.value(now))

    def _consider_lane(self, session: PeerSession, rate: float) -> None:
        settings = self._node.settings
        address = self.links.known.get(session.peer)
        if (
            rate < settings.lane_rate
            or address is None
            or self._download.state is State.DONE
            or self._download.pieces.missing.bit_count() * self.layout.piece_size < rate * 0.1
            or session.peer in self.links.dialling
            or len(self.links.lanes(session.peer)) * len(self._node.pulling) >= settings.lanes
        ):
            return
        self._begin_dial(address, self.links.next_lane(session.peer))

    # ---------------------------------------------------------------- what neighbours say

    def peer_has(self, session: PeerSession, pieces: int) -> None:
        if self.uploads.empty_handed(session.name) and pieces:
            self._node.slots.fed(session)
        self.uploads.child_has(session.name, pieces)
        for lane in self.links.lanes(session.peer):
            if lane is session or lane.dialled:
                lane.has |= pieces
                self._feed(ev.PeerHas(lane.name, pieces))
        self.gossip.ask()
        self.part_if_done(session)

    def peer_asks(self, session: PeerSession, frame: Frame, payload: bytes) -> None:
        match frame.kind:
            case Kind.REQUEST:
                self.uploads.asked(session.name, frame.first, frame.run)
            case Kind.ANY:
                busy = bitmap.from_bytes(payload, self.layout.count)
                hint = min(frame.first, max(0, self.layout.count - 1))
                self.uploads.asked_any(session.name, min(frame.run, self.layout.count), hint, busy)
            case Kind.CANCEL:
                self.uploads.cancelled(session.name, frame.first, frame.run)
                return
            case Kind.KNOW:
                self.gossip.knows(session, frame.first, frame.run)
                return
            case Kind.WANT:
                self.gossip.wants(session, frame.first, frame.run)
                return
            case _:
                raise PeerError("a frame that makes no sense here", subject=frame.kind.name)
        self._node.slots.want(session, self)

    def start_upload(self, session: PeerSession) -> int:
        """Begin the next run to `session`; its bytes, or 0 where it waits for nothing."""
        while (item := self.uploads.next(session.name)) is not None:
            if isinstance(item, Run):
                if self._given is not None:
                    self._given(item.first, item.count)
                if item.by_choice and self._tells_digests:
                    digests = self._blob.digests[32 * item.first : 32 * (item.first + item.count)]
                    session.out.send(wire.digests_frame(item.first, bytes(digests)))
                session.send_run(item.first, item.count, chosen=item.by_choice)
                return self.layout.bytes(item.first, item.count)
            session.out.send(wire.plain_frame(Kind.REFUSE, item.first, item.count))
        return 0

    def empty_handed(self, session: PeerSession) -> bool:
        return self.uploads.empty_handed(session.name)

    def peer_digests(self, session: PeerSession, first: int, digests: bytes) -> None:
        if session.seed and session.dialled:
            self._blob.learn(first, digests)
            self._feed(ev.DigestsKnown(bitmap.run(first, len(digests) // 32)))
        elif not self.gossip.told(session, first, digests):
            self._trouble(session.peer, TroubleKind.CORRUPT)
            raise PeerError("the neighbour told wrong digests", subject=session.peer)

    def peer_refuses(self, session: PeerSession, first: int, count: int) -> None:
        self._feed(ev.Refused(session.name, first, count))

    def peer_offers(self, session: PeerSession, first: int, count: int) -> None:
        self._feed(ev.Offered(session.name, first, count))

    def pieces_arrived(self, session: PeerSession, first: int, count: int) -> None:
        self._feed(ev.BytesArrived(session.name, session.received))
        arrived = bitmap.run(first, count)
        fresh = self._download.pieces.missing & arrived
        for run in bitmap.runs(fresh):
            self._fresh(session, *run)
        for start, again in bitmap.runs(arrived & ~fresh):
            self._node.tracer.emit(
                "piece.repeated",
                task=self.info.key,
                piece=start,
                count=again,
                peer=session.peer,
                bytes=self.layout.bytes(start, again),
            )

    def _fresh(self, session: PeerSession, first: int, count: int) -> None:
        now, size = self._node.now(), self.layout.bytes(first, count)
        if session.seed:
            self._meter.seed += size
        else:
            self._meter.peers += size
        self._meter.count(size, now)
        self._node.tracer.emit(
            "piece.received",
            task=self.info.key,
            piece=first,
            count=count,
            peer=session.peer,
            bytes=size,
            seed=session.seed,
            seconds=now - self._download.pieces.asked_at(session.name, first, now),
        )
        self._feed(ev.PieceVerified(first, session.name, count))

    def piece_wrong(self, session: PeerSession, index: int) -> None:
        if self._download.pieces.missing >> index & 1:
            self._node.tracer.emit("piece.corrupt", task=self.info.key, piece=index, peer=session.peer)
            self._feed(ev.PieceBad(index, session.name))

    def run_sent(self, session: PeerSession, size: int) -> None:
        self._meter.uploaded += size
        self._node.tracer.emit("run.sent", task=self.info.key, peer=session.peer, bytes=size)
        self._node.slots.sent(session)

    def session_closed(self, session: PeerSession, error: Exception | None) -> None:
        self.links.remove(session)
        self.uploads.gone(session.name)
        self._node.slots.gone(session)
        self._feed(ev.NeighbourDown(session.name))
        self.gossip.gone(session)
        if error is not None:
            self._node.tracer.emit("session.closed", task=self.info.key, peer=session.name, reason=str(error))
        if isinstance(error, CapacityError) and self._download.state is State.RUNNING:
            self._spawn(_raised(error))  # a full disk is nobody's fault there: the pull ends with it

    # ---------------------------------------------------------------- the end

    def pieces_had(self, first: int, count: int) -> None:
        """These pieces are here and may be given away."""
        self.uploads.have |= bitmap.run(first, count)

    def all_here(self) -> None:
        """Everything is had: say so, and leave whom neither side needs."""
        self.links.announce_all()
        for session in list(self.links.sessions.values()):
            self.part_if_done(session)

    def part_if_done(self, session: PeerSession) -> None:
        """End a session in which nobody can give anybody anything."""
        mine_done = self._download.state is State.DONE
        if mine_done and (session.dialled if session.lane else session.has == self._full):
            session.close(None)

    def close(self) -> None:
        self.links.close()
