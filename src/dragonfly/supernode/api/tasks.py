"""/api/v1/tasks, /api/v1/peers, /api/v1/stats: what the supernode knows, for people and programs."""

from __future__ import annotations

import msgspec
from aiohttp import web

from dragonfly.core.messages import BytesBy
from dragonfly.core.task import TaskKey
from dragonfly.scheduler.roster import Member, Task
from dragonfly.scheduler.scheduler import Scheduler

__all__ = ["PeerInfo", "Stats", "TaskDetail", "TaskPeer", "TaskSummary", "detail_of", "peers_of", "summary_of"]


class TaskSummary(msgspec.Struct, kw_only=True):
    """One task in a list. `state`: waiting, seeding, ready or failed."""

    id: str
    url: str
    digest: str
    length: int
    pieces: int
    piece_size: int
    state: str
    peers: int
    complete_peers: int
    bytes_from: BytesBy


class TaskPeer(msgspec.Struct, kw_only=True):
    """A node's part in a task: where its bytes came from, how long, what bound it, why it fell back."""

    id: str
    hostname: str
    address: str
    pieces: int
    complete: bool
    received: BytesBy
    uploaded: int
    seconds: float
    bound: str
    efficiency: float
    fallback: str
    error: str
    neighbours: int


class TaskDetail(TaskSummary, kw_only=True):
    """One task with all its nodes; `seed` is the supernode's own part."""

    seed: TaskPeer | None
    members: list[TaskPeer]


class PeerInfo(msgspec.Struct, kw_only=True):
    """A node with a session."""

    id: str
    hostname: str
    address: str
    peer_port: int
    zone: str
    rack: str
    version: str
    tasks: int
    isolated: bool
    seed: bool


class Stats(msgspec.Struct, kw_only=True):
    """Totals since the start. `origin_bytes`: received from sources, by the seed and by nodes that fell back;
    `p2p_bytes`: what nodes received from nodes."""

    origin_bytes: int
    seed_origin_bytes: int
    seed_upload_bytes: int
    p2p_bytes: int
    peers: int
    tasks: int
    uptime_s: float
    control_messages: int


def summary_of(task: Task, scheduler: Scheduler) -> TaskSummary:
    return TaskSummary(**_summary(task, scheduler))  # type: ignore[arg-type]


def detail_of(task: Task, scheduler: Scheduler) -> TaskDetail:
    seed = scheduler.seed_member(task.key)
    return TaskDetail(
        **_summary(task, scheduler),  # type: ignore[arg-type]
        seed=_peer(seed) if seed is not None else None,
        members=[_peer(member) for member in task.members.values()],
    )


def _summary(task: Task, scheduler: Scheduler) -> dict[str, object]:
    info = task.info
    members = list(task.members.values())
    seed = scheduler.seed_member(task.key)
    total = task.moved
    if seed is not None:
        total = total.plus(BytesBy(source=seed.received.source))
    state = "waiting"
    if info is not None:
        state = "seeding" if task.seeding else "ready"
    elif task.failures and not task.seeding:
        state = "failed"
    spec = task.spec
    key = str(task.key)
    return {
        "id": key,
        "url": spec.shown_url if spec is not None else "",
        "digest": key.replace("-", ":", 1) if not key.startswith("url-") else "",
        "length": info.length if info is not None else 0,
        "pieces": -(-info.length // info.piece_size) if info is not None else 0,
        "piece_size": info.piece_size if info is not None else 0,
        "state": state,
        "peers": len(members),
        "complete_peers": sum(member.complete for member in members),
        "bytes_from": total,
    }


def _peer(member: Member) -> TaskPeer:
    info = member.host.info
    return TaskPeer(
        id=info.id,
        hostname=info.hostname,
        address=info.address,
        pieces=member.pieces,
        complete=member.complete,
        received=member.received,
        uploaded=member.uploaded,
        seconds=member.seconds,
        bound=member.bound,
        efficiency=member.efficiency,
        fallback=member.fallback,
        error=member.error,
        neighbours=len(member.links),
    )


def peers_of(scheduler: Scheduler, now: float) -> list[PeerInfo]:
    return [
        PeerInfo(
            id=host.info.id,
            hostname=host.info.hostname,
            address=host.info.address,
            peer_port=host.info.peer_port,
            zone=host.info.zone,
            rack=host.info.rack,
            version=host.info.version,
            tasks=len(host.tasks),
            isolated=host.health.isolated(now),
            seed=host.seed,
        )
        for host in scheduler.roster.hosts.values()
    ]


def find(scheduler: Scheduler, request: web.Request) -> Task:
    """The task that the path names; 404 otherwise."""
    task = scheduler.roster.tasks.get(TaskKey(request.match_info["task_id"]))
    if task is None:
        raise web.HTTPNotFound
    return task
