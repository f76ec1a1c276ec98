"""Content that can't be shared, since its source does not say how long it is: read from there by this process."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from dragonfly.core.digest import Digest
from dragonfly.core.messages import BytesBy
from dragonfly.core.rate import TokenBucket
from dragonfly.core.task import TaskSpec
from dragonfly.errors import IntegrityError
from dragonfly.peer.report import Result
from dragonfly.source.base import SourceRequest
from dragonfly.source.registry import Sources
from dragonfly.store.place import landing, write_all

__all__ = ["fetch_straight"]


def fetch_straight(
    spec: TaskSpec, target: Path, reason: str, *, rate: int = 0, moved: Callable[[int], object] | None = None
) -> Result:
    """The whole content as the file `target`; `reason` is told as why the swarm was not used."""
    sources = Sources(allow_file=True)
    started = time.monotonic()
    bucket = TokenBucket(rate)
    expected = Digest.parse(spec.digest) if spec.digest else None
    hasher = hashlib.new(expected.algorithm if expected else "sha256")
    done = 0
    request = SourceRequest(url=spec.url, headers=spec.headers, trust=spec.trust)
    try:
        with landing(target) as fd, sources.for_url(spec.url).open(request) as stream:
            buffer = memoryview(bytearray(1 << 18))
            while count := stream.readinto(buffer):
                time.sleep(bucket.delay(time.monotonic()))
                bucket.take(count, time.monotonic())
                hasher.update(buffer[:count])
                write_all(fd, buffer[:count])
                done += count
                if moved is not None:
                    moved(done)
            if expected is not None and hasher.hexdigest() != expected.hex:
                raise IntegrityError(
                    "the bytes differ from their digest", subject=spec.shown_url, advice="ask who gave the digest"
                )
    finally:
        sources.close()
    return Result(
        key=spec.key,
        url=spec.shown_url,
        length=done,
        seconds=time.monotonic() - started,
        received=BytesBy(source=done),
        digest=spec.digest,
        fallback=reason,
        bound="source",
    )
