"""The contract between the engine and whatever holds the original bytes.

Sources are synchronous and run in worker threads: a read goes from the socket into the
caller's buffer and from there to disk with the interpreter lock released, which an event
loop could only add copies to. An instance is shared by threads.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

import msgspec

from dragonfly.core.validators import Validators

__all__ = ["Described", "Source", "SourceRequest", "SourceStream", "Validators"]


class SourceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to read and how to be let in. `__repr__` shows no header value."""

    url: str
    headers: dict[str, str] = {}
    trust: str = ""
    """Extra PEM certificates, or `core.task.INSECURE`."""
    timeout_s: float = 30.0
    """Longest silence that is borne, at connect and between bytes."""

    def __repr__(self) -> str:
        scheme, colon, rest = self.url.partition("?")[0].partition("://")
        host, slash, path = rest.partition("/")
        return f"<SourceRequest {scheme}{colon}{host.rpartition('@')[2]}{slash}{path} headers={sorted(self.headers)}>"


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What the source says of the content before its bytes."""

    length: int | None
    """Bytes of the whole content; None where the source does not say (chunked)."""
    ranges: bool = False
    """Byte ranges can be asked for."""
    digest: str = ""
    """`sha256:…` where the source states one (Docker-Content-Digest)."""
    validators: Validators = Validators()
    headers: dict[str, str] = {}
    """Answer headers for the client: content-type, content-disposition, etag, last-modified, …"""


class SourceStream(Protocol):
    """An open read. Leave it by `with`: an unread rest is dropped, the connection with it.

    It may have a method `abort()` too, called from another thread: `readinto` then raises or
    returns soon, instead of when `timeout_s` of a silent source are over.
    """

    described: Described

    def readinto(self, buffer: memoryview) -> int:
        """Fill up to len(buffer) bytes, at least one; 0 at the end.

        Raises SourceUnreachable where the stream breaks off before the promised length.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Source(Protocol):
    """One backend. Every method may block up to `request.timeout_s` and raises SourceError with
    the status where the source refuses, SourceUnreachable where trying again may help."""

    def describe(self, request: SourceRequest) -> Described:
        """What is there, without its bytes."""
        ...

    def open(self, request: SourceRequest, start: int = 0, end: int | None = None) -> SourceStream:
        """Read bytes [start, end) (to the end for None; an `end` behind the last byte means the end).

        The stream's `described.length` is the whole content's. Raises SourceError where `start` > 0
        and ranges can't be had, or lies outside of the content (416). A source without ranges
        answers `start` 0 with all of it, whatever `end` says, and `described.ranges` False.
        """
        ...

    def unchanged(self, request: SourceRequest, validators: Validators) -> bool:
        """The content is still what had these validators."""
        ...

    def close(self) -> None: ...
