"""What an operator can set of a supernode."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dragonfly.core.units import Duration, Rate, Size
from dragonfly.scheduler.settings import SchedulerSettings

__all__ = ["SupernodeSettings"]


class SupernodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`supernode`'s flags, keys and environment variables."""

    listen: Annotated[str, Meta(description="address of control sessions, REST API, console and metrics")] = (
        "0.0.0.0:8002"
    )
    peer_listen: Annotated[str, Meta(description="address of the seed's piece server")] = "0.0.0.0:8001"
    advertise: Annotated[
        str, Meta(description="IP at which nodes reach its seed; by default that of --peer-listen, or of the way out")
    ] = ""
    data_dir: Annotated[
        str,
        Meta(
            description="where content and state are kept; by default /var/lib/dragonfly/supernode, "
            "for others than root ~/.local/share/dragonfly/supernode"
        ),
    ] = ""
    state: Annotated[
        str, Meta(description="where the directory of tasks and jobs is kept: sqlite, memory or redis://HOST:PORT/DB")
    ] = "sqlite"
    origin_limit: Annotated[Rate, Meta(description="bytes/s read from sources in all; 0: no limit")] = 0
    upload_limit: Annotated[Rate, Meta(description="bytes/s that the seed sends in all; 0: no limit")] = 0
    disk_limit: Annotated[Size, Meta(description="most bytes of cached content; 0: only the free disk limits it")] = 0
    upload_slots: Annotated[int, Meta(description="pieces that leave the seed at once", ge=1)] = 8
    zone: Annotated[str, Meta(description="zone of the seed, where daemons name theirs")] = ""
    join_token: Annotated[str, Meta(description="what daemons must show to join; empty: nothing")] = ""
    api_token: Annotated[
        str, Meta(description="what callers of the API that change something must show (Bearer); empty: nothing")
    ] = ""
    source_allow: Annotated[
        tuple[str, ...], Meta(description="patterns of hosts that may be read as sources; empty: all but link-local")
    ] = ()
    source_deny: Annotated[tuple[str, ...], Meta(description="patterns of hosts that are never read")] = ()
    upstream_ca: Annotated[str, Meta(description="file with PEM certificates that sources are checked against too")] = (
        ""
    )
    insecure_upstream: Annotated[
        tuple[str, ...], Meta(description="hosts of sources whose certificates are not checked")
    ] = ()
    source_timeout: Annotated[Duration, Meta(description="longest silence of a source that is borne")] = 30.0
    preheat_streams: Annotated[int, Meta(description="blobs of a preheat that are fetched at once", ge=1)] = 4
    neighbour_policy: Annotated[
        str, Meta(description="who becomes whose neighbour: near-random, random, or a plugin's name")
    ] = "near-random"
    scheduler: Annotated[
        SchedulerSettings, Meta(description="how neighbours are chosen and what is told to whom how often")
    ] = SchedulerSettings()
