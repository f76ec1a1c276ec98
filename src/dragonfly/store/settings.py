"""Numbers of the disk, and why they are so."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dragonfly.core.units import Duration, Size

__all__ = ["StoreSettings"]


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept, and how long."""

    disk_limit: Annotated[Size, Meta(description="most bytes of cached content; 0: only the free disk limits it")] = 0
    low_water: Annotated[
        float,
        Meta(
            description="eviction goes down to this share of the limit, so that it is not needed at once again",
            ge=0,
            le=1,
        ),
    ] = 0.9
    keep_free: Annotated[Size, Meta(description="bytes of the disk that are left free for others")] = 1_000_000_000
    sync_after_s: Annotated[
        Duration,
        Meta(
            description="so long after it is whole, content is brought to the disk for good: at once it would compete "
            "with who unpacks it, and with the next pulls",
            ge=0,
        ),
    ] = 5.0
    ttl_s: Annotated[Duration, Meta(description="content unused for so long is deleted; 0: never for that reason")] = (
        0.0
    )
