"""Content that is not shared: a source that does not say how long it is, and this machine's own files. Read by this
process, with its own rights."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from dragonfly.core.digest import Digest
from dragonfly.core.messages import BytesBy
from dragonfly.core.rate import TokenBucket
from dragonfly.errors import IntegrityError
from dragonfly.peer.report import Result
from dragonfly.source.base import SourceRequest
from dragonfly.source.registry import Sources
from dragonfly.store.place import landing, write_all
from dragonfly.wire.local import DownloadRequest

__all__ = ["fetch_straight"]


def fetch_straight(
    request: DownloadRequest, target: Path | int, reason: str = "", *, moved: Callable[[int], object] | None = None
) -> Result:
    """Bytes [request.start, request.end) as the file `target`; `reason` is told as why the swarm was not used.

    A digest is that of the whole, so it is not looked at where only a part is wanted.
    """
    spec, end = request.spec, request.end
    sources = Sources(allow_file=True)
    started = time.monotonic()
    bucket = TokenBucket(request.rate)
    whole = request.start == 0 and end is None
    expected = Digest.parse(spec.digest) if spec.digest and whole else None
    hasher = hashlib.new(expected.algorithm if expected else "sha256")
    done = 0
    asked = SourceRequest(url=spec.url, headers=spec.headers, trust=spec.trust)
    try:
        with landing(target) as fd, sources.for_url(spec.url).open(asked, request.start, end) as stream:
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
        length=done if stream.described.length is None else stream.described.length,
        part=None if whole else done,
        seconds=time.monotonic() - started,
        received=BytesBy(source=done),
        digest=spec.digest,
        fallback=reason,
        bound="source",
    )
