"""Every error that Dragonfly raises on purpose.

    DragonflyError
    ├── UsageError       fix the command, the request or the configuration
    ├── SourceError      the source refused or failed (has its HTTP status, if it gave one)
    │   ├── SourceUnreachable   no usable answer at all: trying again may help
    │   └── UnsizedError        no length is known: it can be passed on, not shared
    ├── PeerError        another node failed: try another parent
    ├── IntegrityError   bytes do not match their digest: never served, never kept
    ├── CapacityError    no disk or no slot: free some, or raise the limit
    └── StoppedError     the work was cancelled or the process is ending

The families follow what the caller can do. Errors carry data; `str(error)` is the
sentence: what happened, to what, what to do. Only `cli` turns them into exit codes.
"""

from __future__ import annotations

__all__ = [
    "CapacityError",
    "DragonflyError",
    "IntegrityError",
    "PeerError",
    "SourceError",
    "SourceUnreachable",
    "StoppedError",
    "UnsizedError",
    "UsageError",
]


class DragonflyError(Exception):
    """What happened (`what`), to which URL, task or peer (`subject`), what to do (`advice`)."""

    def __init__(self, what: str, *, subject: str = "", advice: str = "") -> None:
        super().__init__(what, subject, advice)
        self.what = what
        self.subject = subject
        self.advice = advice

    def __str__(self) -> str:
        sentence = f"{self.what}: {self.subject}" if self.subject else self.what
        return f"{sentence}; {self.advice}" if self.advice else sentence


class UsageError(DragonflyError):
    """The command, request or configuration is wrong; nothing was started."""


class SourceError(DragonflyError):
    """The source said no, or failed while it was read.

    `status` is its HTTP status where it gave one. `challenge` is its
    WWW-Authenticate header, so that a mirror can pass a 401 through. `retry_after`: seconds
    after which it wants to be asked again, 0 where it did not say.
    """

    def __init__(
        self,
        what: str,
        *,
        subject: str = "",
        advice: str = "",
        status: int | None = None,
        challenge: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(what, subject=subject, advice=advice)
        self.status = status
        self.challenge = challenge
        self.retry_after = retry_after

    @property
    def final(self) -> bool:
        """Asking again in the same way would get the same answer (4xx but 408 and 429)."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in (408, 429)


class SourceUnreachable(SourceError):
    """The source could not be reached, or broke off, or failed with a 5xx: worth another try."""


class UnsizedError(SourceError):
    """The source does not say how long its content is: it can be passed on, but not shared in pieces."""


class PeerError(DragonflyError):
    """A node of the swarm is silent, refuses, or breaks the protocol."""


class IntegrityError(DragonflyError):
    """Bytes differ from what their digest promises."""


class CapacityError(DragonflyError):
    """There is no room: disk quota, slots or memory."""


class StoppedError(DragonflyError):
    """The work was cancelled before its end."""
