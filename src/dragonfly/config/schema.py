"""The settings of all parts as one tree per command.

Each part declares its own settings beside its code; here they are only put together. The
first parts of a command are flat (their fields are flags, keys and variables of the same
name); the sections below them are keys of the file and variables `DRAGONFLY_SECTION__KEY`.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from dragonfly.core.units import Duration, Rate, Size
from dragonfly.daemon.settings import DaemonSettings
from dragonfly.peer.settings import EngineSettings
from dragonfly.store.settings import StoreSettings
from dragonfly.supernode.settings import SupernodeSettings

__all__ = ["DAEMON", "DFGET", "SUPERNODE", "Command", "GetSettings", "LogSettings", "NodeSettings"]


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every command can be told."""

    log_level: Annotated[
        str, Meta(description="what is logged to standard error", pattern="^(debug|info|warning|error)$")
    ] = "info"
    log_format: Annotated[
        str, Meta(description="lines for people, or one JSON object each", pattern="^(text|json)$")
    ] = "text"


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A node: where it keeps its content, whom it belongs to, what it may use."""

    supernode: Annotated[
        tuple[str, ...], Meta(description="HOST[:8002][=WEIGHT] of the supernodes; none: this node is on its own")
    ] = ()
    data_dir: Annotated[
        str,
        Meta(
            description="where content, CA and control socket are kept; by default /var/lib/dragonfly, "
            "for others than root ~/.local/share/dragonfly"
        ),
    ] = ""
    advertise: Annotated[
        str, Meta(description="IP at which other nodes reach this one; by default the one towards the supernode")
    ] = ""
    peer_listen: Annotated[str, Meta(description="HOST:PORT where other nodes get pieces")] = "0.0.0.0:65002"
    download_limit: Annotated[Rate, Meta(description="bytes/s of all pulls together; 0: no limit")] = 0
    upload_limit: Annotated[Rate, Meta(description="bytes/s to other nodes together; 0: no limit")] = 0
    disk_limit: Annotated[Size, Meta(description="most bytes of cached content; 0: only the free disk limits it")] = 0
    zone: Annotated[str, Meta(description="name of the zone or data hall: near nodes are preferred")] = ""
    rack: Annotated[str, Meta(description="name of the rack, for the same reason")] = ""
    join_token: Annotated[str, Meta(description="shown to supernodes that ask for one")] = ""
    idle_exit: Annotated[Duration, Meta(description="end when nothing was asked for so long; 0: never")] = 0.0


class GetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What dfget takes from files and variables too."""

    supernode: Annotated[
        tuple[str, ...],
        Meta(description="HOST[:8002][=WEIGHT] of the supernodes, for where no daemon runs on this node"),
    ] = ()
    data_dir: Annotated[
        str, Meta(description="data directory of the node's daemon; where none runs, of one of the user's own")
    ] = ""
    limit_rate: Annotated[Rate, Meta(description="bytes/s of this download; 0: no limit")] = 0
    seed_time: Annotated[
        Duration, Meta(description="without a daemon on this node: go on giving to others for so long")
    ] = 300.0


class Command(NamedTuple):
    """`flat` parts' fields stand at the top; `sections` below their name."""

    name: str
    flat: tuple[type[msgspec.Struct], ...]
    sections: dict[str, type[msgspec.Struct]]
    decided: dict[str, str] = {}
    """Keys of sections that this program sets itself: dotted name → the key at the top that decides, or empty."""


SUPERNODE = Command(
    "supernode",
    (LogSettings, SupernodeSettings),
    {"engine": EngineSettings, "store": StoreSettings},
    {
        "engine.source_policy": "",
        "engine.upload_limit": "upload_limit",
        "engine.upload_slots": "upload_slots",
        "engine.first_slots": "upload_slots",
        "engine.origin_limit": "origin_limit",
        "engine.source_timeout_s": "source_timeout",
        "store.disk_limit": "disk_limit",
    },
)
DAEMON = Command(
    "dfdaemon",
    (LogSettings, NodeSettings, DaemonSettings),
    {"engine": EngineSettings, "store": StoreSettings},
    {
        "engine.source_policy": "",
        "engine.upload_limit": "upload_limit",
        "engine.download_limit": "download_limit",
        "store.disk_limit": "disk_limit",
    },
)
DFGET = Command("dfget", (LogSettings, GetSettings), {})
